import { assert } from '../base/assert.js';
import type { ProtocolVersion, QoS } from '../spec/packet-types.js';
import { PropertyId } from '../spec/properties.js';
import { firstFailureCode, ReasonCode } from '../spec/reason-codes.js';
import { sendableCode, subackCodes, unsubackCodes } from './allowed-reason-codes.js';
import type { SubscribePacket, SubscriptionRequest, UnsubscribePacket } from './control-packets.js';
import { encodeWithin, sendableText, withoutAbsent } from './generate.js';
import { checkFlags, PacketReader, readProperties } from './packet-reader.js';
import { writeVariableByteInteger } from './variable-byte-integer.js';
import { malformed, violation } from './violations.js';

/**
 * Reads the SUBSCRIBE `buffer[frameStart, end)`. The place of wildcards and the form of `$share` are not checked here.
 * @throws ProtocolError 0x81 or 0x82
 * @see MQTT 5 §3.8
 */
export function decodeSubscribe(
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): SubscribePacket {
  // [MQTT-3.8.1-1]
  checkFlags(buffer[frameStart], 2, version);
  const reader = new PacketReader(buffer, bodyStart, end);
  const packetId = reader.packetId();
  const properties = readProperties(reader, 'subscribe', version);
  // [MQTT-3.8.3-2] tolerated from 3.1
  if (reader.atEnd && version !== 3) throw violation('SUBSCRIBE without Topic Filter, §3.8.3');
  const subscriptions: SubscriptionRequest[] = [];
  while (!reader.atEnd) subscriptions.push(readSubscription(reader, version));
  return {
    packetId,
    subscriptionId: properties.number(PropertyId.subscriptionIdentifier) ?? 0,
    userProperties: properties.userProperties,
    subscriptions,
  };
}

function readSubscription(reader: PacketReader, version: ProtocolVersion): SubscriptionRequest {
  const topicFilter = readTopicFilter(reader);
  const options = reader.byte();
  const qos = options & 3;
  if (version !== 5) {
    // MQTT 3.1.1 [MQTT-3-8.3-4]; 3.1 does not use the other bits
    if (qos === 3 || (version === 4 && options > 2)) throw malformed(`requested QoS ${options}, MQTT 3.1.1 §3.8.3`);
    return { topicFilter, qos: qos as QoS, noLocal: false, retainAsPublished: false, retainHandling: 0 };
  }
  // [MQTT-3.8.3-5]
  if ((options & 0xc0) !== 0) throw malformed('reserved subscription options, §3.8.3.1');
  if (qos === 3) throw violation('requested QoS 3, §3.8.3.1');
  const retainHandling = options >> 4;
  if (retainHandling === 3) throw violation('Retain Handling 3, §3.8.3.1');
  return {
    topicFilter,
    qos: qos as QoS,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  };
}

function readTopicFilter(reader: PacketReader): string {
  // [MQTT-3.8.3-1] [MQTT-3.10.3-1]
  const topicFilter = reader.string();
  // [MQTT-4.7.3-1]
  if (topicFilter === '') throw malformed('an empty Topic Filter, §4.7.3');
  return topicFilter;
}

/**
 * Reads the UNSUBSCRIBE `buffer[frameStart, end)`.
 * @throws ProtocolError 0x81 or 0x82
 * @see MQTT 5 §3.10
 */
export function decodeUnsubscribe(
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): UnsubscribePacket {
  // [MQTT-3.10.1-1]
  checkFlags(buffer[frameStart], 2, version);
  const reader = new PacketReader(buffer, bodyStart, end);
  const packetId = reader.packetId();
  const { userProperties } = readProperties(reader, 'unsubscribe', version);
  // [MQTT-3.10.3-2] tolerated from 3.1
  if (reader.atEnd && version !== 3) throw violation('UNSUBSCRIBE without Topic Filter, §3.10.3');
  const topicFilters: string[] = [];
  while (!reader.atEnd) topicFilters.push(readTopicFilter(reader));
  return { packetId, userProperties, topicFilters };
}

/**
 * Encodes a SUBACK with one code per filter, in order; to 3.x every failure is 0x80.
 * @param maximumPacketSize the reason string is left out above it; 0 for no limit
 * @see MQTT 5 §3.9
 */
export function encodeSuback(
  packetId: number,
  reasonCodes: readonly number[],
  version: ProtocolVersion,
  reasonString: string | null = null,
  maximumPacketSize = 0,
): Buffer {
  if (version !== 5) {
    // MQTT 3.1.1 [MQTT-3.9.3-2]
    const codes = reasonCodes.map((code) => (code < firstFailureCode ? code : ReasonCode.unspecifiedError));
    const bytes = Buffer.alloc(7);
    bytes[0] = 0x90;
    let position = writeVariableByteInteger(bytes, 1, 2 + codes.length);
    position = bytes.writeUInt16BE(packetId, position);
    return Buffer.concat([bytes.subarray(0, position), Buffer.from(codes)]);
  }
  assert(reasonCodes.length > 0, 'a SUBACK has a reason code');
  // [MQTT-3.9.3-1] [MQTT-3.9.3-2]
  const granted = reasonCodes.map((code) => sendableCode(code, subackCodes));
  const properties = withoutAbsent({ reasonString: sendableText(reasonString) });
  return encodeWithin({ cmd: 'suback', messageId: packetId, granted, properties }, maximumPacketSize);
}

/**
 * Encodes an UNSUBACK with one code per filter, in order; to 3.x without any.
 * @param maximumPacketSize the reason string is left out above it; 0 for no limit
 * @see MQTT 5 §3.11
 */
export function encodeUnsuback(
  packetId: number,
  reasonCodes: readonly number[],
  version: ProtocolVersion,
  reasonString: string | null = null,
  maximumPacketSize = 0,
): Buffer {
  if (version !== 5) return Buffer.from([0xb0, 2, packetId >>> 8, packetId & 0xff]);
  assert(reasonCodes.length > 0, 'an UNSUBACK has a reason code');
  // [MQTT-3.11.3-1] [MQTT-3.11.3-2]
  const granted = reasonCodes.map((code) => sendableCode(code, unsubackCodes));
  const properties = withoutAbsent({ reasonString: sendableText(reasonString) });
  return encodeWithin({ cmd: 'unsuback', messageId: packetId, granted, properties }, maximumPacketSize);
}
