import t from 'tap';
import { FinishedRecords } from '../../../lib/receipts/finished-records.js';
import { clientIdentityKey } from '../../../lib/receipts/names.js';
import type { TrackedRecord } from '../../../lib/receipts/record.js';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { type Store, Table } from '../../../lib/store/store.js';

const publisherKey = clientIdentityKey('p', null);

/** What a list of finished records asks of a record. */
function finished(sequence: number, finalAtMs: number): TrackedRecord {
  const facts: Pick<TrackedRecord, 'publisherKey' | 'sequence' | 'finalAtMs'> = { publisherKey, sequence, finalAtMs };
  return facts as TrackedRecord;
}

const rows = (store: Store): number => store.countRange(Table.finished, Buffer.alloc(0), null, 1000);

t.test('one row for all that finish in a turn, gone through oldest first', async (t) => {
  const store = new MemoryStore();
  const records = new FinishedRecords(store);
  for (const [sequence, finalAtMs] of [
    [7, 100],
    [8, 101],
  ] as const) {
    records.add(finished(sequence, finalAtMs));
  }
  t.ok(records.hasChanges);
  records.putChanges();
  t.notOk(records.hasChanges);
  records.add(finished(5, 150));
  records.putChanges();
  t.equal(rows(store), 2);
  t.equal(records.first(101), null, 'a row counts by the last of its tallies');
  t.same(records.first(102), { publisherKey, sequence: 7 });
  t.same(records.first(102), { publisherKey, sequence: 7 }, 'until it is skipped');
  records.skip();
  t.same(new FinishedRecords(store).first(102), { publisherKey, sequence: 7 }, 'a restart begins with the whole row');
  t.same(records.first(102), { publisherKey, sequence: 8 });
  records.skip();
  t.equal(records.first(102), null);
  t.equal(rows(store), 1, 'what is done with is deleted');
  t.equal(records.first(150), null);
  t.same(records.first(1000), { publisherKey, sequence: 5 });
  t.equal(records.first(150), null, 'the row at hand may be too young for who asks next');
});

t.test('what finished in the open turn is found too', async (t) => {
  const records = new FinishedRecords(new MemoryStore());
  records.add(finished(1, 10));
  t.same(records.first(11), { publisherKey, sequence: 1 });
});

t.test('a turn in which thousands finish takes several rows', async (t) => {
  const store = new MemoryStore();
  const records = new FinishedRecords(store);
  for (let sequence = 1; sequence <= 2500; sequence++) records.add(finished(sequence, 10));
  records.putChanges();
  t.equal(rows(store), 3);
  for (let sequence = 1; sequence <= 2500; sequence++) {
    if (records.first(11)?.sequence !== sequence) t.fail(`message ${sequence} is missing`);
    records.skip();
  }
  t.equal(records.first(11), null);
  t.equal(rows(store), 0);
});

t.test('records that are removed out of turn are taken off the lists once they are many', async (t) => {
  const store = new MemoryStore();
  const records = new FinishedRecords(store, 10);
  for (let sequence = 1; sequence <= 3000; sequence++) {
    records.add(finished(sequence, sequence));
    if (sequence % 3 === 0) records.putChanges();
  }
  const isThere = (_key: Buffer, sequence: number): boolean => sequence % 100 === 0;
  t.notOk(records.tidy(1405, 1000, isThere), 'twice as many and some more are left alone');
  t.equal(rows(store), 1000);
  let slices = 0;
  while (records.tidy(30, 1000, isThere)) slices++;
  t.equal(slices, 2, 'the third slice is the last');
  t.equal(rows(store), 30, 'rows without any are gone');
  for (let sequence = 100; sequence <= 3000; sequence += 100) {
    t.equal(records.first(10_000)?.sequence, sequence);
    records.skip();
  }
  t.equal(records.first(10_000), null);
  t.equal(rows(store), 0);
  t.notOk(records.tidy(0, 1000, isThere), 'and the count is right');
});
