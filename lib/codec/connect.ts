import { ProtocolError } from '../base/errors.js';
import { sessionNeverExpires, uint16Max } from '../spec/limits.js';
import type { ProtocolVersion, QoS } from '../spec/packet-types.js';
import { PropertyId } from '../spec/properties.js';
import { ReasonCode } from '../spec/reason-codes.js';
import type { ConnectPacket, WillRequest } from './control-packets.js';
import { checkFlags, PacketReader, type PropertySet, readProperties } from './packet-reader.js';
import { copyWithout, noProperties } from './property-block.js';
import { malformed, violation } from './violations.js';

/** A CONNECT that cannot be accepted, with the format in which it may be answered. */
export class ConnectError extends ProtocolError {
  /**
   * Protocol version for the CONNACK: the client's, or for a level the broker does not have the one nearest to it.
   * 0 if the protocol name is unknown or the packet ends before the level: close without answer.
   */
  readonly version: ProtocolVersion | 0;
  /** What the CONNACK may have, in bytes; 0 for no limit. [MQTT-3.1.2-24] */
  readonly maximumPacketSize: number;

  constructor(reasonCode: number, message: string, version: ProtocolVersion | 0, maximumPacketSize = 0) {
    super(reasonCode, message);
    this.name = 'ConnectError';
    this.version = version;
    this.maximumPacketSize = maximumPacketSize;
  }
}

/** Bits of the connect flags. @see MQTT 5 §3.1.2.3 */
const ConnectFlag = {
  reserved: 0x01,
  cleanStart: 0x02,
  will: 0x04,
  willRetain: 0x20,
  password: 0x40,
  userName: 0x80,
} as const;
const willQosShift = 3;

/** Set in the level by clients that are bridges, as Mosquitto's. Not in the standard. */
const bridgeBit = 0x80;

interface Level {
  version: ProtocolVersion;
  bridge: boolean;
}

/** What is known of the client's limits when a later field turns out wrong. */
interface Limits {
  maximumPacketSize: number;
}

/**
 * Reads the CONNECT `buffer[frameStart, end)`.
 * @throws ConnectError 0x84 for a protocol the broker does not have, else 0x81, 0x82 or (for the will topic) 0x90
 * @see MQTT 5 §3.1
 */
export function decodeConnect(buffer: Buffer, frameStart: number, bodyStart: number, end: number): ConnectPacket {
  let version: ProtocolVersion | 0 = 0;
  const limits: Limits = { maximumPacketSize: 0 };
  try {
    const reader = new PacketReader(buffer, bodyStart, end);
    const level = readLevel(reader);
    version = level.version;
    checkFlags(buffer[frameStart], 0, version);
    return readConnect(reader, level, limits);
  } catch (error) {
    if (error instanceof ProtocolError && !(error instanceof ConnectError)) {
      throw new ConnectError(error.reasonCode, error.message, version, limits.maximumPacketSize);
    }
    throw error;
  }
}

function readLevel(reader: PacketReader): Level {
  const name = reader.latin1();
  // [MQTT-3.1.2-1]
  if (name !== 'MQTT' && name !== 'MQIsdp') {
    throw new ConnectError(ReasonCode.unsupportedProtocolVersion, 'unknown protocol name, §3.1.2.1', 0);
  }
  const level = reader.byte();
  const plain = level & ~bridgeBit;
  const bridge = level !== plain;
  if (name === 'MQIsdp' && plain === 3) return { version: 3, bridge };
  if (name === 'MQTT' && plain === 4) return { version: 4, bridge };
  if (name === 'MQTT' && level === 5) return { version: 5, bridge: false };
  const answer = name === 'MQIsdp' ? 3 : level > 5 ? 5 : 4;
  // [MQTT-3.1.2-2]
  throw new ConnectError(ReasonCode.unsupportedProtocolVersion, `${name} level ${level}, §3.1.2.2`, answer);
}

