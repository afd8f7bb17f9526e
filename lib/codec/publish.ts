import { assert } from '../base/assert.js';
import { ProtocolError } from '../base/errors.js';
import { uint16Max } from '../spec/limits.js';
import type { ProtocolVersion, QoS } from '../spec/packet-types.js';
import { PropertyId } from '../spec/properties.js';
import { ReasonCode } from '../spec/reason-codes.js';
import * as block from './property-block.js';
import { readVariableByteInteger, variableByteIntegerSize } from './variable-byte-integer.js';
import { malformed, violation } from './violations.js';

/**
 * An inbound PUBLISH as places in the received bytes; reused for every packet, so copy what is kept.
 *
 *     firstByte | length | topic | packetId | length | properties | payload
 *     ^frameStart         ^topicStart        propertiesStart^      ^payloadStart = propertiesEnd (v5)
 *
 * @see MQTT 5 §3.3
 */
export class PublishView {
  buffer: Buffer = block.noProperties;
  frameStart = 0;
  end = 0;
  firstByte = 0;
  qos: QoS = 0;
  dup = false;
  retain = false;
  /** The topic name's bytes, not validated: TopicCache does that. */
  topicStart = 0;
  topicEnd = 0;
  /** 0 at QoS 0. */
  packetId = 0;
  /** The properties without the length before them; equal when there are none, and always for 3.x. */
  propertiesStart = 0;
  propertiesEnd = 0;
  payloadStart = 0;
  /** 0 when absent. */
  topicAlias = 0;
  /** -1 when absent. */
  messageExpirySeconds = -1;
  /** -1 when absent. */
  payloadFormat = -1;
  /** The values without the length before them; both -1 when absent. */
  responseTopicStart = -1;
  responseTopicEnd = -1;
  correlationDataStart = -1;
  correlationDataEnd = -1;
  contentTypeStart = -1;
  contentTypeEnd = -1;
  /** The name of some User Property begins with "receipt". */
  hasReceiptProperty = false;
  hasUserProperties = false;
  /** An alias or expiry is among the properties, which therefore cannot be forwarded as they lie. */
  mustRewriteProperties = false;
}

/**
 * Reads the PUBLISH `buffer[frameStart, end)` into `view`, checking everything but the topic name's bytes and what
 * only the connection knows (alias bounds, capabilities).
 * @throws ProtocolError 0x81, 0x82, or 0x94 for Topic Alias 0
 * @see MQTT 5 §3.3
 */
export function decodePublish(
  view: PublishView,
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): void {
  const firstByte = buffer[frameStart];
  const qos = (firstByte >> 1) & 3;
  // [MQTT-3.3.1-4]
  if (qos === 3) throw malformed('PUBLISH with QoS 3, §3.3.1.2');
  const dup = (firstByte & 8) !== 0;
  // [MQTT-3.3.1-2] 3.1 does not say so
  if (dup && qos === 0 && version !== 3) throw malformed('PUBLISH with DUP at QoS 0, §3.3.1.1');
  // [MQTT-3.3.2-1]
  const topicEnd = block.fieldEnd(buffer, bodyStart, end);
  let position = topicEnd;
  let packetId = 0;
  if (qos > 0) {
    packetId = block.readPacketId(buffer, position, end);
    position += 2;
  }
  // The same buffer for many packets in a row: to compare costs less than to put what is young into what is old.
  if (view.buffer !== buffer) view.buffer = buffer;
  view.frameStart = frameStart;
  view.end = end;
  view.firstByte = firstByte;
  view.qos = qos as QoS;
  view.dup = dup;
  view.retain = (firstByte & 1) !== 0;
  view.topicStart = bodyStart + 2;
  view.topicEnd = topicEnd;
  view.packetId = packetId;
  view.topicAlias = 0;
  view.messageExpirySeconds = -1;
  view.payloadFormat = -1;
  view.responseTopicStart = -1;
  view.responseTopicEnd = -1;
  view.correlationDataStart = -1;
  view.correlationDataEnd = -1;
  view.contentTypeStart = -1;
  view.contentTypeEnd = -1;
  view.hasReceiptProperty = false;
  view.hasUserProperties = false;
  view.mustRewriteProperties = false;
  if (version === 5) position = locateProperties(view, position);
  else {
    view.propertiesStart = position;
    view.propertiesEnd = position;
  }
  view.payloadStart = position;
  // [MQTT-4.7.3-1]
  if (topicEnd === bodyStart + 2 && view.topicAlias === 0) {
    throw violation('PUBLISH with neither topic name nor alias, §3.3.2.1');
  }
}

