import { countVanishing } from '../../lib/store/deferred-batches.js';
import { MemoryStore } from '../../lib/store/memory-store.js';
import {
  type DeferredRows,
  deferrableTables,
  type Settlement,
  type Store,
  type StoreEntry,
  Table,
} from '../../lib/store/store.js';

/** One put or delete. */
export interface Operation {
  readonly table: Table;
  readonly key: Buffer;
  /** Null for a delete. */
  readonly value: Buffer | null;
}

/** Keys and values that do not last are copied. */
function copyOf(table: Table, key: Buffer, value: Buffer | null): Operation {
  return { table, key: Buffer.from(key), value: value === null ? null : Buffer.from(value) };
}

interface Batch {
  readonly operations: Operation[];
  /** What joins the operations when the batch is written, if it is still needed then. */
  deferred: DeferredRows[];
  readonly settlements: Settlement[];
  readonly done: () => void;
  isCommitted: boolean;
}

/**
 * A store whose commits reach the disk when the test says so: first a batch is committed, which the death of the
 * process does not undo, then flushed, which power loss does not undo either. A crash keeps whole batches in their
 * order, and loses the rest with everything that was not sealed.
 */
export class CrashStore implements Store {
  readonly outlivesProcess = true;
  readonly durability: 'flushed' | 'committed';
  healthy = true;
  onHealthChange: ((error: Error | null) => void) | null = null;
  /** Told of everything that becomes as durable as the store promises; a crash may tell it again. */
  onDurable: (operation: Operation) => void = () => undefined;
  /** Number of the batch being gathered, and of the last that is flushed. */
  batch = 1;
  durableBatch = 0;
  private readonly durable: MemoryStore;
  private readonly live = new MemoryStore(true);
  private operations: Operation[] = [];
  private openDeferred: DeferredRows[] = [];
  private openSettlements: Settlement[] = [];
  /** Deferred rows of the open batch that were settled or made operations, because somebody read. */
  private openRead = 0;
  /** Rows that were written, and are not known to be rows yet: as the log of the real store has them. */
  private logged: DeferredRows[] = [];
  private batches: Batch[] = [];
  /** While unwell: well again when this batch is as durable as it is to be. */
  private unwellUntil = 0;

  constructor(durable = new MemoryStore(true), durability: 'flushed' | 'committed' = 'flushed') {
    this.durable = durable;
    this.durability = durability;
    for (const table of Object.values(Table)) {
      const rows = durable.range(table, Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER);
      for (const { key, value } of rows) this.live.put(table, key, value);
    }
  }

  get uncommitted(): number {
    return this.operations.length + this.openDeferred.length + this.openRead + this.openSettlements.length;
  }

  get deferred(): number {
    return this.openDeferred.filter(({ mayVanish }) => mayVanish).length;
  }

  get commitsInFlight(): number {
    return this.durability === 'flushed' ? this.batches.length : this.batches.length - this.committedCount;
  }

  /** Number of the last batch that is committed, flushed or not. */
  get committedBatch(): number {
    return this.durableBatch + this.committedCount;
  }

  private get committedCount(): number {
    let count = 0;
    while (this.batches[count]?.isCommitted) count++;
    return count;
  }

  get(table: Table, key: Buffer): Buffer | null {
    this.writeAllDeferred(table);
    return this.live.get(table, key);
  }

  range(table: Table, start: Buffer, end: Buffer | null, limit: number): StoreEntry[] {
    this.writeAllDeferred(table);
    return this.live.range(table, start, end, limit);
  }

  rangeReverse(table: Table, start: Buffer, end: Buffer, limit: number): StoreEntry[] {
    this.writeAllDeferred(table);
    return this.live.rangeReverse(table, start, end, limit);
  }

  countRange(table: Table, start: Buffer, end: Buffer | null, limit: number): number {
    this.writeAllDeferred(table);
    return this.live.countRange(table, start, end, limit);
  }

  put(table: Table, key: Buffer, value: Buffer): void {
    this.live.put(table, key, value);
    this.operations.push({ table, key, value });
  }

  putNew(table: Table, key: Buffer, value: Buffer): void {
    this.put(table, key, value);
  }

  putLasting(table: Table, key: Buffer, value: Buffer): void {
    this.put(table, Buffer.from(key), Buffer.from(value));
  }

  delete(table: Table, key: Buffer): void {
    this.live.delete(table, key);
    this.operations.push({ table, key, value: null });
  }

