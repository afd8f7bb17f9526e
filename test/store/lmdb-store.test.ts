import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { deliveryKey, messageKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { type StoreUnderTest, testStoreContract } from './contract.js';
import { Rows, testDeferredRows } from './deferred-contract.js';
import { failCommits, stillClock } from './failing-commits.js';
import { wallClock } from './wall-clock.js';

const parent = mkdtempSync(join(tmpdir(), 'countersign-store-'));
t.teardown(() => rmSync(parent, { recursive: true, force: true }));
let directories = 0;

function newDirectory(): string {
  return join(parent, String(++directories));
}

function open(directory: string, durability: 'flushed' | 'committed' = 'flushed'): Promise<LmdbStore> {
  return LmdbStore.open({ directory, durability, clock: wallClock });
}

for (const durability of ['flushed', 'committed'] as const) {
  t.test(`the store contract, ${durability}`, async (t) => {
    const make = (): StoreUnderTest => {
      const directory = newDirectory();
      return {
        open: () => open(directory, durability),
        async reopen(store) {
          await store.close();
          return open(directory, durability);
        },
      };
    };
    testStoreContract(t, make);
    testDeferredRows(t, make);
  });
}

t.test('done is never called within commit, and commitsInFlight counts what waits for it', async (t) => {
  const store = await open(newDirectory());
  let isDone = false;
  store.put(Table.messages, messageKey(1), Buffer.from('1'));
  const done = new Promise<void>((resolve) => {
    store.commit(() => {
      isDone = true;
      resolve();
    });
  });
  t.notOk(isDone);
  t.equal(store.commitsInFlight, 1);
  await done;
  t.equal(store.commitsInFlight, 0);
  await store.close();
});

/** A store in a directory of its own, closed when the test ends; `committed` resolves with a commit. */
async function openNew(t: Test) {
  const directory = newDirectory();
  const store = await open(directory);
  t.teardown(() => store.close());
  const committed = (): Promise<void> => new Promise((resolve) => store.commit(resolve));
  return { directory, store, committed };
}

/** What a start finds if the process had died right now. */
async function afterDeath(t: Test, directory: string, table: Table = Table.deliveries, limit = 100): Promise<string[]> {
  const image = newDirectory();
  mkdirSync(image);
  copyFileSync(join(directory, 'data.mdb'), join(image, 'data.mdb'));
  const store = await open(image);
  t.teardown(() => store.close());
  return store.range(table, Buffer.alloc(0), null, limit).map(({ value }) => value.toString());
}

t.test(
  'deferred rows in the log are found after the death of the process, as far as they are not settled',
  async (t) => {
    const { directory, store, committed } = await openNew(t);
    const [first, second] = [new Rows(1), new Rows(2)];
    store.putDeferred(first);
    store.putDeferred(second);
    await committed();
    t.same(await afterDeath(t, directory), ['1', '2']);
    first.settle(store);
    t.same(await afterDeath(t, directory), ['1', '2'], 'a settlement counts from its commit on');
    await committed();
    t.same(await afterDeath(t, directory), ['2']);
    for (let at = 3; at < 20; at++) {
      store.put(Table.messages, messageKey(at), Buffer.from('m'));
      await committed();
    }
    t.equal(second.writes, 1);
    t.same(await afterDeath(t, directory), ['2'], 'its turn has been retired');
    second.settle(store);
    await committed();
    t.same(await afterDeath(t, directory), []);
  },
);

t.test('a settlement comes before what else its batch does to the same keys', async (t) => {
  const { directory, store, committed } = await openNew(t);
  const rows = new Rows(1, 2);
  store.putDeferred(rows);
  await committed();
  store.putSettlement(rows, { writeSettlement: (put) => put(Table.deliveries, deliveryKey(1, 2), Buffer.from('2b')) });
  store.delete(Table.deliveries, deliveryKey(1, 2));
  await committed();
  t.same(await afterDeath(t, directory), ['1']);
});

t.test('a row that was changed in the log is gone once it is deleted, whatever was retired meanwhile', async (t) => {
  const { directory, store, committed } = await openNew(t);
  const rows = new Rows(1);
  store.putDeferred(rows);
  await committed();
  store.putSettlement(rows, { writeSettlement: (put) => put(Table.deliveries, deliveryKey(1, 1), Buffer.from('1b')) });
  await committed();
  t.ok(store.get(Table.deliveries, deliveryKey(1, 1)), 'whoever reads makes an entry of it');
  for (let at = 3; at < 10; at++) {
    store.put(Table.messages, messageKey(at), Buffer.from('m'));
    await committed();
  }
  // The row's turn is retired by the transaction that deletes it; the turn of its change stays in the log.
  store.delete(Table.deliveries, deliveryKey(1, 1));
  await committed();
  t.same(await afterDeath(t, directory), []);
});

t.test('a large message under a key that the log has deleted is found after the death of the process', async (t) => {
  const { directory, store, committed } = await openNew(t);
  const key = messageKey(1);
  store.putNew(Table.messages, key, Buffer.alloc(5_000, 1));
  await committed();
  store.delete(Table.messages, key);
  await committed();
  // As a message that its first group's member has acknowledged is stored again for another group's.
  store.putNew(Table.messages, key, Buffer.alloc(5_000, 1));
  await committed();
  const lengths = async () => (await afterDeath(t, directory, Table.messages)).map((value) => value.length);
  t.same(await lengths(), [5_000]);
  store.put(Table.messages, messageKey(2), Buffer.from('small'));
  await committed();
  store.put(Table.messages, messageKey(2), Buffer.alloc(6_000, 2));
  await committed();
  t.same(await lengths(), [5_000, 6_000], 'in place of a small one in the log');
});

t.test('a failed transaction that is tried again in parts deletes what its first part puts', async (t) => {
  const directory = newDirectory();
  const clock = stillClock();
  const store = await LmdbStore.open({ directory, durability: 'committed', clock });
  t.teardown(() => store.close());
  const commits = failCommits(store, clock);
  const committed = (): Promise<void> => new Promise((resolve) => store.commit(resolve));
  store.put(Table.messages, messageKey(1), Buffer.from('m'));
  commits.isFailing = true;
  committed();
  await commits.failed();
  const key = deliveryKey(2, 1);
  store.putNew(Table.deliveries, key, Buffer.from('K'));
  const rows = new Rows(...Array.from({ length: 20_000 }, (_, at) => at));
  store.putDeferred(rows);
  committed();
  store.delete(Table.deliveries, key);
  const last = committed();
  commits.retry();
  await commits.failed();
  t.equal(store.get(Table.deliveries, key), null, 'whoever reads makes entries of all the rows: too many at once');
  commits.isFailing = false;
  commits.retry();
  await last;
  t.notOk((await afterDeath(t, directory, Table.deliveries, 30_000)).includes('K'));
});

t.test('what may not vanish is in its batch, though it ends while that is written and fails to be', async (t) => {
  const directory = newDirectory();
  const clock = stillClock();
  const store = await LmdbStore.open({ directory, durability: 'committed', clock });
  t.teardown(() => store.close());
  const commits = failCommits(store, clock);
  // So many that a transaction takes one batch only.
  const rows = new Rows(...Array.from({ length: 20_000 }, (_, at) => at));
  rows.mayVanish = false;
  store.putDeferred(rows);
  commits.isFailing = true;
  const found: Promise<string[]>[] = [];
  const first = new Promise<void>((resolve) => {
    store.commit(() => {
      found.push(afterDeath(t, directory, Table.deliveries, 30_000));
      resolve();
    });
  });
  t.equal(rows.logs, 1, 'it is being written');
  rows.settle(store);
  const second = new Promise<void>((resolve) => store.commit(resolve));
  await commits.failed();
  commits.isFailing = false;
  commits.retry();
  await first;
  t.equal((await found[0])?.length, 20_000, 'a death between the two finds what was');
  await second;
  t.same(await afterDeath(t, directory, Table.deliveries, 30_000), []);
});

t.test('a batch of very many rows can be written anew while it is being written', async (t) => {
  const { directory, store, committed } = await openNew(t);
  const all = Array.from({ length: 150 }, (_, from) => {
    return new Rows(...Array.from({ length: 1000 }, (_, at) => from * 1000 + at));
  });
  for (const rows of all) {
    rows.mayVanish = false;
    store.putDeferred(rows);
  }
  const first = committed();
  for (const rows of all) rows.settle(store);
  await first;
  await committed();
  t.same(await afterDeath(t, directory, Table.deliveries, 150_000), []);
});

t.test('a turn with rows that are settled in a later batch stays in the log', async (t) => {
  const { directory, store, committed } = await openNew(t);
  const rows = new Rows(1);
  store.putDeferred(rows);
  await committed();
  for (let at = 3; at < 10; at++) {
    store.put(Table.messages, messageKey(at), Buffer.from('m'));
    await committed();
  }
  store.put(Table.messages, messageKey(10), Buffer.from('m'));
  const first = committed();
  store.put(Table.messages, messageKey(11), Buffer.from('m'));
  const second = committed();
  // The second transaction begins after the first, and would retire the row's turn; the settlement is in a third.
  rows.settle(store);
  await Promise.all([first, second]);
  t.equal(rows.writes, 0);
  t.same(await afterDeath(t, directory), ['1']);
  await committed();
  t.same(await afterDeath(t, directory), []);
});

t.test('a stop leaves no log, whatever is under way', async (t) => {
  const directory = newDirectory();
  const store = await open(directory);
  store.put(Table.messages, messageKey(1), Buffer.from('m'));
  store.commit(() => undefined);
  await store.close();
  const again = await open(directory);
  // biome-ignore lint/complexity/useLiteralKeys: a private member, reached on purpose
  t.equal(again['log'].length, 0);
  t.equal(String(again.get(Table.messages, messageKey(1))), 'm');
  await again.close();
});

t.test('a start finds exactly what was committed', async (t) => {
  const directory = newDirectory();
  const first = await open(directory);
  first.put(Table.messages, messageKey(1), Buffer.from('committed'));
  await new Promise<void>((resolve) => first.commit(resolve));
  first.put(Table.messages, messageKey(2), Buffer.from('committed by close'));
  await first.close();
  const second = await open(directory);
  const found = second.range(Table.messages, Buffer.alloc(0), null, 10).map(({ value }) => value.toString());
  t.same(found, ['committed', 'committed by close']);
  await second.close();
});

t.test('a batch larger than one LMDB write buffer and a value larger than a page survive', async (t) => {
  const directory = newDirectory();
  const store = await open(directory);
  for (let sequence = 1; sequence <= 30_000; sequence++) {
    store.putNew(Table.messages, messageKey(sequence), Buffer.from(String(sequence)));
  }
  store.put(Table.messages, messageKey(30_001), Buffer.alloc(5_000_000, 7));
  await new Promise<void>((resolve) => store.commit(resolve));
  t.equal(store.countRange(Table.messages, Buffer.alloc(0), null, 100_000), 30_001);
  t.ok(store.get(Table.messages, messageKey(30_001))?.equals(Buffer.alloc(5_000_000, 7)));
  await store.close();
});

t.test('a batch writes its own value of a key that an unsealed batch has put again', async (t) => {
  const store = await open(newDirectory());
  const key = Buffer.from('key');
  store.put(Table.meta, key, Buffer.from('one'));
  store.commit(() => undefined);
  store.put(Table.meta, key, Buffer.from('two'));
  const second = new Promise<void>((resolve) => store.commit(resolve));
  store.put(Table.meta, key, Buffer.from('three, unsealed'));
  await second;
  // biome-ignore lint/complexity/useLiteralKeys: a private member, reached on purpose
  t.equal(String(store['tables'][Table.meta].getBinary(key)), 'two', 'on disk');
  t.equal(String(store.get(Table.meta, key)), 'three, unsealed');
  await store.close();
});

t.test('a map that is too small grows', async (t) => {
  const directory = newDirectory();
  mkdirSync(directory);
  const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock, mapSizeBytes: 2 ** 18 });
  store.onHealthChange = (error) => t.fail('the map is full', { error });
  for (let sequence = 1; sequence <= 64; sequence++) {
    store.putNew(Table.messages, messageKey(sequence), Buffer.alloc(100_000, sequence));
    await new Promise<void>((resolve) => store.commit(resolve));
  }
  t.equal(store.get(Table.messages, messageKey(64))?.[99_999], 64);
  t.equal(store.get(Table.messages, messageKey(1))?.[99_999], 1);
  await store.close();
});

