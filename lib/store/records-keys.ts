import { createHash } from 'node:crypto';
import { utf8Length, writeUtf8 } from '../base/bytes.js';
import { corruptRecord, readUint53, writeUint32, writeUint53 } from './record-bytes.js';

/** Bounds for `Store.range`: `start <= key < end`. */
export interface KeyRange {
  readonly start: Buffer;
  /** Null for no upper end. */
  readonly end: Buffer | null;
}

/** Names up to this many bytes are keys as they are. */
const nameBytesMax = 1_500;
const namePrefixBytes = 400;
const sequenceKeyBytes = 8;
const deliveryKeyBytes = 12;
const inboundKeyBytes = 6;
const timerPrefixBytes = 7;

/** All keys that start with `prefix`. */
export function prefixRange(prefix: Buffer): KeyRange {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return { start: prefix, end: null };
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1]++;
  return { start: prefix, end };
}

/** A number below 2^32 as a key that sorts by value. */
function uint32Key(value: number): Buffer {
  const key = Buffer.allocUnsafe(4);
  key.writeUInt32BE(value, 0);
  return key;
}

/** Key of table `sessions`. */
export function sessionKey(session: number): Buffer {
  return uint32Key(session);
}

export function readSessionKey(key: Buffer): number {
  if (key.length !== 4) throw corruptRecord('session key');
  return key.readUInt32BE(0);
}

/** Key of table `retired`: numbers of sessions that have ended and that something still refers to. */
export function retiredKey(session: number): Buffer {
  return uint32Key(session);
}

/** Key of tables `messages`, `references` and `retainedTopics`. */
export function messageKey(sequence: number): Buffer {
  const key = Buffer.allocUnsafe(sequenceKeyBytes);
  writeUint53(key, sequence, 0);
  return key;
}

export function readMessageKey(key: Buffer): number {
  if (key.length !== sequenceKeyBytes) throw corruptRecord('message key');
  return readUint53(key, 0);
}

/**
 * Key of table `subscriptions`: the session, and the filter, or of a long one, which the value has in full: its prefix,
 * 0 (which no MQTT string may hold), SHA-256 of it all.
 */
export function subscriptionKey(session: number, topicFilter: string): Buffer {
  const bytes = utf8Length(topicFilter);
  if (bytes <= nameBytesMax) {
    const key = Buffer.allocUnsafe(4 + bytes);
    key.writeUInt32BE(session, 0);
    writeUtf8(topicFilter, bytes, key, 4);
    return key;
  }
  const whole = Buffer.from(topicFilter, 'utf8');
  const key = Buffer.alloc(4 + namePrefixBytes + 1 + 32);
  key.writeUInt32BE(session, 0);
  whole.copy(key, 4, 0, namePrefixBytes);
  createHash('sha256')
    .update(whole)
    .digest()
    .copy(key, 4 + namePrefixBytes + 1);
  return key;
}

/** Key of table `deliveries`: a session's queue and inflight window, in order. */
export function deliveryKey(session: number, sequence: number): Buffer {
  return writeDeliveryKey(Buffer.allocUnsafe(deliveryKeyBytes), session, sequence);
}

const passingKeys = {
  delivery: Buffer.alloc(deliveryKeyBytes),
  message: Buffer.alloc(sequenceKeyBytes),
  inbound: Buffer.alloc(inboundKeyBytes),
};

/** The same for whoever copies it at once: the memory is used again for the next. */
export function passingDeliveryKey(session: number, sequence: number): Buffer {
  return writeDeliveryKey(passingKeys.delivery, session, sequence);
}

/** A message's key for whoever copies it at once: the memory is used again for the next. */
export function passingMessageKey(sequence: number): Buffer {
  writeUint53(passingKeys.message, sequence, 0);
  return passingKeys.message;
}

function writeDeliveryKey(key: Buffer, session: number, sequence: number): Buffer {
  writeUint32(key, session, 0);
  writeUint53(key, sequence, 4);
  return key;
}

export function readDeliveryKey(key: Buffer): { session: number; sequence: number } {
  if (key.length !== deliveryKeyBytes) throw corruptRecord('delivery key');
  return { session: key.readUInt32BE(0), sequence: readUint53(key, 4) };
}

/** Deliveries of a session with a greater sequence than `afterSequence`; -1 for all. */
export function deliveryRange(session: number, afterSequence = -1): KeyRange {
  return { start: deliveryKey(session, afterSequence + 1), end: prefixRange(uint32Key(session)).end };
}

/** Key of table `inbound`. */
export function inboundKey(session: number, packetId: number): Buffer {
  return writeInboundKey(Buffer.allocUnsafe(inboundKeyBytes), session, packetId);
}

/** The same for whoever copies it at once: the memory is used again for the next. */
export function passingInboundKey(session: number, packetId: number): Buffer {
  return writeInboundKey(passingKeys.inbound, session, packetId);
}

function writeInboundKey(key: Buffer, session: number, packetId: number): Buffer {
  writeUint32(key, session, 0);
  key[4] = packetId >>> 8;
  key[5] = packetId & 0xff;
  return key;
}

export function readInboundKey(key: Buffer): { session: number; packetId: number } {
  if (key.length !== inboundKeyBytes) throw corruptRecord('inbound key');
  return { session: key.readUInt32BE(0), packetId: key.readUInt16BE(4) };
}

/** All inbound packet identifiers of a session. */
export function inboundRange(session: number): KeyRange {
  return prefixRange(uint32Key(session));
}

/**
 * Key of table `timers`, which sort by due time.
 * @param dueMs below 2^48
 * @param kind u8
 */
export function timerKey(dueMs: number, kind: number, reference: Buffer): Buffer {
  const key = Buffer.allocUnsafe(timerPrefixBytes + reference.length);
  key.writeUIntBE(dueMs, 0, 6);
  key.writeUInt8(kind, 6);
  key.set(reference, timerPrefixBytes);
  return key;
}

export function readTimerKey(key: Buffer): { dueMs: number; kind: number; reference: Buffer } {
  if (key.length < timerPrefixBytes) throw corruptRecord('timer key');
  return { dueMs: key.readUIntBE(0, 6), kind: key[6], reference: key.subarray(timerPrefixBytes) };
}

/** Timers due at or before `nowMs`, earliest first. */
export function timersDueRange(nowMs: number): KeyRange {
  const end = Buffer.allocUnsafe(6);
  end.writeUIntBE(nowMs + 1, 0, 6);
  return { start: Buffer.alloc(0), end };
}

/** Key of table `meta`. */
export function metaKey(name: string): Buffer {
  return Buffer.from(name, 'utf8');
}
