import { assert } from '../base/assert.js';
import { copyBytes } from '../base/bytes.js';
import { copyOut, copyWords, viewOf } from '../base/words.js';
import { uint16Max } from '../spec/limits.js';
import { PropertyId } from '../spec/properties.js';
import { frameSlab } from './frame-slab.js';
import { variableByteIntegerSize, writeVariableByteInteger } from './variable-byte-integer.js';

/** What an outbound PUBLISH says, apart from first byte and packet identifier. */
export interface PublishFields {
  /** The name is `topic[topicStart, topicEnd)` in UTF-8; empty only with an alias. */
  topic: Buffer;
  topicStart: number;
  topicEnd: number;
  /** Forwarded properties are `properties[propertiesStart, propertiesEnd)` in wire form, without length. */
  properties: Buffer;
  propertiesStart: number;
  propertiesEnd: number;
  /** What remains, or -1 for none. */
  messageExpirySeconds: number;
  subscriptionIds: readonly number[] | null;
  /** User properties in wire form that come after `properties`. */
  extraUserProperties: Buffer | null;
  /** 0 for none. */
  topicAlias: number;
  /** The payload is `payload[payloadStart, payloadEnd)`. */
  payload: Buffer;
  payloadStart: number;
  payloadEnd: number;
}

const noBytes = Buffer.alloc(0);

/**
 * An encoded PUBLISH, or acknowledgement, `bytes[start, end)`, whose first byte and packet identifier are patched where
 * it is copied.
 */
export class PublishFrame {
  bytes: Buffer;
  /** `bytes` by words. */
  view: DataView;
  start: number;
  end: number;
  /** Up to here `bytes` hold packets: behind the frame may be others that came with it. */
  finalEnd: number;
  /** Index into `bytes` of the packet identifier; -1 at QoS 0. */
  packetIdAt: number;
  /** The same packet in memory of its own; null while there is none. */
  private owned: PublishFrame | null = this;

  constructor(bytes: Buffer, view: DataView, start: number, end: number, packetIdAt: number) {
    this.bytes = bytes;
    this.view = view;
    this.start = start;
    this.end = end;
    this.finalEnd = end;
    this.packetIdAt = packetIdAt;
  }

  /** A frame in memory that is used again: it stays as it is only until its user lets go of it. */
  static passing(bytes: Buffer, view: DataView, start: number, end: number, packetIdAt: number): PublishFrame {
    const frame = new PublishFrame(bytes, view, start, end, packetIdAt);
    frame.owned = null;
    return frame;
  }

  /** A frame to be made packets as they are received, one after another. */
  static ofReceived(): PublishFrame {
    return new PublishFrame(noBytes, viewOf(noBytes), 0, 0, -1);
  }

  /** Makes this the packet that has been received at `bytes[start, end)`, with whatever has come behind it. */
  receive(bytes: Buffer, start: number, end: number, packetIdAt: number): void {
    // Mostly the same as before: to compare them costs less than to put what is young into what is old.
    if (this.bytes !== bytes) {
      this.bytes = bytes;
      this.view = viewOf(bytes);
      this.finalEnd = bytes.length;
    }
    this.start = start;
    this.end = end;
    this.packetIdAt = packetIdAt;
    if (this.owned !== null) this.owned = null;
  }

  /** What stays when the next packet comes in: this one or, of one as received, a copy, the same for all. */
  lasting(): PublishFrame {
    this.owned ??= this.copied();
    return this.owned;
  }

  private copied(): PublishFrame {
    const size = this.end - this.start;
    const at = frameSlab.take(size);
    const { bytes, view } = frameSlab;
    copyWords(this.view, this.start, this.end, view, at);
    return new PublishFrame(bytes, view, at, at + size, this.packetIdAt < 0 ? -1 : this.packetIdAt - this.start + at);
  }

  /** Size of the packet in bytes, fixed header included. */
  get length(): number {
    return this.end - this.start;
  }
}

/** Larger frames than this are not encoded in memory that is used again. */
const passingBytesMax = 2 * 1024;
const passingBytes = Buffer.allocUnsafeSlow(passingBytesMax);
const passingFrame = PublishFrame.passing(passingBytes, viewOf(passingBytes), 0, 0, -1);

/**
 * Encodes a PUBLISH with first byte 0x30 and packet identifier 0, to be patched. Properties stand in this order:
 * expiry, alias, Subscription Identifiers, `properties`, extra user properties. For 3.x all of them are left out.
 * @see MQTT 5 §3.3
 */
export function encodePublishFrame(fields: PublishFields, version5: boolean, withPacketId: boolean): PublishFrame {
  const propertiesSize = version5 ? sizeOfProperties(fields) : 0;
  const remaining = remainingLength(fields, version5, withPacketId, propertiesSize);
  const size = 1 + variableByteIntegerSize(remaining) + remaining;
  const start = frameSlab.take(size);
  const { bytes, view } = frameSlab;
  const packetIdAt = write(fields, version5, withPacketId, propertiesSize, remaining, bytes, view, start);
  return new PublishFrame(bytes, view, start, start + size, packetIdAt);
}

