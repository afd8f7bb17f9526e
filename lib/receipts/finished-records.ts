import { type Store, Table } from '../store/store.js';
import type { TrackedRecord } from './record.js';
import {
  finishedEntryBytes,
  finishedKey,
  readFinishedEntry,
  readFinishedTime,
  writeFinishedEntry,
} from './record-keys.js';

/** Records in one row at most. */
const rowRecordsMax = 1000;

/** A row being gone through, oldest records first. */
interface Head {
  readonly key: Buffer;
  readonly value: Buffer;
  at: number;
}

/**
 * The records that have their final tallies, by the time of it: one row of table `finished` for all of a turn. Records
 * that are removed stay listed until everything before them is gone.
 */
export class FinishedRecords {
  private readonly store: Store;
  /** Of the open turn. */
  private added: TrackedRecord[] = [];
  private head: Head | null = null;

  constructor(store: Store) {
    this.store = store;
  }

  get hasChanges(): boolean {
    return this.added.length > 0;
  }

  /** Lists a record; `putChanges` puts it. */
  add(record: TrackedRecord): void {
    this.added.push(record);
  }

  putChanges(): void {
    for (let from = 0; from < this.added.length; from += rowRecordsMax) {
      const records = this.added.slice(from, from + rowRecordsMax);
      const [first] = records;
      if (first === undefined) break;
      const value = Buffer.allocUnsafe(records.length * finishedEntryBytes);
      let finalAtMs = 0;
      for (const [at, { publisherKey, sequence, finalAtMs: ownMs }] of records.entries()) {
        writeFinishedEntry(value, at * finishedEntryBytes, publisherKey, sequence);
        finalAtMs = Math.max(finalAtMs, ownMs);
      }
      this.store.putNew(Table.finished, finishedKey(finalAtMs, first.sequence), value);
    }
    this.added = [];
  }

  /**
   * The record listed first, if its row's last final tally was before a time; it may have been removed since.
   * Call `skip` to go on behind it.
   */
  first(beforeMs: number): { publisherKey: Buffer; sequence: number } | null {
    if (this.added.length > 0) this.putChanges();
    if (this.head !== null && this.head.at >= this.head.value.length) {
      this.store.delete(Table.finished, this.head.key);
      this.head = null;
    }
    if (this.head === null) {
      const [row] = this.store.range(Table.finished, Buffer.alloc(0), finishedKey(beforeMs, 0), 1);
      if (row === undefined) return null;
      this.head = { ...row, at: 0 };
    }
    return readFinishedTime(this.head.key) < beforeMs ? readFinishedEntry(this.head.value, this.head.at) : null;
  }

  skip(): void {
    if (this.head !== null) this.head.at += finishedEntryBytes;
  }
}
