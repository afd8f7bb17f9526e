import BTreeModule from 'sorted-btree';
import { assert } from '../base/assert.js';
import { countVanishing } from './deferred-batches.js';
import { GroupedRows } from './grouped-rows.js';
import { keyText } from './overlay.js';
import { PackedRows } from './packed-rows.js';
import { deliveryKey, messageKey } from './records-keys.js';
import { residentCopy } from './resident-memory.js';
import { SequenceRows, sequenceTables } from './sequence-rows.js';
import {
  type DeferredRows,
  type Durability,
  deferrableTables,
  groupPrefixBytes,
  keyBytesMax,
  type Settlement,
  type Store,
  type StoreEntry,
  Table,
  tableNames,
} from './store.js';

// sorted-btree is CommonJS and marked as a module: from ESM its class is one level deeper.
type Tree = InstanceType<typeof BTreeModule.default<string, StoreEntry>>;
const Tree = BTreeModule.default;

/** What `MemoryStore` asks of the rows of one table. */
interface Rows {
  get(key: Buffer): Buffer | undefined;
  put(key: Buffer, value: Buffer): void;
  delete(key: Buffer): void;
  range(start: Buffer, end: Buffer | null, limit: number, isReverse: boolean): StoreEntry[];
  clear(): void;
}

/** Tables whose first rows are asked for again and again while keys come in any order. */
const sortedTables: ReadonlySet<Table> = new Set([Table.timers, Table.finished]);

/** Tables whose rows are copied out of the heap. */
const copyingTables: ReadonlySet<Table> = new Set([Table.records]);

function rowsOf(table: Table): Rows {
  // There may be millions of records, kept for a day: in the heap the collector would visit them again and again.
  if (copyingTables.has(table)) return new PackedRows(table);
  if (sequenceTables.has(table)) return new NumberedRows(groupPrefixBytes[table] as number);
  return sortedTables.has(table) ? new SortedRows() : new GroupedRows(table);
}

/** Batches whose deferred rows are kept as they are. */
const deferredBatchesMax = 8;

/** Everything in memory, records outside the heap. `commit` calls `done` before it returns. */
export class MemoryStore implements Store {
  readonly durability: Durability = 'memory';
  readonly outlivesProcess: boolean;
  readonly healthy = true;
  readonly commitsInFlight = 0;
  uncommitted = 0;
  /** Deferred rows of the open batch, and of the latest ones before it: by then most are settled. */
  private openDeferred: DeferredRows[] = [];
  private readonly lastDeferred: DeferredRows[][] = [];
  private openVanishing = 0;
  onHealthChange: ((error: Error | null) => void) | null = null;
  private readonly tables: readonly Rows[] = tableNames.map((name) => rowsOf(Table[name]));

  /** @param outlivesProcess true for a simulation in which a broker restarts on it */
  constructor(outlivesProcess = false) {
    this.outlivesProcess = outlivesProcess;
  }

  get deferred(): number {
    return this.openVanishing;
  }

  get(table: Table, key: Buffer): Buffer | null {
    this.writeDeferred(table);
    return this.tables[table].get(key) ?? null;
  }

  range(table: Table, start: Buffer, end: Buffer | null, limit: number): StoreEntry[] {
    this.writeDeferred(table);
    return limit <= 0 ? [] : this.tables[table].range(start, end, limit, false);
  }

  rangeReverse(table: Table, start: Buffer, end: Buffer, limit: number): StoreEntry[] {
    this.writeDeferred(table);
    return limit <= 0 ? [] : this.tables[table].range(start, end, limit, true);
  }

  countRange(table: Table, start: Buffer, end: Buffer | null, limit: number): number {
    return this.range(table, start, end, limit).length;
  }

  put(table: Table, key: Buffer, value: Buffer): void {
    assert(key.length > 0 && key.length <= keyBytesMax, 'a store key has 1 to 1978 bytes');
    this.uncommitted++;
    this.tables[table].put(key, value);
  }

  putNew(table: Table, key: Buffer, value: Buffer): void {
    this.put(table, key, value);
  }

  putLasting(table: Table, key: Buffer, value: Buffer): void {
    if (copyingTables.has(table)) this.put(table, key, value);
    else this.put(table, Buffer.from(key), Buffer.from(value));
  }

  delete(table: Table, key: Buffer): void {
    this.uncommitted++;
    this.tables[table].delete(key);
  }

