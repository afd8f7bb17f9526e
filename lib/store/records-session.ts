import { utf8Length } from '../base/bytes.js';
import type { QoS } from '../spec/packet-types.js';
import { corruptRecord, RecordReader, RecordWriter } from './record-bytes.js';
import { readQoS } from './records.js';

/** A will that outlives its connection. */
export interface StoredWill {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly delaySeconds: number;
  /** -1 for no expiry. */
  readonly messageExpirySeconds: number;
  /** Forwarded properties in wire form, without the length before them. */
  readonly properties: Buffer;
}

/** A session with an expiry: a row of table `sessions`, keyed by its number. */
export interface StoredSession {
  readonly number: number;
  readonly clientId: string;
  readonly userName: string | null;
  readonly expirySeconds: number;
  /** Milliseconds since the epoch; 0 while connected. */
  readonly disconnectedAtMs: number;
  /** Protocol level of the last CONNECT. */
  readonly protocolVersion: number;
  readonly will: StoredWill | null;
  /** Milliseconds since the epoch; 0 for none. */
  readonly willDueAtMs: number;
}

/** A row of table `subscriptions`. */
export interface StoredSubscription {
  readonly topicFilter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** 0 for none. */
  readonly subscriptionId: number;
}

// A session: flags, protocol level u8, expiry u32, disconnect time u64, client id bytes u16, client id,
// [user name bytes u16, user name], [will due u64], [will to the end].
const sessionUserName = 0x01;
const sessionWill = 0x02;
const sessionWillDue = 0x04;

/** A session without its number, which is its key. */
export function encodeSession(session: StoredSession): Buffer {
  const { clientId, userName, will, willDueAtMs } = session;
  const clientBytes = utf8Length(clientId);
  const userBytes = userName === null ? 0 : utf8Length(userName);
  const willBytes = will === null ? 0 : storedWillBytes(will);
  const head = 16 + (userName === null ? 0 : 2) + (willDueAtMs === 0 ? 0 : 8);
  const writer = new RecordWriter(head + clientBytes + userBytes + willBytes);
  writer.uint8(
    (userName === null ? 0 : sessionUserName) |
      (will === null ? 0 : sessionWill) |
      (willDueAtMs === 0 ? 0 : sessionWillDue),
  );
  writer.uint8(session.protocolVersion);
  writer.uint32(session.expirySeconds);
  writer.uint53(session.disconnectedAtMs);
  writer.uint16(clientBytes);
  writer.text(clientId, clientBytes);
  if (userName !== null) {
    writer.uint16(userBytes);
    writer.text(userName, userBytes);
  }
  if (willDueAtMs !== 0) writer.uint53(willDueAtMs);
  if (will !== null) writeWill(writer, will);
  return writer.finish();
}

/** Buffers of the will are views of `value`. */
export function decodeSession(number: number, value: Buffer): StoredSession {
  const reader = new RecordReader(value, 'session');
  const flags = reader.uint8();
  reader.require(flags < 0x08);
  const protocolVersion = reader.uint8();
  const expirySeconds = reader.uint32();
  const disconnectedAtMs = reader.uint53();
  const clientId = reader.text(reader.uint16());
  const userName = (flags & sessionUserName) === 0 ? null : reader.text(reader.uint16());
  const willDueAtMs = (flags & sessionWillDue) === 0 ? 0 : reader.uint53();
  const will = (flags & sessionWill) === 0 ? null : readWill(reader);
  reader.end();
  return { number, clientId, userName, expirySeconds, disconnectedAtMs, protocolVersion, will, willDueAtMs };
}

// A will: flags, delay u32, [expiry u32], topic bytes u16, properties bytes u32, topic, properties, payload to the end.
const willRetain = 0x04;
const willExpires = 0x08;

function storedWillBytes(will: StoredWill): number {
  const head = 11 + (will.messageExpirySeconds < 0 ? 0 : 4);
  return head + utf8Length(will.topicName) + will.properties.length + will.payload.length;
}

function writeWill(writer: RecordWriter, will: StoredWill): void {
  const expires = will.messageExpirySeconds >= 0;
  const topicBytes = utf8Length(will.topicName);
  writer.uint8(will.qos | (will.retain ? willRetain : 0) | (expires ? willExpires : 0));
  writer.uint32(will.delaySeconds);
  if (expires) writer.uint32(will.messageExpirySeconds);
  writer.uint16(topicBytes);
  writer.uint32(will.properties.length);
  writer.text(will.topicName, topicBytes);
  writer.bytes(will.properties);
  writer.bytes(will.payload);
}

function readWill(reader: RecordReader): StoredWill {
  const flags = reader.uint8();
  reader.require(flags < 0x10);
  const delaySeconds = reader.uint32();
  const messageExpirySeconds = (flags & willExpires) === 0 ? -1 : reader.uint32();
  const topicBytes = reader.uint16();
  const propertiesBytes = reader.uint32();
  return {
    topicName: reader.text(topicBytes),
    qos: readQoS(flags & 0x03, 'will'),
    retain: (flags & willRetain) !== 0,
    delaySeconds,
    messageExpirySeconds,
    properties: reader.bytes(propertiesBytes),
    payload: reader.rest(),
  };
}

// A subscription: flags (QoS, No Local, Retain As Published, Retain Handling), identifier u32, filter to the end.
const subscriptionNoLocal = 0x04;
const subscriptionRetainAsPublished = 0x08;
const retainHandlingShift = 4;

export function encodeSubscription(subscription: StoredSubscription): Buffer {
  const filterBytes = utf8Length(subscription.topicFilter);
  const writer = new RecordWriter(5 + filterBytes);
  writer.uint8(
    subscription.qos |
      (subscription.noLocal ? subscriptionNoLocal : 0) |
      (subscription.retainAsPublished ? subscriptionRetainAsPublished : 0) |
      (subscription.retainHandling << retainHandlingShift),
  );
  writer.uint32(subscription.subscriptionId);
  writer.text(subscription.topicFilter, filterBytes);
  return writer.finish();
}

export function decodeSubscription(value: Buffer): StoredSubscription {
  const reader = new RecordReader(value, 'subscription');
  const flags = reader.uint8();
  const subscriptionId = reader.uint32();
  const topicFilter = reader.rest().toString('utf8');
  const retainHandling = flags >> retainHandlingShift;
  if (retainHandling > 2 || topicFilter.length === 0) throw corruptRecord('subscription');
  return {
    topicFilter,
    qos: readQoS(flags & 0x03, 'subscription'),
    noLocal: (flags & subscriptionNoLocal) !== 0,
    retainAsPublished: (flags & subscriptionRetainAsPublished) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
    subscriptionId,
  };
}
