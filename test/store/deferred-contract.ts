import type { Test } from 'tap';
import { deliveryKey } from '../../lib/store/records-keys.js';
import { type DeferredRows, type Settlement, type Store, Table } from '../../lib/store/store.js';
import type { StoreUnderTest } from './contract.js';

const everything = Buffer.alloc(0);
const committed = (store: Store): Promise<void> => new Promise((resolve) => store.commit(resolve));
const rowsOf = (store: Store): string[] =>
  store.range(Table.deliveries, everything, null, 100).map(({ value }) => value.toString());

type Put = (table: Table, key: Buffer, value: Buffer) => void;

/** Rows that a test settles. */
export class Rows implements DeferredRows, Settlement {
  isSettled = false;
  mayVanish = true;
  putIn = 0;
  settledIn = 0;
  bytes = 10;
  logs = 0;
  writes = 0;
  private readonly sequences: readonly number[];

  constructor(...sequences: number[]) {
    this.sequences = sequences;
  }

  /** As whoever owns them does: settled in time they leave no trace, later a settlement takes them back. */
  settle(store: Store): void {
    if (!this.mayVanish) store.writeUncommitted(this);
    this.isSettled = true;
    if (this.writes > 0)
      for (const sequence of this.sequences) store.delete(Table.deliveries, deliveryKey(1, sequence));
    else if (this.logs > 0) store.putSettlement(this, this);
  }

  log(put: Put): void {
    this.logs++;
    this.put(put);
  }

  write(put: Put): void {
    this.writes++;
    this.put(put);
  }

  writeSettlement(put: (table: Table, key: Buffer, value: null) => void): void {
    for (const sequence of this.sequences) put(Table.deliveries, deliveryKey(1, sequence), null);
  }

  private put(put: Put): void {
    for (const sequence of this.sequences) {
      put(Table.deliveries, deliveryKey(1, sequence), Buffer.from(String(sequence)));
    }
  }
}

