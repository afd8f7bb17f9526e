import type { OverlayEntry } from './overlay.js';
import { type DeferredRows, Table } from './store.js';

/** Turns kept in the log, and their keys and bytes: what is still alive in older ones moves to its table. */
const turnsMax = 8;
const keysMax = 50_000;
const bytesMax = 32 * 2 ** 20;
/** A message in flight counts as so many keys: its own, and one recipient's. */
export const keysPerRows = 2;
/** Messages from this size on go to their table at once instead of being written twice. */
export const largeMessageBytes = 4096;
/** Table number, length of the key, length of the value: what an entry needs beside its bytes. */
const entryHeadBytes = 7;
const initialBytes = 64 * 1024;
/** A larger buffer is not kept for the next turn. */
const keptBytesMax = 4 * 2 ** 20;

const hotTables: ReadonlySet<Table> = new Set([
  Table.messages,
  Table.references,
  Table.deliveries,
  Table.inbound,
  Table.records,
  Table.recipients,
  Table.publishers,
  Table.finished,
  Table.answers,
]);

/** True if an entry is written to the log. A start takes what the log says: what has been there is changed there. */
export function isLogged(entry: OverlayEntry): boolean {
  if (entry.isLasting || !hotTables.has(entry.table)) return false;
  const { value } = entry;
  const isLarge = entry.table === Table.messages && value !== null && value.length >= largeMessageBytes;
  return !(isLarge && entry.isFirst);
}

/**
 * True if an entry that goes to its table at once is in the log too. A start takes what the log says, and an earlier
 * turn may have the key.
 */
export function isLoggedBeside({ isLasting, absentOnDisk, table }: OverlayEntry): boolean {
  return isLasting && !absentOnDisk && hotTables.has(table);
}

/** Entries of one transaction as one value: for each, table u8, key length u16, value length u32 + 1 (0: deleted). */
export class TurnWriter {
  private buffer = Buffer.allocUnsafeSlow(initialBytes);
  private at = 0;

  get isEmpty(): boolean {
    return this.at === 0;
  }

  /** Appends an entry. @param value null for a deletion */
  readonly put = (table: Table, key: Buffer, value: Buffer | null): void => {
    const end = this.at + entryHeadBytes + key.length + (value === null ? 0 : value.length);
    if (end > this.buffer.length) this.grow(end);
    const turn = this.buffer;
    const { at } = this;
    turn[at] = table;
    turn[at + 1] = key.length >>> 8;
    turn[at + 2] = key.length & 0xff;
    const valueLength = value === null ? 0 : value.length + 1;
    turn[at + 3] = valueLength >>> 24;
    turn[at + 4] = (valueLength >>> 16) & 0xff;
    turn[at + 5] = (valueLength >>> 8) & 0xff;
    turn[at + 6] = valueLength & 0xff;
    const keyEnd = append(turn, at + entryHeadBytes, key);
    if (value !== null) append(turn, keyEnd, value);
    this.at = end;
  };

  /** A copy of the entries; the writer begins anew. */
  finish(): Buffer {
    const turn = Buffer.allocUnsafeSlow(this.at);
    this.buffer.copy(turn, 0, 0, this.at);
    this.at = 0;
    if (this.buffer.length > keptBytesMax) this.buffer = Buffer.allocUnsafeSlow(initialBytes);
    return turn;
  }

  private grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(bytes, 2 * this.buffer.length));
    this.buffer.copy(larger, 0, 0, this.at);
    this.buffer = larger;
  }
}

/** Small pieces are quicker by hand than by a call. */
function append(target: Buffer, at: number, bytes: Buffer): number {
  const { length } = bytes;
  if (length > 128) target.set(bytes, at);
  else for (let index = 0; index < length; index++) target[at + index] = bytes[index];
  return at + length;
}

/** Calls `visit` for each entry of a turn, in order; `value` is null for a deletion. Keys and values are copies. */
export function decodeTurn(turn: Buffer, visit: (table: Table, key: Buffer, value: Buffer | null) => void): void {
  for (let at = 0; at < turn.length; ) {
    const table = turn[at] as Table;
    const keyEnd = at + entryHeadBytes + turn.readUInt16BE(at + 1);
    const valueLength = turn.readUInt32BE(at + 3);
    const end = keyEnd + Math.max(0, valueLength - 1);
    const value = valueLength === 0 ? null : Buffer.from(turn.subarray(keyEnd, end));
    visit(table, Buffer.from(turn.subarray(at + entryHeadBytes, keyEnd)), value);
    at = end;
  }
}

