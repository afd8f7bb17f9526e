import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from './peers.js';

let library: string | null = null;

/**
 * Environment that makes each sync of a broker's data file take longer: the disk of the power loss tests is preloaded.
 * @param syncMs how much longer than here
 * @throws Error if that can not be done on this machine
 */
export function slowDisk(syncMs: number): Record<string, string> {
  library ??= compile();
  return { LD_PRELOAD: library, FAULTY_DISK_SYNC_MS: String(syncMs) };
}

function compile(): string {
  if (process.platform !== 'linux') throw new Error('a slow disk is simulated on Linux only');
  const directory = mkdtempSync(join(tmpdir(), 'bench-slow-disk-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'disk.so');
  const source = join(repositoryRoot, 'test/power/disk.c');
  const { status, error, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O2', '-o', path, source, '-lpthread']);
  if (status !== 0) throw new Error(`a slow disk needs a C compiler (cc: ${error?.message ?? String(stderr)})`);
  return path;
}
