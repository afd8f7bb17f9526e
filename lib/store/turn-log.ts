import type { OverlayEntry } from './overlay.js';
import { Table } from './store.js';

/** Turns kept in the log, and their keys and bytes: what is still alive in older ones moves to its table. */
const turnsMax = 8;
const keysMax = 50_000;
const bytesMax = 32 * 2 ** 20;
/** Messages from this size on go to their table at once instead of being written twice. */
const largeMessageBytes = 4096;
/** Table number, flags with the key's length, lengths: what an entry needs beside its bytes. */
const entryHeadBytes = 8;

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

/** True if an entry is written to the log; what has been in the log must stay there until its turn is retired. */
export function isLogged(entry: OverlayEntry): boolean {
  if (!hotTables.has(entry.table)) return false;
  const { value } = entry;
  return !(entry.table === Table.messages && value !== null && value.length >= largeMessageBytes);
}

/** Entries of one transaction as one value: for each, table u8, key length u16, value length u32 + 1 (0: deleted). */
export function encodeTurn(entries: readonly OverlayEntry[]): Buffer {
  let size = 0;
  for (const { key, value } of entries) size += entryHeadBytes + key.length + (value === null ? 0 : value.length);
  const turn = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (const { table, key, value } of entries) {
    turn[at] = table;
    turn[at + 1] = key.length >>> 8;
    turn[at + 2] = key.length & 0xff;
    const valueLength = value === null ? 0 : value.length + 1;
    turn[at + 3] = valueLength >>> 24;
    turn[at + 4] = (valueLength >>> 16) & 0xff;
    turn[at + 5] = (valueLength >>> 8) & 0xff;
    turn[at + 6] = valueLength & 0xff;
    at = append(turn, at + 7, key);
    if (value !== null) at = append(turn, at, value);
  }
  return turn.subarray(0, at);
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
    const keyEnd = at + 7 + turn.readUInt16BE(at + 1);
    const valueLength = turn.readUInt32BE(at + 3);
    const end = keyEnd + Math.max(0, valueLength - 1);
    const value = valueLength === 0 ? null : Buffer.from(turn.subarray(keyEnd, end));
    visit(table, Buffer.from(turn.subarray(at + 7, keyEnd)), value);
    at = end;
  }
}

/** One transaction's entries that are in the log and not in their tables. */
export interface LoggedTurn {
  readonly number: number;
  readonly entries: readonly OverlayEntry[];
  readonly bytes: number;
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
    this.keys += turn.entries.length;
    this.bytes += turn.bytes;
  }

  /** Takes the turns that the next transaction retires off the log. @param all for a clean stop */
  retire(all: boolean): LoggedTurn[] {
    let count = 0;
    let { keys, bytes } = this;
    while (count < this.turns.length) {
      const excess = this.turns.length - count > turnsMax || keys > keysMax || bytes > bytesMax;
      if (!all && !excess) break;
      keys -= this.turns[count].entries.length;
      bytes -= this.turns[count].bytes;
      count++;
    }
    this.keys = keys;
    this.bytes = bytes;
    return this.turns.splice(0, count);
  }

  /** The transaction failed: the turns are as they were. */
  putBack(turns: readonly LoggedTurn[]): void {
    this.turns.unshift(...turns);
    for (const turn of turns) {
      this.keys += turn.entries.length;
      this.bytes += turn.bytes;
    }
  }
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
