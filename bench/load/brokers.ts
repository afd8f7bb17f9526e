import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram, type Peer } from './peers.js';
import { slowDisk } from './slow-disk.js';

/** A broker that accepts connections. */
export interface RunningBroker {
  readonly pid: number;
  readonly port: number;
  /** Where it serves `/metrics`; null if it does not. */
  readonly metricsPort: number | null;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
}

const startTimeoutMs = 15_000;
const stopTimeoutMs = 10_000;
const pollMs = 20;
const outputCharactersMax = 4000;

/** Whether processes can be pinned here: Linux with taskset and two cores. */
export const canPin = process.platform === 'linux' && availableParallelism() >= 2 && findProgram('taskset') !== null;

/** The command line, pinned to a CPU where that is possible. The process id stays the program's own. */
export function pinned(cpu: number, command: readonly string[]): readonly string[] {
  return canPin ? ['taskset', '-c', String(cpu), ...command] : command;
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const killer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  child.kill('SIGTERM');
  await ended;
  clearTimeout(killer);
}

/**
 * Starts a peer on CPU 0, on a free port of 127.0.0.1, with a directory of its own.
 * @param syncMs how much longer than here syncs of its data file take
 * @throws Error with what the peer printed when it does not accept connections in time
 */
export async function startBroker(peer: Peer, program: string, syncMs = 0): Promise<RunningBroker> {
  const port = await freePort();
  const metricsPort = peer.tellsCommits ? await freePort() : null;
  const env = {
    ...process.env,
    ...(metricsPort === null ? {} : { COUNTERSIGN_METRICS__PORT: String(metricsPort) }),
    ...(syncMs === 0 ? {} : slowDisk(syncMs)),
  };
  const directory = mkdtempSync(join(tmpdir(), `bench-${peer.name}-`));
  const [command, ...args] = pinned(0, peer.launch({ port, directory, program }));
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let output = '';
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-outputCharactersMax);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.once('error', keep);
  // Nothing is left behind when the run is broken off.
  const onExit = () => {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
  process.once('exit', onExit);
  const stop = async () => {
    process.off('exit', onExit);
    await stopChild(child);
    rmSync(directory, { recursive: true, force: true });
  };
  const untilMs = performance.now() + startTimeoutMs;
  while (!(await accepts(port))) {
    if (child.pid === undefined || hasEnded(child) || performance.now() > untilMs) {
      await stop();
      throw new Error(`${peer.title} does not start: ${output.trim()}`);
    }
    await sleep(pollMs);
  }
  return { pid: child.pid ?? 0, port, metricsPort, stop };
}