/** Reads the property length at `position` and the properties behind it; returns where the payload starts. */
function locateProperties(view: PublishView, position: number): number {
  // [MQTT-2.2.2-1]
  const length = readVariableByteInteger(view.buffer, position, view.end);
  const start = position + variableByteIntegerSize(length);
  const propertiesEnd = start + length;
  if (propertiesEnd > view.end) throw malformed('properties longer than their packet, §3.3.2.3.1');
  view.propertiesStart = start;
  view.propertiesEnd = propertiesEnd;
  let next = start;
  while (next < propertiesEnd) next = readProperty(view, next, propertiesEnd);
  return propertiesEnd;
}

/** Takes in the property at `position` and returns where the next one starts. */
function readProperty(view: PublishView, position: number, end: number): number {
  const buffer = view.buffer;
  const value = position + 1;
  switch (buffer[position]) {
    case PropertyId.userProperty:
      return readUserProperty(view, value, end);
    case PropertyId.payloadFormatIndicator:
      if (value === end) throw malformed('a property is cut off, §2.2.2');
      if (view.payloadFormat !== -1) throw duplicate('Payload Format Indicator');
      if (buffer[value] > 1) throw violation('Payload Format Indicator above 1, §3.3.2.3.2');
      view.payloadFormat = buffer[value];
      return value + 1;
    case PropertyId.messageExpiryInterval:
      if (view.messageExpirySeconds !== -1) throw duplicate('Message Expiry Interval');
      view.messageExpirySeconds = block.readUint32(buffer, value, end);
      view.mustRewriteProperties = true;
      return value + 4;
    case PropertyId.topicAlias:
      if (view.topicAlias !== 0) throw duplicate('Topic Alias');
      view.topicAlias = block.readUint16(buffer, value, end);
      // [MQTT-3.3.2-8]
      if (view.topicAlias === 0) throw new ProtocolError(ReasonCode.topicAliasInvalid, 'Topic Alias 0, §3.3.2.3.4');
      view.mustRewriteProperties = true;
      return value + 2;
    case PropertyId.contentType:
      if (view.contentTypeStart !== -1) throw duplicate('Content Type');
      view.contentTypeStart = value + 2;
      // [MQTT-3.3.2-19]
      view.contentTypeEnd = block.stringEnd(buffer, value, end);
      return view.contentTypeEnd;
    case PropertyId.responseTopic:
      if (view.responseTopicStart !== -1) throw duplicate('Response Topic');
      view.responseTopicStart = value + 2;
      // [MQTT-3.3.2-13]
      view.responseTopicEnd = block.stringEnd(buffer, value, end);
      block.checkResponseTopic(buffer, value + 2, view.responseTopicEnd);
      return view.responseTopicEnd;
    case PropertyId.correlationData:
      if (view.correlationDataStart !== -1) throw duplicate('Correlation Data');
      view.correlationDataStart = value + 2;
      view.correlationDataEnd = block.fieldEnd(buffer, value, end);
      return view.correlationDataEnd;
    case PropertyId.subscriptionIdentifier:
      // [MQTT-3.3.4-6]
      throw violation('PUBLISH from a client with Subscription Identifier, §3.3.4');
    default:
      throw malformed(`property 0x${buffer[position].toString(16)} in PUBLISH, §2.2.2.2`);
  }
}

