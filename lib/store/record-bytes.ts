import { copyBytes, writeUtf8 } from '../base/bytes.js';
import { CountersignError } from '../base/errors.js';

const high32 = 2 ** 32;

/** The error of a row whose bytes are not what this version writes. */
export function corruptRecord(what: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_DATA_CORRUPT', `a stored ${what} is damaged`);
}

/** Writes an integer below 2^53 as 8 bytes that sort by value. */
export function writeUint53(target: Buffer, value: number, offset: number): void {
  writeUint32(target, Math.floor(value / high32), offset);
  writeUint32(target, value >>> 0, offset + 4);
}

/** By hand: the methods of Buffer check more than is needed here, and it shows. */
export function writeUint32(target: Buffer, value: number, offset: number): void {
  target[offset] = value >>> 24;
  target[offset + 1] = (value >>> 16) & 0xff;
  target[offset + 2] = (value >>> 8) & 0xff;
  target[offset + 3] = value & 0xff;
}

/** @throws RangeError past the end */
export function readUint53(source: Buffer, offset: number): number {
  if (offset + 8 > source.length) throw new RangeError('a number is cut off');
  return readUint32(source, offset) * high32 + readUint32(source, offset + 4);
}

function readUint32(source: Buffer, offset: number): number {
  const high = (source[offset] << 24) | (source[offset + 1] << 16);
  return (high | (source[offset + 2] << 8) | source[offset + 3]) >>> 0;
}

/** Fills a buffer of exactly the given size, big endian, in the order of calls. */
export class RecordWriter {
  readonly buffer: Buffer;
  private offset = 0;

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafe(bytes);
  }

  uint8(value: number): void {
    this.buffer[this.offset++] = value;
  }

  uint16(value: number): void {
    this.buffer[this.offset++] = value >>> 8;
    this.buffer[this.offset++] = value & 0xff;
  }

  uint32(value: number): void {
    writeUint32(this.buffer, value, this.offset);
    this.offset += 4;
  }

  uint53(value: number): void {
    writeUint53(this.buffer, value, this.offset);
    this.offset += 8;
  }

  bytes(value: Buffer): void {
    this.part(value, 0, value.length);
  }

  /** Writes `source[start, end)`. */
  part(source: Buffer, start: number, end: number): void {
    copyBytes(source, start, end, this.buffer, this.offset);
    this.offset += end - start;
  }

  /** @param bytes length of the text, as `utf8Length` told */
  text(value: string, bytes: number): void {
    writeUtf8(value, bytes, this.buffer, this.offset);
    this.offset += bytes;
  }

  /** The buffer, once it is full. */
  finish(): Buffer {
    if (this.offset !== this.buffer.length)
      throw new Error(`assertion failed: a record fills its ${this.offset} bytes`);
    return this.buffer;
  }
}

/** Reads what `RecordWriter` wrote; whatever does not fit throws ERR_COUNTERSIGN_DATA_CORRUPT. */
export class RecordReader {
  private readonly buffer: Buffer;
  private readonly what: string;
  private offset = 0;

  /** @param what name of the record for the error */
  constructor(buffer: Buffer, what: string) {
    this.buffer = buffer;
    this.what = what;
  }

  uint8(): number {
    return this.buffer[this.advance(1)];
  }

  uint16(): number {
    const at = this.advance(2);
    return (this.buffer[at] << 8) | this.buffer[at + 1];
  }

  uint32(): number {
    return readUint32(this.buffer, this.advance(4));
  }

  uint53(): number {
    const value = readUint53(this.buffer, this.advance(8));
    this.require(value <= Number.MAX_SAFE_INTEGER);
    return value;
  }

  /** A view. */
  bytes(length: number): Buffer {
    const start = this.advance(length);
    return this.buffer.subarray(start, start + length);
  }

  text(length: number): string {
    const start = this.advance(length);
    return this.buffer.toString('utf8', start, start + length);
  }

  /** All that is left, a view. */
  rest(): Buffer {
    return this.bytes(this.buffer.length - this.offset);
  }

  /** Nothing may be left. */
  end(): void {
    this.require(this.offset === this.buffer.length);
  }

  require(condition: boolean): void {
    if (!condition) throw corruptRecord(this.what);
  }

  private advance(length: number): number {
    const start = this.offset;
    this.require(start + length <= this.buffer.length);
    this.offset = start + length;
    return start;
  }
}
