import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What is wrong with a disk: nothing, it is full, or syncs fail. */
export const Fault = { none: '-', full: 'n', syncError: 's' } as const;
export type Fault = (typeof Fault)[keyof typeof Fault];

const source = fileURLToPath(new URL('./disk.c', import.meta.url));
let library: string | null = null;

/** False if `disk.c` can be compiled and preloaded here, else why not: a reason to skip a test. */
export function withoutFaultyDisk(): false | string {
  if (process.platform !== 'linux') return 'the faulty disk is preloaded on Linux only';
  if (library !== null) return false;
  const path = join(mkdtempSync(join(tmpdir(), 'countersign-disk-')), 'disk.so');
  const { status, error, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O2', '-o', path, source, '-lpthread']);
  if (status !== 0) return `the faulty disk needs a C compiler (cc: ${error?.message ?? String(stderr).slice(0, 200)})`;
  library = path;
  return false;
}

/** The disk below one data directory: its journals, its faults, and the machine's start that processes believe in. */
export class FaultyDisk {
  /** Journal of the running process, or the last one. */
  journal = '';
  private readonly folder: string;
  private readonly control: string;
  private journals = 0;
  private boots = 1;

  /** @param folder an existing directory outside of the data directory */
  constructor(folder: string) {
    this.folder = folder;
    this.control = join(folder, 'control');
    writeFileSync(this.control, Fault.none);
  }

  /**
   * Environment for the next process on this disk.
   * @param syncMs how much longer than here a sync takes
   * @param killAfter operation on the data file that kills the process; 0 for none
   */
  environment(syncMs = 0, killAfter = 0): Record<string, string> {
    this.journal = join(this.folder, `journal-${++this.journals}`);
    return {
      ...{ LD_PRELOAD: library ?? '', FAULTY_DISK_JOURNAL: this.journal, FAULTY_DISK_CONTROL: this.control },
      FAULTY_DISK_BOOT: `${String(this.boots).padStart(8, '1')}-0000-0000-0000-000000000000\n`,
      FAULTY_DISK_SYNC_MS: String(syncMs),
      ...(killAfter > 0 ? { FAULTY_DISK_KILL_AFTER: String(killAfter) } : {}),
    };
  }

  /** Bytes that the journal has by now: what was done before this moment is within them. */
  position(): number {
    return existsSync(this.journal) ? statSync(this.journal).size : 0;
  }

  readJournal(): Buffer {
    return existsSync(this.journal) ? readFileSync(this.journal) : Buffer.alloc(0);
  }

  /** From now on, until told otherwise. */
  fail(fault: Fault): void {
    const file = openSync(this.control, 'r+');
    writeSync(file, fault, 0);
    closeSync(file);
  }

  /** The machine starts again: processes from now on see another boot id. */
  reboot(): void {
    this.boots++;
  }
}
