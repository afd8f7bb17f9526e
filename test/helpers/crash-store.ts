import { MemoryStore } from '../../lib/store/memory-store.js';
import { type Store, type StoreEntry, Table } from '../../lib/store/store.js';

interface Operation {
  readonly table: Table;
  readonly key: Buffer;
  /** Null for a delete. */
  readonly value: Buffer | null;
}

interface Batch {
  readonly operations: readonly Operation[];
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
  private batches: Batch[] = [];

  constructor(durable = new MemoryStore()) {
    this.durable = durable;
    for (const table of Object.values(Table)) {
      const rows = durable.range(table, Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER);
      for (const { key, value } of rows) this.live.put(table, key, value);
    }
  }

  get uncommitted(): number {
    return this.operations.length;
  }

  get commitsInFlight(): number {
    return this.batches.length;
  }

  get(table: Table, key: Buffer): Buffer | null {
    return this.live.get(table, key);
  }

  range(table: Table, start: Buffer, end: Buffer | null, limit: number): StoreEntry[] {
    return this.live.range(table, start, end, limit);
  }

  rangeReverse(table: Table, start: Buffer, end: Buffer, limit: number): StoreEntry[] {
    return this.live.rangeReverse(table, start, end, limit);
  }

  countRange(table: Table, start: Buffer, end: Buffer | null, limit: number): number {
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

  commit(done: () => void): void {
    this.batches.push({ operations: this.operations, done });
    this.operations = [];
    this.batch++;
  }

  /** The oldest sealed batch becomes durable; false if there is none. */
  flush(): boolean {
    const batch = this.batches.shift();
    if (batch === undefined) return false;
    apply(this.durable, batch.operations);
    this.durableBatch++;
    batch.done();
    return true;
  }

  /** What a broker finds that starts after this one died: `extra` sealed batches had reached the disk unheard. */
  crash(extra: number): CrashStore {
    for (const { operations } of this.batches.slice(0, extra)) {
      apply(this.durable, operations);
      this.durableBatch++;
    }
    const next = new CrashStore(this.durable);
    next.batch = next.durableBatch = this.durableBatch;
    next.batch++;
    return next;
  }

  async close(): Promise<void> {
    await this.live.close();
  }
}
