import { assert } from '../base/assert.js';
import { NumberIndex, noLocation } from './number-index.js';
import { isWithinOneGroup, keyText, lowerBound } from './overlay.js';
import { PackedValues } from './packed-values.js';
import { readUint53, writeUint53 } from './record-bytes.js';
import { groupPrefixBytes, type StoreEntry, type Table } from './store.js';

const numberBytes = 8;

interface Group {
  /** What its values are packed with; another group may have it when this one is gone. */
  readonly id: number;
  readonly prefix: string;
  readonly index: NumberIndex;
}

/** Keys are at or above a bound from this number of this group on. */
interface Bound {
  readonly prefix: string;
  readonly number: number;
}

/**
 * Rows of one table outside the heap, for millions of small ones that live for long. Keys are those of the table's
 * prefix, see `groupPrefixBytes`, with 8 bytes of a number up to 2^53 - 1 behind it, big endian. It is at its best if
 * each new number of a prefix is below all others, and the highest are the first to be deleted.
 * ```
 *   groups:  prefix -> NumberIndex: number -> location -> PackedValues: [group, number, value]
 *                          ^                                               |
 *                          +-------------- when a value moves -------------+
 * ```
 */
export class PackedRows {
  private readonly table: Table;
  private readonly prefixBytes: number;
  private readonly keyBytes: number;
  private readonly values: PackedValues;
  private readonly groups = new Map<string, Group>();
  private groupsById: (Group | null)[] = [];
  private freeIds: number[] = [];
  /** By the last byte of their prefixes: the groups asked for last. */
  private readonly recent: (Group | null)[] = new Array(256).fill(null);
  /** Prefixes in order, made when a range over several first asks; some may be gone. Null when one is missing. */
  private ordered: string[] | null = null;

  /**
   * @param chunkSize bytes of memory taken at once, a power of two
   * @param chunksMax beyond so many chunks each value has a buffer of its own
   */
  constructor(table: Table, chunkSize?: number, chunksMax?: number) {
    this.table = table;
    this.prefixBytes = groupPrefixBytes[table] as number;
    this.keyBytes = this.prefixBytes + numberBytes;
    this.values = new PackedValues(
      (group, number, location) => this.move(group, number, location),
      chunkSize,
      chunksMax,
    );
  }

  /**
   * Bytes of memory that hold values, or did and are not given back; those of keys come on top: 12 to 24 a row where a
   * prefix has many, some hundreds where it has one.
   */
  get chunkBytes(): number {
    return this.values.chunkBytes;
  }

  /** Bytes of it that are of values in the table, with 16 to 23 more for each. */
  get liveBytes(): number {
    return this.values.liveBytes;
  }

  /** The value of a key; it may be held for as long as one likes. */
  get(key: Buffer): Buffer | undefined {
    if (key.length !== this.keyBytes) return undefined;
    const location = this.find(key)?.index.get(this.numberOf(key)) ?? noLocation;
    return location === noLocation ? undefined : this.values.copy(location);
  }

  /** Copies both: the caller may use its buffers again. */
  put(key: Buffer, value: Buffer): void {
    assert(key.length === this.keyBytes, 'a key of packed rows is a prefix and a number');
    const number = this.numberOf(key);
    assert(number <= Number.MAX_SAFE_INTEGER, 'the number of a key has 53 bits');
    const group = this.find(key) ?? this.addGroup(key);
    const before = group.index.set(number, this.values.add(value, group.id, number));
    // Only now: values may move, and the index must know where they are.
    if (before !== noLocation) this.values.remove(before);
  }

  /** Deletes a row, if it is there. */
  delete(key: Buffer): void {
    if (key.length !== this.keyBytes) return;
    const group = this.find(key);
    if (group === undefined) return;
    const location = group.index.delete(this.numberOf(key));
    if (location === noLocation) return;
    if (group.index.isEmpty) this.removeGroup(group);
    this.values.remove(location);
  }