  countDeferred(count: number): number {
    return countVanishing(this.openDeferred, count);
  }

  putDeferred(rows: DeferredRows): void {
    this.openDeferred.push(rows);
  }

  writeUncommitted(rows: DeferredRows): void {
    for (const batch of this.batches) {
      if (!batch.deferred.includes(rows)) continue;
      this.writeRows(batch.deferred, batch.operations);
      batch.deferred = [];
    }
  }

  putSettlement(rows: DeferredRows, settlement: Settlement): void {
    rows.settledIn = this.batch;
    this.openSettlements.push(settlement);
  }

  commit(done: () => void, kept = 0): void {
    const { operations, openDeferred: deferred, openSettlements: settlements } = this;
    this.openDeferred = kept === 0 ? [] : deferred.splice(-kept);
    this.batches.push({ operations, deferred, settlements, done, isCommitted: false });
    this.operations = [];
    this.openSettlements = [];
    this.openRead = 0;
    this.batch++;
  }

  /** The oldest batch that is not committed is; false if there is none. */
  commitNext(): boolean {
    const at = this.committedCount;
    const batch = this.batches[at];
    if (batch === undefined) return false;
    this.log(batch);
    batch.isCommitted = true;
    if (this.durability === 'committed') {
      for (const operation of batch.operations) this.onDurable(operation);
      this.turnWell(this.durableBatch + at + 1);
      batch.done();
    }
    return true;
  }

  /** The oldest sealed batch reaches the disk; false if there is none. */
  flush(): boolean {
    const batch = this.batches[0];
    if (batch === undefined) return false;
    if (!batch.isCommitted) this.commitNext();
    this.batches.shift();
    this.keep(batch);
    if (this.durability === 'flushed') {
      this.turnWell(this.durableBatch);
      batch.done();
    }
    return true;
  }

  /** Sealed batches can not be committed for now. */
  fail(): void {
    if (this.batches.length === 0) return;
    this.unwellUntil = this.durableBatch + this.batches.length;
    const wasHealthy = this.healthy;
    this.healthy = false;
    if (wasHealthy) this.onHealthChange?.(new Error('the disk is full'));
  }

  /**
   * What a broker finds that starts after this one died: `extra` batches more than were flushed had reached the disk.
   * @returns the store with its last batch's number in `durableBatch`
   */
  crash(extra: number): CrashStore {
    for (const batch of this.batches.slice(0, extra)) this.keep(batch);
    const next = new CrashStore(this.durable, this.durability);
    next.batch = next.durableBatch = this.durableBatch;
    next.batch++;
    return next;
  }

  async close(): Promise<void> {
    await this.live.close();
  }

  private keep(batch: Batch): void {
    this.log(batch);
    this.durableBatch++;
    for (const operation of batch.operations) {
      const { table, key, value } = operation;
      if (value === null) this.durable.delete(table, key);
      else this.durable.put(table, key, value);
      this.onDurable(operation);
    }
  }

  /** Writes a batch's deferred rows as the log does: they go on being settled by settlements. */
  private log(batch: Batch): void {
    const { operations, deferred, settlements } = batch;
    const settled: Operation[] = [];
    for (const settlement of settlements.splice(0)) {
      settlement.writeSettlement((table, key, value) => settled.push(copyOf(table, key, value)));
    }
    operations.unshift(...settled);
    for (const rows of deferred) {
      if (rows.isSettled) continue;
      rows.log((table, key, value) => operations.push(copyOf(table, key, value)));
      this.logged.push(rows);
    }
    batch.deferred = [];
  }

  private writeAllDeferred(table: Table): void {
    if (!deferrableTables.has(table)) return;
    // What the log has is on the disk already; readers want it in its tables.
    this.writeRows(this.logged, []);
    this.logged = [];
    for (const batch of this.batches) {
      this.writeRows(batch.deferred, batch.operations);
      batch.deferred = [];
    }
    this.writeRows(this.openDeferred, this.operations);
    this.openRead += this.openDeferred.length;
    this.openDeferred = [];
  }

  private writeRows(deferred: readonly DeferredRows[], operations: Operation[]): void {
    const put = (table: Table, key: Buffer, value: Buffer): void => {
      this.live.put(table, key, value);
      operations.push({ table, key, value });
    };
    for (const rows of deferred) if (!rows.isSettled) rows.write(put);
  }

  private turnWell(batch: number): void {
    if (this.healthy || batch < this.unwellUntil) return;
    this.healthy = true;
    this.onHealthChange?.(null);
  }
}
