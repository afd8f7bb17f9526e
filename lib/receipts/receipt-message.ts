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
  /** Where the things are in which the next one may differ; null if it may differ in others as well. */
  readonly places: ReceiptPlaces | null;
}

/** Where the id is in the topic name of what a publisher is told, and where id and times are in its body. */
export interface ReceiptPlaces {
  readonly idInTopic: number;
  readonly idInBody: number;
  readonly timeInBody: number;
  /** -1 in a tally, which has no such time. */
  readonly sentTimeInBody: number;
}

/** Places in a receipt or tally to the message's publisher. @param bytes `bytes[topicEnd, …)` is the body */
export function placesIn(bytes: Buffer, topicEnd: number): ReceiptPlaces {
  // No text can have these in it: its quotation marks are escaped.
  const timeInBody = bytes.indexOf(beforeTime, topicEnd) + beforeTime.length - topicEnd;
  const sentTimeAt = bytes.indexOf(beforeSentTime, topicEnd);
  const sentTimeInBody = sentTimeAt < 0 ? -1 : sentTimeAt + beforeSentTime.length - topicEnd;
  return { idInTopic, idInBody, timeInBody, sentTimeInBody };
}

/** What a PUBLISH has besides topic, properties and payload, at most, with some subscription identifiers. */
const overheadBytes = 48;

/** Where the id is in the topic name of a receipt to its publisher. */
const idInTopic = '$receipts/~/'.length;
const idInBody = '{"id":"'.length;
const beforeTime = ',"at":';
const beforeSentTime = ',"sentAt":';
/** Times have thirteen digits from here, September 2001, */
const firstTimeMs = 1e12;
/** to here, in the year 2286. */
const endTimeMs = 1e13;

/** True for a time that takes as much room in a body as nearly all others. */
export function hasThirteenDigits(timeMs: number): boolean {
  return timeMs >= firstTimeMs && timeMs < endTimeMs;
}

/** What a packet has that the next one may have as well, and where it has what differs. */
interface Template {
  /** Times in it. */
  timeMs: number;
  sentTimeMs: number;
  readonly topicName: string;
  readonly to: string;
  readonly qos: number;
  readonly reasonCode: number;
  readonly matched: number;
  readonly topicEnd: number;
  readonly end: number;
  readonly places: ReceiptPlaces;
}

/** Writes receipts and tallies as they are published. */
export class ReceiptPackets {
  private readonly writer = new Utf8Writer();
  /** Of what is in the writer's memory, if the next packet can be made of it. */
  private template: Template | null = null;

  /**
   * The PUBLISH a reference stands for; null if there is nothing left to tell: a tally as it was, which the final one
   * has overtaken.
   * @param id of the message, in ASCII
   * @param row null for tallies
   * @param wasSent true for a repeat of what may have arrived: then there is always a body, if need be the first
   * tally's
   * @param maximumBytes above it what can be left out is left out; 0 for no limit
   */
  packet(
    reference: ReceiptReference,
    id: Buffer,
    record: TrackedRecord,
    row: Row | null,
    wasSent: boolean,
    maximumBytes: number,
  ): ReceiptPacket | null {
    const isPlain = row !== null && isPlainReceipt(reference, record, row);
    const { template } = this;
    if (isPlain && template !== null && fits(template, record, row)) return this.rewritten(template, id, row);
    const wasPending = reference.kind === ReceiptKind.currentTally && reference.state === ReceiptState.accepted;
    const isOvertaken = wasPending && record.counts.pending === 0;
    if (isOvertaken && !wasSent) return null;
    const told = isOvertaken ? { ...reference, kind: ReceiptKind.firstTally } : reference;
    const properties = receiptProperties(record.correlationData);
    const { writer } = this;
    writer.reset();
    writeTopicName(writer, reference, id, record, row);
    const topicEnd = writer.at;
    writeReceiptBody(writer, told, id, record, row);
    this.template = isPlain ? this.templateOf(record, row, topicEnd) : null;
    if (maximumBytes > 0 && !told.brief && writer.at + properties.length + overheadBytes > maximumBytes) {
      // Of a plain one nothing can be left out.
      writer.at = topicEnd;
      writeReceiptBody(writer, { ...told, brief: true }, id, record, row);
    }
    const places = this.template?.places ?? null;
    return { bytes: writer.bytes, topicEnd, end: writer.at, properties, retain: reference.replay, places };
  }

