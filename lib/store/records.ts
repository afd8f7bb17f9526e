/**
 * The bytes of every record, packed by hand, big endian. They have no version of their own: `storeFormat` is theirs.
 * Keys are in `records-keys.ts`, messages in `records-message.ts`, sessions and subscriptions in `records-session.ts`.
 */
import { utf8Length } from '../base/bytes.js';
import type { Message } from '../base/message.js';
import type { QoS } from '../spec/packet-types.js';
import { corruptRecord, RecordReader, RecordWriter } from './record-bytes.js';

const qosBits = 0x03;

/** What of a delivery stays as it is. */
export interface DeliveryFacts {
  /** Place in the session's order. */
  readonly sequence: number;
  /** The message, which may have other deliveries; equal to `sequence` costs no bytes. */
  readonly messageSequence: number;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[] | null;
  /** u8; 0 for a message, others for receipts. */
  readonly kind: number;
  /** Opaque; what a receipt is about. */
  readonly reference: Buffer | null;
  /** Name of the shared group the delivery belongs to. */
  readonly group: string | null;
}

/** One message for one session: a row of table `deliveries`, keyed by session and `sequence`. */
export interface StoredDelivery extends DeliveryFacts {
  /** u8, of the delivery table. */
  readonly state: number;
  /** 0 for none. */
  readonly packetId: number;
  /** Of the message, while the delivery waits; 0 otherwise. */
  readonly payloadBytes: number;
  /** The message, once somebody has read that too. */
  message: Message | null;
}

/** A packet identifier in use by the client: a row of table `inbound`. */
export interface StoredInbound {
  readonly packetId: number;
  /** The answer to repeat. */
  readonly reasonCode: number;
  /** Of the message. */
  readonly sequence: number;
  /** Recipients; -1 if not counted. */
  readonly matched: number;
  /** u8 */
  readonly kind: number;
}

/** A retained message: a row of table `retainedTopics`. */
export interface StoredRetained {
  readonly topicName: string;
  readonly sequence: number;
  /** Milliseconds since the epoch; 0 for never. */
  readonly expiryAtMs: number;
}

// A delivery: state u8, flags u8, kind u8 (its highest bit: payload bytes follow), [payload bytes u32], [packet id
// u16], [message sequence u64], [count u16, subscription ids u32 each], [group bytes u16, group], and the reference to
// the end. 3 to 13 bytes for most.
const deliveryRetain = 0x04;
const deliveryPacketId = 0x08;
const deliverySubscriptionIds = 0x10;
const deliveryGroup = 0x20;
const deliveryReference = 0x40;
const deliveryOtherMessage = 0x80;
/** In the byte of the kind. */
const deliveryPayloadBytes = 0x80;

/**
 * A delivery without its sequence, which is in its key.
 * @param payloadBytes of the message, where a start should know without reading it
 */
export function encodeDelivery(delivery: DeliveryFacts, state: number, packetId: number, payloadBytes = 0): Buffer {
  const { subscriptionIds, group, reference, messageSequence } = delivery;
  let flags: number = delivery.qos;
  let bytes = 3;
  if (delivery.retain) flags |= deliveryRetain;
  if (payloadBytes !== 0) bytes += 4;
  if (packetId !== 0) {
    flags |= deliveryPacketId;
    bytes += 2;
  }
  if (messageSequence !== delivery.sequence) {
    flags |= deliveryOtherMessage;
    bytes += 8;
  }
  if (subscriptionIds !== null) {
    flags |= deliverySubscriptionIds;
    bytes += 2 + 4 * subscriptionIds.length;
  }
  const groupBytes = group === null ? 0 : utf8Length(group);
  if (group !== null) {
    flags |= deliveryGroup;
    bytes += 2 + groupBytes;
  }
  if (reference !== null) {
    flags |= deliveryReference;
    bytes += reference.length;
  }
  const writer = new RecordWriter(bytes);
  writer.uint8(state);
  writer.uint8(flags);
  writer.uint8(payloadBytes === 0 ? delivery.kind : delivery.kind | deliveryPayloadBytes);
  if (payloadBytes !== 0) writer.uint32(payloadBytes);
  if (packetId !== 0) writer.uint16(packetId);
  if (messageSequence !== delivery.sequence) writer.uint53(messageSequence);
  if (subscriptionIds !== null) writeSubscriptionIds(writer, subscriptionIds);
  if (group !== null) {
    writer.uint16(groupBytes);
    writer.text(group, groupBytes);
  }
  if (reference !== null) writer.bytes(reference);
  return writer.finish();
}

const passingRow = Buffer.alloc(5);

