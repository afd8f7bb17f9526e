import { assert } from '../base/assert.js';
import type { Batch, Transaction } from './lmdb-transaction.js';
import type { Overlay } from './overlay.js';
import { type DeferredRows, deferrableTables, type Settlement, type Table } from './store.js';
import {
  forgetRows,
  type LoggedTurn,
  largeMessageBytes,
  type PutRow,
  type TurnLog,
  type TurnWriter,
  writeRows,
} from './turn-log.js';

/** The deferred rows of the LMDB store, from `putDeferred` to the log, or to entries of the overlay. */
export class DeferredBatches {
  private readonly overlay: Overlay;
  private readonly log: TurnLog;
  private open: DeferredRows[] = [];
  private openSettlements: Settlement[] = [];
  private openVanishing = 0;
  /** Rows of the open batch that were settled or made entries, because somebody read. */
  private openRead = 0;
  /** Rows of the open batch, the sealed ones, and those being written. */
  private count = 0;
  /** Number of the last batch that was committed. */
  private lastCommitted = 0;

  constructor(overlay: Overlay, log: TurnLog) {
    this.overlay = overlay;
    this.log = log;
  }

  /** Rows and settlements that were put with the open batch, whatever has become of them: it only grows. */
  get uncommitted(): number {
    return this.open.length + this.openRead + this.openSettlements.length;
  }

  /** Rows of the open batch that may vanish. */
  get vanishing(): number {
    return this.openVanishing;
  }

  /** How many of the first `count` of them are still needed. */
  countVanishing(count: number): number {
    return countVanishing(this.open, count);
  }

  put(rows: DeferredRows): void {
    rows.putIn = this.overlay.lastSealed + 1;
    this.open.push(rows);
    this.count++;
    if (rows.mayVanish) this.openVanishing++;
  }

  putSettlement(rows: DeferredRows, settlement: Settlement): void {
    rows.settledIn = this.overlay.lastSealed + 1;
    this.openSettlements.push(settlement);
  }

  /** Ends the open batch. @param kept how many of its last rows are for the next one: if any, all of them may vanish */
  seal(kept: number): Pick<Batch, 'deferred' | 'settlements'> {
    assert(kept === 0 || this.openVanishing === this.open.length, 'what is kept waits for acknowledgements only');
    const sealed = { deferred: this.open, settlements: this.openSettlements };
    this.open = kept === 0 ? [] : sealed.deferred.splice(-kept);
    this.openSettlements = [];
    this.openVanishing = kept;
    this.openRead = 0;
    return sealed;
  }

  /** The batches of a transaction are committed. */
  committed(batches: readonly Batch[]): void {
    for (const batch of batches) {
      this.lastCommitted = batch.number;
      this.forget(batch);
    }
  }

  /** Makes entries of rows that are in a sealed batch, and of all others there, unless it is committed. */
  writeUncommitted({ putIn }: DeferredRows, waiting: readonly Batch[], committing: Transaction | null): void {
    if (putIn <= this.lastCommitted || putIn > this.overlay.lastSealed) return;
    if (committing?.batches.some(({ number }) => number === putIn)) this.writeBeingWritten(committing);
    for (const batch of waiting) if (batch.number === putIn) this.writeOf(batch);
  }

  /** A batch's rows are written, or were not needed. */
  forget(batch: Pick<Batch, 'deferred'>): void {
    this.count -= batch.deferred.length;
    batch.deferred = [];
  }

  /** Makes entries of all rows that are still needed, if they may be in a table that somebody reads. */
  writeFor(table: Table, waiting: readonly Batch[], committing: Transaction | null): void {
    if ((this.count === 0 && !this.log.hasRows) || !deferrableTables.has(table)) return;
    this.log.writeRows((turn, rows) => this.lateEntry(turn, rows));
    if (committing !== null) this.writeBeingWritten(committing);
    for (const batch of waiting) this.writeOf(batch);
    const { open } = this;
    this.open = [];
    this.openVanishing = 0;
    this.openRead += open.length;
    this.count -= open.length;
    const put: PutRow = (to, key, value) => this.overlay.put(to, key, value, true);
    for (const rows of open) if (!rows.isSettled) rows.write(put);
  }

  /** Makes entries of a sealed batch's rows. */
  writeOf(batch: Batch): void {
    if (batch.deferred.length === 0) return;
    for (const rows of batch.deferred) if (!rows.isSettled) rows.write(this.entryOf(batch, rows));
    this.forget(batch);
  }

  /** Should the transaction fail, its batches are written anew, and what was read of them with them. */
  private writeBeingWritten({ batches, logged }: Transaction): void {
    for (const batch of batches) {
      const before = batch.entries.length;
      this.writeOf(batch);
      // One by one: there may be more than a call takes arguments.
      for (let at = before; logged !== null && at < batch.entries.length; at++) logged.entries.push(batch.entries[at]);
    }
    if (logged !== null) forgetRows(logged);
  }

  /**
   * Writes the rows of a batch that are needed to the log; large ones become entries, for their table.
   * @param logged receives those in the log
   */
  logOf(batch: Batch, writer: TurnWriter, logged: DeferredRows[]): void {
    const kept: DeferredRows[] = [];
    for (const rows of batch.deferred) {
      if (rows.isSettled) continue;
      if (rows.bytes >= largeMessageBytes) {
        rows.write(this.entryOf(batch, rows));
        continue;
      }
      rows.log(writer.put);
      logged.push(rows);
      kept.push(rows);
    }
    this.count -= batch.deferred.length - kept.length;
    batch.deferred = kept;
  }

  /** Makes entries of the rows of a turn that leaves the log. */
  retire(turn: LoggedTurn): void {
    if (turn.rows.length > 0) writeRows(turn, (rows) => this.lateEntry(turn, rows));
  }

  private entryOf({ number, entries }: Batch, { settledIn }: DeferredRows): PutRow {
    return (table, key, value) => {
      entries.push(this.overlay.putLate(number, table, key, value, settledIn === 0));
    };
  }

  private lateEntry({ batch, entries }: LoggedTurn, { settledIn }: DeferredRows): PutRow {
    return (table, key, value) => {
      // A settlement may have put the key into the log of a later turn, which outlives this one.
      const entry = this.overlay.putLate(batch, table, key, value, settledIn === 0);
      entry.isInLog = true;
      entries.push(entry);
    };
  }
}

/** How many of the first `count` deferred rows that may vanish are still needed. */
export function countVanishing(deferred: readonly DeferredRows[], count: number): number {
  let seen = 0;
  let needed = 0;
  for (let at = 0; at < deferred.length && seen < count; at++) {
    const rows = deferred[at] as DeferredRows;
    if (!rows.mayVanish) continue;
    seen++;
    if (!rows.isSettled) needed++;
  }
  return needed;
}
