import { copyOf } from '../base/bytes.js';
import { residentMemory } from './resident-memory.js';

/** Before each value: its length as a number of 32 bits, its group likewise, its number as one of 64. */
const headerBytes = 16;
/** Values begin at multiples of this: so a place fits a number of 32 bits, and headers are read as numbers. */
const slotBytes = 8;
const defaultChunkBytes = 2 ** 18;
/** A value above this part of a chunk has a buffer of its own, so that the end of a chunk wastes no more than that. */
const ownBufferPart = 8;
/** Locations from here on downwards are of buffers of their own; -1 is no location. */
const firstOwn = -2;

/** Called when a value has moved. */
type Moved = (group: number, number: number, location: number) => void;

class Chunk {
  readonly id: number;
  readonly bytes: Buffer;
  readonly ints: Int32Array;
  readonly doubles: Float64Array;
  /** Bytes written, and how many of them are of values that are not removed. */
  used = 0;
  live = 0;

  constructor(id: number, size: number) {
    this.id = id;
    this.bytes = Buffer.from(residentMemory(size));
    this.ints = new Int32Array(this.bytes.buffer);
    this.doubles = new Float64Array(this.bytes.buffer);
  }
}

function entryBytes(length: number): number {
  return headerBytes + Math.ceil(length / slotBytes) * slotBytes;
}

/**
 * Values one behind the other in chunks of memory outside the heap. A location is a signed integer of 32 bits: number
 * of a chunk and place in it, or below zero for a large value with a buffer of its own.
 * ```
 *   chunk 0 (closed)                                   chunk 1 (current)
 *   [header value|header (removed)|header value|...]   [header value|header value|    free    ]
 *                    |                                                             ^
 *                    +-- when half of the closed chunks is like that, the rest of the emptiest one moves here
 * ```
 * Bytes of a value are never written again, so that whoever holds a view of them may keep it: a chunk without values
 * is dropped, not used again.
 */
export class PackedValues {
  private readonly moved: Moved;
  private readonly chunkSize: number;
  private readonly slotBits: number;
  private readonly chunksMax: number;
  private chunks: (Chunk | null)[] = [];
  private freeChunks: number[] = [];
  private current: Chunk | null = null;
  /** Of all chunks but the current one: how many, and their bytes of values that are not removed. */
  private closed = 0;
  private closedLive = 0;
  private own: (Buffer | null)[] = [];
  private freeOwn: number[] = [];
  private ownBytes = 0;

  /**
   * @param moved called within `remove` for values that have another location from now on
   * @param chunkSize bytes of a chunk, a power of two
   * @param chunksMax beyond so many chunks each value has a buffer of its own; at most what locations can tell
   */
  constructor(moved: Moved, chunkSize = defaultChunkBytes, chunksMax = Number.MAX_SAFE_INTEGER) {
    this.moved = moved;
    this.chunkSize = chunkSize;
    this.slotBits = Math.log2(chunkSize / slotBytes);
    this.chunksMax = Math.min(chunksMax, 2 ** (31 - this.slotBits));
  }

  /** Bytes of memory that chunks and large values take. */
  get chunkBytes(): number {
    return (this.closed + (this.current === null ? 0 : 1)) * this.chunkSize + this.ownBytes;
  }

  /** Bytes of it that values take which are not removed, with their headers. */
  get liveBytes(): number {
    return this.closedLive + (this.current?.live ?? 0) + this.ownBytes;
  }

  /**
   * Copies a value.
   * @param group what `moved` is to tell of it, an unsigned integer of 31 bits
   * @param number likewise, any number
   * @returns its location
   */
  add(value: Buffer, group: number, number: number): number {
    const { length } = value;
    const bytes = entryBytes(length);
    if (length > this.chunkSize / ownBufferPart) return this.addOwn(value);
    let chunk = this.current;
    if (chunk === null || chunk.used + bytes > this.chunkSize) {
      chunk = this.nextChunk();
      if (chunk === null) return this.addOwn(value);
    }
    const at = chunk.used;
    const slot = at / slotBytes;
    chunk.ints[2 * slot] = length;
    chunk.ints[2 * slot + 1] = group;
    chunk.doubles[slot + 1] = number;
    chunk.bytes.set(value, at + headerBytes);
    chunk.used = at + bytes;
    chunk.live += bytes;
    return (chunk.id << this.slotBits) | slot;
  }