/** What one transaction wrote to the log, and is not in its tables. */
export interface LoggedTurn {
  readonly number: number;
  /** The transaction's last batch. */
  readonly batch: number;
  readonly entries: OverlayEntry[];
  /** Deferred rows that are in the log only. */
  rows: readonly DeferredRows[];
  /** Of rows that have become entries, or are settled: the last batch with a settlement. */
  settledIn: number;
  readonly bytes: number;
}

/** Puts one row, of `DeferredRows` that it is given. */
export type PutRow = (table: Table, key: Buffer, value: Buffer) => void;

/** Moves the rows of a turn that are still needed to its entries. @param put what makes entries of such rows */
export function writeRows(turn: LoggedTurn, put: (rows: DeferredRows) => PutRow): void {
  for (const rows of turn.rows) if (!rows.isSettled) rows.write(put(rows));
  forgetRows(turn);
}

/** The rows of a turn are entries by now, or settled. */
export function forgetRows(turn: LoggedTurn): void {
  turn.settledIn = lastSettlement(turn);
  turn.rows = [];
}

function lastSettlement({ rows, settledIn }: LoggedTurn): number {
  let last = settledIn;
  for (const row of rows) if (row.settledIn > last) last = row.settledIn;
  return last;
}

/**
 * The log of recent transactions. Most messages live for milliseconds: they are written once, as part of one value per
 * transaction, and are gone before their turn is retired. Oldest first:
 *
 *     | turn 7 | turn 8 | turn 9 | …      turn 7 is deleted by the transaction that moves what is alive of it
 */
export class TurnLog {
  private turns: LoggedTurn[] = [];
  private keys = 0;
  private bytes = 0;
  private lastNumber = 0;
  /** True if some turn may have deferred rows. */
  hasRows = false;

  get length(): number {
    return this.turns.length;
  }

  nextNumber(): number {
    return ++this.lastNumber;
  }

  /** Takes up a turn that is in the store. */
  add(turn: LoggedTurn): void {
    this.lastNumber = Math.max(this.lastNumber, turn.number);
    this.turns.push(turn);
    this.keys += keysOf(turn);
    this.bytes += turn.bytes;
    if (turn.rows.length > 0) this.hasRows = true;
  }

  /**
   * Takes the turns that the next transaction retires off the log. One with rows whose settlement comes only after
   * that transaction has to stay.
   * @param lastBatch of the transaction
   * @param all for a clean stop
   */
  retire(lastBatch: number, all: boolean): LoggedTurn[] {
    let count = 0;
    let { keys, bytes } = this;
    while (count < this.turns.length) {
      const turn = this.turns[count];
      const excess = this.turns.length - count > turnsMax || keys > keysMax || bytes > bytesMax;
      if ((!all && !excess) || lastSettlement(turn) > lastBatch) break;
      keys -= keysOf(turn);
      bytes -= turn.bytes;
      count++;
    }
    this.keys = keys;
    this.bytes = bytes;
    return this.turns.splice(0, count);
  }

  /** Makes entries of all rows that are still needed. */
  writeRows(put: (turn: LoggedTurn, rows: DeferredRows) => PutRow): void {
    this.hasRows = false;
    for (const turn of this.turns) {
      if (turn.rows.length === 0) continue;
      this.keys -= keysOf(turn);
      writeRows(turn, (rows) => put(turn, rows));
      this.keys += keysOf(turn);
    }
  }

  /** The transaction failed: the turns are as they were. */
  putBack(turns: readonly LoggedTurn[]): void {
    this.turns.unshift(...turns);
    for (const turn of turns) {
      this.keys += keysOf(turn);
      this.bytes += turn.bytes;
    }
  }
}

function keysOf({ entries, rows }: LoggedTurn): number {
  return entries.length + rows.length * keysPerRows;
}

/** Key of a turn in table `log`. */
export function turnKey(number: number): Buffer {
  const key = Buffer.allocUnsafe(6);
  key.writeUIntBE(number, 0, 6);
  return key;
}

export function readTurnKey(key: Buffer): number {
  return key.readUIntBE(0, 6);
}
