import { assert } from '../base/assert.js';
import { SequenceRows, sequenceTables } from './sequence-rows.js';
import { groupPrefixBytes, keyBytesMax, type Table } from './store.js';

/** `latin1Slice` is `toString('latin1')` without its detours; the text of a key sorts as its bytes do. */
interface LatinBuffer {
  latin1Slice(start: number, end: number): string;
}

/** The bytes of a key, or the first of them, as text with one character a byte. */
export function keyText(key: Buffer, end = key.length): string {
  return (key as unknown as LatinBuffer).latin1Slice(0, end);
}

/** One put or delete of one batch that is not yet committed. */
export class OverlayEntry {
  /** Null in a table whose rows are kept by sequence. */
  readonly group: OverlayGroup | null;
  readonly table: Table;
  readonly key: Buffer;
  private textOfKey: string | null;
  readonly batch: number;
  /** Null for a delete. */
  value: Buffer | null;
  /** True if the key is certainly not on disk, so that a delete need not be written. */
  absentOnDisk: boolean;
  /** True if it most likely stays as it is for long: it goes to its table at once. */
  isLasting: boolean;
  /** True if no entry preceded it, so that its key is not in the log. */
  isFirst: boolean;
  /** True while the entry is in the log and not in its table: the overlay keeps it until its turn is retired. */
  isInLog: boolean;
  /** The entry of a later batch for the same key. */
  next: OverlayEntry | null = null;

  constructor(
    group: OverlayGroup | null,
    table: Table,
    key: Buffer,
    text: string | null,
    batch: number,
    value: Buffer | null,
  ) {
    this.group = group;
    this.table = table;
    this.key = key;
    this.textOfKey = text;
    this.batch = batch;
    this.value = value;
    this.absentOnDisk = false;
    this.isLasting = false;
    this.isFirst = true;
    this.isInLog = false;
  }

  /** The key as text. */
  get text(): string {
    this.textOfKey ??= keyText(this.key);
    return this.textOfKey;
  }
}

/** True unless a later batch up to `last` wrote the key again; then that one takes over what is known of the disk. */
export function isNewest(entry: OverlayEntry, last: number): boolean {
  const { next } = entry;
  if (next === null || next.batch > last) return true;
  if (entry.absentOnDisk) next.absentOnDisk = true;
  return false;
}

/** The newest uncommitted entries whose keys share a prefix. */
class OverlayGroup {
  readonly prefix: number | string;
  readonly entries = new Map<string, OverlayEntry>();
  /** Keys in order, built when a range first asks; may hold keys that are gone, and a key twice. */
  private ordered: string[] | null = null;

  constructor(prefix: number | string) {
    this.prefix = prefix;
  }

  add(entry: OverlayEntry): void {
    this.entries.set(entry.text, entry);
    const ordered = this.ordered;
    if (ordered === null) return;
    const last = ordered.at(-1);
    if (last !== undefined && last > entry.text) this.ordered = null;
    else ordered.push(entry.text);
  }

  /** Calls `visit` for entries with start <= key < end, in order, until it returns false. */
  collect(start: string, end: string | null, into: OverlayEntry[]): void {
    const ordered = this.inOrder();
    let previous: string | null = null;
    for (let index = lowerBound(ordered, start); index < ordered.length; index++) {
      const text = ordered[index];
      if (end !== null && text >= end) return;
      if (text === previous) continue;
      previous = text;
      const entry = this.entries.get(text);
      if (entry !== undefined) into.push(entry);
    }
  }

  private inOrder(): string[] {
    if (this.ordered !== null && this.ordered.length <= 2 * this.entries.size + 64) return this.ordered;
    this.ordered = [...this.entries.keys()].sort(byCodeUnit);
    return this.ordered;
  }
}

/**
 * Everything put and deleted that no committed transaction holds yet, over all batches: what gives the LMDB store
 * read-your-writes, and the place where a put that is deleted in time disappears.
 *
 * A key has at most one entry per batch; the map of its group holds the newest, and older ones live on in the lists of
 * their batches, linked to the next:
 * ```
 *   batch 5 [ put k = a ] --next--> batch 6 [ put k = b ] --next--> batch 7 [ delete k ]  <-- group.entries.get(k)
 * ```
 */
export class Overlay {
  private readonly groups: readonly Map<number | string, OverlayGroup>[];
  private readonly lastGroups: (OverlayGroup | null)[];
  /** Newest entries of the tables whose rows are kept by sequence; null for the others. */
  private readonly bySequence: readonly (SequenceRows<OverlayEntry> | null)[];
  private batch = 1;
  private unsealed: OverlayEntry[] = [];
  /** Calls of `put` since the last seal. */
  uncommitted = 0;

  constructor() {
    this.groups = groupPrefixBytes.map(() => new Map());
    this.lastGroups = groupPrefixBytes.map(() => null);
    this.bySequence = groupPrefixBytes.map((bytes, table) =>
      sequenceTables.has(table as Table) ? new SequenceRows(bytes) : null,
    );
  }