  /** A view of a value; it stays as it is whatever happens to the value, and keeps its whole chunk in memory. */
  view(location: number): Buffer {
    if (location <= firstOwn) return this.own[firstOwn - location] as Buffer;
    const { ints, bytes } = this.chunkOf(location);
    const slot = this.slotOf(location);
    const start = slot * slotBytes + headerBytes;
    return bytes.subarray(start, start + ints[2 * slot]);
  }

  /** A copy of a value, to be held for as long as one likes. A large one is not copied: nothing else is with it. */
  copy(location: number): Buffer {
    if (location <= firstOwn) return this.view(location);
    const { ints, bytes } = this.chunkOf(location);
    const slot = this.slotOf(location);
    const start = slot * slotBytes + headerBytes;
    return copyOf(bytes, start, start + ints[2 * slot]);
  }

  /** Removes a value, and moves others if too much memory is of values that are removed. */
  remove(location: number): void {
    if (location <= firstOwn) {
      this.removeOwn(firstOwn - location);
      return;
    }
    const chunk = this.chunkOf(location);
    const at = 2 * this.slotOf(location);
    const length = chunk.ints[at];
    const bytes = entryBytes(length);
    // A header is in no view.
    chunk.ints[at] = ~length;
    chunk.live -= bytes;
    if (chunk === this.current) return;
    this.closedLive -= bytes;
    if (chunk.live === 0) this.release(chunk);
    else if (2 * this.closedLive < this.closed * this.chunkSize) this.moveEmptiest();
  }

  /** Removes everything. */
  clear(): void {
    this.chunks = [];
    this.freeChunks = [];
    this.current = null;
    this.closed = 0;
    this.closedLive = 0;
    this.own = [];
    this.freeOwn = [];
    this.ownBytes = 0;
  }

  private chunkOf(location: number): Chunk {
    return this.chunks[location >>> this.slotBits] as Chunk;
  }

  private slotOf(location: number): number {
    return location & ((1 << this.slotBits) - 1);
  }

  /** Closes the current chunk and begins another; null if there are as many as there may be. */
  private nextChunk(): Chunk | null {
    const { current } = this;
    const id = this.freeChunks.pop() ?? this.chunks.length;
    if (id >= this.chunksMax) return null;
    const chunk = new Chunk(id, this.chunkSize);
    this.chunks[id] = chunk;
    this.current = chunk;
    if (current !== null) {
      this.closed++;
      this.closedLive += current.live;
      if (current.live === 0) this.release(current);
    }
    return chunk;
  }

  private release(chunk: Chunk): void {
    this.chunks[chunk.id] = null;
    this.freeChunks.push(chunk.id);
    this.closed--;
  }

  /** One chunk at a time: no removal takes long, and each that finds too much removed gives back half a chunk. */
  private moveEmptiest(): void {
    let emptiest: Chunk | null = null;
    for (const chunk of this.chunks) {
      if (chunk === null || chunk === this.current) continue;
      if (emptiest === null || chunk.live < emptiest.live) emptiest = chunk;
    }
    if (emptiest === null) return;
    const { ints, doubles, bytes, used, live } = emptiest;
    for (let at = 0; at < used; ) {
      const slot = at / slotBytes;
      const length = ints[2 * slot];
      const start = at + headerBytes;
      at += entryBytes(length < 0 ? ~length : length);
      if (length < 0) continue;
      const group = ints[2 * slot + 1];
      const number = doubles[slot + 1];
      this.moved(group, number, this.add(bytes.subarray(start, start + length), group, number));
    }
    this.closedLive -= live;
    this.release(emptiest);
  }

  private addOwn(value: Buffer): number {
    const id = this.freeOwn.pop() ?? this.own.length;
    const copy = Buffer.allocUnsafeSlow(value.length);
    copy.set(value);
    this.own[id] = copy;
    this.ownBytes += value.length;
    return firstOwn - id;
  }

  private removeOwn(id: number): void {
    this.ownBytes -= this.own[id]?.length ?? 0;
    this.own[id] = null;
    this.freeOwn.push(id);
  }
}