  countDeferred(count: number): number {
    return countVanishing(this.openDeferred, count);
  }

  putDeferred(rows: DeferredRows): void {
    this.uncommitted++;
    this.openDeferred.push(rows);
    if (rows.mayVanish) this.openVanishing++;
  }

  /** Here what is sealed is committed. */
  writeUncommitted(): void {}

  /** Nothing is logged here, so nothing is settled but in time. */
  putSettlement(_rows: DeferredRows, settlement: Settlement): void {
    settlement.writeSettlement((table, key, value) => {
      if (value === null) this.delete(table, key);
      else this.put(table, key, value);
    });
  }

  commit(done: () => void, kept = 0): void {
    const sealed = this.openDeferred;
    this.openDeferred = kept === 0 ? [] : sealed.splice(-kept);
    this.openVanishing = this.uncommitted = kept;
    if (sealed.length > 0) {
      this.lastDeferred.push(sealed);
      if (this.lastDeferred.length > deferredBatchesMax) this.writeRows(this.lastDeferred.shift() ?? []);
    }
    done();
  }

  private writeDeferred(table: Table): void {
    if (this.openDeferred.length + this.lastDeferred.length === 0 || !deferrableTables.has(table)) return;
    for (const rows of this.lastDeferred) this.writeRows(rows);
    this.lastDeferred.length = 0;
    const open = this.openDeferred;
    this.openDeferred = [];
    this.openVanishing = 0;
    this.writeRows(open);
  }

  private writeRows(deferred: readonly DeferredRows[]): void {
    for (const rows of deferred) {
      if (!rows.isSettled) rows.write((table, key, value) => this.tables[table].put(key, value));
    }
  }

  async close(): Promise<void> {
    for (const rows of this.tables) rows.clear();
  }
}

/** Rows of one table by number: keys of that form need not be kept. */
class NumberedRows implements Rows {
  private readonly rows: SequenceRows<Buffer>;
  private readonly keyOf: (prefix: number, sequence: number) => Buffer;

  /** @param prefixBytes 0 for keys of messages, 4 for those of deliveries */
  constructor(prefixBytes: number) {
    this.rows = new SequenceRows(prefixBytes);
    this.keyOf = prefixBytes === 0 ? (_prefix, sequence) => messageKey(sequence) : deliveryKey;
  }

  get(key: Buffer): Buffer | undefined {
    return this.rows.get(key);
  }

  put(key: Buffer, value: Buffer): void {
    this.rows.put(key, value);
  }

  delete(key: Buffer): void {
    this.rows.delete(key);
  }

  range(start: Buffer, end: Buffer | null, limit: number, isReverse: boolean): StoreEntry[] {
    const found: StoreEntry[] = [];
    this.rows.forEach(start, end, isReverse, (value, prefix, sequence) => {
      return found.push({ key: this.keyOf(prefix, sequence), value }) < limit;
    });
    return found;
  }

  clear(): void {
    this.rows.clear();
  }
}

/** Values from this size on are lists of finished records, a day's: like the records they need not be on the heap. */
const largeValueBytes = 512;

/** Rows of one table in a tree. */
class SortedRows implements Rows {
  private readonly tree: Tree = new Tree<string, StoreEntry>(undefined, byText);

  get(key: Buffer): Buffer | undefined {
    return this.tree.get(keyText(key))?.value;
  }

  put(key: Buffer, value: Buffer): void {
    this.tree.set(keyText(key), { key, value: value.length < largeValueBytes ? value : residentCopy(value) });
  }

  delete(key: Buffer): void {
    this.tree.delete(keyText(key));
  }

  range(start: Buffer, end: Buffer | null, limit: number, isReverse: boolean): StoreEntry[] {
    const found: StoreEntry[] = [];
    const { tree } = this;
    const highest = end === null ? tree.maxKey() : keyText(end);
    if (highest === undefined) return found;
    const collect = (_text: string, entry: StoreEntry) => {
      found.push(entry);
      return isReverse || found.length < limit ? undefined : { break: true };
    };
    tree.forRange(keyText(start), highest, end === null, collect);
    return isReverse ? found.reverse().slice(0, limit) : found;
  }

  clear(): void {
    this.tree.clear();
  }
}

function byText(a: string, b: string): number {
  if (a < b) return -1;
  return a > b ? 1 : 0;
}
