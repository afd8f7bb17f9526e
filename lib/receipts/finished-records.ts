import { type Store, Table } from '../store/store.js';
import {
  afterKey,
  finishedEntryBytes,
  finishedKey,
  readFinishedEntry,
  readFinishedTime,
  writeFinishedEntry,
} from './record-keys.js';

/** Records in one row at most. */
const rowRecordsMax = 1000;
/** So many more may be listed than there are, before the lists are tidied. */
const surplusMax = 200;

/** What is listed of a record. */
export interface FinishedRecord {
  readonly publisherKey: Buffer;
  readonly sequence: number;
  readonly finalAtMs: number;
}

/** A row being gone through, oldest records first. */
interface Head {
  readonly key: Buffer;
  readonly value: Buffer;
  at: number;
}

/**
 * The records that have their final tallies, by the time of it: one row of table `finished` for all of a turn. Records
 * that are removed stay listed until everything before them is gone, or `tidy` comes by.
 */
export class FinishedRecords {
  private readonly store: Store;
  /** Of the open turn. */
  private added: FinishedRecord[] = [];
  private head: Head | null = null;
  /** Records listed, those that are gone included; after a start as many as there were then. */
  private listed: number;
  /** Where `next` goes on; null for the first. */
  private passed: Head | null = null;
  /** Where `tidy` goes on; null while there is nothing to tidy. */
  private tidyFrom: Buffer | null = null;

  /** @param known records that are listed already, as far as one knows */
  constructor(store: Store, known = 0) {
    this.store = store;
    this.listed = known;
  }

  get hasChanges(): boolean {
    return this.added.length > 0;
  }

  /** Lists a record; `putChanges` puts it. */
  add(record: FinishedRecord): void {
    this.listed++;
    this.added.push(record);
  }

  putChanges(): void {
    for (let from = 0; from < this.added.length; from += rowRecordsMax) {
      const records = this.added.length <= rowRecordsMax ? this.added : this.added.slice(from, from + rowRecordsMax);
      const [first] = records;
      if (first === undefined) break;
      const value = Buffer.allocUnsafe(records.length * finishedEntryBytes);
      let finalAtMs = 0;
      let at = 0;
      for (const record of records) {
        writeFinishedEntry(value, at, record.publisherKey, record.sequence);
        at += finishedEntryBytes;
        if (record.finalAtMs > finalAtMs) finalAtMs = record.finalAtMs;
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
      this.listed -= this.head.value.length / finishedEntryBytes;
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

  /**
   * Goes through the list without taking anything off it: each call gives the next record, which may have been removed
   * since. Null after the last; then it begins again.
   */
  next(): { publisherKey: Buffer; sequence: number } | null {
    if (this.added.length > 0) this.putChanges();
    if (this.passed === null || this.passed.at >= this.passed.value.length) {
      const start = this.passed === null ? Buffer.alloc(0) : afterKey(this.passed.key);
      const [row] = this.store.range(Table.finished, start, null, 1);
      this.passed = row === undefined ? null : { ...row, at: 0 };
      if (this.passed === null) return null;
    }
    const entry = readFinishedEntry(this.passed.value, this.passed.at);
    this.passed.at += finishedEntryBytes;
    return entry;
  }

  /**
   * Takes a slice of removed records off the lists, if they are many.
   * @param size records that there are
   * @param limit how many are looked at, rounded up to whole rows
   * @param isThere asked for each listed record
   * @returns true if there is more to do at once
   */
  tidy(size: number, limit: number, isThere: (publisherKey: Buffer, sequence: number) => boolean): boolean {
    if (this.tidyFrom === null) {
      if (this.listed <= 2 * size + surplusMax) return false;
      this.tidyFrom = Buffer.alloc(0);
    }
    this.putChanges();
    this.head = null;
    for (let left = limit; left > 0; ) {
      const [row] = this.store.range(Table.finished, this.tidyFrom, null, 1);
      if (row === undefined) {
        this.tidyFrom = null;
        return false;
      }
      this.tidyRow(row.key, row.value, isThere);
      left -= row.value.length / finishedEntryBytes;
      this.tidyFrom = afterKey(row.key);
    }
    return true;
  }

  private tidyRow(key: Buffer, value: Buffer, isThere: (publisherKey: Buffer, sequence: number) => boolean): void {
    const kept: Buffer[] = [];
    for (let at = 0; at < value.length; at += finishedEntryBytes) {
      const { publisherKey, sequence } = readFinishedEntry(value, at);
      if (isThere(publisherKey, sequence)) kept.push(value.subarray(at, at + finishedEntryBytes));
    }
    this.listed -= value.length / finishedEntryBytes - kept.length;
    if (kept.length === 0) this.store.delete(Table.finished, key);
    else if (kept.length * finishedEntryBytes < value.length) {
      this.store.put(Table.finished, key, Buffer.concat(kept));
    }
  }
}
