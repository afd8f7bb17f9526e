import { copyOf } from '../base/bytes.js';
import type { Message } from '../base/message.js';
import { Utf8Writer } from '../base/utf8-writer.js';
import { PropertyId } from '../spec/properties.js';
import { encodeGroupSegment, encodeSegment, serverSegment } from './names.js';
import { type Told, writeReceiptBody } from './receipt-text.js';
import type { Owner, Row, TrackedRecord } from './record.js';
import { ReceiptKind, type ReceiptReference } from './reference.js';
import { ReceiptState } from './states.js';

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

/** A receipt or tally as it is published: topic name and body in memory that the next one is written to. */
export interface ReceiptPacket {
  readonly bytes: Buffer;
  /** The topic name is `bytes[0, topicEnd)`. */
  readonly topicEnd: number;
  /** The body is `bytes[topicEnd, end)`. */
  readonly end: number;
  /** In wire form. */
  readonly properties: Buffer;
  readonly retain: boolean;
}

/** What a PUBLISH has besides topic, properties and payload, at most, with some subscription identifiers. */
const overheadBytes = 48;

const writer = new Utf8Writer();

function writeTopicName({ foreign }: ReceiptReference, id: Buffer, { owner }: TrackedRecord, row: Row | null): void {
  writer
    .text('$receipts/')
    .text(foreign ? publisherSegment(owner) : '~')
    .text('/')
    .raw(id);
  if (row !== null) writer.text('/').text(recipientSegment(row));
}

/**
 * The PUBLISH a reference stands for; null if there is nothing left to tell: a tally as it was, which the final one
 * has overtaken.
 * @param id of the message, in ASCII
 * @param row null for tallies
 * @param wasSent true for a repeat of what may have arrived: then there is always a body, if need be the first tally's
 * @param maximumBytes above it what can be left out is left out; 0 for no limit
 */
export function receiptPacket(
  reference: ReceiptReference,
  id: Buffer,
  record: TrackedRecord,
  row: Row | null,
  wasSent: boolean,
  maximumBytes: number,
): ReceiptPacket | null {
  const wasPending = reference.kind === ReceiptKind.currentTally && reference.state === ReceiptState.accepted;
  const isOvertaken = wasPending && record.counts.pending === 0;
  if (isOvertaken && !wasSent) return null;
  const told = isOvertaken ? { ...reference, kind: ReceiptKind.firstTally } : reference;
  const properties = receiptProperties(record.correlationData);
  writer.reset();
  writeTopicName(reference, id, record, row);
  const topicEnd = writer.at;
  writeReceiptBody(writer, told, id, record, row);
  if (maximumBytes > 0 && !told.brief && writer.at + properties.length + overheadBytes > maximumBytes) {
    writer.at = topicEnd;
    writeReceiptBody(writer, { ...told, brief: true }, id, record, row);
  }
  return { bytes: writer.bytes, topicEnd, end: writer.at, properties, retain: reference.replay };
}

/** The body alone, as text. @see writeReceiptBody */
export function receiptBody(told: Told, id: Buffer, record: TrackedRecord, row: Row | null): string {
  writer.reset();
  writeReceiptBody(writer, told, id, record, row);
  return writer.bytes.toString('utf8', 0, writer.at);
}

/** The packet as a message. */
export function messageOf({ bytes, topicEnd, end, properties, retain }: ReceiptPacket): Message {
  const facts = { sequence: 0, qos: 2 as const, expiryAtMs: 0, publisherId: '', tracked: false };
  const topicName = bytes.toString('utf8', 0, topicEnd);
  return { ...facts, topicName, payload: copyOf(bytes, topicEnd, end), properties, retain };
}