/** The same of a frame that is needed until the next one is encoded, and then no more, or in a copy. */
export function encodePassingFrame(fields: PublishFields, version5: boolean, withPacketId: boolean): PublishFrame {
  const propertiesSize = version5 ? sizeOfProperties(fields) : 0;
  const remaining = remainingLength(fields, version5, withPacketId, propertiesSize);
  const size = 1 + variableByteIntegerSize(remaining) + remaining;
  if (size > passingBytesMax) return encodePublishFrame(fields, version5, withPacketId);
  const { bytes, view } = passingFrame;
  const packetIdAt = write(fields, version5, withPacketId, propertiesSize, remaining, bytes, view, 0);
  passingFrame.receive(bytes, 0, size, packetIdAt);
  return passingFrame;
}

function remainingLength(
  { topicStart, topicEnd, payloadStart, payloadEnd }: PublishFields,
  version5: boolean,
  withPacketId: boolean,
  propertiesSize: number,
): number {
  const head = 2 + topicEnd - topicStart + (withPacketId ? 2 : 0);
  const properties = version5 ? variableByteIntegerSize(propertiesSize) + propertiesSize : 0;
  return head + properties + payloadEnd - payloadStart;
}

/** @returns where the packet identifier is, or -1 */
function write(
  fields: PublishFields,
  version5: boolean,
  withPacketId: boolean,
  propertiesSize: number,
  remaining: number,
  bytes: Buffer,
  view: DataView,
  start: number,
): number {
  const { topic, topicStart, topicEnd, payload, payloadStart, payloadEnd } = fields;
  const topicLength = topicEnd - topicStart;
  assert(topicLength <= uint16Max, 'a topic name fits its length');
  bytes[start] = 0x30;
  let position = writeVariableByteInteger(bytes, start + 1, remaining);
  position = writeUint16(bytes, position, topicLength);
  copyOut(topic, topicStart, topicEnd, bytes, view, position);
  position += topicLength;
  const packetIdAt = withPacketId ? position : -1;
  if (withPacketId) position = writeUint16(bytes, position, 0);
  if (version5) {
    position = writeVariableByteInteger(bytes, position, propertiesSize);
    if (propertiesSize > 0) position = writeProperties(bytes, position, fields);
  }
  copyOut(payload, payloadStart, payloadEnd, bytes, view, position);
  return packetIdAt;
}

/** Bytes of Subscription Identifiers in wire form. */
function sizeOfIdentifiers(subscriptionIds: readonly number[] | null): number {
  let size = 0;
  if (subscriptionIds === null) return size;
  for (let index = 0; index < subscriptionIds.length; index++) {
    size += 1 + variableByteIntegerSize(subscriptionIds[index]);
  }
  return size;
}

/** @returns the position behind them */
function writeIdentifiers(target: Buffer, offset: number, subscriptionIds: readonly number[] | null): number {
  let position = offset;
  if (subscriptionIds === null) return position;
  for (let index = 0; index < subscriptionIds.length; index++) {
    target[position] = PropertyId.subscriptionIdentifier;
    position = writeVariableByteInteger(target, position + 1, subscriptionIds[index]);
  }
  return position;
}

function sizeOfProperties(fields: PublishFields): number {
  let size = fields.propertiesEnd - fields.propertiesStart;
  if (fields.messageExpirySeconds >= 0) size += 5;
  if (fields.topicAlias > 0) size += 3;
  size += sizeOfIdentifiers(fields.subscriptionIds);
  return fields.extraUserProperties === null ? size : size + fields.extraUserProperties.length;
}

function writeProperties(target: Buffer, offset: number, fields: PublishFields): number {
  let position = offset;
  if (fields.messageExpirySeconds >= 0) {
    target[position] = PropertyId.messageExpiryInterval;
    position = target.writeUInt32BE(fields.messageExpirySeconds, position + 1);
  }
  if (fields.topicAlias > 0) {
    target[position] = PropertyId.topicAlias;
    position = writeUint16(target, position + 1, fields.topicAlias);
  }
  position = writeIdentifiers(target, position, fields.subscriptionIds);
  const { properties, propertiesStart, propertiesEnd, extraUserProperties } = fields;
  copyBytes(properties, propertiesStart, propertiesEnd, target, position);
  position += propertiesEnd - propertiesStart;
  if (extraUserProperties === null) return position;
  copyBytes(extraUserProperties, 0, extraUserProperties.length, target, position);
  return position + extraUserProperties.length;
}

/** @returns the position behind it */
function writeUint16(target: Buffer, offset: number, value: number): number {
  target[offset] = value >>> 8;
  target[offset + 1] = value;
  return offset + 2;
}
