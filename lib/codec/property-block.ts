import { type PropertyId, type PropertyWireType, propertyDefinitions } from '../spec/properties.js';
import { isWellFormedUtf8 } from './utf8.js';
import { readVariableByteInteger, variableByteIntegerSize } from './variable-byte-integer.js';
import { malformed, violation } from './violations.js';

/** Wire type of each property by identifier; undefined where the standard has none. */
const wireTypes: (PropertyWireType | undefined)[] = new Array(0x80).fill(undefined);
for (const definition of propertyDefinitions) wireTypes[definition.id] = definition.wireType;

/** A block without properties. */
export const noProperties: Buffer = Buffer.alloc(0);

/**
 * End of the length-prefixed field (string or binary) at `start`.
 * @throws ProtocolError 0x81 if it does not fit before `end`
 * @see MQTT 5 §1.5.4, §1.5.6
 */
export function fieldEnd(buffer: Buffer, start: number, end: number): number {
  const from = start + 2;
  if (from > end) throw malformed('a length is cut off, §1.5.4');
  const to = from + ((buffer[start] << 8) | buffer[start + 1]);
  if (to > end) throw malformed('a field is longer than what holds it, §1.5.4');
  return to;
}

/** As `fieldEnd`, for a string, which must be well-formed. @throws ProtocolError 0x81 @see MQTT 5 §1.5.4 */
export function stringEnd(buffer: Buffer, start: number, end: number): number {
  const to = fieldEnd(buffer, start, end);
  // [MQTT-1.5.4-1] [MQTT-1.5.4-2]
  if (!isWellFormedUtf8(buffer, start + 2, to)) throw malformed('a string is not well-formed UTF-8, §1.5.4');
  return to;
}

/** End of the name and value at `start`. @throws ProtocolError 0x81 @see MQTT 5 §1.5.7 */
export function pairEnd(buffer: Buffer, start: number, end: number): number {
  // [MQTT-1.5.7-1]
  return stringEnd(buffer, stringEnd(buffer, start, end), end);
}

/** The 4 byte integer at `start`. @throws ProtocolError 0x81 if cut off @see MQTT 5 §1.5.3 */
export function readUint32(buffer: Buffer, start: number, end: number): number {
  if (start + 4 > end) throw malformed('an integer is cut off, §1.5.3');
  return buffer[start] * 0x1000000 + ((buffer[start + 1] << 16) | (buffer[start + 2] << 8) | buffer[start + 3]);
}

/** The 2 byte integer at `start`. @throws ProtocolError 0x81 if cut off @see MQTT 5 §1.5.2 */
export function readUint16(buffer: Buffer, start: number, end: number): number {
  if (start + 2 > end) throw malformed('an integer is cut off, §1.5.2');
  return (buffer[start] << 8) | buffer[start + 1];
}

/** The Two Byte packet identifier at `start`. @throws ProtocolError 0x81 if cut off, 0x82 if 0 @see MQTT 5 §2.2.1 */
export function readPacketId(buffer: Buffer, start: number, end: number): number {
  const packetId = readUint16(buffer, start, end);
  // [MQTT-2.2.1-3]
  if (packetId === 0) throw violation('packet identifier 0, §2.2.1');
  return packetId;
}

/** Refuses what cannot be a Response Topic: nothing at all, or wildcards. The bytes are known to be UTF-8. */
export function checkResponseTopic(buffer: Buffer, start: number, end: number): void {
  if (start === end) throw violation('an empty Response Topic, §3.3.2.3.5');
  // [MQTT-3.3.2-14]
  if (hasWildcard(buffer, start, end)) throw violation('a Response Topic with a wildcard, §3.3.2.3.5');
}

/** True if there is a `#` or `+` in `buffer[start, end)`. */
export function hasWildcard(buffer: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    if (buffer[index] === 0x23 || buffer[index] === 0x2b) return true;
  }
  return false;
}

/**
 * Where the property at `position` (its identifier) ends; looks at lengths only.
 * @throws ProtocolError 0x81 if unknown or cut off
 */
export function skipProperty(buffer: Buffer, position: number, end: number): number {
  const value = position + 1;
  const next = skipValue(wireTypes[buffer[position]], buffer, value, end);
  if (next > end) throw malformed('a property is cut off, §2.2.2');
  return next;
}

function skipValue(wireType: PropertyWireType | undefined, buffer: Buffer, value: number, end: number): number {
  switch (wireType) {
    case 'byte':
      return value + 1;
    case 'uint16':
      return value + 2;
    case 'uint32':
      return value + 4;
    case 'variable':
      return value + variableByteIntegerSize(readVariableByteInteger(buffer, value, end));
    case 'string':
    case 'binary':
      return fieldEnd(buffer, value, end);
    case 'pair':
      return fieldEnd(buffer, fieldEnd(buffer, value, end), end);
    case undefined:
      throw malformed('an unknown property, §2.2.2.2');
  }
}

/** Place of the first property `id` in the block `buffer[start, end)` (of its identifier byte), or -1. */
export function findProperty(buffer: Buffer, start: number, end: number, id: PropertyId): number {
  for (let position = start; position < end; position = skipProperty(buffer, position, end)) {
    if (buffer[position] === id) return position;
  }
  return -1;
}

/** A compact copy of the block `buffer[start, end)` without two kinds of property; the others keep their order. */
export function copyWithout(buffer: Buffer, start: number, end: number, one: PropertyId, other: PropertyId): Buffer {
  const kept = Buffer.allocUnsafe(end - start);
  let length = 0;
  let position = start;
  while (position < end) {
    const next = skipProperty(buffer, position, end);
    if (buffer[position] !== one && buffer[position] !== other) {
      buffer.copy(kept, length, position, next);
      length += next - position;
    }
    position = next;
  }
  return length === 0 ? noProperties : kept.subarray(0, length);
}
