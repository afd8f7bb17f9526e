import { assert } from '../base/assert.js';
import type { Clock, Wakeup } from '../base/clock.js';
import { CountersignError } from '../base/errors.js';
import { DataDirectory } from './data-directory.js';
import { DeferredBatches } from './deferred-batches.js';
import { ignoreCommitted, isSyncError, notFlushedError, writeError } from './lmdb-errors.js';
import { type BinaryDatabase, type Environment, forgetDirectory, openEnvironment } from './lmdb-open.js';
import { asBuffer, mergedCount, mergedRange, mergedRangeReverse } from './lmdb-reads.js';
import { type Batch, countForTransaction, type LmdbStoreOptions, type Transaction } from './lmdb-transaction.js';
import { isNewest, Overlay, type OverlayEntry } from './overlay.js';
import { type DeferredRows, isNeeded, type Settlement, type Store, type StoreEntry, Table } from './store.js';
import * as turnLog from './turn-log.js';

/** Address space reserved for the map; the file grows only as it is used. */
const defaultMapSizeBytes = 64 * 2 ** 30;
const retryAfterMs = 1_000;
/** A transaction that is committed and not on the disk after this long makes the store unwell. */
const flushPatienceMs = 30_000;
/** Transactions handed to LMDB and not yet durable. The second begins when the first has committed, not before. */
const transactionsInFlightMax = 2;

/**
 * The store on disk: one LMDB environment, one database a table, a batch never split over transactions.
 * ```
 *   put -> overlay (unsealed) -commit()-> waiting -> committing -> flushing -> done()
 *                                  ^                     |
 *                                  +---- retry ----------+  failed: nothing is dropped
 * ```
 */
export class LmdbStore implements Store {
  readonly outlivesProcess = true;
  readonly durability: 'flushed' | 'committed';
  readonly directory: string;
  healthy = true;
  onHealthChange: ((error: Error | null) => void) | null = null;
  readonly environment: Environment;
  private readonly tables: readonly BinaryDatabase[];
  private readonly clock: Clock;
  private readonly overlay = new Overlay();
  private readonly log = new turnLog.TurnLog();
  private readonly turnWriter = new turnLog.TurnWriter();
  private readonly deferredRows = new DeferredBatches(this.overlay, this.log);
  private readonly dataDirectory: DataDirectory;
  /** Promise of the transaction being written. */
  private written: Promise<unknown> | null = null;
  private waiting: Batch[] = [];
  private committing: Transaction | null = null;
  private readonly flushing: Transaction[] = [];
  private retry: Wakeup | null = null;
  private lastError: Error | null = null;
  private inFlight = 0;
  /** While unwell: well again once this batch is durable. */
  private unwellUntil = 0;
  private closing: { resolve: () => void; reject: (error: Error) => void } | null = null;
  private isClosed = false;
  /** True once the disk failed: nothing is written any more. */
  private isStopped = false;

  /**
   * Opens or creates the data directory.
   * @throws CountersignError with code ERR_COUNTERSIGN_DATA_LOCKED, _UNWRITABLE, _CORRUPT or _FORMAT
   */
  static async open(options: LmdbStoreOptions): Promise<LmdbStore> {
    const environment = await openEnvironment(options.directory, options.mapSizeBytes ?? defaultMapSizeBytes);
    return new LmdbStore(environment, options);
  }

  private constructor(environment: Environment, options: LmdbStoreOptions) {
    this.environment = environment;
    this.directory = environment.directory;
    this.dataDirectory = new DataDirectory(this.directory);
    this.tables = environment.tables;
    this.durability = options.durability;
    this.clock = options.clock;
    this.replayLog();
  }

  /** Takes up the turns that the log holds: they are newer than the tables. */
  private replayLog(): void {
    for (const { key, value } of this.tables[Table.log].getRange({})) {
      const turn = asBuffer(value);
      turnLog.decodeTurn(turn, (table, entryKey, entryValue) => this.overlay.put(table, entryKey, entryValue, false));
      const entries = this.overlay.seal();
      for (const entry of entries) entry.isInLog = true;
      const number = turnLog.readTurnKey(asBuffer(key));
      this.log.add({ number, batch: this.overlay.lastSealed, entries, rows: [], settledIn: 0, bytes: turn.length });
    }
  }

