import fc from 'fast-check';
import type { Test } from 'tap';
import { deliveryKey, deliveryRange, messageKey, prefixRange } from '../../lib/store/records-keys.js';
import { type Store, Table } from '../../lib/store/store.js';

/** A store under test: how to open one on the same data again, if it keeps any. */
export interface StoreUnderTest {
  open(): Promise<Store>;
  /** Closes and opens again; null for a store that keeps nothing. */
  readonly reopen: ((store: Store) => Promise<Store>) | null;
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const committed = (store: Store): Promise<void> => new Promise((resolve) => store.commit(resolve));
const everything = Buffer.alloc(0);

function keysOf(store: Store, table: Table, start: Buffer, end: Buffer | null, limit = 1_000): string[] {
  return store.range(table, start, end, limit).map(({ key }) => key.toString('latin1'));
}

/** What every store does, whatever it is made of. */
export function testStoreContract(t: Test, make: () => StoreUnderTest): void {
  t.test('get sees every put and delete, committed or not', async (t) => {
    const store = await make().open();
    const key = bytes('key');
    t.equal(store.get(Table.meta, key), null);
    store.put(Table.meta, key, bytes('one'));
    t.equal(store.get(Table.meta, key)?.toString(), 'one');
    t.equal(store.get(Table.messages, key), null, 'tables are apart');
    t.equal(store.uncommitted, 1);
    await committed(store);
    t.equal(store.uncommitted, 0);
    t.equal(store.commitsInFlight, 0);
    t.equal(store.get(Table.meta, key)?.toString(), 'one');
    store.put(Table.meta, key, bytes('two'));
    t.equal(store.get(Table.meta, key)?.toString(), 'two', 'over a committed value');
    store.commit(() => undefined);
    store.put(Table.meta, key, bytes('three'));
    t.equal(store.get(Table.meta, key)?.toString(), 'three', 'over a batch in flight');
    store.delete(Table.meta, key);
    t.equal(store.get(Table.meta, key), null);
    await committed(store);
    t.equal(store.get(Table.meta, key), null);
    store.putNew(Table.meta, key, bytes(''));
    t.equal(store.get(Table.meta, key)?.length, 0, 'an empty value is a value');
    await committed(store);
    t.equal(store.get(Table.meta, key)?.length, 0);
    t.ok(Buffer.isBuffer(store.get(Table.meta, key)));
    await store.close();
  });

  t.test('a commit that completes leaves newer puts and deletes of its keys as they are', async (t) => {
    const store = await make().open();
    store.put(Table.meta, bytes('changed'), bytes('old'));
    store.put(Table.meta, bytes('deleted'), bytes('old'));
    const done = committed(store);
    store.put(Table.meta, bytes('changed'), bytes('new'));
    store.delete(Table.meta, bytes('deleted'));
    await done;
    t.equal(store.get(Table.meta, bytes('changed'))?.toString(), 'new');
    t.equal(store.get(Table.meta, bytes('deleted')), null);
    await committed(store);
    t.equal(store.get(Table.meta, bytes('changed'))?.toString(), 'new');
    t.equal(store.get(Table.meta, bytes('deleted')), null);
    await store.close();
  });

  t.test('a key put anew and deleted before its commit leaves nothing, and may be put again', async (t) => {
    const store = await make().open();
    store.putNew(Table.deliveries, deliveryKey(1, 1), bytes('a'));
    store.delete(Table.deliveries, deliveryKey(1, 1));
    t.equal(store.get(Table.deliveries, deliveryKey(1, 1)), null);
    await committed(store);
    t.equal(store.get(Table.deliveries, deliveryKey(1, 1)), null);
    store.putNew(Table.deliveries, deliveryKey(1, 1), bytes('b'));
    store.commit(() => undefined);
    store.delete(Table.deliveries, deliveryKey(1, 1));
    store.commit(() => undefined);
    store.putNew(Table.deliveries, deliveryKey(1, 1), bytes('c'));
    store.commit(() => undefined);
    store.delete(Table.deliveries, deliveryKey(1, 1));
    store.commit(() => undefined);
    store.putNew(Table.deliveries, deliveryKey(1, 1), bytes('d'));
    await committed(store);
    t.equal(store.get(Table.deliveries, deliveryKey(1, 1))?.toString(), 'd');
    store.delete(Table.deliveries, deliveryKey(1, 1));
    await committed(store);
    t.equal(store.range(Table.deliveries, everything, null, 10).length, 0);
    await store.close();
  });

  t.test('a row that is to last is changed and deleted like any other', async (t) => {
    const { open, reopen } = make();
    let store = await open();
    const keys = [1, 2, 3].map((sequence) => deliveryKey(1, sequence));
    for (const key of keys) store.putNew(Table.deliveries, key, bytes('a'), true);
    await committed(store);
    store.put(Table.deliveries, keys[1], bytes('b'));
    store.delete(Table.deliveries, keys[2]);
    await committed(store);
    const rows = () => store.range(Table.deliveries, everything, null, 10).map(({ value }) => value.toString());
    t.same(rows(), ['a', 'b']);
    if (reopen !== null) store = await reopen(store);
    t.same(rows(), ['a', 'b']);
    store.delete(Table.deliveries, keys[0]);
    store.delete(Table.deliveries, keys[1]);
    store.putNew(Table.deliveries, keys[2], bytes('c'), true);
    await committed(store);
    t.same(rows(), ['c']);
    await store.close();
  });

  t.test('range returns entries in order, from start, up to end, at most limit', async (t) => {
    const store = await make().open();
    for (const name of ['d', 'b', '\x00', '\xff', 'ba', 'a']) store.put(Table.publishers, bytes(name), bytes(name));
    await committed(store);
    for (const name of ['c', 'bb', 'aa']) store.put(Table.publishers, bytes(name), bytes(name));
    store.delete(Table.publishers, bytes('b'));
    store.delete(Table.publishers, bytes('none'));
    t.same(keysOf(store, Table.publishers, everything, null), ['\x00', 'a', 'aa', 'ba', 'bb', 'c', 'd', '\xff']);
    t.same(keysOf(store, Table.publishers, bytes('a'), bytes('c')), ['a', 'aa', 'ba', 'bb'], 'start is in, end is not');
    t.same(keysOf(store, Table.publishers, bytes('a'), null, 3), ['a', 'aa', 'ba']);
    t.same(keysOf(store, Table.publishers, bytes('a'), null, 0), []);
    t.same(keysOf(store, Table.publishers, bytes('x'), bytes('y')), []);
    t.equal(store.countRange(Table.publishers, everything, null, 100), 8);
    t.equal(store.countRange(Table.publishers, everything, null, 5), 5);
    t.equal(store.countRange(Table.publishers, bytes('a'), bytes('c'), 100), 4);
    t.equal(store.countRange(Table.publishers, bytes('a'), bytes('c'), 0), 0);
    const [first] = store.range(Table.publishers, bytes('d'), null, 1);
    t.equal(first.value.toString(), 'd');
    t.ok(Buffer.isBuffer(first.key) && Buffer.isBuffer(first.value));
    await store.close();
  });

  t.test("a range over one session's rows sees no others", async (t) => {
    const store = await make().open();
    for (const session of [1, 255, 256, 0xffffffff]) {
      for (const sequence of [1, 2 ** 40, 2 ** 53 - 2]) {
        store.put(Table.deliveries, deliveryKey(session, sequence), bytes(`${session} ${sequence}`));
      }
    }
    const check = () => {
      for (const session of [1, 255, 256, 0xffffffff]) {
        const { start, end } = deliveryRange(session, 1);
        const found = store.range(Table.deliveries, start, end, 10).map(({ value }) => value.toString());
        t.same(found, [`${session} ${2 ** 40}`, `${session} ${2 ** 53 - 2}`]);
      }
      t.equal(store.range(Table.deliveries, everything, null, 100).length, 12);
      t.equal(store.countRange(Table.deliveries, deliveryKey(2, 0), deliveryKey(256, 2), 100), 4);
    };
    check();
    await committed(store);
    check();
    await store.close();
  });

  t.test('done is called in the order of commits, of empty ones too', async (t) => {
    const store = await make().open();
    const order: number[] = [];
    for (let number = 0; number < 20; number++) {
      if (number % 3 !== 0) store.put(Table.meta, bytes(`k${number % 4}`), bytes(String(number)));
      store.commit(() => order.push(number));
    }
    await committed(store);
    t.same(
      order,
      Array.from({ length: 20 }, (_, number) => number),
    );
    t.equal(store.get(Table.meta, bytes('k3'))?.toString(), '19');
    await store.close();
  });

  t.test('an impossible key is refused at once', async (t) => {
    const store = await make().open();
    t.throws(() => store.put(Table.meta, Buffer.alloc(0), bytes('v')));
    t.throws(() => store.put(Table.meta, Buffer.alloc(1_979), bytes('v')));
    store.put(Table.meta, Buffer.alloc(1_978, 'k'), bytes('v'));
    await committed(store);
    t.equal(store.get(Table.meta, Buffer.alloc(1_978, 'k'))?.toString(), 'v');
    await store.close();
  });

  t.test('a random walk agrees with a sorted map', async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 150, size: 'max' }), (steps) => walk(make, steps)),
      {
        numRuns: 60,
      },
    );
    t.pass();
  });
}

