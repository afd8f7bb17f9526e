import { SequenceMap } from '../base/sequence-map.js';
import { readUint53 } from './record-bytes.js';
import { Table } from './store.js';

const sequenceBytes = 8;

/** Tables whose keys end with a sequence that most likely comes after the last one. */
export const sequenceTables: ReadonlySet<Table> = new Set([
  Table.messages,
  Table.references,
  Table.deliveries,
  Table.retainedTopics,
]);

/**
 * What is kept of the rows of one table whose keys end with a sequence, after a prefix of none or four bytes (a
 * session's number): by number, which is quicker than by text.
 */
export class SequenceRows<V> {
  private readonly prefixBytes: number;
  private readonly groups = new Map<number, SequenceMap<V>>();
  private last: SequenceMap<V> | null = null;
  private lastPrefix = -1;

  /** @param prefixBytes 0 or 4 */
  constructor(prefixBytes: number) {
    this.prefixBytes = prefixBytes;
  }

  get(key: Buffer): V | undefined {
    return this.group(this.prefixOf(key))?.get(readUint53(key, this.prefixBytes));
  }

  put(key: Buffer, value: V): void {
    const prefix = this.prefixOf(key);
    const group = this.group(prefix) ?? this.addGroup(prefix);
    group.set(readUint53(key, this.prefixBytes), value);
  }

  delete(key: Buffer): void {
    const prefix = this.prefixOf(key);
    const group = this.group(prefix);
    if (group === undefined) return;
    group.delete(readUint53(key, this.prefixBytes));
    if (group.size > 0 || this.prefixBytes === 0) return;
    this.groups.delete(prefix);
    this.last = null;
    this.lastPrefix = -1;
  }

  /**
   * Calls back for rows with start <= key < end, in order or last first, until `visit` returns false.
   * @param end null for no upper end
   */
  forEach(
    start: Buffer,
    end: Buffer | null,
    isReverse: boolean,
    visit: (value: V, prefix: number, sequence: number) => boolean,
  ): void {
    const [firstPrefix, first] = this.bound(start);
    const [lastPrefix, last] = end === null ? [2 ** 32, 0] : this.bound(end);
    let goesOn = true;
    for (const prefix of this.prefixes(firstPrefix, last === 0 ? lastPrefix - 1 : lastPrefix, isReverse)) {
      const group = this.groups.get(prefix);
      if (group === undefined) continue;
      const from = prefix === firstPrefix ? first : 0;
      const to = prefix === lastPrefix ? last : Number.MAX_SAFE_INTEGER;
      const visitNext = (sequence: number, value: V): boolean => {
        goesOn = visit(value, prefix, sequence);
        return goesOn;
      };
      if (isReverse) group.forEachReverse(from, to, visitNext);
      else group.forEach(from, to, visitNext);
      if (!goesOn) return;
    }
  }

  /** Prefixes from one to another, both included, in order or last first. */
  private prefixes(first: number, last: number, isReverse: boolean): number[] {
    if (first === last) return [first];
    const within = [...this.groups.keys()].filter((prefix) => prefix >= first && prefix <= last);
    return within.sort((a, b) => (isReverse ? b - a : a - b));
  }

  clear(): void {
    this.groups.clear();
    this.last = null;
    this.lastPrefix = -1;
  }

  private prefixOf(key: Buffer): number {
    return this.prefixBytes === 0 ? 0 : key.readUInt32BE(0);
  }

  /** Prefix and sequence from which on keys are at or above a bound, which may be shorter than a key. */
  private bound(bytes: Buffer): [prefix: number, sequence: number] {
    const { prefixBytes } = this;
    const key = Buffer.alloc(prefixBytes + sequenceBytes);
    bytes.copy(key);
    // A longer bound than a key is above the key that it begins with.
    const more = bytes.length > key.length ? 1 : 0;
    return [this.prefixOf(key), Math.min(Number.MAX_SAFE_INTEGER, readUint53(key, prefixBytes) + more)];
  }

  private group(prefix: number): SequenceMap<V> | undefined {
    if (prefix === this.lastPrefix && this.last !== null) return this.last;
    const group = this.groups.get(prefix);
    if (group !== undefined) {
      this.last = group;
      this.lastPrefix = prefix;
    }
    return group;
  }

  private addGroup(prefix: number): SequenceMap<V> {
    const group = new SequenceMap<V>();
    this.groups.set(prefix, group);
    this.last = group;
    this.lastPrefix = prefix;
    return group;
  }
}
