import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { deliveryKey, messageKey, readMessageKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { wallClock } from './wall-clock.js';

const parent = mkdtempSync(join(tmpdir(), 'countersign-crash-'));
t.teardown(() => rmSync(parent, { recursive: true, force: true }));

/** Starts a TypeScript file of this folder the way this test was started. */
function startChild(script: string, parameters: readonly string[]): ChildProcess {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return spawn(process.execPath, [...process.execArgv, path, ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
}

interface Outcome {
  readonly output: string;
  readonly errors: string;
}

/** @param killAfterMs kills the child that long after it said `ready`; null lets it end */
function outcomeOf(child: ChildProcess, killAfterMs: number | null): Promise<Outcome> {
  return new Promise((resolve) => {
    let output = '';
    let errors = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      if (killAfterMs !== null && output === '') setTimeout(() => child.kill('SIGKILL'), killAfterMs);
      output += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    child.on('close', () => resolve({ output, errors }));
  });
}

const rowsPerBatch = 7;

/** Every batch is there as a whole or not at all, and none that was told is missing. */
async function checkBatches(t: Test, directory: string, firstTold: number, lastTold: number): Promise<number> {
  const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
  const numbers = store.range(Table.messages, Buffer.alloc(0), null, 1_000_000).map(({ key }) => readMessageKey(key));
  const last = numbers.at(-1) ?? 0;
  const present = new Set(numbers);
  t.equal(String(store.get(Table.meta, Buffer.from('last')) ?? 0), String(last), 'the row that each batch overwrites');
  let torn = 0;
  let missing = 0;
  for (let number = firstTold; number <= last; number++) {
    // Batch `number + 3`, if even, deletes this one.
    const isDeleted = (number + 3) % 2 === 0 && number + 3 <= last;
    if (present.has(number) === isDeleted) missing++;
    for (let session = 1; session < rowsPerBatch; session++) {
      const row = store.get(Table.deliveries, deliveryKey(session, number));
      if ((row !== null) !== present.has(number)) torn++;
    }
  }
  t.equal(torn, 0, 'no batch is torn');
  t.equal(missing, 0, 'no batch is missing or back');
  t.ok(last >= lastTold, `told up to ${lastTold}, found up to ${last}`);
  await store.close();
  return last;
}

for (const durability of ['flushed', 'committed'] as const) {
  t.test(`kill -9 leaves whole batches and every batch that was told, ${durability}`, async (t) => {
    const directory = join(parent, durability);
    let next = 1;
    let toldBatches = 0;
    for (let round = 0; round < 5; round++) {
      const killAfterMs = 20 + Math.floor(Math.random() * 400);
      const parameters = [directory, durability, String(next), String(rowsPerBatch)];
      const { output, errors } = await outcomeOf(startChild('./kill-child.ts', parameters), killAfterMs);
      t.match(output, /^ready\n/);
      t.equal(errors, '');
      const told = output.split('\n').slice(1, -1).map(Number);
      t.same(
        told,
        told.map((_, index) => next + index),
        'told in order',
      );
      const lastTold = told.at(-1) ?? next - 1;
      t.comment(`killed after ${killAfterMs} ms, ${told.length} batches told`);
      toldBatches += told.length;
      next = (await checkBatches(t, directory, next, lastTold)) + 1;
    }
    t.ok(toldBatches > 20, `${toldBatches} batches were told`);
  });
}

interface FullDisk {
  readonly health: (string | null)[];
  readonly whileUnwell: { healthy: boolean; told: number[]; count: number; inFlight: number };
  readonly afterRetry: { healthy: boolean; told: number[] };
  readonly end: { healthy: boolean; count: number; last: string };
  readonly rejection: string;
  readonly told: number[];
  readonly unhandled: string[];
}

async function runFullDisk(t: Test, directory: string, ending: string): Promise<FullDisk> {
  const { output, errors } = await outcomeOf(startChild('./full-disk-child.ts', [directory, ending]), null);
  t.match(output, /^\{/, { errors });
  return JSON.parse(output);
}

const skip = spawnSync('prlimit', ['--version']).status === 0 ? false : 'needs prlimit';

t.test('a full disk loses nothing, tells nothing, and is recovered from', { skip }, async (t) => {
  const directory = join(parent, 'full');
  const seen = await runFullDisk(t, directory, 'recover');
  t.match(seen.health[0], /cannot write to data directory .*full: .*bytes are free/);
  t.same(seen.health.slice(1), [null], 'unwell once, well once');
  t.same(seen.whileUnwell, { healthy: false, told: [1], count: 100 + 300 + 1 + 5_000 - 1, inFlight: 3 });
  t.same(seen.afterRetry, { healthy: false, told: [1] });
  t.same(seen.told, [1, 2, 3, 4, 5], 'told in order in the end');
  t.same(seen.end, { healthy: true, count: 5_401, last: '5' });
  t.same(seen.unhandled, [], 'no rejection goes unhandled');
  const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
  t.equal(store.countRange(Table.messages, Buffer.alloc(0), null, 1_000_000), 5_401, 'and is there after a start');
  t.equal(store.get(Table.messages, messageKey(10_000)), null);
  await store.close();
});

t.test('a store that is closed while the disk is full says so and keeps what it had told', { skip }, async (t) => {
  const directory = join(parent, 'full-close');
  const seen = await runFullDisk(t, directory, 'close');
  t.match(seen.rejection, /cannot write to data directory/);
  t.same(seen.told, [1]);
  t.same(seen.unhandled, []);
  const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
  t.equal(store.countRange(Table.messages, Buffer.alloc(0), null, 1_000_000), 100);
  await store.close();
});
