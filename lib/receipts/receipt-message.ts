import type { Message } from '../base/message.js';
import { PropertyId } from '../spec/properties.js';
import { encodeGroupSegment, encodeSegment, serverSegment } from './names.js';
import { receiptBody } from './receipt-text.js';
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

/** A receipt or tally as it is published, its body as text. */
export interface ReceiptPacket {
  readonly topicName: string;
  readonly text: string;
  /** In wire form. */
  readonly properties: Buffer;
  readonly retain: boolean;
}

/** What a PUBLISH has besides topic, properties and payload, at most, with some subscription identifiers. */
const overheadBytes = 48;

/** True if the packet surely has no more than so many bytes. */
function fits({ topicName, text, properties }: ReceiptPacket, maximumBytes: number): boolean {
  const bytes = Buffer.byteLength(topicName) + Buffer.byteLength(text) + properties.length;
  return bytes + overheadBytes <= maximumBytes;
}

/**
 * The PUBLISH a reference stands for; null if there is nothing left to tell: a tally as it was, which the final one
 * has overtaken.
 * @param row null for tallies
 * @param wasSent true for a repeat of what may have arrived: then there is always a body, if need be the first tally's
 * @param maximumBytes above it what can be left out is left out; 0 for no limit
 */
export function receiptPacket(
  reference: ReceiptReference,
  id: string,
  record: TrackedRecord,
  row: Row | null,
  wasSent: boolean,
  maximumBytes: number,
): ReceiptPacket | null {
  const wasPending = reference.kind === ReceiptKind.currentTally && reference.state === ReceiptState.accepted;
  const isOvertaken = wasPending && record.counts.pending === 0;
  if (isOvertaken && !wasSent) return null;
  const publisher = reference.foreign ? publisherSegment(record.owner) : '~';
  const recipient = row === null ? '' : `/${recipientSegment(row)}`;
  const told = isOvertaken ? { ...reference, kind: ReceiptKind.firstTally } : reference;
  const packet = {
    topicName: `$receipts/${publisher}/${id}${recipient}`,
    text: receiptBody(told, id, record, row),
    properties: receiptProperties(record.correlationData),
    retain: reference.replay,
  };
  if (maximumBytes === 0 || told.brief || fits(packet, maximumBytes)) return packet;
  return { ...packet, text: receiptBody({ ...told, brief: true }, id, record, row) };
}

/** The same as a message. */
export function messageOf({ topicName, text, properties, retain }: ReceiptPacket): Message {
  const facts = { sequence: 0, qos: 2 as const, expiryAtMs: 0, publisherId: '', tracked: false };
  return { ...facts, topicName, payload: Buffer.from(text), properties, retain };
}