/** What every store does with rows that may not be needed any more. */
export function testDeferredRows(t: Test, make: () => StoreUnderTest): void {
  t.test('deferred rows that are settled in time are never written', async (t) => {
    const { open, reopen } = make();
    let store = await open();
    const [settled, needed] = [new Rows(1), new Rows(2, 3)];
    store.putDeferred(settled);
    store.putDeferred(needed);
    t.equal(store.uncommitted, 2);
    t.equal(store.deferred, 2);
    t.equal(store.countDeferred(2), 2);
    settled.isSettled = true;
    t.same([store.countDeferred(2), store.countDeferred(1)], [1, 0]);
    await committed(store);
    t.equal(store.uncommitted, 0);
    t.equal(store.deferred, 0);
    t.same(rowsOf(store), ['2', '3']);
    t.same([settled.logs, settled.writes, needed.writes], [0, 0, 1]);
    if (reopen !== null) {
      store = await reopen(store);
      t.same(rowsOf(store), ['2', '3']);
    }
    await store.close();
  });

  t.test('whoever reads a table sees deferred rows, of the open batch and of those that wait', async (t) => {
    const store = await make().open();
    const first = new Rows(1);
    store.putDeferred(first);
    const order: number[] = [];
    store.commit(() => order.push(1));
    store.putDeferred(new Rows(2));
    store.commit(() => order.push(2));
    store.putDeferred(new Rows(3));
    t.equal(store.get(Table.deliveries, deliveryKey(1, 3))?.toString(), '3');
    t.same(rowsOf(store), ['1', '2', '3']);
    t.equal(store.countRange(Table.deliveries, everything, null, 10), 3);
    const newest = store.rangeReverse(Table.deliveries, deliveryKey(1, 0), deliveryKey(1, 9), 1);
    t.equal(newest[0]?.value.toString(), '3');
    t.equal(store.deferred, 0, 'what was read is a row like any other');
    t.equal(first.writes, 1);
    store.delete(Table.deliveries, deliveryKey(1, 2));
    await committed(store);
    t.same(order, [1, 2]);
    t.same(rowsOf(store), ['1', '3']);
    t.equal(first.writes, 1);
    await store.close();
  });

  t.test('rows settled after they were written are gone, and a restart finds none of them', async (t) => {
    const { open, reopen } = make();
    let store = await open();
    const [first, second, third] = [new Rows(1), new Rows(2), new Rows(3)];
    for (const rows of [first, second, third]) store.putDeferred(rows);
    await committed(store);
    first.settle(store);
    t.equal(store.uncommitted > 0, first.logs + first.writes > 0, 'what is settled has to be committed');
    await committed(store);
    t.same(rowsOf(store), ['2', '3']);
    t.same([second.writes, third.writes], [1, 1], 'whoever reads makes rows of them');
    third.settle(store);
    t.same(rowsOf(store), ['2']);
    await committed(store);
    if (reopen !== null) {
      store = await reopen(store);
      t.same(rowsOf(store), ['2']);
    }
    await store.close();
  });

  t.test('rows that live for long are found in their tables, whatever comes after them', async (t) => {
    const { open, reopen } = make();
    let store = await open();
    const [kept, settled] = [new Rows(1), new Rows(2)];
    store.putDeferred(kept);
    store.putDeferred(settled);
    for (let at = 10; at < 30; at++) {
      const passing = new Rows(at);
      store.putDeferred(passing);
      await committed(store);
      passing.settle(store);
      if (at === 12) settled.settle(store);
      await committed(store);
    }
    t.equal(kept.writes, 1, 'they became rows by themselves');
    t.same(rowsOf(store), ['1']);
    if (reopen !== null) {
      store = await reopen(store);
      t.same(rowsOf(store), ['1']);
    }
    await store.close();
  });

  t.test('large rows are not written twice: they go to their table', async (t) => {
    const { open, reopen } = make();
    let store = await open();
    const large = new Rows(1);
    large.bytes = 100_000;
    store.putDeferred(large);
    await committed(store);
    if (reopen !== null) t.same([large.logs, large.writes], [0, 1]);
    t.same(rowsOf(store), ['1']);
    if (reopen !== null) store = await reopen(store);
    await store.close();
  });

  t.test('who compares the number of what is uncommitted is not misled by a read', async (t) => {
    const store = await make().open();
    const [settled, needed] = [new Rows(1), new Rows(2)];
    for (const rows of [settled, needed]) store.putDeferred(rows);
    settled.isSettled = true;
    const before = store.uncommitted;
    store.get(Table.deliveries, deliveryKey(1, 9));
    t.ok(store.uncommitted >= before, 'a settled row counts though it is forgotten');
    const then = store.uncommitted;
    store.put(Table.meta, Buffer.from('k'), Buffer.from('v'));
    t.ok(store.uncommitted > then);
    t.not(store.deferred, store.uncommitted);
    await committed(store);
    t.equal(store.uncommitted, 0);
    await store.close();
  });

  t.test('the last rows of a batch can be kept for the next one', async (t) => {
    const { open, reopen } = make();
    let store = await open();
    const [settled, needed, kept, last] = [new Rows(1), new Rows(2), new Rows(3), new Rows(4)];
    for (const rows of [settled, needed, kept, last]) store.putDeferred(rows);
    settled.isSettled = true;
    await new Promise<void>((resolve) => store.commit(resolve, 2));
    t.same([store.uncommitted, store.deferred, store.countDeferred(2)], [2, 2, 2]);
    t.same(
      [kept, last].map(({ logs, writes }) => logs + writes),
      [0, 0],
      'not even in the log',
    );
    last.isSettled = true;
    await committed(store);
    t.same([store.uncommitted, store.deferred, last.logs + last.writes], [0, 0, 0]);
    t.same(rowsOf(store), ['2', '3']);
    if (reopen !== null) {
      store = await reopen(store);
      t.same(rowsOf(store), ['2', '3']);
    }
    await store.close();
  });

  t.test('rows that do not vanish are no reason for patience', async (t) => {
    const store = await make().open();
    const rows = new Rows(1);
    rows.mayVanish = false;
    store.putDeferred(rows);
    t.same([store.uncommitted, store.deferred, store.countDeferred(1)], [1, 0, 0]);
    await committed(store);
    t.same(rowsOf(store), ['1']);
    await store.close();
  });

  t.test('batches with nothing left in them are done in their turn', async (t) => {
    const store = await make().open();
    const order: string[] = [];
    store.put(Table.meta, Buffer.from('k'), Buffer.from('v'));
    store.commit(() => order.push('row'));
    const rows = new Rows(1);
    store.putDeferred(rows);
    rows.isSettled = true;
    store.commit(() => order.push('settled'));
    store.put(Table.meta, Buffer.from('k'), Buffer.from('w'));
    await committed(store);
    t.same(order, ['row', 'settled']);
    store.putDeferred(rows);
    await committed(store);
    t.same(rowsOf(store), []);
    t.equal(rows.writes, 0);
    await store.close();
  });
}
