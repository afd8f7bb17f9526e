import type { ProtocolLevel, QualityOfService } from './options.js';

/** A PUBLISH to be copied and patched: offsets count from the start of the frame. */
export interface PublishTemplate {
  readonly frame: Buffer;
  readonly topicOffset: number;
  /** 0 at QoS 0, where there is none. */
  readonly packetIdOffset: number;
  readonly payloadOffset: number;
}

/** How a client introduces itself. */
export interface Identity {
  readonly clientId: string;
  readonly cleanStart: boolean;
  /** 0 ends the session with the connection. MQTT 3.1.1 knows only the clean flag. */
  readonly sessionExpirySeconds: number;
}

/** Digits of the number that ends a topic whose number is patched per message. */
export const topicNumberDigits = 7;

export const pingreqFrame = Buffer.from([0xc0, 0]);
export const disconnectFrame = Buffer.from([0xe0, 0]);

/** `prefix` and a number of fixed width, so that it can be patched in place. */
export function numberedTopic(prefix: string, number: number): string {
  return prefix + String(number).padStart(topicNumberDigits, '0');
}

/** The variable byte integer of MQTT 5 §1.5.5. */
export function encodeLength(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.from(bytes);
}

function encodeString(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([uint16(bytes.length), bytes]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >>> 8, value & 0xff]);
}

function frame(first: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([first]), encodeLength(body.length), body]);
}

/** CONNECT without keep alive, will and user name. */
export function encodeConnect(protocol: ProtocolLevel, identity: Identity): Buffer {
  const flags = identity.cleanStart ? 0x02 : 0;
  const properties: Buffer[] = [];
  if (protocol === 5) {
    const expiry = Buffer.alloc(6);
    expiry[0] = 5;
    expiry[1] = 0x11;
    expiry.writeUInt32BE(identity.sessionExpirySeconds, 2);
    properties.push(identity.sessionExpirySeconds > 0 ? expiry : Buffer.from([0]));
  }
  const head = Buffer.from([protocol, flags, 0, 0]);
  return frame(0x10, encodeString('MQTT'), head, ...properties, encodeString(identity.clientId));
}

/** SUBSCRIBE to all filters at one QoS. */
export function encodeSubscribe(
  protocol: ProtocolLevel,
  packetId: number,
  topicFilters: readonly string[],
  qos: QualityOfService,
): Buffer {
  const properties = protocol === 5 ? Buffer.from([0]) : Buffer.alloc(0);
  const filters = topicFilters.flatMap((topicFilter) => [encodeString(topicFilter), Buffer.from([qos])]);
  return frame(0x82, uint16(packetId), properties, ...filters);
}

const receiptRequest = Buffer.concat([Buffer.from([0x26]), encodeString('receipt'), encodeString('delivered')]);
/** The request for receipts, with the length before it. */
const trackedProperties = Buffer.concat([encodeLength(receiptRequest.length), receiptRequest]);

/** PUBLISH with a payload of zeros, whose numbers are patched per message. */
export function encodePublish(
  protocol: ProtocolLevel,
  topicName: string,
  qos: QualityOfService,
  isRetained: boolean,
  payloadBytes: number,
  isTracked = false,
): PublishTemplate {
  const topic = encodeString(topicName);
  const packetId = Buffer.alloc(qos > 0 ? 2 : 0);
  const properties = isTracked ? trackedProperties : Buffer.alloc(protocol === 5 ? 1 : 0);
  const first = 0x30 | (qos << 1) | (isRetained ? 1 : 0);
  const encoded = frame(first, topic, packetId, properties, Buffer.alloc(payloadBytes));
  const payloadOffset = encoded.length - payloadBytes;
  const packetIdOffset = qos > 0 ? payloadOffset - properties.length - 2 : 0;
  const topicOffset = payloadOffset - properties.length - packetId.length - topic.length + 2;
  return { frame: encoded, topicOffset, packetIdOffset, payloadOffset };
}

// Bytes of each property that CONNACK may carry; 's' is a string or binary value, 'p' a pair of strings.
const connackProperties: Readonly<Record<number, number | 's' | 'p'>> = {
  17: 4,
  18: 's',
  19: 2,
  21: 's',
  22: 's',
  26: 's',
  28: 's',
  31: 's',
  33: 2,
  34: 2,
  36: 1,
  37: 1,
  38: 'p',
  39: 4,
  40: 1,
  41: 1,
  42: 1,
};

/** The server's Receive Maximum in the body of an MQTT 5 CONNACK, 65 535 when it names none. @see MQTT 5 §3.2.2.3.3 */
export function readReceiveMaximum(body: Buffer): number {
  let position = 2;
  while (position < body.length && body[position] >= 0x80) position++;
  position++;
  while (position < body.length) {
    const identifier = body[position++];
    if (identifier === 0x21) return body.readUInt16BE(position);
    const size = connackProperties[identifier];
    if (size === undefined) throw new Error(`CONNACK has the unknown property ${identifier}`);
    if (typeof size === 'number') position += size;
    else for (let strings = size === 'p' ? 2 : 1; strings > 0; strings--) position += 2 + body.readUInt16BE(position);
  }
  return 65_535;
}
