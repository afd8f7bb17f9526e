import { malformed } from './violations.js';

/**
 * True if `buffer[start, end)` is a UTF-8 Encoded String as MQTT has it: shortest forms, no surrogates, nothing above
 * U+10FFFF, no U+0000. A byte order mark, control characters and non-characters are allowed.
 * @see MQTT 5 §1.5.4
 */
export function isWellFormedUtf8(buffer: Buffer, start: number, end: number): boolean {
  const position = asciiEnd(buffer, start, end);
  return position === end || isWellFormedTail(buffer, position, end);
}

/**
 * Decodes `buffer[start, end)` strictly; a byte order mark stays in the string.
 * @throws ProtocolError 0x81 if it is not well-formed
 * @see MQTT 5 §1.5.4
 */
export function decodeUtf8(buffer: Buffer, start: number, end: number): string {
  const position = asciiEnd(buffer, start, end);
  if (position === end) return buffer.toString('latin1', start, end);
  // [MQTT-1.5.4-1] [MQTT-1.5.4-2]
  if (!isWellFormedTail(buffer, position, end)) throw malformed('a string is not well-formed UTF-8, §1.5.4');
  // [MQTT-1.5.4-3] Buffer keeps a byte order mark, TextDecoder would not
  return buffer.toString('utf8', start, end);
}

/** First place at or after `start` that is not U+0001 to U+007F. */
function asciiEnd(buffer: Buffer, start: number, end: number): number {
  let position = start;
  while (position < end && buffer[position] < 0x80 && buffer[position] !== 0) position++;
  return position;
}

function isWellFormedTail(buffer: Buffer, start: number, end: number): boolean {
  let position = start;
  while (position < end) {
    const first = buffer[position];
    if (first < 0x80) {
      // [MQTT-1.5.4-2]
      if (first === 0) return false;
      position += 1;
      continue;
    }
    const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    // C0 and C1 could only be overlong, F5 and up lie above U+10FFFF, 80 to BF cannot come first
    if (first < 0xc2 || first > 0xf4 || position + length > end) return false;
    const second = buffer[position + 1];
    if (second < smallestSecond(first) || second > largestSecond(first)) return false;
    for (let index = position + 2; index < position + length; index++) {
      if ((buffer[index] & 0xc0) !== 0x80) return false;
    }
    position += length;
  }
  return true;
}

function smallestSecond(first: number): number {
  // below would be overlong
  return first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
}

function largestSecond(first: number): number {
  // above would be a surrogate, or beyond U+10FFFF
  return first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
}
