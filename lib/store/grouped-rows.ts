import { isWithinOneGroup, keyText, lowerBound, prefixOf } from './overlay.js';
import type { StoreEntry, Table } from './store.js';

interface Group {
  readonly entries: Map<string, StoreEntry>;
  /** Keys in order, made when a range first asks and kept while keys come in order; may hold keys that are gone. */
  ordered: string[] | null;
}

/** Rows of one table in hash maps, one for each prefix that is read together: quick to write, ordered on demand. */
export class GroupedRows {
  private readonly table: Table;
  private readonly groups = new Map<number | string, Group>();

  constructor(table: Table) {
    this.table = table;
  }

  get(key: Buffer): Buffer | undefined {
    const text = keyText(key);
    return this.groups.get(prefixOf(this.table, key, text))?.entries.get(text)?.value;
  }

  put(key: Buffer, value: Buffer): void {
    const text = keyText(key);
    const prefix = prefixOf(this.table, key, text);
    let group = this.groups.get(prefix);
    if (group === undefined) {
      group = { entries: new Map(), ordered: null };
      this.groups.set(prefix, group);
    }
    const { ordered, entries } = group;
    if (ordered !== null && !entries.has(text)) {
      const last = ordered.at(-1);
      if (last !== undefined && last >= text) group.ordered = null;
      else ordered.push(text);
    }
    entries.set(text, { key, value });
  }

  delete(key: Buffer): void {
    const text = keyText(key);
    const prefix = prefixOf(this.table, key, text);
    const group = this.groups.get(prefix);
    if (group?.entries.delete(text) && group.entries.size === 0) this.groups.delete(prefix);
  }

  /** Entries with start <= key < end, in order or last first. */
  range(start: Buffer, end: Buffer | null, limit: number, isReverse: boolean): StoreEntry[] {
    const from = keyText(start);
    const to = end === null ? null : keyText(end);
    const found: StoreEntry[] = [];
    if (isWithinOneGroup(this.table, from, to)) {
      const group = this.groups.get(prefixOf(this.table, start, from));
      if (group !== undefined) collect(group, from, to, limit, isReverse, found);
      return found;
    }
    for (const group of this.groups.values()) collect(group, from, to, Number.MAX_SAFE_INTEGER, false, found);
    found.sort((a, b) => a.key.compare(b.key));
    if (isReverse) found.reverse();
    return found.slice(0, limit);
  }

  clear(): void {
    this.groups.clear();
  }
}

function collect(
  group: Group,
  from: string,
  to: string | null,
  limit: number,
  isReverse: boolean,
  found: StoreEntry[],
): void {
  if (group.ordered === null || group.ordered.length > 2 * group.entries.size + 64) {
    group.ordered = [...group.entries.keys()].sort();
  }
  const { ordered, entries } = group;
  const first = lowerBound(ordered, from);
  const last = to === null ? ordered.length : lowerBound(ordered, to);
  for (let index = first; index < last && found.length < limit; index++) {
    const at = isReverse ? last - 1 - (index - first) : index;
    const entry = entries.get(ordered[at]);
    if (entry !== undefined) found.push(entry);
  }
}
