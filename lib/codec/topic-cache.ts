import { hasWildcard } from './property-block.js';
import { decodeUtf8 } from './utf8.js';
import { malformed } from './violations.js';

/** Longer topic names are decoded each time, so that the cache's memory is bounded: entries × this, at the worst. */
const longestCached = 256;
const noBytes = new Uint8Array(0);

/**
 * Topic names by their bytes, so that a topic in steady use is decoded and validated once and always yields the same
 * string. Two-way set associative: each hash names a pair of places; a new topic takes the first of the pair and moves
 * what was there to the second.
 */
export class TopicCache {
  private readonly places: number;
  private readonly setMask: number;
  private readonly hashes: Int32Array;
  private readonly keys: Uint8Array[];
  private readonly names: string[];
  /** What each name becomes; null if it stays. */
  private readonly rename: ((name: string) => string) | null;

  /** @param maxEntries most topics kept; rounded down to a power of two, at least 2 */
  constructor(maxEntries: number, rename: ((name: string) => string) | null = null) {
    const places = 2 ** Math.max(1, Math.floor(Math.log2(Math.max(2, maxEntries))));
    this.places = places;
    this.rename = rename;
    this.setMask = places / 2 - 1;
    this.hashes = new Int32Array(places);
    this.keys = new Array(places).fill(noBytes);
    this.names = new Array(places).fill('');
  }

  /** An empty cache of the same size whose names are renamed. */
  renaming(rename: (name: string) => string): TopicCache {
    return new TopicCache(this.places, rename);
  }

  /**
   * The topic name in `buffer[start, end)`; an empty one is the caller's business.
   * @throws ProtocolError 0x81 if it is not well-formed or has a wildcard
   * @see MQTT 5 §3.3.2.1, §4.7
   */
  lookup(buffer: Buffer, start: number, end: number): string {
    if (end - start > longestCached) return this.decode(buffer, start, end);
    const hash = hashOf(buffer, start, end);
    const first = (hash & this.setMask) << 1;
    if (this.isAt(first, hash, buffer, start, end)) return this.names[first];
    const second = first + 1;
    if (this.isAt(second, hash, buffer, start, end)) return this.names[second];
    const name = this.decode(buffer, start, end);
    this.hashes[second] = this.hashes[first];
    this.keys[second] = this.keys[first];
    this.names[second] = this.names[first];
    this.hashes[first] = hash;
    this.keys[first] = new Uint8Array(buffer.subarray(start, end));
    this.names[first] = name;
    return name;
  }

  private decode(buffer: Buffer, start: number, end: number): string {
    const name = decodeTopicName(buffer, start, end);
    return this.rename === null ? name : this.rename(name);
  }

  private isAt(place: number, hash: number, buffer: Buffer, start: number, end: number): boolean {
    if (this.hashes[place] !== hash) return false;
    const key = this.keys[place];
    const length = end - start;
    if (key.length !== length) return false;
    for (let index = 0; index < length; index++) {
      if (key[index] !== buffer[start + index]) return false;
    }
    return true;
  }
}

/** Decodes and checks a topic name. @throws ProtocolError 0x81 @see MQTT 5 §4.7 */
function decodeTopicName(buffer: Buffer, start: number, end: number): string {
  // [MQTT-3.3.2-1] [MQTT-4.7.3-2]
  const name = decodeUtf8(buffer, start, end);
  // [MQTT-3.3.2-2] [MQTT-4.7.0-1]
  if (hasWildcard(buffer, start, end)) throw malformed('a topic name with a wildcard, §4.7.1');
  return name;
}

/** FNV-1a with its bits mixed down, as the low ones choose the place. */
function hashOf(buffer: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ buffer[index], 0x01000193);
  return hash ^ (hash >>> 15);
}
