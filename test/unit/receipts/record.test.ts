import fc from 'fast-check';
import t from 'tap';
import { causesByNumber } from '../../../lib/receipts/causes.js';
import { InlineRows } from '../../../lib/receipts/inline-rows.js';
import {
  type Counts,
  decodeRecord,
  decodeRow,
  encodeRecord,
  encodeRow,
  type Row,
  type TrackedRecord,
} from '../../../lib/receipts/record.js';
import { decodeReference, encodeReference, ReceiptKind } from '../../../lib/receipts/reference.js';
import { ReceiptState, stateNames } from '../../../lib/receipts/states.js';

/** `fc.record` with objects like those of literals. */
function plain<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const text = fc.string({ maxLength: 30 });
const time = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 47 }));
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const key = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((array) => Buffer.from(array));
const state = fc.constantFrom(...Object.values(ReceiptState));
const cause = fc.option(fc.constantFrom(...causesByNumber));
const qos = fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>;
const reasonCode = fc.nat(255);
const sequence = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

const row: fc.Arbitrary<Row> = plain({
  to: text,
  userName: fc.option(text),
  group: fc.option(text),
  state,
  final: fc.boolean(),
  qos,
  canAnswer: fc.boolean(),
  queuedAtMs: time,
  sentAtMs: time,
  deliveredAtMs: time,
  endedAtMs: time,
  reasonCode,
  cause,
  reasonString: fc.option(text),
  answer: fc.option(bytes),
  answerCut: fc.boolean(),
});

const number = fc.nat(200_000);
const counts: fc.Arbitrary<Counts> = plain({
  processed: number,
  delivered: number,
  sent: number,
  failed: number,
  pending: number,
});

const record: fc.Arbitrary<TrackedRecord> = fc
  .record(
    {
      sequence,
      publisherKey: key,
      owner: plain({ clientId: text, userName: fc.option(text), byServer: fc.boolean() }),
      topicName: text,
      correlationData: fc.option(bytes),
      requested: fc.constantFrom('delivered' as const, 'processed' as const),
      qos,
      acceptedAtMs: time,
      deadlineAtMs: time,
      matched: number,
      counts,
      overdue: fc.option(counts),
      overdueAtMs: time,
      finalAtMs: time,
      collapsed: fc.boolean(),
      failures: fc.array(plain({ to: text, state, reasonCode, cause }), { maxLength: 5 }),
      groups: fc.array(text, { maxLength: 3 }),
      rows: fc.option(
        fc.array(fc.tuple(key, row), { maxLength: 5 }).map((list) => {
          const rows = new InlineRows();
          for (const [recipient, value] of list) rows.set(recipient, value);
          return rows;
        }),
      ),
      opening: fc.constant(false),
      stored: fc.constant(true),
    },
    { noNullPrototype: true },
  )
  .map((whole) => ({ ...whole, overdueAtMs: whole.overdue === null ? 0 : whole.overdueAtMs }));

t.test('a record and its rows read back from the store as they were put', async (t) => {
  fc.assert(
    fc.property(record, (whole) => {
      const read = decodeRecord(whole.publisherKey, whole.sequence, encodeRecord(whole));
      t.strictSame(read, whole);
      return t.passing();
    }),
    { numRuns: 150 },
  );
  fc.assert(
    fc.property(row, (one) => {
      t.strictSame(decodeRow(encodeRow(one)), one);
      return t.passing();
    }),
    { numRuns: 150 },
  );
});

t.test('a waiting receipt is a reference of 22 or 34 bytes that reads back as it was', async (t) => {
  const reference = plain({
    kind: fc.constantFrom(...Object.values(ReceiptKind)),
    replay: fc.boolean(),
    publisherKey: key,
    sequence,
    state,
    recipientKey: fc.option(key),
    foreign: fc.boolean(),
    brief: fc.boolean(),
  });
  fc.assert(
    fc.property(reference, (one) => {
      const encoded = encodeReference(one);
      t.equal(encoded.length, one.recipientKey === null ? 22 : 34);
      t.strictSame(decodeReference(encoded), one);
      return t.passing();
    }),
    { numRuns: 150 },
  );
});

t.test('numbers on disk are append only', async (t) => {
  const names = 'accepted queued sent delivered processed rejected expired dropped lost';
  t.same(stateNames, names.split(' '));
  const known = 'queue-full too-large offline slow application clean-start taken-over session-expired disconnected';
  const more = 'deleted broker-restart unanswered gave-up';
  t.same(causesByNumber.slice(0, 13), `${known} ${more}`.split(' '));
  t.same(ReceiptKind, { firstTally: 0, finalTally: 1, overdueTally: 2, delivery: 3, currentTally: 4 });
});