const walkTables = [
  ...[Table.messages, Table.deliveries, Table.subscriptions, Table.timers, Table.records, Table.recipients],
] as const;

interface Step {
  readonly kind: 'put' | 'delete' | 'get' | 'range' | 'prefix' | 'count' | 'commit' | 'tick' | 'wait' | 'reopen';
  readonly table: (typeof walkTables)[number];
  readonly key: Buffer;
  readonly end: Buffer | null;
  readonly limit: number;
}

const keyBytes = fc
  .tuple(
    fc.constantFrom('\x00\x00\x00\x01', '\x00\x00\x00\x02', '\x00\x00\x00\xff'),
    fc.constantFrom('', '\x00\x00\x00\x00\x00\x00\x00\x01'),
    fc.stringMatching(/^[ab\xff]{0,2}$/),
  )
  .map((parts) => bytes(parts.join('')));

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 8, arbitrary: fc.constant('put' as const) },
    { weight: 5, arbitrary: fc.constant('delete' as const) },
    { weight: 3, arbitrary: fc.constantFrom('get', 'range', 'prefix', 'count', 'commit', 'tick') },
    { weight: 1, arbitrary: fc.constantFrom('wait', 'wait', 'wait', 'wait', 'reopen') },
  ),
  table: fc.constantFrom(...walkTables),
  key: keyBytes,
  end: fc.option(keyBytes, { nil: null }),
  limit: fc.integer({ min: 0, max: 12 }),
});