  get uncommitted(): number {
    return this.overlay.uncommitted + this.deferredRows.uncommitted;
  }

  get deferred(): number {
    return this.deferredRows.vanishing;
  }

  get commitsInFlight(): number {
    return this.inFlight;
  }

  get(table: Table, key: Buffer): Buffer | null {
    this.deferredRows.writeFor(table, this.waiting, this.committing);
    const entry = this.overlay.get(table, key);
    if (entry !== undefined) return entry.value;
    const value = this.tables[table].getBinary(key);
    return value === undefined ? null : asBuffer(value);
  }

  range(table: Table, start: Buffer, end: Buffer | null, limit: number): StoreEntry[] {
    if (limit <= 0) return [];
    this.deferredRows.writeFor(table, this.waiting, this.committing);
    return mergedRange(this.tables[table], this.overlay.range(table, start, end), start, end, limit);
  }

  rangeReverse(table: Table, start: Buffer, end: Buffer, limit: number): StoreEntry[] {
    if (limit <= 0) return [];
    this.deferredRows.writeFor(table, this.waiting, this.committing);
    return mergedRangeReverse(this.tables[table], this.overlay.range(table, start, end), start, end, limit);
  }

  countRange(table: Table, start: Buffer, end: Buffer | null, limit: number): number {
    if (limit <= 0) return 0;
    this.deferredRows.writeFor(table, this.waiting, this.committing);
    return mergedCount(this.tables[table], this.overlay.range(table, start, end), start, end, limit);
  }

  put(table: Table, key: Buffer, value: Buffer): void {
    this.overlay.put(table, key, value, false);
  }

  putNew(table: Table, key: Buffer, value: Buffer, isLasting = false): void {
    this.overlay.put(table, key, value, true, isLasting);
  }

  putLasting(table: Table, key: Buffer, value: Buffer, isNew: boolean): void {
    this.overlay.put(table, Buffer.from(key), Buffer.from(value), isNew, true);
  }

  delete(table: Table, key: Buffer): void {
    this.overlay.put(table, key, null, false);
  }

  countDeferred(count: number): number {
    return this.deferredRows.countVanishing(count);
  }

  putDeferred(rows: DeferredRows): void {
    this.deferredRows.put(rows);
  }

  writeUncommitted(rows: DeferredRows): void {
    this.deferredRows.writeUncommitted(rows, this.waiting, this.committing);
  }

  putSettlement(rows: DeferredRows, settlement: Settlement): void {
    this.deferredRows.putSettlement(rows, settlement);
  }

  commit(done: () => void, kept = 0): void {
    assert(!this.isClosed, 'nothing is committed to a closed store');
    this.seal(done, kept);
  }

  close(): Promise<void> {
    assert(this.closing === null, 'a store is closed once');
    return new Promise((resolve, reject) => {
      this.closing = { resolve, reject };
      // The last transaction leaves no log behind, nor what one that is under way puts there.
      if (this.uncommitted > 0 || this.log.length > 0 || this.inFlight > 0) this.seal(nothing, 0);
      // Unwell: one last attempt, which ends in `release` or in `turnUnwell`.
      if (this.retry !== null && !this.isStopped) this.retryNow();
      else this.finishClosing();
    });
  }

  private seal(done: () => void, kept: number): void {
    const { deferred, settlements } = this.deferredRows.seal(kept);
    const entries = this.overlay.seal();
    const batch: Batch = { number: this.overlay.lastSealed, entries, deferred, settlements, done };
    this.inFlight++;
    const isEmpty = entries.length === 0 && settlements.length === 0 && !deferred.some(isNeeded);
    if (this.inFlight === 1 && this.healthy && isEmpty && this.closing === null) {
      // All of it has been acknowledged by its recipients: there is nothing to keep.
      this.deferredRows.forget(batch);
      queueMicrotask(() => {
        this.inFlight--;
        done();
        this.finishClosing();
      });
      return;
    }
    this.waiting.push(batch);
    this.startTransaction();
  }