function readConnect(reader: PacketReader, level: Level, limits: Limits): ConnectPacket {
  const version = level.version;
  const flags = reader.byte();
  checkConnectFlags(flags, version);
  const cleanStart = (flags & ConnectFlag.cleanStart) !== 0;
  const keepAliveSeconds = reader.uint16();
  const properties = readProperties(reader, 'connect', version);
  limits.maximumPacketSize = properties.number(PropertyId.maximumPacketSize) ?? 0;
  const authenticationMethod = properties.string(PropertyId.authenticationMethod);
  const authenticationData = properties.binary(PropertyId.authenticationData);
  if (authenticationData !== null && authenticationMethod === null) {
    throw violation('Authentication Data without Authentication Method, §3.1.2.11.10');
  }
  // [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.3-4]
  const clientId = reader.string();
  // [MQTT-3.1.2-9]
  const will = (flags & ConnectFlag.will) === 0 ? null : readWill(reader, flags, version);
  // [MQTT-3.1.2-17] [MQTT-3.1.3-12]
  const userName = hasField(reader, flags & ConnectFlag.userName, version) ? reader.string() : null;
  // [MQTT-3.1.2-19]
  const password = hasField(reader, flags & ConnectFlag.password, version) ? reader.binary() : null;
  // [MQTT-3.1.2-16] [MQTT-3.1.2-18]
  reader.expectEnd();
  const expiryOf3 = cleanStart ? 0 : sessionNeverExpires;
  return {
    version,
    bridge: level.bridge,
    clientId,
    cleanStart,
    keepAliveSeconds,
    userName,
    password,
    will,
    sessionExpirySeconds: version === 5 ? properties.number(PropertyId.sessionExpiryInterval) : expiryOf3,
    receiveMaximum: properties.number(PropertyId.receiveMaximum) ?? uint16Max,
    maximumPacketSize: limits.maximumPacketSize,
    topicAliasMaximum: properties.number(PropertyId.topicAliasMaximum) ?? 0,
    requestResponseInformation: properties.number(PropertyId.requestResponseInformation) === 1,
    requestProblemInformation: properties.number(PropertyId.requestProblemInformation) !== 0,
    authenticationMethod,
    authenticationData,
    userProperties: properties.userProperties,
  };
}

function checkConnectFlags(flags: number, version: ProtocolVersion): void {
  // [MQTT-3.1.2-3] 3.1 does not use the bit
  if ((flags & ConnectFlag.reserved) !== 0 && version !== 3) throw malformed('the reserved connect flag, §3.1.2.3');
  const willQos = (flags >> willQosShift) & 3;
  // [MQTT-3.1.2-12]
  if (willQos === 3) throw malformed('Will QoS 3, §3.1.2.6');
  if ((flags & ConnectFlag.will) === 0) {
    // [MQTT-3.1.2-11]
    if (willQos !== 0) throw malformed('Will QoS without will, §3.1.2.6');
    // [MQTT-3.1.2-13]
    if ((flags & ConnectFlag.willRetain) !== 0) throw malformed('Will Retain without will, §3.1.2.7');
  }
  // MQTT 3.1.1 [MQTT-3.1.2-22], and 3.1; allowed in 5
  if (version !== 5 && (flags & (ConnectFlag.userName | ConnectFlag.password)) === ConnectFlag.password) {
    throw malformed('a password without user name, MQTT 3.1.1 §3.1.2.9');
  }
}

/** In 3.1 a field announced by a flag may be missing: there the remaining length decides. */
function hasField(reader: PacketReader, flag: number, version: ProtocolVersion): boolean {
  return flag !== 0 && !(version === 3 && reader.atEnd);
}

function readWill(reader: PacketReader, flags: number, version: ProtocolVersion): WillRequest {
  const properties = readProperties(reader, 'will', version);
  checkWillResponseTopic(properties);
  // [MQTT-3.1.3-11]
  const topicName = reader.string();
  // [MQTT-4.7.0-1] [MQTT-4.7.3-1]
  if (topicName === '' || hasWildcards(topicName)) {
    throw new ProtocolError(ReasonCode.topicNameInvalid, 'a will topic that is empty or has a wildcard, §3.1.3.3');
  }
  const payload = reader.binary();
  const { start, end } = properties;
  const { willDelayInterval, messageExpiryInterval } = PropertyId;
  return {
    topicName,
    payload,
    qos: ((flags >> willQosShift) & 3) as QoS,
    retain: (flags & ConnectFlag.willRetain) !== 0,
    delaySeconds: properties.number(willDelayInterval) ?? 0,
    messageExpirySeconds: properties.number(messageExpiryInterval) ?? -1,
    // [MQTT-3.1.3-10]
    properties:
      start === end ? noProperties : copyWithout(reader.buffer, start, end, willDelayInterval, messageExpiryInterval),
    userProperties: properties.userProperties,
  };
}

function checkWillResponseTopic(properties: PropertySet): void {
  const topic = properties.string(PropertyId.responseTopic);
  if (topic === null) return;
  if (topic === '') throw violation('an empty Response Topic, §3.3.2.3.5');
  // [MQTT-3.3.2-14]
  if (hasWildcards(topic)) throw violation('a Response Topic with a wildcard, §3.3.2.3.5');
}

function hasWildcards(topicName: string): boolean {
  return topicName.includes('#') || topicName.includes('+');
}
