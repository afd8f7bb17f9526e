import { assert } from '../base/assert.js';
import { variableByteIntegerMax } from '../spec/limits.js';
import { malformed } from './violations.js';

/** Bytes of the (minimal) encoding of `value`, 1 to 4. @see MQTT 5 §1.5.5 */
export function variableByteIntegerSize(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

/** Writes `value` at `offset` and returns the offset behind it. @see MQTT 5 §1.5.5 */
export function writeVariableByteInteger(target: Buffer, offset: number, value: number): number {
  assert(value >= 0 && value <= variableByteIntegerMax, 'a variable byte integer has at most 28 bits');
  let rest = value;
  let position = offset;
  while (rest >= 0x80) {
    target[position++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[position++] = rest;
  return position;
}

/**
 * Reads the integer at `offset`; it ends before `end`. As only the minimal form is accepted, the next field starts at
 * `offset + variableByteIntegerSize(result)`.
 * @throws ProtocolError 0x81 if cut off, longer than four bytes or not minimal
 * @see MQTT 5 §1.5.5
 */
export function readVariableByteInteger(buffer: Buffer, offset: number, end: number): number {
  let value = 0;
  for (let index = 0; index < 4; index++) {
    if (offset + index >= end) throw malformed('a variable byte integer is cut off, §1.5.5');
    const byte = buffer[offset + index];
    value |= (byte & 0x7f) << (7 * index);
    if (byte < 0x80) {
      // [MQTT-1.5.5-1]
      if (byte === 0 && index > 0) throw malformed('a variable byte integer is not minimal, §1.5.5');
      return value;
    }
  }
  throw malformed('a variable byte integer has more than four bytes, §1.5.5');
}
