import { copyWords, viewOf } from '../base/words.js';
import { hasWildcard } from './property-block.js';
import { decodeUtf8 } from './utf8.js';
import { malformed } from './violations.js';

/** Longer topic names are decoded each time, so that the cache's memory is bounded: entries × this, at the worst. */
const longestCached = 256;
/** Room for bytes comes in multiples of this, so that most names fit in the place of any other. */
const keyStep = 32;
const noBytes = new DataView(new ArrayBuffer(0));

/**
 * Topic names by their bytes, so that a topic in steady use is decoded and validated no more and yields the same
 * string. Two-way set associative: each hash names a pair of places; a new topic takes the first of the pair and moves
 * what was there to the second. It does so when it comes for the second time, and no other new one has come for the
 * pair in between: topics that come once drive nothing out.
 */
export class TopicCache {
  private readonly places: number;
  private readonly setMask: number;
  private readonly hashes: Int32Array;
  /** Of each pair's new topic, which has no place yet. */
  private readonly newHashes: Int32Array;
  /** The bytes of each name are the first of these: room that is used again and again. */
  private readonly keys: DataView[];
  private readonly lengths: Uint16Array;
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
    this.newHashes = new Int32Array(places / 2);
    this.keys = new Array(places).fill(noBytes);
    this.lengths = new Uint16Array(places);
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
    const view = viewOf(buffer);
    const hash = hashOf(view, start, end);
    const first = (hash & this.setMask) << 1;
    if (this.isAt(first, hash, view, start, end)) return this.names[first];
    const second = first + 1;
    if (this.isAt(second, hash, view, start, end)) return this.names[second];
    const name = this.decode(buffer, start, end);
    if (this.newHashes[first >> 1] !== hash) {
      this.newHashes[first >> 1] = hash;
      return name;
    }
    this.replace(first, second, hash, view, start, end);
    this.names[first] = name;
    return name;
  }

  /** Moves what is in the first place to the second, and takes the name's hash and bytes into the first. */
  private replace(first: number, second: number, hash: number, view: DataView, start: number, end: number): void {
    const length = end - start;
    const known = this.keys[second];
    const hasRoom = known.byteLength >= length;
    const key = hasRoom ? known : new DataView(new ArrayBuffer(Math.ceil(length / keyStep) * keyStep));
    copyWords(view, start, end, key, 0);
    this.hashes[second] = this.hashes[first];
    this.keys[second] = this.keys[first];
    this.lengths[second] = this.lengths[first];
    this.names[second] = this.names[first];
    this.hashes[first] = hash;
    this.keys[first] = key;
    this.lengths[first] = length;
  }

  private decode(buffer: Buffer, start: number, end: number): string {
    const name = decodeTopicName(buffer, start, end);
    return this.rename === null ? name : this.rename(name);
  }

  private isAt(place: number, hash: number, view: DataView, start: number, end: number): boolean {
    if (this.hashes[place] !== hash) return false;
    const length = end - start;
    if (this.lengths[place] !== length) return false;
    const key = this.keys[place];
    let index = 0;
    for (; index <= length - 4; index += 4) {
      if (key.getInt32(index, true) !== view.getInt32(start + index, true)) return false;
    }
    for (; index < length; index++) if (key.getUint8(index) !== view.getUint8(start + index)) return false;
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

/** FNV-1a by words, with its bits mixed down, as the low ones choose the place. */
function hashOf(view: DataView, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  let at = start;
  for (; at <= end - 4; at += 4) {
    hash = Math.imul(hash ^ view.getInt32(at, true), 0x01000193);
    hash ^= hash >>> 15;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ view.getUint8(at), 0x01000193);
  return hash ^ (hash >>> 15);
}
