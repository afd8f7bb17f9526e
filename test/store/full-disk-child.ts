/** Runs into a full disk, played by the limit on file sizes, and out of it again; prints what it saw as JSON. */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { messageKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { wallClock } from './wall-clock.js';

const [directory, ending] = process.argv.slice(2);
const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
const health: (string | null)[] = [];
const unhandled: string[] = [];
const told: number[] = [];
let onHealth: () => void = () => undefined;
process.on('unhandledRejection', (reason) => unhandled.push(String(reason)));
store.onHealthChange = (error) => {
  health.push(error === null ? null : error.message);
  onHealth();
};

function limitFiles(bytes: number | 'unlimited'): void {
  const { status, stderr } = spawnSync('prlimit', [`--pid=${process.pid}`, `--fsize=${bytes}:unlimited`]);
  if (status !== 0) throw new Error(`prlimit: ${stderr}`);
}

function write(batch: number, rows: number, rowBytes = 500): Promise<void> {
  for (let row = 0; row < rows; row++) {
    store.put(Table.messages, messageKey(batch * 10_000 + row), Buffer.alloc(rowBytes, batch));
  }
  if (batch > 1) store.put(Table.meta, Buffer.from('last'), Buffer.from(String(batch)));
  return new Promise((resolve) =>
    store.commit(() => {
      told.push(batch);
      resolve();
    }),
  );
}

const count = () => store.countRange(Table.messages, Buffer.alloc(0), null, 1_000_000);
const nextHealth = () => {
  return new Promise<void>((resolve) => {
    onHealth = resolve;
  });
};

await write(1, 100);
limitFiles(statSync(join(directory, 'data.mdb')).size + 65_536);
const unwell = nextHealth();
// A transaction of few rows and one of many fail in different ways within lmdb-js.
const writes = [write(2, 300, 5_000), write(3, 1), write(4, 5_000)];
await unwell;
store.delete(Table.messages, messageKey(10_000));
const whileUnwell = { healthy: store.healthy, told: [...told], count: count(), inFlight: store.commitsInFlight };
if (ending === 'close') {
  const rejection = await store.close().then(
    () => 'none',
    (error: Error) => error.message,
  );
  process.stdout.write(JSON.stringify({ health, whileUnwell, rejection, told, unhandled }));
  process.exit(0);
}
// One retry fails as well before there is room.
await new Promise((resolve) => setTimeout(resolve, 1_500));
const afterRetry = { healthy: store.healthy, told: [...told] };
const well = nextHealth();
limitFiles('unlimited');
await well;
await Promise.all(writes);
await write(5, 1);
const end = { healthy: store.healthy, count: count(), last: String(store.get(Table.meta, Buffer.from('last'))) };
await store.close();
process.stdout.write(JSON.stringify({ health, whileUnwell, afterRetry, end, told, unhandled }));