/** The same for whoever copies it at once: of most deliveries the memory is used again for the next. */
export function encodePassingDelivery(delivery: DeliveryFacts, state: number, packetId: number): Buffer {
  const { subscriptionIds, group, reference, messageSequence, sequence } = delivery;
  const isPlain = subscriptionIds === null && group === null && reference === null && messageSequence === sequence;
  if (!isPlain || packetId === 0) return encodeDelivery(delivery, state, packetId);
  passingRow[0] = state;
  passingRow[1] = delivery.qos | (delivery.retain ? deliveryRetain : 0) | deliveryPacketId;
  passingRow[2] = delivery.kind;
  passingRow[3] = packetId >>> 8;
  passingRow[4] = packetId & 0xff;
  return passingRow;
}

/** `reference` of the result is a view of `value`. */
export function decodeDelivery(sequence: number, value: Buffer): StoredDelivery {
  const reader = new RecordReader(value, 'delivery');
  const state = reader.uint8();
  const flags = reader.uint8();
  const kind = reader.uint8();
  const payloadBytes = (kind & deliveryPayloadBytes) === 0 ? 0 : reader.uint32();
  const packetId = (flags & deliveryPacketId) === 0 ? 0 : reader.uint16();
  const messageSequence = (flags & deliveryOtherMessage) === 0 ? sequence : reader.uint53();
  const subscriptionIds = (flags & deliverySubscriptionIds) === 0 ? null : readSubscriptionIds(reader);
  const group = (flags & deliveryGroup) === 0 ? null : reader.text(reader.uint16());
  const reference = (flags & deliveryReference) === 0 ? null : reader.rest();
  reader.end();
  return {
    sequence,
    messageSequence,
    state,
    packetId,
    payloadBytes,
    qos: readQoS(flags & qosBits, 'delivery'),
    retain: (flags & deliveryRetain) !== 0,
    subscriptionIds,
    kind: kind & ~deliveryPayloadBytes,
    reference,
    group,
    message: null,
  };
}

/** Kind u8, reason code u8, sequence u64, [recipients u32]. */
export function encodeInbound(inbound: StoredInbound): Buffer {
  const counted = inbound.matched >= 0;
  const writer = new RecordWriter(counted ? 14 : 10);
  writer.uint8(inbound.kind);
  writer.uint8(inbound.reasonCode);
  writer.uint53(inbound.sequence);
  if (counted) writer.uint32(inbound.matched);
  return writer.finish();
}

/** @param packetId from the key */
export function decodeInbound(packetId: number, value: Buffer): StoredInbound {
  const reader = new RecordReader(value, 'inbound packet identifier');
  const kind = reader.uint8();
  const reasonCode = reader.uint8();
  const sequence = reader.uint53();
  const matched = value.length === 10 ? -1 : reader.uint32();
  reader.end();
  return { packetId, reasonCode, sequence, matched, kind };
}

/** Without its sequence, which is its key: expiry u64, topic to the end. */
export function encodeRetained(topicName: string, expiryAtMs: number): Buffer {
  const topicBytes = utf8Length(topicName);
  const writer = new RecordWriter(8 + topicBytes);
  writer.uint53(expiryAtMs);
  writer.text(topicName, topicBytes);
  return writer.finish();
}

export function decodeRetained(sequence: number, value: Buffer): StoredRetained {
  const reader = new RecordReader(value, 'retained message');
  const expiryAtMs = reader.uint53();
  const topicName = reader.rest().toString('utf8');
  reader.require(topicName.length > 0);
  return { topicName, sequence, expiryAtMs };
}

/** A count or number in table `meta` or `references`; below 2^53. */
export function encodeNumber(value: number): Buffer {
  const writer = new RecordWriter(8);
  writer.uint53(value);
  return writer.finish();
}

export function decodeNumber(value: Buffer): number {
  const reader = new RecordReader(value, 'number');
  const number = reader.uint53();
  reader.end();
  return number;
}

/** A text in table `meta`. */
export function encodeText(value: string): Buffer {
  return Buffer.from(value, 'utf8');
}

export function decodeText(value: Buffer): string {
  return value.toString('utf8');
}

/** The two bits of a QoS; 3 is damage. */
export function readQoS(bits: number, what: string): QoS {
  if (bits > 2) throw corruptRecord(what);
  return bits as QoS;
}

function writeSubscriptionIds(writer: RecordWriter, ids: readonly number[]): void {
  writer.uint16(ids.length);
  for (const id of ids) writer.uint32(id);
}

function readSubscriptionIds(reader: RecordReader): number[] {
  const ids: number[] = [];
  for (let left = reader.uint16(); left > 0; left--) ids.push(reader.uint32());
  return ids;
}
