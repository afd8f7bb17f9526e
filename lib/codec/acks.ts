import { copyBytes } from '../base/bytes.js';
import type { ProtocolVersion } from '../spec/packet-types.js';
import { PropertyId } from '../spec/properties.js';
import { pubackCodes, pubrelCodes } from './allowed-reason-codes.js';
import { frameSlab } from './frame-slab.js';
import { pairEnd, readPacketId, stringEnd } from './property-block.js';
import { PublishFrame } from './publish-frame.js';
import { readVariableByteInteger, variableByteIntegerSize, writeVariableByteInteger } from './variable-byte-integer.js';
import { malformed, violation } from './violations.js';

const pubrel = 6;
const noBytes = Buffer.alloc(0);

/** An inbound PUBACK, PUBREC, PUBREL or PUBCOMP; reused. The Reason String's bytes lie in the decoded buffer. */
export class AckView {
  packetId = 0;
  reasonCode = 0;
  /** Both 0 when absent. */
  reasonStringStart = 0;
  reasonStringEnd = 0;
}

/**
 * Reads an acknowledgement with the body `buffer[bodyStart, end)` into `view`.
 * @throws ProtocolError 0x81 or 0x82
 * @see MQTT 5 §3.4 to §3.7
 */
export function decodeAck(
  view: AckView,
  buffer: Buffer,
  packetType: 4 | 5 | 6 | 7,
  firstByte: number,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): void {
  checkFlags(packetType, firstByte & 0x0f, version);
  view.packetId = readPacketId(buffer, bodyStart, end);
  view.reasonCode = 0;
  view.reasonStringStart = 0;
  view.reasonStringEnd = 0;
  const codeAt = bodyStart + 2;
  if (codeAt === end) return;
  if (version !== 5) throw malformed('an acknowledgement of 3.x with more than its identifier');
  const reasonCode = buffer[codeAt];
  // [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
  if (!(packetType >= pubrel ? pubrelCodes : pubackCodes).has(reasonCode)) {
    throw violation(`reason code 0x${reasonCode.toString(16)} in packet type ${packetType}, §3.4.2.1`);
  }
  view.reasonCode = reasonCode;
  if (codeAt + 1 < end) readAckProperties(view, buffer, codeAt + 1, end);
}

function checkFlags(packetType: number, flags: number, version: ProtocolVersion): void {
  const expected = packetType === pubrel ? 2 : 0;
  if (flags === expected) return;
  // 3.1 uses none of these bits but PUBREL's QoS, which is 1
  if (version === 3 && (packetType !== pubrel || (flags & 6) === 2)) return;
  // [MQTT-2.1.3-1] [MQTT-3.6.1-1]
  throw malformed(`flags ${flags} in packet type ${packetType}, §2.1.3`);
}

function readAckProperties(view: AckView, buffer: Buffer, lengthAt: number, end: number): void {
  const length = readVariableByteInteger(buffer, lengthAt, end);
  let position = lengthAt + variableByteIntegerSize(length);
  if (position + length !== end) throw malformed('properties do not end with their packet, §3.4.2.2.1');
  while (position < end) {
    const id = buffer[position];
    if (id === PropertyId.userProperty) position = pairEnd(buffer, position + 1, end);
    else if (id === PropertyId.reasonString) {
      if (view.reasonStringStart !== 0) throw violation('Reason String more than once, §3.4.2.2.2');
      view.reasonStringStart = position + 3;
      position = stringEnd(buffer, position + 1, end);
      view.reasonStringEnd = position;
    } else throw malformed(`property 0x${id.toString(16)} in an acknowledgement, §2.2.2.2`);
  }
}

/** Size of an acknowledgement without reason code. */
export const simpleAckLength = 4;

/**
 * Writes an acknowledgement without properties at `offset` and returns the offset behind it: 4 bytes, or 5 in MQTT 5
 * with a reason code other than 0.
 * @see MQTT 5 §3.4 to §3.7
 */
export function writeAck(
  target: Buffer,
  offset: number,
  packetType: number,
  packetId: number,
  reasonCode: number,
  version: ProtocolVersion,
): number {
  const withCode = version === 5 && reasonCode !== 0;
  target[offset] = ackFirstByte(packetType);
  target[offset + 1] = withCode ? 3 : 2;
  // [MQTT-2.2.1-5]
  target[offset + 2] = packetId >>> 8;
  target[offset + 3] = packetId;
  if (!withCode) return offset + simpleAckLength;
  target[offset + 4] = reasonCode;
  return offset + simpleAckLength + 1;
}

/** First byte of an acknowledgement. */
export function ackFirstByte(packetType: number): number {
  // [MQTT-3.6.1-1]
  return (packetType << 4) | (packetType === pubrel ? 2 : 0);
}

/**
 * Encodes an acknowledgement of MQTT 5 with properties; whether the client takes them is the caller's business.
 * @returns the packet, with room for its identifier
 */
export function encodeAckWithProperties(
  packetType: number,
  reasonCode: number,
  reasonString: string | null,
  userProperties: Buffer | null,
): PublishFrame {
  const pairs = userProperties ?? noBytes;
  const reasonLength = reasonString === null ? 0 : Buffer.byteLength(reasonString);
  const propertiesSize = pairs.length + (reasonString === null ? 0 : 3 + reasonLength);
  const remaining = 3 + variableByteIntegerSize(propertiesSize) + propertiesSize;
  const start = frameSlab.take(1 + variableByteIntegerSize(remaining) + remaining);
  const { bytes, view } = frameSlab;
  bytes[start] = ackFirstByte(packetType);
  const packetIdAt = writeVariableByteInteger(bytes, start + 1, remaining);
  let position = packetIdAt + 2;
  bytes[position] = reasonCode;
  position = writeVariableByteInteger(bytes, position + 1, propertiesSize);
  if (reasonString !== null) {
    bytes[position] = PropertyId.reasonString;
    position = bytes.writeUInt16BE(reasonLength, position + 1);
    position += bytes.write(reasonString, position, 'utf8');
  }
  copyBytes(pairs, 0, pairs.length, bytes, position);
  return new PublishFrame(bytes, view, start, position + pairs.length, packetIdAt);
}
