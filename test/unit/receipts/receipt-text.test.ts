import fc from 'fast-check';
import t from 'tap';
import type { Receipt, Tally } from '../../../lib/receipts/packets.js';
import { messageOf, ReceiptPackets, receiptBody } from '../../../lib/receipts/receipt-message.js';
import type { Counts, Row, TrackedRecord } from '../../../lib/receipts/record.js';
import { ReceiptKind, type ReceiptReference } from '../../../lib/receipts/reference.js';
import { ReceiptState, stateNames } from '../../../lib/receipts/states.js';
import { key, record, row, sequence, state } from '../../helpers/any-record.js';

const id = Buffer.from('01JD3ZK9V8Q2M');
const recipientKey = Buffer.alloc(12, 1);
const facts = {
  kind: ReceiptKind.delivery,
  state: ReceiptState.delivered,
  replay: false,
  foreign: false,
  brief: false,
};
const oddities = [
  'replay',
  'foreign',
  'brief',
  'tally',
  'group',
  'cause',
  'reason',
  'answer',
  'cut',
  'correlation',
  'state',
];
const kind = fc.constantFrom(...Object.values(ReceiptKind));

/** What a receipt says, by the contract's words. */
function receiptOf(whole: TrackedRecord, one: Row, told: ReceiptState, brief: boolean): Receipt {
  const isLast = told === one.state;
  const { sentAtMs, deliveredAtMs, queuedAtMs, endedAtMs, answer } = one;
  const times: Partial<Record<ReceiptState, number>> = {
    [ReceiptState.queued]: queuedAtMs,
    [ReceiptState.sent]: sentAtMs,
    [ReceiptState.delivered]: deliveredAtMs,
  };
  const text = answer?.toString() ?? '';
  const isText = answer !== null && Buffer.from(text).equals(answer);
  const isWhole = isLast && !brief;
  return JSON.parse(
    JSON.stringify({
      id: id.toString(),
      topic: whole.topicName,
      to: one.to,
      state: stateNames[told],
      qos: one.qos,
      reason: isLast ? one.reasonCode : 0,
      at: times[told] ?? endedAtMs,
      sentAt: sentAtMs > 0 && told !== ReceiptState.queued ? sentAtMs : undefined,
      deliveredAt: deliveredAtMs > 0 && told > ReceiptState.delivered ? deliveredAtMs : undefined,
      matched: whole.matched,
      group: one.group ?? undefined,
      cause: (isLast && one.cause) || undefined,
      reasonString: isWhole ? (one.reasonString ?? undefined) : undefined,
      answer: isWhole && isText ? text : undefined,
      answerBase64: isWhole && answer !== null && !isText ? answer.toString('base64') : undefined,
      answerCut: isLast && (one.answerCut || (answer !== null && brief)) ? true : undefined,
    }),
  );
}

function tallyOf(whole: TrackedRecord, told: ReceiptKind, brief: boolean): Tally {
  const { matched, counts, overdue, acceptedAtMs, finalAtMs } = whole;
  const isFirst = told === ReceiptKind.firstTally;
  const isOverdue = told === ReceiptKind.overdueTally && overdue !== null;
  const first: Counts = { processed: 0, delivered: 0, sent: 0, failed: 0, pending: matched };
  const { processed, delivered, sent, failed, pending } = isFirst ? first : isOverdue ? overdue : counts;
  const at = isOverdue ? whole.overdueAtMs : pending === 0 && !isFirst ? finalAtMs : acceptedAtMs;
  const failures = whole.failures.slice(0, failed).map(({ to, state, reasonCode, cause }) => {
    return { to, state: stateNames[state], reason: reasonCode, cause: cause ?? undefined };
  });
  return JSON.parse(
    JSON.stringify({
      ...{ id: id.toString(), topic: whole.topicName, matched, processed, delivered, sent, failed, pending },
      ...{ final: pending === 0, at, overdue: isOverdue || undefined },
      collapsed: (whole.collapsed && !isFirst) || undefined,
      failures: whole.failures.length > 0 && !brief && !isFirst ? failures : undefined,
    }),
  );
}

/** A packet that is no plain receipt, for one reason. */
function made(odd: string, record: TrackedRecord, row: Row, base: Row) {
  const told: Partial<ReceiptReference> = {
    ...(['replay', 'foreign', 'brief'].includes(odd) ? { [odd]: true } : {}),
    ...(odd === 'tally' ? { kind: ReceiptKind.finalTally, state: ReceiptState.accepted } : {}),
    ...(odd === 'state' ? { state: ReceiptState.queued } : {}),
  };
  const rows: Record<string, Partial<Row>> = {
    group: { group: '$share/g/t' },
    cause: { cause: 'slow' },
    reason: { reasonString: 'why' },
    answer: { answer: base.answer ?? Buffer.from('yes') },
    cut: { answerCut: true },
  };
  const changed = odd === 'correlation' ? { ...record, correlationData: Buffer.from('c') } : record;
  return { told, rest: { record: changed, row: odd === 'tally' ? null : { ...row, ...rows[odd] } } };
}