  /**
   * @param value null to delete
   * @param isNew the key is known to be absent
   * @param isLasting the value most likely stays for long
   */
  put(table: Table, key: Buffer, value: Buffer | null, isNew: boolean, isLasting = false): void {
    assert(key.length > 0 && key.length <= keyBytesMax, 'a store key has 1 to 1978 bytes');
    this.uncommitted++;
    const sequenced = this.bySequence[table];
    const text = sequenced === null ? keyText(key) : null;
    const group = text === null ? null : this.groupFor(table, key, text);
    const previous = sequenced === null ? group?.entries.get(text ?? '') : sequenced.get(key);
    if (previous !== undefined && previous.batch === this.batch) {
      previous.value = value;
      previous.isLasting = isLasting;
      return;
    }
    const entry = new OverlayEntry(group, table, key, text, this.batch, value);
    entry.isLasting = isLasting;
    if (previous === undefined) {
      entry.absentOnDisk = isNew;
      group?.add(entry);
    } else {
      entry.isFirst = false;
      previous.next = entry;
      group?.entries.set(entry.text, entry);
    }
    sequenced?.put(key, entry);
    this.unsealed.push(entry);
  }

  /**
   * Adds a key to a batch that may be sealed. Entries of it, if there are any, are of no later batch, and the last of
   * them deletes it. The new one is the caller's to keep.
   * @param isOnlyThere true if no later batch holds the key in any other way, so that this entry's end is the key's
   */
  putLate(batch: number, table: Table, key: Buffer, value: Buffer, isOnlyThere: boolean): OverlayEntry {
    const sequenced = this.bySequence[table];
    const text = sequenced === null ? keyText(key) : null;
    const group = text === null ? null : this.groupFor(table, key, text);
    const entry = new OverlayEntry(group, table, key, text, batch, value);
    // Whatever deletes it may not have come to its table yet.
    entry.absentOnDisk = isOnlyThere && !(group?.entries.has(entry.text) ?? false);
    group?.add(entry);
    sequenced?.put(key, entry);
    return entry;
  }

  /** The newest entry of a key, a delete included; undefined if only the disk knows. */
  get(table: Table, key: Buffer): OverlayEntry | undefined {
    const sequenced = this.bySequence[table];
    if (sequenced !== null) return sequenced.get(key);
    const groups = this.groups[table];
    if (groups.size === 0) return undefined;
    const text = keyText(key);
    return groups.get(prefixOf(table, key, text))?.entries.get(text);
  }

  /** The newest entries with start <= key < end in the order of keys, deletes included. */
  range(table: Table, start: Buffer, end: Buffer | null): OverlayEntry[] {
    const found: OverlayEntry[] = [];
    this.bySequence[table]?.forEach(start, end, false, (entry) => found.push(entry) > 0);
    const groups = this.groups[table];
    if (groups.size === 0) return found;
    const startText = keyText(start);
    const endText = end === null ? null : keyText(end);
    if (isWithinOneGroup(table, startText, endText)) {
      groups.get(prefixOf(table, start, startText))?.collect(startText, endText, found);
      return found;
    }
    for (const group of groups.values()) group.collect(startText, endText, found);
    return found.sort((a, b) => byCodeUnit(a.text, b.text));
  }

  /** Ends the batch: its entries, each key once, in the order of their first put. */
  seal(): OverlayEntry[] {
    const entries = this.unsealed;
    this.unsealed = [];
    this.batch++;
    this.uncommitted = 0;
    return entries;
  }

  /** Number of the batch that `seal` ended last. */
  get lastSealed(): number {
    return this.batch - 1;
  }

  /**
   * Forgets entries that their tables hold, unless a newer batch has written their keys again; those in the log stay.
   */
  forget(entries: readonly OverlayEntry[]): void {
    for (const entry of entries) {
      if (entry.isInLog) continue;
      const { group } = entry;
      if (group === null) {
        const sequenced = this.bySequence[entry.table];
        if (sequenced?.get(entry.key) === entry) sequenced.delete(entry.key);
        continue;
      }
      if (group.entries.get(entry.text) !== entry) continue;
      group.entries.delete(entry.text);
      if (group.entries.size > 0) continue;
      this.groups[entry.table].delete(group.prefix);
      if (this.lastGroups[entry.table] === group) this.lastGroups[entry.table] = null;
    }
  }

  private groupFor(table: Table, key: Buffer, text: string): OverlayGroup {
    const prefix = prefixOf(table, key, text);
    const last = this.lastGroups[table];
    if (last !== null && last.prefix === prefix) return last;
    let group = this.groups[table].get(prefix);
    if (group === undefined) {
      group = new OverlayGroup(prefix);
      this.groups[table].set(prefix, group);
    }
    this.lastGroups[table] = group;
    return group;
  }
}

/** The group of a key: what rows read together have in common. */
export function prefixOf(table: Table, key: Buffer, text: string): number | string {
  const bytes = groupPrefixBytes[table];
  if (bytes === 0) return '';
  if (bytes === 4 && key.length >= 4) return ((key[0] << 24) | (key[1] << 16) | (key[2] << 8) | key[3]) >>> 0;
  return text.slice(0, bytes);
}

/** True if no key outside the group of `start` can be in the range. */
export function isWithinOneGroup(table: Table, start: string, end: string | null): boolean {
  const bytes = groupPrefixBytes[table];
  if (bytes === 0) return true;
  if (end === null || start.length < bytes) return false;
  const prefix = start.slice(0, bytes);
  return end.startsWith(prefix) || end === successor(prefix);
}

/** The least text above all that start with `prefix`; null if there is none. */
function successor(prefix: string): string | null {
  let length = prefix.length;
  while (length > 0 && prefix.charCodeAt(length - 1) === 0xff) length--;
  if (length === 0) return null;
  const raised = prefix.slice(0, length - 1) + String.fromCharCode(prefix.charCodeAt(length - 1) + 1);
  return raised.padEnd(prefix.length, '\0');
}

/** Place of the first text at or after `text`. */
export function lowerBound(ordered: readonly string[], text: string): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ordered[middle] < text) low = middle + 1;
    else high = middle;
  }
  return low;
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
