import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { messageKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { testStoreContract } from './contract.js';
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
    testStoreContract(t, () => {
      const directory = newDirectory();
      return {
        open: () => open(directory, durability),
        async reopen(store) {
          await store.close();
          return open(directory, durability);
        },
      };
    });
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
