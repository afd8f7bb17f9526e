import { variableByteIntegerSize, writeVariableByteInteger } from '../../../lib/codec/variable-byte-integer.js';

/**
 * What packets in tests are written with: numbers are bytes, strings are hex (spaces allowed), Buffers are themselves.
 */
export type Part = number | string | Buffer;

export function bytes(...parts: Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part]);
      return typeof part === 'string' ? Buffer.from(part.replaceAll(' ', ''), 'hex') : part;
    }),
  );
}

export function variable(value: number): Buffer {
  const encoded = Buffer.alloc(variableByteIntegerSize(value));
  writeVariableByteInteger(encoded, 0, value);
  return encoded;
}

/** A packet: first byte, computed remaining length, body. */
export function packet(firstByte: number, ...body: Part[]): Buffer {
  const rest = bytes(...body);
  return bytes(firstByte, variable(rest.length), rest);
}

/** A string or binary field with its length. */
export function field(content: string | Buffer): Buffer {
  const raw = Buffer.from(content as string);
  return bytes(raw.length >> 8, raw.length & 0xff, raw);
}

/** Properties with their length. */
export function properties(...parts: Part[]): Buffer {
  const block = bytes(...parts);
  return bytes(variable(block.length), block);
}

export function userProperty(name: string | Buffer, value: string | Buffer): Buffer {
  return bytes(0x26, field(name), field(value));
}

/** Strings that are not MQTT strings, by what is wrong with them. */
export const badStrings: Record<string, Buffer> = {
  'a lone high surrogate': bytes('61 eda080'),
  'a lone low surrogate': bytes('edbfbf'),
  'a surrogate pair in UTF-8 (CESU-8)': bytes('eda081 edb080'),
  'an overlong slash': bytes('c0af'),
  'an overlong three byte form': bytes('e0809f'),
  'an overlong four byte form': bytes('f08080af'),
  'a truncated sequence': bytes('61 e282'),
  'a truncated four byte sequence': bytes('f09f98'),
  'a lone continuation byte': bytes('80'),
  'a sequence broken by ASCII': bytes('c361'),
  'a code point above U+10FFFF': bytes('f4908080'),
  'a byte that is never used': bytes('ff'),
  'U+0000': bytes('61 00 62'),
  'U+0000 behind multi-byte text': bytes('c3a4 00'),
};
