import { utf8Length } from '../base/bytes.js';
import type { Message } from '../base/message.js';
import type { QoS } from '../spec/packet-types.js';
import { corruptRecord, RecordWriter, readUint53 } from './record-bytes.js';
import { readQoS } from './records.js';

// A message: flags, topic bytes u16, publisher bytes u16, [expiry u64], [properties bytes u32], then topic, publisher,
// properties, and the payload to the end.
const qosBits = 0x03;
const messageRetain = 0x04;
const messageTracked = 0x08;
const messageExpires = 0x10;
const messageProperties = 0x20;

/** Bytes before the text, with expiry and properties. */
const messageHeadMax = 17;
const noBytes = Buffer.alloc(0);

/** What a row says of a message beside its bytes. */
type MessageFacts = Pick<Message, 'qos' | 'retain' | 'expiryAtMs' | 'publisherId' | 'tracked'>;

/** A message without its sequence, which is its key. */
export function encodeMessage(message: Message): Buffer {
  const { topicName, properties, payload } = message;
  const topicBytes = utf8Length(topicName);
  const publisherBytes = utf8Length(message.publisherId);
  const writer = beginMessage(message, topicBytes, publisherBytes, properties.length, payload.length);
  writer.text(topicName, topicBytes);
  writer.text(message.publisherId, publisherBytes);
  writer.bytes(properties);
  writer.bytes(payload);
  return writer.finish();
}

/** The same of a message as it was received: topic and payload are in `source`. */
export function encodeReceivedMessage(
  message: MessageFacts,
  properties: Buffer,
  source: Buffer,
  topicStart: number,
  topicEnd: number,
  payloadStart: number,
  payloadEnd: number,
): Buffer {
  const publisherBytes = utf8Length(message.publisherId);
  const writer = beginMessage(
    message,
    topicEnd - topicStart,
    publisherBytes,
    properties.length,
    payloadEnd - payloadStart,
  );
  writer.part(source, topicStart, topicEnd);
  writer.text(message.publisherId, publisherBytes);
  writer.bytes(properties);
  writer.part(source, payloadStart, payloadEnd);
  return writer.finish();
}

function beginMessage(
  { qos, retain, tracked, expiryAtMs }: MessageFacts,
  topicBytes: number,
  publisherBytes: number,
  propertiesBytes: number,
  payloadBytes: number,
): RecordWriter {
  const expires = expiryAtMs !== 0;
  const hasProperties = propertiesBytes > 0;
  const head = 5 + (expires ? 8 : 0) + (hasProperties ? 4 : 0);
  const writer = new RecordWriter(head + topicBytes + publisherBytes + propertiesBytes + payloadBytes);
  writer.uint8(
    qos |
      (retain ? messageRetain : 0) |
      (tracked ? messageTracked : 0) |
      (expires ? messageExpires : 0) |
      (hasProperties ? messageProperties : 0),
  );
  writer.uint16(topicBytes);
  writer.uint16(publisherBytes);
  if (expires) writer.uint53(expiryAtMs);
  if (hasProperties) writer.uint32(propertiesBytes);
  return writer;
}

/** At least as many bytes as `encodeMessage` gives, without a look at the text. */
export function messageBytesMax({ topicName, publisherId, properties, payload }: Message): number {
  return messageHeadMax + 3 * (topicName.length + publisherId.length) + properties.length + payload.length;
}

/**
 * Where in a message's row its parts are. One object is used for row after row, and without a reader: this is what
 * replays and queues spend their time on.
 */
export class MessageRow {
  qos: QoS = 0;
  retain = false;
  tracked = false;
  expiryAtMs = 0;
  publisherId = '';
  topicStart = 0;
  topicEnd = 0;
  propertiesStart = 0;
  payloadStart = 0;
  private readonly publisher = new LastText();
  private readonly topic = new LastText();

  /** @throws CountersignError with code ERR_COUNTERSIGN_DATA_CORRUPT */
  read(row: Buffer): void {
    need(row.length >= 5);
    const flags = row[0];
    let at = 5;
    this.expiryAtMs = 0;
    if ((flags & messageExpires) !== 0) {
      need(row.length >= at + 8);
      this.expiryAtMs = readUint53(row, at);
      at += 8;
    }
    let propertiesBytes = 0;
    if ((flags & messageProperties) !== 0) {
      need(row.length >= at + 4);
      propertiesBytes = row.readUInt32BE(at);
      at += 4;
    }
    this.topicStart = at;
    this.topicEnd = at + ((row[1] << 8) | row[2]);
    this.propertiesStart = this.topicEnd + ((row[3] << 8) | row[4]);
    this.payloadStart = this.propertiesStart + propertiesBytes;
    need(flags < 0x40 && this.expiryAtMs <= Number.MAX_SAFE_INTEGER && this.payloadStart <= row.length);
    this.qos = readQoS(flags & qosBits, 'message');
    this.retain = (flags & messageRetain) !== 0;
    this.tracked = (flags & messageTracked) !== 0;
    this.publisherId = this.publisher.read(row, this.topicEnd, this.propertiesStart);
  }

  /** The topic name of the row that was read. */
  topicNameOf(row: Buffer): string {
    return this.topic.read(row, this.topicStart, this.topicEnd);
  }

  /** A view of the forwarded properties of the row that was read. */
  propertiesOf(row: Buffer): Buffer {
    return this.propertiesStart === this.payloadStart ? noBytes : row.subarray(this.propertiesStart, this.payloadStart);
  }
}

/** A text as it stood in the last row: many rows have the same. */
class LastText {
  private bytes = noBytes;
  private text = '';

  /** The text in `row[start, end)`. */
  read(row: Buffer, start: number, end: number): string {
    const { bytes } = this;
    const length = end - start;
    let isSame = bytes.length === length;
    for (let index = 0; isSame && index < length; index++) isSame = bytes[index] === row[start + index];
    if (isSame) return this.text;
    this.bytes = Buffer.from(row.subarray(start, end));
    this.text = this.bytes.toString('utf8');
    return this.text;
  }
}

const read = new MessageRow();

/** `properties` and `payload` of the result are views of `value`. */
export function decodeMessage(sequence: number, value: Buffer): Message {
  read.read(value);
  return {
    sequence,
    topicName: read.topicNameOf(value),
    payload: value.subarray(read.payloadStart),
    properties: read.propertiesOf(value),
    qos: read.qos,
    retain: read.retain,
    expiryAtMs: read.expiryAtMs,
    publisherId: read.publisherId,
    tracked: read.tracked,
  };
}

function need(isSo: boolean): void {
  if (!isSo) throw corruptRecord('message');
}
