import type { Utf8Writer } from '../base/utf8-writer.js';
import type { Row, TrackedRecord } from './record.js';
import { ReceiptKind, type ReceiptReference } from './reference.js';
import { ReceiptState, stateNames } from './states.js';

/** What a packet tells. */
export type Told = Pick<ReceiptReference, 'kind' | 'state' | 'brief'>;

/** When the delivery came into the state that a receipt tells. */
function stateAtMs(row: Row, state: ReceiptState): number {
  if (state === ReceiptState.queued) return row.queuedAtMs;
  if (state === ReceiptState.sent) return row.sentAtMs;
  if (state === ReceiptState.delivered) return row.deliveredAtMs;
  return row.endedAtMs;
}

/** Body of a receipt, a `Receipt` as JSON. */
function writeReceipt(writer: Utf8Writer, id: Buffer, record: TrackedRecord, row: Row, told: Told): void {
  const { state, brief } = told;
  const isLast = state === row.state;
  writer.text('{"id":"').raw(id).text('","topic":').quoted(record.topicName).text(',"to":').quoted(row.to);
  writer
    .text(',"state":"')
    .text(stateNames[state] as string)
    .text('","qos":')
    .integer(row.qos);
  writer.text(',"reason":').integer(isLast ? row.reasonCode : 0);
  writer.text(',"at":').integer(stateAtMs(row, state));
  if (row.sentAtMs > 0 && state !== ReceiptState.queued) writer.text(',"sentAt":').integer(row.sentAtMs);
  if (row.deliveredAtMs > 0 && state > ReceiptState.delivered)
    writer.text(',"deliveredAt":').integer(row.deliveredAtMs);
  writer.text(',"matched":').integer(record.matched);
  if (row.group !== null) writer.text(',"group":').quoted(row.group);
  if (isLast) {
    if (row.cause !== null) writer.text(',"cause":').quoted(row.cause);
    if (row.reasonString !== null && !brief) writer.text(',"reasonString":').quoted(row.reasonString);
    if (row.answer !== null && !brief) writeAnswer(writer, row.answer);
    if (row.answerCut || (row.answer !== null && brief)) writer.text(',"answerCut":true');
  }
  writer.text('}');
}

function writeAnswer(writer: Utf8Writer, answer: Buffer): void {
  const text = answer.toString('utf8');
  if (Buffer.from(text).equals(answer)) writer.text(',"answer":').quoted(text);
  else writer.text(',"answerBase64":').quoted(answer.toString('base64'));
}

/** Body of a tally, a `Tally` as JSON. */
function writeTally(writer: Utf8Writer, id: Buffer, record: TrackedRecord, { kind, brief }: Told): void {
  const { matched } = record;
  writer.text('{"id":"').raw(id).text('","topic":').quoted(record.topicName).text(',"matched":').integer(matched);
  if (kind === ReceiptKind.firstTally) {
    writer.text(',"processed":0,"delivered":0,"sent":0,"failed":0,"pending":').integer(matched);
    writer.text(',"final":').text(matched === 0 ? 'true' : 'false');
    writer.text(',"at":').integer(record.acceptedAtMs).text('}');
    return;
  }
  const isOverdue = kind === ReceiptKind.overdueTally && record.overdue !== null;
  const counts = isOverdue && record.overdue !== null ? record.overdue : record.counts;
  const { processed, delivered, sent, failed, pending } = counts;
  let at = record.acceptedAtMs;
  if (isOverdue) at = record.overdueAtMs;
  else if (pending === 0) at = record.finalAtMs;
  writer.text(',"processed":').integer(processed).text(',"delivered":').integer(delivered);
  writer.text(',"sent":').integer(sent).text(',"failed":').integer(failed).text(',"pending":').integer(pending);
  writer
    .text(',"final":')
    .text(pending === 0 ? 'true' : 'false')
    .text(',"at":')
    .integer(at);
  if (isOverdue) writer.text(',"overdue":true');
  if (record.collapsed) writer.text(',"collapsed":true');
  if (record.failures.length > 0 && !brief) writeFailures(writer, record, failed);
  writer.text('}');
}

/** @param count how many had failed when the tally was true */
function writeFailures(writer: Utf8Writer, { failures }: TrackedRecord, count: number): void {
  let before = ',"failures":[';
  for (const { to, state, reasonCode, cause } of failures.slice(0, count)) {
    writer
      .text(before)
      .text('{"to":')
      .quoted(to)
      .text(',"state":')
      .quoted(stateNames[state] as string);
    writer.text(',"reason":').integer(reasonCode);
    if (cause !== null) writer.text(',"cause":').quoted(cause);
    writer.text('}');
    before = ',';
  }
  writer.text(before === ',' ? ']' : `${before}]`);
}

/**
 * Writes what a reference tells, as JSON: a `Receipt`, or a `Tally`. @see receipts contract, "Packets"
 * @param id of the message, in ASCII
 * @param row null for tallies
 */
export function writeReceiptBody(
  writer: Utf8Writer,
  told: Told,
  id: Buffer,
  record: TrackedRecord,
  row: Row | null,
): void {
  if (row === null) writeTally(writer, id, record, told);
  else writeReceipt(writer, id, record, row, told);
}
