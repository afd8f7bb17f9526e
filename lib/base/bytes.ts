/** Up to this a number is worked on in the 32 bits of integer arithmetic. */
const int31Max = 0x7fffffff;
const int28 = 0x10000000;
/** Up to this length a loop copies part of a buffer quicker than a call, which needs an object for the part. */
const partBytesMax = 32;
/** The same of looking at a text, or writing it, character by character. */
const loopCharactersMax = 24;
/** The same of a text that most likely is ASCII: looking and writing are one. Its length is one byte. */
const loopStringMax = 64;

/** Copies `source[start, end)` to `target[at, …)`. */
export function copyBytes(source: Buffer, start: number, end: number, target: Buffer, at: number): void {
  const length = end - start;
  if (length > partBytesMax) {
    target.set(length === source.length ? source : source.subarray(start, end), at);
  } else {
    let to = at;
    for (let from = start; from < end; from++) target[to++] = source[from] as number;
  }
}

/** A copy of `source[start, end)`. */
export function copyOf(source: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  copyBytes(source, start, end, copy, 0);
  return copy;
}

/** True for a short text in ASCII alone. */
function isShortAscii(text: string): boolean {
  if (text.length > loopCharactersMax) return false;
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}

/** Length of a text in UTF-8, in bytes. */
export function utf8Length(text: string): number {
  return isShortAscii(text) ? text.length : Buffer.byteLength(text, 'utf8');
}

/**
 * Writes a text in UTF-8.
 * @param bytes its length as `utf8Length` told
 */
export function writeUtf8(text: string, bytes: number, target: Buffer, at: number): void {
  if (bytes !== text.length) {
    target.write(text, at, bytes, 'utf8');
  } else if (bytes > loopCharactersMax) {
    // As many bytes as characters: all of them ASCII, and there is no need to look for others.
    target.write(text, at, bytes, 'latin1');
  } else {
    for (let index = 0; index < bytes; index++) target[at + index] = text.charCodeAt(index);
  }
}

/** Writes a whole number from 0 to 2^53-1, seven bits a byte. @returns the position behind it */
export function writeVarint(value: number, target: Buffer, position: number): number {
  let at = position;
  let low = value | 0;
  if (value > int31Max) {
    // Divided once, into two numbers that integer arithmetic can work on.
    const high = Math.floor(value / int28);
    low = value - high * int28;
    for (let left = 4; left > 0; left--) {
      target[at++] = (low & 0x7f) | 0x80;
      low >>>= 7;
    }
    low = high;
  }
  while (low > 0x7f) {
    target[at++] = (low & 0x7f) | 0x80;
    low >>>= 7;
  }
  target[at++] = low;
  return at;
}

/** Memory that a writer takes at once, unless told otherwise. */
const writerBytes = 128;

/**
 * Appends fields to a growing buffer, for values packed by hand. Values that are finished one after another lie behind
 * each other in the same memory.
 */
export class ByteWriter {
  private buffer: Buffer;
  private readonly chunkBytes: number;
  /** Where the value at hand begins, and ends so far. */
  private start = 0;
  private at = 0;

  /** @param chunkBytes memory taken at once: more for a writer of many values, each of which keeps all of it */
  constructor(chunkBytes = writerBytes) {
    this.chunkBytes = chunkBytes;
    this.buffer = Buffer.allocUnsafe(chunkBytes);
  }

  /** Bytes of the value at hand, so far. */
  get length(): number {
    return this.at - this.start;
  }

  u8(value: number): this {
    if (this.at === this.buffer.length) this.grow(1);
    this.buffer[this.at++] = value;
    return this;
  }

  /** A whole number from 0 to 2^53-1, seven bits a byte. */
  varint(value: number): this {
    this.reserve(8);
    this.at = writeVarint(value, this.buffer, this.at);
    return this;
  }

  /** Bytes of a length that the reader knows. */
  raw(bytes: Buffer): this {
    const { length } = bytes;
    this.reserve(length);
    copyBytes(bytes, 0, length, this.buffer, this.at);
    this.at += length;
    return this;
  }

  bytes(bytes: Buffer): this {
    return this.varint(bytes.length).raw(bytes);
  }

  string(text: string): this {
    const { length } = text;
    if (length > loopStringMax) return this.encodedString(text);
    this.reserve(length + 1);
    const { buffer, at } = this;
    buffer[at] = length;
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) return this.encodedString(text);
      buffer[at + 1 + index] = code;
    }
    this.at = at + 1 + length;
    return this;
  }

  private encodedString(text: string): this {
    const length = utf8Length(text);
    this.varint(length);
    this.reserve(length);
    writeUtf8(text, length, this.buffer, this.at);
    this.at += length;
    return this;
  }

  optionalString(text: string | null): this {
    return text === null ? this.u8(0) : this.u8(1).string(text);
  }

  optionalBytes(bytes: Buffer | null): this {
    return bytes === null ? this.u8(0) : this.u8(1).bytes(bytes);
  }

  /** What was written, for good; the writer starts anew. */
  finish(): Buffer {
    const { start, at } = this;
    this.start = at;
    return this.buffer.subarray(start, at);
  }

  private reserve(count: number): void {
    if (this.at + count > this.buffer.length) this.grow(count);
  }

  /** Goes on in other memory. */
  private grow(count: number): void {
    const { buffer, start, at } = this;
    const written = at - start;
    this.buffer = Buffer.allocUnsafe(Math.max(this.chunkBytes, 2 * written + count));
    this.buffer.set(buffer.subarray(start, at));
    this.start = 0;
    this.at = written;
  }
}

/** Reads what a `ByteWriter` wrote. Throws RangeError past the end. */
export class ByteReader {
  private readonly buffer: Buffer;
  private position = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  get atEnd(): boolean {
    return this.position >= this.buffer.length;
  }

  u8(): number {
    return this.buffer.readUInt8(this.position++);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.buffer.readUInt8(this.position++);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
      if (scale > 2 ** 53) throw new RangeError('a number longer than 53 bits');
    }
  }

  raw(length: number): Buffer {
    if (this.position + length > this.buffer.length) throw new RangeError('a field longer than its record');
    const bytes = this.buffer.subarray(this.position, this.position + length);
    this.position += length;
    return bytes;
  }

  bytes(): Buffer {
    return this.raw(this.varint());
  }

  string(): string {
    return this.bytes().toString();
  }

  optionalString(): string | null {
    return this.u8() === 0 ? null : this.string();
  }

  optionalBytes(): Buffer | null {
    return this.u8() === 0 ? null : this.bytes();
  }
}