function duplicate(name: string): ProtocolError {
  return violation(`${name} more than once, §2.2.2.2`);
}

function readUserProperty(view: PublishView, start: number, end: number): number {
  const next = block.pairEnd(view.buffer, start, end);
  view.hasUserProperties = true;
  if (!view.hasReceiptProperty) view.hasReceiptProperty = beginsWithReceipt(view.buffer, start);
  return next;
}

/** True if the string (with its length) at `start` begins with "receipt". */
function beginsWithReceipt(buffer: Buffer, start: number): boolean {
  return (
    ((buffer[start] << 8) | buffer[start + 1]) >= 7 &&
    buffer[start + 2] === 0x72 &&
    buffer[start + 3] === 0x65 &&
    buffer[start + 4] === 0x63 &&
    buffer[start + 5] === 0x65 &&
    buffer[start + 6] === 0x69 &&
    buffer[start + 7] === 0x70 &&
    buffer[start + 8] === 0x74
  );
}

/**
 * The properties a broker forwards, in wire form without length: a view of the received bytes if they can go as they
 * are, else a compact copy without alias and expiry. Order is kept.
 * @see MQTT 5 §3.3.2.3
 */
export function forwardableProperties(view: PublishView): Buffer {
  // [MQTT-3.3.2-18]
  const { buffer, propertiesStart, propertiesEnd } = view;
  if (propertiesStart === propertiesEnd) return block.noProperties;
  if (!view.mustRewriteProperties) return buffer.subarray(propertiesStart, propertiesEnd);
  const { topicAlias, messageExpiryInterval } = PropertyId;
  return block.copyWithout(buffer, propertiesStart, propertiesEnd, topicAlias, messageExpiryInterval);
}

/** The user properties of the block `buffer[start, end)` in wire form, in their order. @see MQTT 5 §3.3.2.3.7 */
export function readUserProperties(buffer: Buffer, start: number, end: number): [string, string][] {
  const pairs: [string, string][] = [];
  let position = start;
  while (position < end) {
    const next = block.skipProperty(buffer, position, end);
    if (buffer[position] === PropertyId.userProperty) {
      const nameEnd = block.fieldEnd(buffer, position + 1, next);
      pairs.push([buffer.toString('utf8', position + 3, nameEnd), buffer.toString('utf8', nameEnd + 2, next)]);
    }
    position = next;
  }
  return pairs;
}

/** A view of the Correlation Data in a block of properties, or null. @see MQTT 5 §3.3.2.3.6 */
export function readCorrelationData(properties: Buffer): Buffer | null {
  const at = block.findProperty(properties, 0, properties.length, PropertyId.correlationData);
  return at === -1 ? null : properties.subarray(at + 3, block.fieldEnd(properties, at + 1, properties.length));
}

/** The Response Topic in a block of properties, or null. @see MQTT 5 §3.3.2.3.5 */
export function readResponseTopic(properties: Buffer): string | null {
  const at = block.findProperty(properties, 0, properties.length, PropertyId.responseTopic);
  if (at === -1) return null;
  return properties.toString('utf8', at + 3, block.fieldEnd(properties, at + 1, properties.length));
}

/** Encodes user properties in their order, in wire form without length. @see MQTT 5 §3.3.2.3.7 */
export function encodeUserProperties(pairs: readonly (readonly [string, string])[]): Buffer {
  let size = 0;
  for (const [name, value] of pairs) size += 5 + Buffer.byteLength(name) + Buffer.byteLength(value);
  const bytes = Buffer.allocUnsafe(size);
  let position = 0;
  for (const [name, value] of pairs) {
    bytes[position] = PropertyId.userProperty;
    position = writeString(bytes, writeString(bytes, position + 1, name), value);
  }
  return bytes;
}

function writeString(target: Buffer, offset: number, text: string): number {
  const length = target.write(text, offset + 2, 'utf8');
  assert(length <= uint16Max, 'a string fits its length');
  target.writeUInt16BE(length, offset);
  return offset + 2 + length;
}
