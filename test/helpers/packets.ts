/**
 * Packets built byte by byte, without the broker's own codec, for tests that must not share its mistakes.
 * Nothing is checked: what MQTT forbids can be built as well.
 */

export type Version = 3 | 4 | 5;

/** A variable byte integer. */
export function variable(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low | 0x80 : low);
  } while (rest > 0);
  return Buffer.from(bytes);
}

export function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Text or binary data with its length in two bytes before it. */
export function field(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint16(bytes.length), bytes]);
}

/** A packet of any first byte and body. */
export function frame(firstByte: number, ...body: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(body);
  return Buffer.concat([Buffer.from([firstByte]), variable(bytes.length), bytes]);
}

const byteProperty = (id: number) => (value: number) => Buffer.from([id, value]);
const uint16Property = (id: number) => (value: number) => Buffer.concat([Buffer.from([id]), uint16(value)]);
const uint32Property = (id: number) => (value: number) => Buffer.concat([Buffer.from([id]), uint32(value)]);
const fieldProperty = (id: number) => (value: string | Buffer) => Buffer.concat([Buffer.from([id]), field(value)]);

/** One property each, by the names of the standard. */
export const property = {
  payloadFormatIndicator: byteProperty(0x01),
  messageExpiryInterval: uint32Property(0x02),
  contentType: fieldProperty(0x03),
  responseTopic: fieldProperty(0x08),
  correlationData: fieldProperty(0x09),
  subscriptionIdentifier: (value: number) => Buffer.concat([Buffer.from([0x0b]), variable(value)]),
  sessionExpiryInterval: uint32Property(0x11),
  assignedClientIdentifier: fieldProperty(0x12),
  serverKeepAlive: uint16Property(0x13),
  authenticationMethod: fieldProperty(0x15),
  authenticationData: fieldProperty(0x16),
  requestProblemInformation: byteProperty(0x17),
  willDelayInterval: uint32Property(0x18),
  requestResponseInformation: byteProperty(0x19),
  serverReference: fieldProperty(0x1c),
  reasonString: fieldProperty(0x1f),
  receiveMaximum: uint16Property(0x21),
  topicAliasMaximum: uint16Property(0x22),
  topicAlias: uint16Property(0x23),
  maximumQos: byteProperty(0x24),
  retainAvailable: byteProperty(0x25),
  userProperty: (name: string, value: string) => Buffer.concat([Buffer.from([0x26]), field(name), field(value)]),
  maximumPacketSize: uint32Property(0x27),
} as const;

/** Properties with their length before them; nothing before version 5. */
export function properties(version: Version, list: readonly Buffer[] = []): Buffer {
  if (version < 5) return Buffer.alloc(0);
  const bytes = Buffer.concat(list);
  return Buffer.concat([variable(bytes.length), bytes]);
}

export interface WillFields {
  readonly topic: string;
  readonly payload?: string | Buffer;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: readonly Buffer[];
}

export interface ConnectFields {
  readonly version?: Version;
  readonly clientId?: string;
  readonly cleanStart?: boolean;
  readonly keepAlive?: number;
  readonly properties?: readonly Buffer[];
  readonly will?: WillFields;
  readonly userName?: string;
  readonly password?: string | Buffer;
}

/** CONNECT; by default version 5, a clean start, no keep alive, no client identifier. */
export function connect(fields: ConnectFields = {}): Buffer {
  const { version = 5, clientId = '', cleanStart = true, keepAlive = 0, will, userName, password } = fields;
  let flags = cleanStart ? 0x02 : 0;
  if (will !== undefined) flags |= 0x04 | ((will.qos ?? 0) << 3) | (will.retain === true ? 0x20 : 0);
  if (userName !== undefined) flags |= 0x80;
  if (password !== undefined) flags |= 0x40;
  const body = [
    field(version === 3 ? 'MQIsdp' : 'MQTT'),
    Buffer.from([version, flags]),
    uint16(keepAlive),
    properties(version, fields.properties),
    field(clientId),
  ];
  if (will !== undefined) body.push(properties(version, will.properties), field(will.topic), field(will.payload ?? ''));
  if (userName !== undefined) body.push(field(userName));
  if (password !== undefined) body.push(field(password));
  return frame(0x10, ...body);
}

export interface PublishFields {
  readonly version?: Version;
  readonly topic: string;
  readonly payload?: string | Buffer;
  readonly qos?: number;
  readonly packetId?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly properties?: readonly Buffer[];
}

/** PUBLISH; a packet identifier is written where QoS is not 0, by default 1. */
export function publish(fields: PublishFields): Buffer {
  const { version = 5, topic, payload = '', qos = 0, packetId = 1, retain = false, dup = false } = fields;
  const identifier = qos > 0 ? uint16(packetId) : Buffer.alloc(0);
  const firstByte = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  return frame(firstByte, field(topic), identifier, properties(version, fields.properties), Buffer.from(payload));
}

export interface SubscribeFields {
  readonly version?: Version;
  readonly packetId?: number;
  /** Filters with their options byte, which before version 5 is the QoS alone. */
  readonly filters: readonly (readonly [filter: string, options: number])[];
  readonly properties?: readonly Buffer[];
}

export function subscribe({ version = 5, packetId = 1, filters, properties: list }: SubscribeFields): Buffer {
  const entries = filters.flatMap(([filter, options]) => [field(filter), Buffer.from([options])]);
  return frame(0x82, uint16(packetId), properties(version, list), ...entries);
}

export interface UnsubscribeFields {
  readonly version?: Version;
  readonly packetId?: number;
  readonly filters: readonly string[];
  readonly properties?: readonly Buffer[];
}

export function unsubscribe({ version = 5, packetId = 1, filters, properties: list }: UnsubscribeFields): Buffer {
  return frame(0xa2, uint16(packetId), properties(version, list), ...filters.map(field));
}

const ackFirstByte = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;

/** An acknowledgement in its shortest form: code and properties only where they are given. */
export function ack(
  type: keyof typeof ackFirstByte,
  packetId: number,
  reasonCode?: number,
  list?: readonly Buffer[],
): Buffer {
  const code = reasonCode === undefined ? Buffer.alloc(0) : Buffer.from([reasonCode]);
  return frame(ackFirstByte[type], uint16(packetId), code, list === undefined ? Buffer.alloc(0) : properties(5, list));
}

export const pingreq = (): Buffer => frame(0xc0);

/** DISCONNECT in its shortest form: code and properties only where they are given. */
export function disconnect(reasonCode?: number, list?: readonly Buffer[]): Buffer {
  const code = reasonCode === undefined ? Buffer.alloc(0) : Buffer.from([reasonCode]);
  return frame(0xe0, code, list === undefined ? Buffer.alloc(0) : properties(5, list));
}

export interface RawConnectFields {
  readonly name?: string;
  readonly level?: number;
  readonly flags?: number;
  /** What stands behind the keep alive; by default no properties (level 5) and the client identifier `c`. */
  readonly rest?: readonly Buffer[];
}

/** CONNECT of any name, level and flags over any payload. */
export function rawConnect({ name = 'MQTT', level = 5, flags = 2, rest }: RawConnectFields): Buffer {
  const usual = level === 5 ? [variable(0), field('c')] : [field('c')];
  return frame(0x10, field(name), Buffer.from([level, flags]), uint16(0), ...(rest ?? usual));
}

/** AUTH with any code and properties. */
export function auth(reasonCode: number, list: readonly Buffer[] = []): Buffer {
  return frame(0xf0, Buffer.from([reasonCode]), properties(5, list));
}
