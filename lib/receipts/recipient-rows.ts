import { type Store, Table } from '../store/store.js';
import { decodeRow, encodeRow, type Row, type TrackedRecord } from './record.js';
import { recipientRowKey } from './record-keys.js';
import { ReceiptState } from './states.js';

/** Rows without an outcome that are kept in memory. */
const pendingMax = 20_000;
const lastByte = 0xff;

interface ChangedRow {
  readonly recipientKey: Buffer;
  row: Row;
  /** True if the store certainly has no row of the key. */
  readonly isNew: boolean;
}

type RowsOf<T> = Map<TrackedRecord, Map<string, T>>;

/**
 * Rows of large cohorts, which have keys of their own in table `recipients`. A row that changes several times in a turn
 * is put once; one whose outcome is still to come is kept for it, as far as there is room.
 */
export class RecipientRows {
  private readonly store: Store;
  /** By recipient key, as latin1. */
  private readonly changed: RowsOf<ChangedRow> = new Map();
  private readonly pending: RowsOf<Row> = new Map();
  /** Rows that nobody would miss, by the message's sequence: the stored cohort says as much. */
  private readonly held = new Map<number, Map<string, ChangedRow>>();
  private pendingCount = 0;
  /** The key asked for last, as text: most are asked for several times in a row. */
  private lastKey: Buffer | null = null;
  private lastText = '';

  constructor(store: Store) {
    this.store = store;
  }

  /** True while rows wait for `putChanges`: only then differs what the store has. */
  get hasChanges(): boolean {
    return this.changed.size > 0;
  }

  private textOf(recipientKey: Buffer): string {
    if (recipientKey !== this.lastKey) {
      this.lastKey = recipientKey;
      this.lastText = recipientKey.toString('latin1');
    }
    return this.lastText;
  }

  get(record: TrackedRecord, recipientKey: Buffer): Row | null {
    const text = this.textOf(recipientKey);
    const held = this.held.get(record.sequence)?.get(text);
    if (held !== undefined) return held.row;
    const known = this.changed.get(record)?.get(text)?.row ?? this.pending.get(record)?.get(text);
    if (known !== undefined) return known;
    const key = recipientRowKey(record.publisherKey, record.sequence, recipientKey);
    const value = this.store.get(Table.recipients, key);
    return value === null ? null : decodeRow(value);
  }

  /** Keeps a row in memory until it says more than that the message was sent at QoS 1 or 2. */
  hold(record: TrackedRecord, recipientKey: Buffer, row: Row): void {
    const { sequence } = record;
    let held = this.held.get(sequence);
    if (held === undefined) {
      held = new Map();
      this.held.set(sequence, held);
    }
    held.set(this.textOf(recipientKey), { recipientKey, row, isNew: true });
  }

  writeHeld(record: TrackedRecord, recipientKey: Buffer): void {
    const text = this.textOf(recipientKey);
    const held = this.release(record, text);
    if (held !== null) this.changedOf(record).set(text, held);
  }

  /**
   * Writes held rows behind a recipient's key: about `count`, so that a turn does not have to write them all.
   * @param after null to begin with the first
   * @returns the first byte of the last keys that are written; `count` rows at least are up to there, or it is 255
   */
  writeHeldAfter(record: TrackedRecord, after: Buffer | null, count: number): number {
    const held = this.held.get(record.sequence);
    if (held === undefined) return lastByte;
    const afterText = after?.toString('latin1') ?? '';
    // Keys are hashes: no byte is the first of many more than any other.
    const byFirstByte = new Uint32Array(lastByte + 1);
    for (const text of held.keys()) if (text > afterText) byFirstByte[text.charCodeAt(0)]++;
    let last = 0;
    for (let found = byFirstByte[0] as number; found < count && last < lastByte; ) {
      last++;
      found += byFirstByte[last] as number;
    }
    const changed = this.changedOf(record);
    for (const [text, row] of held) {
      if (text <= afterText || text.charCodeAt(0) > last) continue;
      held.delete(text);
      changed.set(text, row);
    }
    if (held.size === 0) this.held.delete(record.sequence);
    return last;
  }

  /** @param isNew true if the store certainly has no row of the key */
  put(record: TrackedRecord, recipientKey: Buffer, row: Row, isNew = false): void {
    const text = this.textOf(recipientKey);
    if (this.held.size > 0) {
      const held = this.held.get(record.sequence)?.get(text);
      if (held !== undefined) {
        held.row = row;
        const isSent = row.state === ReceiptState.sent && row.qos > 0;
        if (!isSent) this.writeHeld(record, recipientKey);
        return;
      }
    }
    const changed = this.changedOf(record);
    const known = changed.get(text);
    if (known === undefined) changed.set(text, { recipientKey, row, isNew });
    else known.row = row;
  }

  putChanges(): void {
    for (const [record, rows] of this.changed) {
      for (const [text, { recipientKey, row, isNew }] of rows) {
        const key = recipientRowKey(record.publisherKey, record.sequence, recipientKey);
        // An outcome stays, and so does what waits for a client that is away.
        if (isNew)
          this.store.putNew(Table.recipients, key, encodeRow(row), row.final || row.state === ReceiptState.queued);
        else this.store.put(Table.recipients, key, encodeRow(row));
        if (row.final) this.drop(record, text);
        else this.keep(record, text, row);
      }
    }
    this.changed.clear();
  }

  private changedOf(record: TrackedRecord): Map<string, ChangedRow> {
    let changed = this.changed.get(record);
    if (changed === undefined) {
      changed = new Map();
      this.changed.set(record, changed);
    }
    return changed;
  }

  private release({ sequence }: TrackedRecord, text: string): ChangedRow | null {
    const held = this.held.get(sequence);
    const row = held?.get(text);
    if (held === undefined || row === undefined) return null;
    held.delete(text);
    if (held.size === 0) this.held.delete(sequence);
    return row;
  }

  /** The record has its final tally, or is gone. */
  forget(record: TrackedRecord): void {
    this.held.delete(record.sequence);
    this.pendingCount -= this.pending.get(record)?.size ?? 0;
    this.pending.delete(record);
  }

  private keep(record: TrackedRecord, text: string, row: Row): void {
    if (this.pendingCount >= pendingMax) {
      this.pending.clear();
      this.pendingCount = 0;
    }
    let rows = this.pending.get(record);
    if (rows === undefined) {
      rows = new Map();
      this.pending.set(record, rows);
    }
    if (!rows.has(text)) this.pendingCount++;
    rows.set(text, row);
  }

  private drop(record: TrackedRecord, text: string): void {
    if (this.pending.get(record)?.delete(text)) this.pendingCount--;
  }
}