  /**
   * Entries with start <= key < end, in order or last first, at most `limit`. Values are views: one that is held keeps
   * a whole chunk in memory, so copy what is to be held for long.
   * @param start may be shorter or longer than a key
   * @param end likewise; null for no upper end
   */
  range(start: Buffer, end: Buffer | null, limit: number, isReverse: boolean): StoreEntry[] {
    const found: StoreEntry[] = [];
    if (limit <= 0) return found;
    const from = this.bound(start);
    const to = end === null ? null : this.bound(end);
    if (to !== null && this.isOneGroup(from, to)) {
      this.collect(from.prefix, from, to, limit, isReverse, found);
      return found;
    }
    const ordered = this.inOrder();
    const first = lowerBound(ordered, from.prefix);
    let last = ordered.length - 1;
    if (to !== null) {
      const place = lowerBound(ordered, to.prefix);
      // The group of the upper bound itself may have rows below it.
      last = ordered[place] === to.prefix ? place : place - 1;
    }
    for (let at = 0; at <= last - first && found.length < limit; at++) {
      this.collect(ordered[isReverse ? last - at : first + at], from, to, limit, isReverse, found);
    }
    return found;
  }

  /** Deletes all rows. */
  clear(): void {
    this.values.clear();
    this.groups.clear();
    this.groupsById = [];
    this.freeIds = [];
    this.recent.fill(null);
    this.ordered = null;
  }

  private isOneGroup(from: Bound, to: Bound): boolean {
    if (from.prefix === to.prefix) return true;
    return to.number === 0 && isWithinOneGroup(this.table, from.prefix, to.prefix);
  }

  private collect(
    prefix: string,
    from: Bound,
    to: Bound | null,
    limit: number,
    isReverse: boolean,
    found: StoreEntry[],
  ): void {
    const group = this.groups.get(prefix);
    if (group === undefined) return;
    const first = prefix === from.prefix ? from.number : 0;
    const end = prefix === to?.prefix ? to.number : Number.POSITIVE_INFINITY;
    group.index.forEach(first, end, isReverse, (number, location) => {
      return found.push({ key: this.keyOf(prefix, number), value: this.values.view(location) }) < limit;
    });
  }

  private keyOf(prefix: string, number: number): Buffer {
    const key = Buffer.allocUnsafe(this.keyBytes);
    for (let at = 0; at < this.prefixBytes; at++) key[at] = prefix.charCodeAt(at);
    writeUint53(key, number, this.prefixBytes);
    return key;
  }

  private numberOf(key: Buffer): number {
    return readUint53(key, this.prefixBytes);
  }

  /** A bound that is shorter than a key is below all keys that begin with it. */
  private bound(bytes: Buffer): Bound {
    const { prefixBytes, keyBytes } = this;
    let key = bytes;
    if (bytes.length < keyBytes) {
      key = Buffer.alloc(keyBytes);
      bytes.copy(key);
    }
    // A longer one is above the key that it begins with.
    const more = bytes.length > keyBytes ? 1 : 0;
    return { prefix: keyText(key, prefixBytes), number: readUint53(key, prefixBytes) + more };
  }

  private inOrder(): readonly string[] {
    if (this.ordered === null || this.ordered.length > 2 * this.groups.size + 64) {
      this.ordered = [...this.groups.keys()].sort();
    }
    return this.ordered;
  }

  /** @param key at least as long as a prefix */
  private find(key: Buffer): Group | undefined {
    const { recent, prefixBytes } = this;
    const last = prefixBytes - 1;
    const known = recent[key[last]];
    if (known !== null) {
      const { prefix } = known;
      let at = 0;
      while (at < last && key[at] === prefix.charCodeAt(at)) at++;
      if (at === last) return known;
    }
    const group = this.groups.get(keyText(key, prefixBytes));
    if (group !== undefined) recent[key[last]] = group;
    return group;
  }

  private addGroup(key: Buffer): Group {
    const prefix = keyText(key, this.prefixBytes);
    const id = this.freeIds.pop() ?? this.groupsById.length;
    const group = { id, prefix, index: new NumberIndex() };
    this.groupsById[id] = group;
    this.groups.set(prefix, group);
    this.recent[key[this.prefixBytes - 1]] = group;
    const { ordered } = this;
    // One that was there before still has its place.
    if (ordered !== null && ordered[lowerBound(ordered, prefix)] !== prefix) this.ordered = null;
    return group;
  }

  private removeGroup(group: Group): void {
    this.groups.delete(group.prefix);
    this.groupsById[group.id] = null;
    this.freeIds.push(group.id);
    const last = group.prefix.charCodeAt(this.prefixBytes - 1);
    if (this.recent[last] === group) this.recent[last] = null;
  }

  private move(id: number, number: number, location: number): void {
    this.groupsById[id]?.index.set(number, location);
  }
}