t.test('a receipt says what the row says, and nothing else', async (t) => {
  fc.assert(
    fc.property(record, row, state, fc.boolean(), (whole, one, told, brief) => {
      const body = receiptBody({ kind: ReceiptKind.delivery, state: told, brief }, id, whole, one);
      t.same(JSON.parse(body), receiptOf(whole, one, told, brief));
      return t.passing();
    }),
    { numRuns: 300 },
  );
});

t.test('a tally says what the record says, and nothing else', async (t) => {
  fc.assert(
    fc.property(record, kind, fc.boolean(), (whole, told, brief) => {
      const body = receiptBody({ kind: told, state: ReceiptState.accepted, brief }, id, whole, null);
      t.same(JSON.parse(body), tallyOf(whole, told, brief));
      return t.passing();
    }),
    { numRuns: 300 },
  );
});

t.test('a packet has its topic and body behind each other, and leaves out what would be too much', async (t) => {
  fc.assert(
    fc.property(record, row, key, sequence, fc.nat(600), (whole, one, publisherKey, sequence, maximumBytes) => {
      const reference: ReceiptReference = { ...facts, publisherKey, sequence, state: one.state, recipientKey };
      const packet = new ReceiptPackets().packet(reference, id, whole, one, false, maximumBytes);
      t.ok(packet);
      if (packet === null) return false;
      const { topicName, payload } = messageOf(packet);
      t.ok(topicName.startsWith('$receipts/~/01JD3ZK9V8Q2M/'));
      const all = receiptBody({ ...reference, brief: false }, id, whole, one);
      const few = receiptBody({ ...reference, brief: true }, id, whole, one);
      const size = topicName.length + Buffer.byteLength(all) + packet.properties.length + 48;
      const isCut = maximumBytes > 0 && Buffer.byteLength(topicName) + size - topicName.length > maximumBytes;
      t.equal(payload.toString(), isCut ? few : all);
      return t.passing();
    }),
    { numRuns: 200 },
  );
});

t.test('a packet made of the one before is what it would be by itself', async (t) => {
  const same = fc.constantFrom(0, 0, 0, 0, 0, 1);
  const usual = fc.constantFrom(1e12, 1_763_683_200_123, 1_763_683_200_124, 1e13 - 1);
  const time = fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: fc.constantFrom(0, 1e12 - 1, 1e13) });
  const one = fc.record({
    topic: same,
    to: same,
    qos: same,
    reasonCode: same,
    matched: same,
    sent: time,
    delivered: time,
  });
  const odd = fc.oneof(
    { weight: 6, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: fc.constantFrom(...oddities) },
  );
  fc.assert(
    fc.property(
      record,
      row,
      fc.array(fc.tuple(one, odd, fc.nat(1e6)), { minLength: 12, maxLength: 20 }),
      (whole, base, all) => {
        const packets = new ReceiptPackets();
        for (const [{ topic, to, qos, reasonCode, matched, sent, delivered }, odd, number] of all) {
          const record = { ...whole, topicName: `t/${topic},"at":`, matched, correlationData: null };
          const { delivered: state } = ReceiptState;
          const plain = { group: null, cause: null, reasonString: null, answer: null, answerCut: false };
          const changed: Partial<Row> = {
            to: `d-${to}`,
            qos: qos as 0 | 1,
            reasonCode,
            sentAtMs: sent,
            deliveredAtMs: delivered,
          };
          const row: Row = { ...base, ...plain, state, ...changed };
          const { told, rest } = made(odd, record, row, base);
          const reference = { ...facts, ...told, publisherKey: whole.publisherKey, sequence: 1, recipientKey };
          const ownId = Buffer.from(String(number).padStart(13, '0'));
          const next = packets.packet(reference, ownId, rest.record, rest.row, false, 0);
          const alone = new ReceiptPackets().packet(reference, ownId, rest.record, rest.row, false, 0);
          if (next === null || alone === null) return next === alone;
          t.same(messageOf(next), messageOf(alone));
          t.same(JSON.parse(messageOf(next).payload.toString()).id, ownId.toString());
        }
        return t.passing();
      },
    ),
    { numRuns: 200 },
  );
});
