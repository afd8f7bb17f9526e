import { MemoryStore } from '../../lib/store/memory-store.js';
import { type DeferredRows, isNeeded, type Store, type StoreEntry, Table } from '../../lib/store/store.js';

interface Operation {
  readonly table: Table;
  readonly key: Buffer;
  /** Null for a delete. */
  readonly value: Buffer | null;
}

interface Batch {
  readonly operations: Operation[];
  /** What joins the operations when the batch is written, if it is still needed then. */
  deferred: DeferredRows[];
  readonly done: () => void;
}

function apply(store: Store, operations: readonly Operation[]): void {
  for (const { table, key, value } of operations) {
    if (value === null) store.delete(table, key);
    else store.put(table, key, value);
  }
}

/**
 * A store whose commits are durable when the test says so. A crash keeps whole batches in their order, and loses the
 * rest with everything that was not committed.
 */
export class CrashStore implements Store {
  readonly durability = 'flushed';
  readonly healthy = true;
  onHealthChange: ((error: Error | null) => void) | null = null;
  /** Number of the batch being gathered, and of the last that is durable. */
  batch = 1;
  durableBatch = 0;
  private readonly durable: MemoryStore;
  private readonly live = new MemoryStore();
  private operations: Operation[] = [];
  private openDeferred: DeferredRows[] = [];
  private batches: Batch[] = [];

  constructor(durable = new MemoryStore()) {
    this.durable = durable;
    for (const table of Object.values(Table)) {
      const rows = durable.range(table, Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER);
      for (const { key, value } of rows) this.live.put(table, key, value);
    }
  }

  get uncommitted(): number {
    return this.operations.length + this.openDeferred.length;
  }

  get deferred(): number {
    return this.openDeferred.length;
  }

  get commitsInFlight(): number {
    return this.batches.length;
  }

  get(table: Table, key: Buffer): Buffer | null {
    this.writeAllDeferred();
    return this.live.get(table, key);
  }

  range(table: Table, start: Buffer, end: Buffer | null, limit: number): StoreEntry[] {
    this.writeAllDeferred();
    return this.live.range(table, start, end, limit);
  }

  rangeReverse(table: Table, start: Buffer, end: Buffer, limit: number): StoreEntry[] {
    this.writeAllDeferred();
    return this.live.rangeReverse(table, start, end, limit);
  }

  countRange(table: Table, start: Buffer, end: Buffer | null, limit: number): number {
    this.writeAllDeferred();
    return this.live.countRange(table, start, end, limit);
  }

  put(table: Table, key: Buffer, value: Buffer): void {
    this.live.put(table, key, value);
    this.operations.push({ table, key, value });
  }

  putNew(table: Table, key: Buffer, value: Buffer): void {
    this.put(table, key, value);
  }

  delete(table: Table, key: Buffer): void {
    this.live.delete(table, key);
    this.operations.push({ table, key, value: null });
  }

  countDeferred(): number {
    return this.openDeferred.filter(isNeeded).length;
  }

  putDeferred(rows: DeferredRows): void {
    this.openDeferred.push(rows);
  }

  commit(done: () => void): void {
    this.batches.push({ operations: this.operations, deferred: this.openDeferred, done });
    this.operations = [];
    this.openDeferred = [];
    this.batch++;
  }

  /** The oldest sealed batch becomes durable; false if there is none. */
  flush(): boolean {
    const batch = this.batches.shift();
    if (batch === undefined) return false;
    this.writeDeferred(batch);
    apply(this.durable, batch.operations);
    this.durableBatch++;
    batch.done();
    return true;
  }

  /** What a broker finds that starts after this one died: `extra` sealed batches had reached the disk unheard. */
  crash(extra: number): CrashStore {
    for (const batch of this.batches.slice(0, extra)) {
      this.writeDeferred(batch);
      apply(this.durable, batch.operations);
      this.durableBatch++;
    }
    const next = new CrashStore(this.durable);
    next.batch = next.durableBatch = this.durableBatch;
    next.batch++;
    return next;
  }

  private writeAllDeferred(): void {
    for (const batch of this.batches) this.writeDeferred(batch);
    this.writeRows(this.openDeferred, this.operations);
    this.openDeferred = [];
  }

  private writeDeferred(batch: Batch): void {
    this.writeRows(batch.deferred, batch.operations);
    batch.deferred = [];
  }

  private writeRows(deferred: readonly DeferredRows[], operations: Operation[]): void {
    const put = (table: Table, key: Buffer, value: Buffer): void => {
      this.live.put(table, key, value);
      operations.push({ table, key, value });
    };
    for (const rows of deferred) if (!rows.isSettled) rows.write(put);
  }

  async close(): Promise<void> {
    await this.live.close();
  }
}
