import type { ProtocolVersion } from '../spec/packet-types.js';
import {
  type PropertyCarrier,
  type PropertyDefinition,
  type PropertyId,
  propertyDefinitions,
} from '../spec/properties.js';
import { fieldEnd, readPacketId, readUint16, readUint32 } from './property-block.js';
import { decodeUtf8 } from './utf8.js';
import { readVariableByteInteger, variableByteIntegerSize } from './variable-byte-integer.js';
import { malformed, violation } from './violations.js';

/*
 * Control packets other than PUBLISH and the acknowledgements are read here field by field. mqtt-packet encodes what
 * we answer (generate.ts) and is the oracle of the tests, but does not decode: it lets through what MQTT forbids
 * (duplicates, foreign properties, bad UTF-8, trailing bytes), and checking all that before it is a whole decoder.
 */

/** Reads the body of a packet front to back; every method throws ProtocolError 0x81 if its field is cut off. */
export class PacketReader {
  readonly buffer: Buffer;
  readonly end: number;
  position: number;

  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer;
    this.position = start;
    this.end = end;
  }

  get atEnd(): boolean {
    return this.position === this.end;
  }

  byte(): number {
    if (this.atEnd) throw malformed('a byte is missing, §4.13.1');
    return this.buffer[this.position++];
  }

  uint16(): number {
    const value = readUint16(this.buffer, this.position, this.end);
    this.position += 2;
    return value;
  }

  uint32(): number {
    const value = readUint32(this.buffer, this.position, this.end);
    this.position += 4;
    return value;
  }

  variableByteInteger(): number {
    const value = readVariableByteInteger(this.buffer, this.position, this.end);
    this.position += variableByteIntegerSize(value);
    return value;
  }

  /** @throws ProtocolError 0x82 if it is 0 */
  packetId(): number {
    const value = readPacketId(this.buffer, this.position, this.end);
    this.position += 2;
    return value;
  }

  /** A string, strictly decoded. @see MQTT 5 §1.5.4 */
  string(): string {
    const start = this.position + 2;
    this.position = fieldEnd(this.buffer, this.position, this.end);
    return decodeUtf8(this.buffer, start, this.position);
  }

  /** A string of which only ASCII matters. @see MQTT 5 §1.5.4 */
  latin1(): string {
    const start = this.position + 2;
    this.position = fieldEnd(this.buffer, this.position, this.end);
    return this.buffer.toString('latin1', start, this.position);
  }

  /** A copy of binary data. @see MQTT 5 §1.5.6 */
  binary(): Buffer {
    const start = this.position + 2;
    this.position = fieldEnd(this.buffer, this.position, this.end);
    return Buffer.from(this.buffer.subarray(start, this.position));
  }

  /** @throws ProtocolError 0x81 if bytes are left */
  expectEnd(): void {
    if (!this.atEnd) throw malformed('bytes behind the last field, §4.13.1');
  }
}

const noPairs: readonly [string, string][] = [];

/** The properties of one packet: at most one value each, but any number of user properties. */
export class PropertySet {
  /** Where they lie in the packet, without the length before them. */
  start = 0;
  end = 0;
  private pairs: [string, string][] | null = null;
  private values: Map<PropertyId, number | string | Buffer> | null = null;

  get userProperties(): readonly [string, string][] {
    return this.pairs ?? noPairs;
  }

  number(id: PropertyId): number | null {
    const value = this.values?.get(id);
    return typeof value === 'number' ? value : null;
  }

  string(id: PropertyId): string | null {
    const value = this.values?.get(id);
    return typeof value === 'string' ? value : null;
  }

  binary(id: PropertyId): Buffer | null {
    const value = this.values?.get(id);
    return Buffer.isBuffer(value) ? value : null;
  }

  /** @throws ProtocolError 0x82 if there is one already */
  add(definition: PropertyDefinition, value: number | string | Buffer): void {
    this.values ??= new Map();
    if (this.values.has(definition.id)) throw violation(`${definition.name} more than once, §2.2.2.2`);
    this.values.set(definition.id, value);
  }

  addUserProperty(name: string, value: string): void {
    this.pairs ??= [];
    this.pairs.push([name, value]);
  }
}

/** What a packet without properties has; nothing is ever added to it. */
const noPropertySet = new PropertySet();

const definitions = new Map<number, PropertyDefinition>();
for (const definition of propertyDefinitions) definitions.set(definition.id, definition);

/**
 * Reads the property length and the properties at the reader's position; for 3.x there are none.
 * @throws ProtocolError 0x81 for what is unknown, foreign to the carrier or cut off; 0x82 for a value out of range or
 *   given twice
 * @see MQTT 5 §2.2.2
 */
export function readProperties(reader: PacketReader, carrier: PropertyCarrier, version: ProtocolVersion): PropertySet {
  if (version !== 5) return noPropertySet;
  // [MQTT-2.2.2-1]
  const length = reader.variableByteInteger();
  const properties = new PropertySet();
  properties.start = reader.position;
  properties.end = reader.position + length;
  if (properties.end > reader.end) throw malformed('properties longer than their packet, §2.2.2.1');
  const inner = new PacketReader(reader.buffer, properties.start, properties.end);
  while (!inner.atEnd) readProperty(inner, carrier, properties);
  reader.position = properties.end;
  return properties;
}

function readProperty(reader: PacketReader, carrier: PropertyCarrier, properties: PropertySet): void {
  const id = reader.byte();
  const definition = definitions.get(id);
  if (definition === undefined || !definition.carriers.includes(carrier)) {
    throw malformed(`property 0x${id.toString(16)} in ${carrier}, §2.2.2.2`);
  }
  switch (definition.wireType) {
    case 'pair':
      // [MQTT-1.5.7-1]
      properties.addUserProperty(reader.string(), reader.string());
      return;
    case 'string':
      properties.add(definition, reader.string());
      return;
    case 'binary':
      properties.add(definition, reader.binary());
      return;
    case 'byte':
      properties.add(definition, inRange(definition, reader.byte()));
      return;
    case 'uint16':
      properties.add(definition, inRange(definition, reader.uint16()));
      return;
    case 'uint32':
      properties.add(definition, inRange(definition, reader.uint32()));
      return;
    case 'variable':
      properties.add(definition, inRange(definition, reader.variableByteInteger()));
      return;
  }
}

function inRange(definition: PropertyDefinition, value: number): number {
  if (value < definition.minimum || value > definition.maximum)
    throw violation(`${definition.name} is ${value}, §2.2.2.2`);
  return value;
}

/**
 * Checks the low nibble of a packet's first byte. MQTT 3.1 has no reserved flags: there the bits are unused, but for
 * the QoS of packets that count as QoS 1 (`expected` 0010).
 * @throws ProtocolError 0x81
 * @see MQTT 5 §2.1.3
 */
export function checkFlags(firstByte: number, expected: 0 | 2, version: ProtocolVersion): void {
  const flags = firstByte & 0x0f;
  if (flags === expected) return;
  if (version === 3 && (expected === 0 || (flags & 6) === 2)) return;
  // [MQTT-2.1.3-1]
  throw malformed(`flags ${flags} in packet type ${firstByte >> 4}, §2.1.3`);
}
