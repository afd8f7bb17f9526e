/**
 * The ordered tables of the broker, one LMDB database each. Numbers are stable within a run only: on disk a table goes
 * by its name.
 */
export const Table = {
  meta: 0,
  messages: 1,
  references: 2,
  sessions: 3,
  subscriptions: 4,
  deliveries: 5,
  inbound: 6,
  retainedTopics: 7,
  records: 8,
  answers: 9,
  timers: 10,
  retired: 11,
  recipients: 12,
  publishers: 13,
  finished: 14,
  replays: 15,
  fanOuts: 16,
  fanOutCursors: 17,
  log: 18,
} as const;
export type Table = (typeof Table)[keyof typeof Table];

/** Names of the tables, by number. */
export const tableNames = Object.keys(Table) as readonly (keyof typeof Table)[];

/**
 * Leading key bytes that say which rows of a table are read together; 0 for tables read as a whole. Only a matter of
 * speed: uncommitted rows are kept in groups by this prefix, and a range within one group looks at no other.
 */
export const groupPrefixBytes: readonly number[] = [0, 0, 0, 0, 4, 4, 4, 0, 12, 12, 0, 0, 12, 0, 0, 4, 0, 0, 0];

/** Keys have 1 to this many bytes; topics and filters that may be longer are hashed, see `records-keys.ts`. */
export const keyBytesMax = 1978;

/**
 * What a commit survives once its `done` is called: `flushed` a power loss, `committed` the death of the process
 * (`kill -9`), `memory` nothing.
 */
export type Durability = 'flushed' | 'committed' | 'memory';

export interface StoreEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

type PutRow = (table: Table, key: Buffer, value: Buffer) => void;
type PutOrDeleteRow = (table: Table, key: Buffer, value: Buffer | null) => void;

/**
 * Rows of a message in flight, or of a packet identifier that is held: most likely they are not needed for long. They
 * take as little work as they can:
 * ```
 *   putDeferred -> open --batch is written: log()--> logged --settled--> a settlement in a later batch
 *                    |                                 |
 *                    +--- somebody reads a table they may be in, or they live for long: write() ---> rows
 * ```
 * What is settled with its own batch, or may vanish and is settled before that is written, is not written at all.
 */
export interface DeferredRows {
  /** True if nothing of it is needed any more. */
  readonly isSettled: boolean;
  /** True if they may be settled before their batch is written: then a little patience may spare the write. */
  readonly mayVanish: boolean;
  /** At least the bytes of the message's row, and about those of all. */
  readonly bytes: number;
  /** The store's own: number of the batch that they were put with; not kept up for those that may vanish. */
  putIn: number;
  /** The store's own: number of the batch with the last settlement of them. */
  settledIn: number;
  /**
   * Tells what is needed now, under keys that are in no table; `put` copies what it gets, which does not last longer
   * than its call. From now on what is settled needs `putSettlement`.
   */
  log(put: PutRow): void;
  /** The same, as rows which from now on are changed like any others. Called once at most. */
  write(put: PutRow): void;
}

/** What changes when something of logged rows is not needed any more. */
export interface Settlement {
  /** `put` copies what it gets, which does not last longer than its call. */
  writeSettlement(put: PutOrDeleteRow): void;
}

export function isNeeded(rows: DeferredRows): boolean {
  return !rows.isSettled;
}

/** Tables that deferred rows may be in. */
export const deferrableTables: ReadonlySet<Table> = new Set([
  Table.messages,
  Table.references,
  Table.deliveries,
  Table.inbound,
]);

/** An ordered key-value store with read-your-writes and atomic commits; keys sort by their bytes. */
export interface Store {
  readonly durability: Durability;
  /** False if all rows die with the process: then what only a restart would read need not be put. */
  readonly outlivesProcess: boolean;

  /**
   * The value under `key` as of everything put so far, committed or not; null if absent. The buffer is shared: never
   * modify it. It stays valid as long as it is referenced.
   */
  get(table: Table, key: Buffer): Buffer | null;

  /**
   * Entries with `start <= key < end` in the order of keys, at most `limit`; sees uncommitted puts and deletes.
   * @param start an empty buffer starts at the first key
   * @param end null for no upper end
   */
  range(table: Table, start: Buffer, end: Buffer | null, limit: number): StoreEntry[];

  /** The last entries with `start <= key < end`, at most `limit`, last first; sees uncommitted puts and deletes. */
  rangeReverse(table: Table, start: Buffer, end: Buffer, limit: number): StoreEntry[];

  /** How many entries `range` would return. */
  countRange(table: Table, start: Buffer, end: Buffer | null, limit: number): number;

  /** Puts a value, over any other. Takes ownership of both buffers: their bytes must not change any more. */
  put(table: Table, key: Buffer, value: Buffer): void;

  /**
   * `put` for a key that the caller knows to be absent, in every batch and on disk. If it is deleted again before a
   * transaction has begun to write it, neither the put nor the delete is written at all.
   * @param isLasting true if the row most likely stays for long: it takes no detour through a log of short-lived ones
   */
  putNew(table: Table, key: Buffer, value: Buffer, isLasting?: boolean): void;

  /**
   * `put`, or `putNew`, of a value that most likely stays as it is for long. Takes no ownership: what has to be kept of
   * the buffers is copied.
   * @param isNew true if the caller knows the key to be absent
   */
  putLasting(table: Table, key: Buffer, value: Buffer, isNew: boolean): void;

  /** Deletes a key, absent or not. Takes ownership of the buffer. */
  delete(table: Table, key: Buffer): void;

  /** Puts rows with the open batch, if they are still needed when that is written. */
  putDeferred(rows: DeferredRows): void;

  /**
   * Makes rows of deferred ones that are sealed and not committed. Due before a change of what may not vanish: the
   * change belongs to the open batch, and a death may come between the two.
   */
  writeUncommitted(rows: DeferredRows): void;

  /** Puts what a change of logged rows means with the open batch. */
  putSettlement(rows: DeferredRows, settlement: Settlement): void;

  /**
   * Puts, deletes, deferred rows and settlements since the last `commit`. Grows with each of them, and with nothing
   * shrinks: who compares it knows whether anything was put in between.
   */
  readonly uncommitted: number;

  /** How many of `uncommitted` are deferred rows that may vanish. */
  readonly deferred: number;

  /** How many of the first `count` of them are still needed. */
  countDeferred(count: number): number;

  /**
   * Seals all puts and deletes since the last call as one atomic batch, and calls `done` when it is as durable as
   * `durability` promises: in the order of calls; never within this call for LMDB, always within it for memory. With
   * nothing to commit, `done` is called after all earlier ones. While the store is unwell `done` waits.
   * @param kept how many of the last deferred rows stay for the next batch: if any, all deferred ones may vanish
   */
  commit(done: () => void, kept?: number): void;

  /** Batches sealed and not yet durable. */
  readonly commitsInFlight: number;

  /** False from a failed commit until a retry has succeeded. Reads and puts work all the while. */
  readonly healthy: boolean;

  /** Called once with the error when the store turns unwell, and once with null when it is well again. */
  onHealthChange: ((error: Error | null) => void) | null;

  /**
   * Commits what is left, waits for it, closes. Rejects if that fails; the store is closed all the same, and what was
   * not durable was not answered either. Nothing may be called after it.
   */
  close(): Promise<void>;
}