  /** Hands the waiting batches to LMDB as one transaction, unless enough are under way. */
  private startTransaction(): void {
    if (this.waiting.length === 0 || this.committing !== null || this.isClosed) return;
    if (this.retry !== null || this.isStopped) return;
    if (this.flushing.length >= transactionsInFlightMax) return;
    const obstacle = this.dataDirectory.obstacle(this.clock.now());
    if (obstacle !== null) {
      this.retry = this.clock.after(retryAfterMs, () => this.retryNow());
      this.turnUnwell({ batches: this.waiting }, obstacle);
      return;
    }
    const transaction: Transaction = {
      ...{ batches: this.waiting.splice(0, countForTransaction(this.waiting)), logged: null, retired: [] },
      ...{ isFlushed: false, wakeup: null },
    };
    this.committing = transaction;
    const giveUp = () => this.turnUnwell(transaction, notFlushedError(this.directory, flushPatienceMs / 1000));
    transaction.wakeup = this.clock.after(flushPatienceMs, giveUp);
    const committed = this.write(transaction);
    const flushed = this.durability === 'flushed' && committed !== null ? this.environment.root.flushed : null;
    // Never settles when the commit fails; `committed` rejects then.
    flushed?.then(
      () => this.onFlushed(transaction),
      (error: unknown) => this.turnUnwell(transaction, error),
    );
    (committed ?? Promise.resolve()).then(
      () => this.onCommitted(transaction, flushed === null),
      (error: unknown) => this.onCommitFailed(transaction, error),
    );
  }

  /**
   * Puts the batches within this call, so within one turn, which lmdb-js makes one transaction. Of a key that several
   * batches write, only the last is put; a key that came and went is not written at all. Entries of the hot tables and
   * deferred rows go into the log as one value; what is alive in the turns that this retires moves to its table.
   * @returns a promise of the commit; null if there was nothing to write
   */
  private write(transaction: Transaction): Promise<unknown> | null {
    const { batches } = transaction;
    const last = batches[batches.length - 1].number;
    const isLast = this.closing !== null && this.waiting.length === 0;
    this.written = null;
    transaction.retired = this.log.retire(last, isLast);
    for (const turn of transaction.retired) {
      this.deferredRows.retire(turn);
      for (const entry of turn.entries) if (isNewest(entry, last)) this.writeToTable(entry);
      this.track(this.tables[Table.log].remove(turnLog.turnKey(turn.number)));
    }
    const entries: OverlayEntry[] = [];
    const rows: DeferredRows[] = [];
    const { put } = this.turnWriter;
    for (const batch of batches) {
      if (isLast) {
        this.deferredRows.writeOf(batch);
        for (const entry of batch.entries) if (isNewest(entry, last)) this.writeToTable(entry);
        continue;
      }
      // Before the entries: what was settled first may have become rows later in the batch. Keys that were deleted
      // may be used again by rows that still are deferred: so these come after both.
      for (const settlement of batch.settlements) settlement.writeSettlement(put);
      const before = batch.entries.length;
      this.writeEntries(batch.entries, 0, last, entries);
      this.deferredRows.logOf(batch, this.turnWriter, rows);
      this.writeEntries(batch.entries, before, last, entries);
    }
    if (!this.turnWriter.isEmpty) {
      const value = this.turnWriter.finish();
      const number = this.log.nextNumber();
      transaction.logged = { number, batch: last, entries, rows, settledIn: 0, bytes: value.length };
      this.track(this.tables[Table.log].put(turnLog.turnKey(number), value));
    }
    // lmdb-js makes one more promise when the turn ends, which it keeps to itself: no rejection may go unhandled.
    if (this.written !== null) setImmediate(ignoreCommitted, this.environment.root);
    return this.written;
  }

  /** Writes a batch's entries from a place on to the log or to their tables. @param logged receives those in the log */
  private writeEntries(entries: readonly OverlayEntry[], from: number, last: number, logged: OverlayEntry[]): void {
    for (let at = from; at < entries.length; at++) {
      const entry = entries[at];
      if (!isNewest(entry, last) || (entry.value === null && entry.absentOnDisk)) continue;
      const isLogged = turnLog.isLogged(entry);
      if (isLogged || turnLog.isLoggedBeside(entry)) this.turnWriter.put(entry.table, entry.key, entry.value);
      if (isLogged) logged.push(entry);
      else this.writeToTable(entry);
    }
  }

