// Receipts of large cohorts: `node --expose-gc dist/bench/cohorts/run.js [--online N] [--offline N] [--runs N]`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { type Iteration, measureOffline } from './offline.js';
import { measureOnline, type OnlineRun } from './online.js';

const here = dirname(fileURLToPath(import.meta.url));
const program = join(here, '../../bin/countersign.js');
const stallWatch = pathToFileURL(join(here, 'stall-watch.js')).href;
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const listed = (iterations: readonly Iteration[], of: keyof Iteration): string =>
  `${iterations.map((iteration) => iteration[of].toFixed(1)).join(', ')} ms`;
const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

interface MeasuredBroker {
  readonly port: number;
  /** How long its event loop stood still at most since the last call, in milliseconds. */
  longestStall(): Promise<number>;
  stop(): void;
}

async function startBroker(data: string): Promise<MeasuredBroker> {
  const args = ['--import', stallWatch, program, 'start', '--port', '0', '--data', data, '--log-level', 'error'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', () => reject(new Error('the broker did not start')));
    child.stdout?.on('data', (chunk: Buffer) => {
      const found = /mqtt:\/\/127\.0\.0\.1:(\d+)/.exec(chunk.toString());
      if (found !== null) resolve(Number(found[1]));
    });
  });
  const longestStall = async (): Promise<number> => {
    const told = once(child, 'message') as Promise<[number]>;
    child.send('stall');
    return (await told)[0];
  };
  return { port, longestStall, stop: () => child.kill('SIGKILL') };
}

function describe(runs: readonly OnlineRun[], count: number, kind: string): void {
  const [plain, tracked] = [false, true].map((wanted) => runs.filter(({ isTracked }) => isTracked === wanted)) as [
    OnlineRun[],
    OnlineRun[],
  ];
  const isRight = tracked.every(({ tally }) => tally?.delivered === count && tally.matched === count);
  const packets = Math.max(...tracked.map(({ tally }) => tally?.packets ?? 0));
  const compare = (name: string, of: (run: OnlineRun) => number): void => {
    const [without, with_] = [median(plain.map(of)), median(tracked.map(of))];
    const ratio = (with_ / without).toFixed(2);
    print(`  ${name}: untracked ${without.toFixed(0)} ms, tracked ${with_.toFixed(0)} ms, ${ratio} ×`);
  };
  print(`1 → ${count} connected, ${kind} sessions, medians of ${plain.length}`);
  compare('last recipient', ({ lastMs }) => lastMs);
  compare('half of them', ({ medianMs }) => medianMs);
  for (const [name, all] of Object.entries({ untracked: plain, tracked })) {
    print(`  longest stall of the broker, ${name}: ${all.map(({ stallMs }) => stallMs.toFixed(1)).join(', ')} ms`);
  }
  print(`  final tallies ${isRight ? 'right' : 'WRONG'}, told in ${packets} packets`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      online: { type: 'string', default: '10000' },
      offline: { type: 'string', default: '100000' },
      runs: { type: 'string', default: '5' },
    },
  });
  const [online, offline, runs] = [Number(values.online), Number(values.offline), Number(values.runs)];
  if (online > 0) {
    for (const durable of [false, true]) {
      const data = mkdtempSync(join(tmpdir(), 'bench-cohort-'));
      const broker = await startBroker(data);
      describe(await measureOnline(broker, online, durable, runs), online, durable ? 'durable' : 'transient');
      broker.stop();
      rmSync(data, { recursive: true, force: true });
    }
  }
  if (offline > 0) {
    const result = await measureOffline(offline);
    print(`1 → ${offline} durable sessions without a connection, in process`);
    print(`  matched ${result.matched}; acknowledged after ${(result.acknowledgedMs / 1000).toFixed(1)} s`);
    print(`  longest turns: ${listed(result.longest, 'ms')}`);
    print(`    of which the main thread had a CPU for ${listed(result.longest, 'cpuMs')}`);
    print(`    and was ready, but had none, for ${listed(result.longest, 'waitedMs')}`);
    print(`  longest turns in CPU time of the main thread: ${listed(result.longestCpu, 'cpuMs')}`);
    print(`  heap and buffers ${mebibytes(result.usedBefore)} before, ${mebibytes(result.usedPeak)} at most`);
    print(`  anonymous RSS ${mebibytes(result.rssBefore)} before, ${mebibytes(result.rssPeak)} at most`);
  }
}

await main();
process.exit(0);
