import fc from 'fast-check';
import { causesByNumber } from '../../lib/receipts/causes.js';
import { InlineRows } from '../../lib/receipts/inline-rows.js';
import type { Counts, Row, TrackedRecord } from '../../lib/receipts/record.js';
import { ReceiptState } from '../../lib/receipts/states.js';

/** `fc.record` with objects like those of literals. */
export function plain<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

/** With everything that JSON has to escape. */
export const anyText = fc.oneof(fc.string({ maxLength: 30 }), fc.string({ maxLength: 200, unit: 'binary' }));
const time = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 47 }));
export const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
export const key = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((array) => Buffer.from(array));
export const state = fc.constantFrom(...Object.values(ReceiptState));
const cause = fc.option(fc.constantFrom(...causesByNumber));
const qos = fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>;
const reasonCode = fc.nat(255);
export const sequence = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

/** Any row, whether it makes sense or not. */
export const row: fc.Arbitrary<Row> = plain({
  to: anyText,
  userName: fc.option(anyText),
  group: fc.option(anyText),
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
  reasonString: fc.option(anyText),
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

/** Any record with up to five rows. */
export const record: fc.Arbitrary<TrackedRecord> = fc
  .record(
    {
      sequence,
      publisherKey: key,
      owner: plain({ clientId: anyText, userName: fc.option(anyText), byServer: fc.boolean() }),
      topicName: anyText,
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
      failures: fc.array(plain({ to: anyText, state, reasonCode, cause }), { maxLength: 5 }),
      groups: fc.array(anyText, { maxLength: 3 }),
      rows: fc.option(
        fc.array(fc.tuple(key, row), { maxLength: 5 }).map((list) => {
          const rows = new InlineRows();
          for (const [recipient, value] of list) rows.set(recipient, value);
          return rows;
        }),
      ),
      opening: fc.constant(false),
      openingReceipts: fc.constant(null),
      stored: fc.constant(true),
    },
    { noNullPrototype: true },
  )
  .map((whole) => ({ ...whole, overdueAtMs: whole.overdue === null ? 0 : whole.overdueAtMs }));