  private writeToTable(entry: OverlayEntry): void {
    if (entry.value === null && entry.absentOnDisk) return;
    entry.absentOnDisk = false;
    const database = this.tables[entry.table];
    this.track(entry.value === null ? database.remove(entry.key) : database.put(entry.key, entry.value));
  }

  private track(written: Promise<unknown>): void {
    if (written === this.written) return;
    // A large transaction gets a second promise when lmdb-js starts to write it.
    this.written?.catch(nothing);
    this.written = written;
  }

  private onCommitted(transaction: Transaction, isDurable: boolean): void {
    this.committing = null;
    // Reads must see the transaction before the overlay forgets it.
    this.environment.root.resetReadTxn();
    const { logged, retired } = transaction;
    if (logged !== null) {
      for (const entry of logged.entries) entry.isInLog = true;
      this.log.add(logged);
    }
    for (const { entries } of transaction.batches) this.overlay.forget(entries);
    this.deferredRows.committed(transaction.batches);
    for (const turn of retired) {
      for (const entry of turn.entries) entry.isInLog = false;
      this.overlay.forget(turn.entries);
    }
    this.flushing.push(transaction);
    if (isDurable) this.onFlushed(transaction);
    this.startTransaction();
    this.release();
  }

  private onFlushed(transaction: Transaction): void {
    transaction.isFlushed = true;
    if (transaction.wakeup !== null) this.clock.cancel(transaction.wakeup);
    // May come before the turn of an earlier one, or before this one's own commit is told.
    if (this.committing !== transaction) this.release();
  }

  /** Tells durable batches, in the order of commits. */
  private release(): void {
    const ready: Batch[] = [];
    while (this.flushing.length > 0 && this.flushing[0].isFlushed) {
      ready.push(...(this.flushing.shift()?.batches ?? []));
    }
    if (ready.length === 0) return;
    if (!this.healthy && ready[ready.length - 1].number >= this.unwellUntil) this.turnWell();
    this.startTransaction();
    for (const batch of ready) {
      this.inFlight--;
      batch.done();
    }
    this.finishClosing();
  }

  private onCommitFailed(transaction: Transaction, error: unknown): void {
    this.committing = null;
    if (transaction.wakeup !== null) this.clock.cancel(transaction.wakeup);
    this.log.putBack(transaction.retired);
    // The next may take fewer batches, and write what this one had seen come and go.
    for (const { entries } of transaction.batches) for (const entry of entries) entry.absentOnDisk = false;
    this.waiting.unshift(...transaction.batches);
    this.retry = this.clock.after(retryAfterMs, () => this.retryNow());
    const detail = (error as { commitError?: Promise<unknown> }).commitError;
    if (detail === undefined) this.turnUnwell(transaction, error);
    else detail.then(nothing, (cause: unknown) => this.turnUnwell(transaction, cause));
  }

  private retryNow(): void {
    if (this.retry !== null) this.clock.cancel(this.retry);
    this.retry = null;
    this.startTransaction();
  }

  private turnUnwell(transaction: Pick<Transaction, 'batches'>, cause: unknown): void {
    this.unwellUntil = Math.max(this.unwellUntil, transaction.batches[transaction.batches.length - 1].number);
    this.isStopped ||= isSyncError(this.directory, cause);
    this.lastError = cause instanceof CountersignError ? cause : writeError(this.directory, cause, this.isStopped);
    const wasHealthy = this.healthy;
    this.healthy = false;
    if (wasHealthy) this.onHealthChange?.(this.lastError);
    this.finishClosing();
  }

  private turnWell(): void {
    this.healthy = true;
    this.lastError = null;
    this.onHealthChange?.(null);
  }

  private finishClosing(): void {
    const closing = this.closing;
    if (closing === null || this.isClosed || (this.inFlight > 0 && this.healthy)) return;
    const { resolve, reject } = closing;
    this.isClosed = true;
    if (this.retry !== null) this.clock.cancel(this.retry);
    const error = this.lastError;
    const closed = this.environment.root.close();
    if (error === null) {
      closed.then(() => {
        forgetDirectory(this.directory);
        resolve();
      }, reject);
      return;
    }
    // lmdb-js waits for the flush of a failed commit, which never comes: the directory stays locked by this process.
    closed.then(() => forgetDirectory(this.directory), nothing);
    reject(error);
  }
}

function nothing(): void {}