const sequences = [0, 1, 31, 32, 33, 2 ** 40, Number.MAX_SAFE_INTEGER - 1];

/** A key of the table's form made of some bytes. */
function keyOf(table: Table, from: Buffer): Buffer {
  const sequence = sequences[from.reduce((sum, byte) => sum + byte, 0) % sequences.length] ?? 0;
  if (table === Table.messages) return messageKey(sequence);
  if (table === Table.records) return Buffer.concat([from.subarray(0, 4), Buffer.alloc(8), messageKey(sequence)]);
  return table === Table.deliveries ? deliveryKey(from.readUInt32BE(0), sequence) : from;
}

async function walk(make: () => StoreUnderTest, steps: readonly Step[]): Promise<void> {
  const underTest = make();
  let store = await underTest.open();
  const model = new Map<string, string>();
  const told: number[] = [];
  let commits = 0;
  const name = (table: Table, key: Buffer) => `${String.fromCharCode(table)}${key.toString('latin1')}`;
  for (const [number, { kind, table, key: bound, end, limit }] of steps.entries()) {
    const key = keyOf(table, bound);
    if (kind === 'put') {
      const value = bytes(String(number));
      if (model.has(name(table, key))) store.put(table, key, value);
      else store.putNew(table, key, value);
      model.set(name(table, key), String(number));
    } else if (kind === 'delete') {
      store.delete(table, key);
      model.delete(name(table, key));
    } else if (kind === 'get') {
      equal(store.get(table, key)?.toString(), model.get(name(table, key)), 'get');
    } else if (kind === 'commit') {
      const commit = commits++;
      store.commit(() => told.push(commit));
    } else if (kind === 'tick') {
      for (let turns = 0; turns < limit; turns++) await new Promise(setImmediate);
    } else if (kind === 'wait') {
      await committed(store);
      equal(told.length, commits, 'commits told');
    } else if (kind === 'reopen' && underTest.reopen !== null) {
      store = await underTest.reopen(store);
    } else {
      const range = kind === 'prefix' ? prefixRange(bound.subarray(0, 4)) : { start: bound, end };
      const expected = expectedRange(model, table, range.start, range.end, limit);
      if (kind === 'count') equal(store.countRange(table, range.start, range.end, limit), expected.length, 'count');
      const found = store.range(table, range.start, range.end, limit);
      equal(found.map((entry) => `${entry.key.toString('latin1')}=${entry.value}`).join(), expected.join(), 'range');
      if (range.end !== null) checkReverse(store, model, table, range.start, range.end, limit);
    }
  }
  if (underTest.reopen !== null) store = await underTest.reopen(store);
  for (const table of walkTables) {
    const found = store.range(table, everything, null, 10_000);
    const expected = expectedRange(model, table, everything, null, 10_000);
    equal(found.map((entry) => `${entry.key.toString('latin1')}=${entry.value}`).join(), expected.join(), 'the end');
  }
  equal(told.join(), Array.from({ length: commits }, (_, number) => number).join(), 'order of commits');
  await store.close();
}

function checkReverse(
  store: Store,
  model: ReadonlyMap<string, string>,
  table: Table,
  start: Buffer,
  end: Buffer,
  limit: number,
): void {
  const all = expectedRange(model, table, start, end, Number.MAX_SAFE_INTEGER);
  const expected = all.reverse().slice(0, limit);
  const found = store.rangeReverse(table, start, end, limit);
  equal(
    found.map((entry) => `${entry.key.toString('latin1')}=${entry.value}`).join(),
    expected.join(),
    'reverse range',
  );
}

function expectedRange(
  model: ReadonlyMap<string, string>,
  table: Table,
  start: Buffer,
  end: Buffer | null,
  limit: number,
): string[] {
  return [...model]
    .filter(([name]) => name.charCodeAt(0) === table)
    .map(([name, value]) => ({ key: bytes(name.slice(1)), value }))
    .filter(({ key }) => Buffer.compare(key, start) >= 0 && (end === null || Buffer.compare(key, end) < 0))
    .sort((a, b) => Buffer.compare(a.key, b.key))
    .slice(0, limit)
    .map(({ key, value }) => `${key.toString('latin1')}=${value}`);
}

function equal(found: unknown, expected: unknown, what: string): void {
  if (found !== expected) throw new Error(`${what}: found ${String(found)}, expected ${String(expected)}`);
}
