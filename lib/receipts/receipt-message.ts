import type { Message } from '../base/message.js';
import { PropertyId } from '../spec/properties.js';
import { encodeGroupSegment, encodeSegment, serverSegment } from './names.js';
import type { DeliveryStateName, Draft, Receipt, Tally, TallyFailure } from './packets.js';
import type { Owner, Row, TrackedRecord } from './record.js';
import { ReceiptKind, type ReceiptReference } from './reference.js';
import { ReceiptState, stateNames } from './states.js';

const contentType = Buffer.from('application/json');

/** Properties of every receipt: payload format 1, content type, and the message's own correlation data. */
function receiptProperties(correlationData: Buffer | null): Buffer {
  return correlationData === null ? plainProperties : encodeProperties(correlationData);
}

function encodeProperties(correlationData: Buffer | null): Buffer {
  const length = 2 + 3 + contentType.length + (correlationData === null ? 0 : 3 + correlationData.length);
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  bytes[at++] = PropertyId.payloadFormatIndicator;
  bytes[at++] = 1;
  bytes[at++] = PropertyId.contentType;
  at = bytes.writeUInt16BE(contentType.length, at);
  at += contentType.copy(bytes, at);
  if (correlationData !== null) {
    bytes[at++] = PropertyId.correlationData;
    at = bytes.writeUInt16BE(correlationData.length, at);
    correlationData.copy(bytes, at);
  }
  return bytes;
}

const plainProperties = encodeProperties(null);

/** Segment of a recipient in receipt topics. */
export function recipientSegment(row: Pick<Row, 'to' | 'group'>): string {
  return row.group === null ? encodeSegment(row.to) : encodeGroupSegment(row.group);
}

/** Segment of a publisher in receipt topics. */
export function publisherSegment(owner: Owner): string {
  return owner.byServer ? serverSegment : encodeSegment(owner.clientId);
}

/** When the delivery came into the state that a receipt tells. */
function stateAtMs(row: Row, state: ReceiptState): number {
  if (state === ReceiptState.queued) return row.queuedAtMs;
  if (state === ReceiptState.sent) return row.sentAtMs;
  if (state === ReceiptState.delivered) return row.deliveredAtMs;
  return row.endedAtMs;
}

/** Name of a state that receipts tell. */
function nameOf(state: ReceiptState): DeliveryStateName {
  return stateNames[state] as DeliveryStateName;
}

/** Body of a receipt. @see receipts contract, "Packets" */
function receiptBody(id: string, record: TrackedRecord, row: Row, state: ReceiptState): Receipt {
  const isLast = state === row.state;
  const head: Omit<Draft<Receipt>, 'matched'> = {
    id,
    topic: record.topicName,
    to: row.to,
    state: nameOf(state),
    qos: row.qos,
    reason: isLast ? row.reasonCode : 0,
    at: stateAtMs(row, state),
  };
  if (row.sentAtMs > 0 && state !== ReceiptState.queued) head.sentAt = row.sentAtMs;
  if (row.deliveredAtMs > 0 && state > ReceiptState.delivered) head.deliveredAt = row.deliveredAtMs;
  const body: Draft<Receipt> = Object.assign(head, { matched: record.matched });
  if (row.group !== null) body.group = row.group;
  if (!isLast) return body;
  if (row.cause !== null) body.cause = row.cause;
  if (row.reasonString !== null) body.reasonString = row.reasonString;
  if (row.answer !== null) addAnswer(body, row.answer);
  if (row.answerCut) body.answerCut = true;
  return body;
}

function addAnswer(body: Draft<Receipt>, answer: Buffer): void {
  const text = answer.toString('utf8');
  if (Buffer.from(text).equals(answer)) body.answer = text;
  else body.answerBase64 = answer.toString('base64');
}

function tallyBody(id: string, record: TrackedRecord, { kind, countsOnly }: ReceiptReference): Tally {
  const { topicName: topic, matched } = record;
  if (kind === ReceiptKind.firstTally) {
    const counts = { processed: 0, delivered: 0, sent: 0, failed: 0, pending: matched };
    return { id, topic, matched, ...counts, final: matched === 0, at: record.acceptedAtMs };
  }
  const isOverdue = kind === ReceiptKind.overdueTally && record.overdue !== null;
  const counts = isOverdue && record.overdue !== null ? record.overdue : record.counts;
  const final = counts.pending === 0;
  let at = record.acceptedAtMs;
  if (isOverdue) at = record.overdueAtMs;
  else if (final) at = record.finalAtMs;
  const { processed, delivered, sent, failed, pending } = counts;
  const body: Draft<Tally> = { id, topic, matched, processed, delivered, sent, failed, pending, final, at };
  if (isOverdue) body.overdue = true;
  if (record.collapsed) body.collapsed = true;
  if (record.failures.length > 0 && !countsOnly) {
    body.failures = record.failures.slice(0, failed).map(
      (failure): TallyFailure => ({
        to: failure.to,
        state: nameOf(failure.state),
        reason: failure.reasonCode,
        ...(failure.cause === null ? {} : { cause: failure.cause }),
      }),
    );
  }
  return body;
}

/** What a reference tells, as an object. @param row null for tallies */
export function receiptContent(
  reference: ReceiptReference,
  id: string,
  record: TrackedRecord,
  row: Row | null,
): Receipt | Tally {
  return row === null ? tallyBody(id, record, reference) : receiptBody(id, record, row, reference.state);
}

/**
 * The PUBLISH a reference stands for; null if there is nothing left to tell: a tally as it was, which the final one
 * has overtaken.
 * @param row null for tallies
 * @param wasSent true for a repeat of what may have arrived: then there is always a body, if need be the first tally's
 */
export function receiptMessage(
  reference: ReceiptReference,
  id: string,
  record: TrackedRecord,
  row: Row | null,
  wasSent: boolean,
): Message | null {
  const wasPending = reference.kind === ReceiptKind.currentTally && reference.state === ReceiptState.accepted;
  const isOvertaken = wasPending && record.counts.pending === 0;
  if (isOvertaken && !wasSent) return null;
  const publisher = reference.foreign ? publisherSegment(record.owner) : '~';
  const recipient = row === null ? '' : `/${recipientSegment(row)}`;
  const told = isOvertaken ? { ...reference, kind: ReceiptKind.firstTally } : reference;
  const body = receiptContent(told, id, record, row);
  return {
    sequence: 0,
    topicName: `$receipts/${publisher}/${id}${recipient}`,
    payload: Buffer.from(JSON.stringify(body)),
    properties: receiptProperties(record.correlationData),
    qos: 2,
    retain: reference.replay,
    expiryAtMs: 0,
    publisherId: '',
    tracked: false,
  };
}