  /** The last packet with another id and other times. */
  private rewritten(template: Template, id: Buffer, { deliveredAtMs, sentAtMs }: Row): ReceiptPacket {
    const { writer } = this;
    const { topicEnd, end, places } = template;
    writer.at = idInTopic;
    writer.raw(id);
    writer.at = topicEnd + idInBody;
    writer.raw(id);
    // Of those that come in a turn they are the same.
    if (deliveredAtMs !== template.timeMs) {
      template.timeMs = deliveredAtMs;
      writer.at = topicEnd + places.timeInBody;
      writer.integer(deliveredAtMs);
    }
    if (sentAtMs !== template.sentTimeMs) {
      template.sentTimeMs = sentAtMs;
      writer.at = topicEnd + places.sentTimeInBody;
      writer.integer(sentAtMs);
    }
    writer.at = end;
    return { bytes: writer.bytes, topicEnd, end, properties: plainProperties, retain: false, places };
  }

  private templateOf({ topicName, matched }: TrackedRecord, row: Row, topicEnd: number): Template {
    const { bytes, at: end } = this.writer;
    const { to, qos, reasonCode, deliveredAtMs: timeMs, sentAtMs: sentTimeMs } = row;
    const places = placesIn(bytes.subarray(0, end), topicEnd);
    return { topicName, to, qos, reasonCode, matched, topicEnd, end, timeMs, sentTimeMs, places };
  }
}

/** True for what nearly every receipt is: its publisher is told that a client has the message, and nothing else. */
function isPlainReceipt({ kind, state, replay, foreign, brief }: ReceiptReference, record: TrackedRecord, row: Row) {
  return (
    kind === ReceiptKind.delivery &&
    state === ReceiptState.delivered &&
    row.state === ReceiptState.delivered &&
    !(replay || foreign || brief || row.answerCut) &&
    record.correlationData === null &&
    row.group === null &&
    row.cause === null &&
    row.reasonString === null &&
    row.answer === null &&
    hasThirteenDigits(row.sentAtMs) &&
    hasThirteenDigits(row.deliveredAtMs)
  );
}

/** True if a plain receipt differs from the last one in id and times alone. */
function fits(template: Template, { topicName, matched }: TrackedRecord, { to, qos, reasonCode }: Row): boolean {
  return (
    template.to === to &&
    template.topicName === topicName &&
    template.qos === qos &&
    template.reasonCode === reasonCode &&
    template.matched === matched
  );
}

function writeTopicName(
  writer: Utf8Writer,
  { foreign }: ReceiptReference,
  id: Buffer,
  { owner }: TrackedRecord,
  row: Row | null,
): void {
  writer
    .text('$receipts/')
    .text(foreign ? publisherSegment(owner) : '~')
    .text('/')
    .raw(id);
  if (row !== null) writer.text('/').text(recipientSegment(row));
}

const bodyWriter = new Utf8Writer();

/** The body alone, as text. @see writeReceiptBody */
export function receiptBody(told: Told, id: Buffer, record: TrackedRecord, row: Row | null): string {
  bodyWriter.reset();
  writeReceiptBody(bodyWriter, told, id, record, row);
  return bodyWriter.bytes.toString('utf8', 0, bodyWriter.at);
}

/** The packet as a message. */
export function messageOf({ bytes, topicEnd, end, properties, retain }: ReceiptPacket): Message {
  const facts = { sequence: 0, qos: 2 as const, expiryAtMs: 0, publisherId: '', tracked: false };
  const topicName = bytes.toString('utf8', 0, topicEnd);
  return { ...facts, topicName, payload: copyOf(bytes, topicEnd, end), properties, retain };
}