/** Lets the test say when each transaction is on the disk. */
function holdFlushes(store: LmdbStore): (() => void)[] {
  const flushes: (() => void)[] = [];
  const flushed = () => {
    return new Promise<boolean>((resolve) => flushes.push(() => resolve(true)));
  };
  // biome-ignore lint/complexity/useLiteralKeys: a private member, reached on purpose
  Object.defineProperty(store['environment'].root, 'flushed', { get: flushed, configurable: true });
  return flushes;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

t.test('flushed tells nothing before the flush, nor out of order, and a flush that stays out is unwell', async (t) => {
  const clock = stillClock();
  const store = await LmdbStore.open({ directory: newDirectory(), durability: 'flushed', clock });
  const health: (string | null)[] = [];
  store.onHealthChange = (error) => health.push(error === null ? null : error.message);
  const flushes = holdFlushes(store);
  const told: number[] = [];
  const write = (number: number) => {
    store.put(Table.messages, messageKey(number), Buffer.from('m'));
    store.commit(() => told.push(number));
  };
  // biome-ignore lint/complexity/useLiteralKeys: as above
  const committed = (count: number) => until(() => store['flushing'].length === count);
  write(1);
  await committed(1);
  write(2);
  await committed(2);
  write(3);
  t.same(told, []);
  t.equal(flushes.length, 2, 'the third waits: two are in flight');
  flushes[1]();
  await new Promise((resolve) => setImmediate(resolve));
  t.same(told, [], 'the second is flushed, and waits for the first');
  t.equal(store.healthy, true);
  for (const callback of clock.wakeups.values()) callback();
  t.match(health, [/has not confirmed a write for 30 seconds/]);
  flushes[0]();
  await until(() => told.length > 0);
  t.same(told, [1, 2]);
  t.same(health.slice(1), [null]);
  await until(() => flushes.length === 3);
  flushes[2]();
  await until(() => told.length === 3);
  t.same(told, [1, 2, 3]);
  // biome-ignore lint/complexity/useLiteralKeys: as above
  Reflect.deleteProperty(store['environment'].root, 'flushed');
  await store.close();
});
