// Time and allocation of each hot function: `npm run bench:micro`. `--check` only compares allocations with limits.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type MicroCase, microCases } from './hot-path.js';
import { receiptCases } from './receipts.js';
import { rightsCases } from './rights.js';

/** A young generation that holds a whole measurement: what is allocated then stays to be counted. */
const nodeFlags = ['--expose-gc', '--min-semi-space-size=128', '--max-semi-space-size=128'];
const batchMs = 20;
const batches = 7;
const warmUpCalls = 20_000;
const warmUpMs = 200;
/** What may be allocated while allocations are counted: a fraction of the young generation. */
const countedBytes = 16 * 1024 * 1024;
const countedOperationsMax = 1_000_000;
const countings = 5;

interface MicroResult {
  readonly name: string;
  readonly nanoseconds: number;
  readonly bytes: number;
  readonly bytesMax: number;
}

function callMany(micro: MicroCase, calls: number): void {
  for (let left = calls; left > 0; left--) micro.run();
}

function warmUp(micro: MicroCase): void {
  const until = performance.now() + warmUpMs;
  for (let left = warmUpCalls; left > 0 && performance.now() < until; left -= 100) callMany(micro, 100);
}

/** The least of several batches: what comes on top is other work of the machine. */
function measureNanoseconds(micro: MicroCase): number {
  let calls = 1;
  let least = Number.POSITIVE_INFINITY;
  for (let batch = 0; batch < batches; ) {
    const startedAtMs = performance.now();
    callMany(micro, calls);
    const elapsedMs = performance.now() - startedAtMs;
    if (elapsedMs < batchMs && batch === 0) {
      calls *= 2;
      continue;
    }
    least = Math.min(least, (elapsedMs * 1e6) / (calls * micro.operations));
    batch++;
  }
  return least;
}

function allocated(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Objects and buffers; the median of several countings, as a collection may fall into one. */
function countBytes(micro: MicroCase): number {
  const operations = Math.min(countedOperationsMax, countedBytes / micro.bytesMax);
  const calls = Math.ceil(operations / micro.operations);
  const counts: number[] = [];
  for (let counting = 0; counting < countings; counting++) {
    globalThis.gc?.();
    const before = allocated();
    callMany(micro, calls);
    counts.push(Math.max(0, allocated() - before) / (calls * micro.operations));
  }
  return counts.toSorted((a, b) => a - b)[Math.floor(countings / 2)];
}

function measure(make: () => MicroCase, isTimed: boolean): MicroResult {
  const micro = make();
  warmUp(micro);
  const nanoseconds = isTimed ? measureNanoseconds(micro) : 0;
  return { name: micro.name, nanoseconds, bytes: countBytes(micro), bytesMax: micro.bytesMax };
}

function describe({ name, nanoseconds, bytes, bytesMax }: MicroResult, isTimed: boolean): string {
  const time = isTimed ? `${nanoseconds.toFixed(nanoseconds < 10 ? 2 : 0).padStart(8)} ns` : '';
  const excess = bytes > bytesMax ? `  MORE THAN ${bytesMax}` : '';
  return `${name.padEnd(36)}${time}${bytes.toFixed(1).padStart(9)} bytes${excess}`;
}

function main(): void {
  const { values } = parseArgs({ options: { check: { type: 'boolean', default: false }, json: { type: 'boolean' } } });
  if (globalThis.gc === undefined) {
    const args = [...nodeFlags, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
    process.exitCode = spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1;
    return;
  }
  const results = [...microCases, ...receiptCases, ...rightsCases].map((make) => measure(make, !values.check));
  if (values.json) process.stdout.write(`${JSON.stringify({ node: process.version, results }, null, 1)}\n`);
  else for (const result of results) process.stdout.write(`${describe(result, !values.check)}\n`);
  if (results.some(({ bytes, bytesMax }) => bytes > bytesMax)) process.exitCode = 1;
}

main();
