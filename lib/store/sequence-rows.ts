import { SequenceMap } from '../base/sequence-map.js';
import { readUint53, writeUint53 } from './record-bytes.js';
import type { StoreEntry } from './store.js';

const sequenceBytes = 8;

/**
 * Rows of one table whose keys end with a sequence, after a prefix of none or four bytes (a session's number): values
 * by number, since keys of that form need not be kept.
 */
export class SequenceRows {
  private readonly prefixBytes: number;
  private readonly groups = new Map<number, SequenceMap<Buffer>>();
  private last: SequenceMap<Buffer> | null = null;
  private lastPrefix = -1;

  /** @param prefixBytes 0 or 4 */
  constructor(prefixBytes: number) {
    this.prefixBytes = prefixBytes;
  }

  get(key: Buffer): Buffer | undefined {
    return this.group(this.prefixOf(key))?.get(readUint53(key, this.prefixBytes));
  }

  put(key: Buffer, value: Buffer): void {
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

  /** Entries with start <= key < end, in order or last first. */
  range(start: Buffer, end: Buffer | null, limit: number, isReverse: boolean): StoreEntry[] {
    const found: StoreEntry[] = [];
    const [firstPrefix, first] = this.bound(start);
    const [lastPrefix, last] = end === null ? [2 ** 32, 0] : this.bound(end);
    const prefixes =
      firstPrefix === lastPrefix || (lastPrefix === firstPrefix + 1 && last === 0)
        ? [firstPrefix]
        : [...this.groups.keys()].filter((prefix) => prefix >= firstPrefix && prefix <= lastPrefix).sort(ascending);
    if (isReverse) prefixes.reverse();
    for (const prefix of prefixes) {
      const group = this.groups.get(prefix);
      if (group === undefined) continue;
      const from = prefix === firstPrefix ? first : 0;
      const to = prefix === lastPrefix ? last : Number.MAX_SAFE_INTEGER;
      const visit = (sequence: number, value: Buffer): boolean =>
        found.push({ key: this.key(prefix, sequence), value }) < limit;
      if (isReverse) group.forEachReverse(from, to, visit);
      else group.forEach(from, to, visit);
      if (found.length >= limit) break;
    }
    return found;
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

  private key(prefix: number, sequence: number): Buffer {
    const { prefixBytes } = this;
    const key = Buffer.allocUnsafe(prefixBytes + sequenceBytes);
    if (prefixBytes > 0) key.writeUInt32BE(prefix, 0);
    writeUint53(key, sequence, prefixBytes);
    return key;
  }

  private group(prefix: number): SequenceMap<Buffer> | undefined {
    if (prefix === this.lastPrefix && this.last !== null) return this.last;
    const group = this.groups.get(prefix);
    if (group !== undefined) {
      this.last = group;
      this.lastPrefix = prefix;
    }
    return group;
  }

  private addGroup(prefix: number): SequenceMap<Buffer> {
    const group = new SequenceMap<Buffer>();
    this.groups.set(prefix, group);
    this.last = group;
    this.lastPrefix = prefix;
    return group;
  }
}

const ascending = (a: number, b: number): number => a - b;
