import { RecentMap } from '../base/recent-map.js';
import { SequenceMap } from '../base/sequence-map.js';
import { pages } from '../store/pages.js';
import { type Store, Table } from '../store/store.js';
import { FinishedRecords } from './finished-records.js';
import { ownerOf } from './identities.js';
import { Publishers } from './publishers.js';
import { RecipientRows, type StandingRecipient, type StandingRecipients } from './recipient-rows.js';
import { decodeRecord, decodeRow, encodeRecord, encodeRow, type Row, type TrackedRecord } from './record.js';
import * as keys from './record-keys.js';
import type { SoleRecord } from './sole-record.js';
import { SoleRecords } from './sole-records.js';

/** Cohorts up to this size keep their rows in the record's own value: one row to write for most messages. */
export const inlineRowsMax = 16;
/** Records kept in memory between changes; the others are read when something happens to them. */
const activeRecords = 5000;
/** Records that have changed and are not put yet, at most. */
const changedRecordsMax = 5000;
/** The one that is meant is among the first, as a rule. */
const correlationRows = 16;

/** Where the records of tracked messages are kept, found and counted. */
export class RecordStore {
  private readonly store: Store;
  private readonly active = new RecentMap<number, TrackedRecord>(activeRecords, () => new SequenceMap());
  /** The one found last, which is asked for several times in a row. */
  private last: TrackedRecord | null = null;
  private readonly publishers: Publishers;
  private readonly recipientRows: RecipientRows;
  private readonly finished: FinishedRecords;
  /** What stands for records of which nobody has asked more. */
  private readonly soles: SoleRecords;
  /** Records with changes that are not put yet, by sequence. */
  private changedRecords = new SequenceMap<TrackedRecord>();
  /** Those that have had their final tallies in this turn. */
  private readonly finishedRecords: TrackedRecord[] = [];
  /** Changes made so far: more than before means that something is to be recorded. */
  changes = 0;

  constructor(store: Store) {
    this.store = store;
    this.recipientRows = new RecipientRows(store);
    this.publishers = new Publishers(store);
    this.soles = new SoleRecords(store);
    this.finished = new FinishedRecords(store, this.size);
  }

  /** Records of all publishers. */
  get size(): number {
    return this.publishers.records;
  }

  /** Records of one publisher. */
  sizeOf(publisherKey: Buffer): number {
    return this.publishers.recordsOf(publisherKey);
  }

  /** Keys of the publishers whose receipts have this segment in their topics. */
  publishersNamed(segment: string): Buffer[] {
    return this.publishers.named(segment);
  }

  /** Keys of all publishers with records. */
  publisherKeys(): Buffer[] {
    return this.publishers.keys();
  }

  /** Holds a record that is being opened. */
  open(record: TrackedRecord): void {
    this.remember(record);
  }

  /** Takes up a record whose cohort is known. A large cohort's rows get keys of their own. */
  create(record: TrackedRecord): void {
    const { publisherKey, sequence, rows } = record;
    if (rows !== null && rows.size > inlineRowsMax) {
      for (const { recipientKey, row } of rows.inOrder()) {
        const key = keys.recipientRowKey(publisherKey, sequence, recipientKey);
        this.store.putNew(Table.recipients, key, encodeRow(row));
      }
      record.rows = null;
    }
    record.opening = false;
    // Input pauses by what has been put and waits for the store.
    if (this.store.outlivesProcess) this.putRecord(record);
    else this.save(record);
    if (record.requested === 'processed') this.putAnswerKeys(record);
    this.publishers.add(publisherKey, record.owner);
  }

  /** Takes up what stands for a record. */
  createSole(sole: SoleRecord): void {
    if (this.soles.size >= changedRecordsMax) this.putChanges();
    this.changes++;
    this.soles.add(sole);
    this.publishers.add(sole.publisherKey, ownerOf(sole.publisher));
  }

  /** Notes that one has been delivered, which is the end of it. */
  deliverSole(sole: SoleRecord): void {
    this.changes++;
    this.finished.add(sole);
    this.soles.deliver(sole);
  }

  /** Makes the record that one stood for. */
  private recordOf(sole: SoleRecord): TrackedRecord {
    const record = sole.toRecord();
    const isFinished = record.finalAtMs > 0;
    if (isFinished || !record.stored || sole.carrier !== null) this.changedRecords.set(record.sequence, record);
    if (isFinished) this.finishedRecords.push(record);
    return record;
  }

  /** Puts a record that has changed, with the turn's other changes. */
  save(record: TrackedRecord): void {
    this.changes++;
    this.changedRecords.set(record.sequence, record);
    if (this.changedRecords.size > changedRecordsMax) this.putChanges();
  }

  /** Puts what the turn's commit is to hold, once however often it has changed. */
  putTurn(): void {
    this.publishers.putChanges();
    this.soles.putDelivered();
    if (this.store.outlivesProcess) this.putRecords();
    else this.putFinished();
    this.recipientRows.putChanges();
    this.finished.putChanges();
  }

  /** Puts everything that has changed, before anything is read that may have. */
  private putChanges(): void {
    this.soles.takeAll((sole) => this.recordOf(sole));
    this.putRecords();
    this.recipientRows.putChanges();
    this.finished.putChanges();
  }

  private putRecords(): void {
    const { changedRecords } = this;
    this.changedRecords = new SequenceMap();
    changedRecords.forEach(0, Number.MAX_SAFE_INTEGER, (_sequence, record) => {
      this.putRecord(record);
      return true;
    });
    this.releaseFinished();
  }

  /** A store that dies with the process need not have a record to which more may happen while it is in memory. */
  private putFinished(): void {
    for (const record of this.finishedRecords) {
      if (this.changedRecords.delete(record.sequence)) this.putRecord(record);
    }
    this.releaseFinished();
  }

  /** Hardly anything will happen to them any more, and the store has them. */
  private releaseFinished(): void {
    for (const record of this.finishedRecords) this.release(record);
    this.finishedRecords.length = 0;
  }

  private putRecord(record: TrackedRecord): void {
    const key = keys.recordKey(record.publisherKey, record.sequence);
    if (record.stored) this.store.put(Table.records, key, encodeRecord(record));
    else this.store.putNew(Table.records, key, encodeRecord(record));
    record.stored = true;
  }

  /** Notes that receipts of a message were left out for some subscriber. */
  collapse(publisherKey: Buffer, sequence: number): void {
    const record = this.find(publisherKey, sequence);
    if (record === null || record.collapsed) return;
    record.collapsed = true;
    this.save(record);
  }

  /** Notes that the record has its final tally. */
  finish(record: TrackedRecord): void {
    this.changes++;
    this.finished.add(record);
    this.finishedRecords.push(record);
  }

  find(publisherKey: Buffer, sequence: number): TrackedRecord | null {
    const { last } = this;
    if (last !== null && last.sequence === sequence && last.publisherKey === publisherKey) return last;
    const known = this.active.get(sequence) ?? this.changedRecords.get(sequence);
    if (known !== undefined && (known.publisherKey === publisherKey || known.publisherKey.equals(publisherKey))) {
      this.last = known;
      return known;
    }
    const sole = this.soles.take(publisherKey, sequence);
    if (sole !== null) {
      const made = this.recordOf(sole);
      this.remember(made);
      return made;
    }
    const value = this.store.get(Table.records, keys.recordKey(publisherKey, sequence));
    if (value === null) return null;
    // Rows that wait do so under the object that was let go.
    this.recipientRows.putChanges();
    const record = decodeRecord(Buffer.from(publisherKey), sequence, value);
    this.remember(record);
    return record;
  }

  private release(record: TrackedRecord): void {
    if (this.last === record) this.last = null;
    if (this.active.get(record.sequence) === record) this.active.delete(record.sequence);
    this.recipientRows.forget(record);
  }

  /** The record of a message that awaits its application's word. */
  findAwaited(sequence: number): TrackedRecord | null {
    const publisherKey = this.store.get(Table.answers, keys.answerBySequenceKey(sequence));
    return publisherKey === null ? null : this.find(publisherKey, sequence);
  }

  /** The same by Correlation Data, oldest first, of messages after a sequence. */
  *awaitedByCorrelation(publisherKey: Buffer, correlationData: Buffer, after: number): Generator<TrackedRecord> {
    const prefix = keys.answerPrefix(publisherKey, correlationData);
    const start = keys.afterKey(keys.answerByCorrelationKey(publisherKey, correlationData, after));
    for (const { key } of pages(this.store, Table.answers, start, keys.afterPrefix(prefix), correlationRows)) {
      const record = this.find(publisherKey, keys.sequenceOfAnswerKey(key));
      if (record?.correlationData?.equals(correlationData)) yield record;
    }
  }

  row(record: TrackedRecord, recipientKey: Buffer): Row | null {
    if (record.rows !== null) return record.rows.get(recipientKey);
    return this.recipientRows.get(record, recipientKey);
  }

  /** Puts a changed row with the turn's other changes; an inline one goes with the next `save` of its record. */
  putRow(record: TrackedRecord, recipientKey: Buffer, row: Row): void {
    if (record.rows !== null) {
      record.rows.set(recipientKey, row);
      return;
    }
    this.changes++;
    this.recipientRows.put(record, recipientKey, row);
  }

  /** Puts the first row of a recipient, with the turn's other changes. */
  addRow(record: TrackedRecord, recipientKey: Buffer, row: Row): void {
    this.changes++;
    this.recipientRows.put(record, recipientKey, row, true);
  }

  /**
   * Recipients of a message need no rows before there is more to say than that it was sent to them.
   * @param recipients as they are at any time, until `standNoMore`
   */
  stand(sequence: number, recipients: StandingRecipients): void {
    this.recipientRows.stand(sequence, recipients);
  }

  /** None of them is left. */
  standNoMore(sequence: number): void {
    this.recipientRows.standNoMore(sequence);
  }

  /** The row of a recipient that has none is put with the turn's other changes. */
  writeStanding(record: TrackedRecord, recipient: StandingRecipient): void {
    this.changes++;
    this.recipientRows.writeStanding(record, recipient);
  }

  /** Rows of a record after a recipient's key, in the order of keys. @param after null for the first */
  rowsAfter(record: TrackedRecord, after: Buffer | null, limit: number): { recipientKey: Buffer; row: Row }[] {
    if (record.rows !== null) {
      const later = record.rows
        .inOrder()
        .filter(({ recipientKey }) => after === null || recipientKey.compare(after) > 0);
      return later.slice(0, limit);
    }
    const last = this.recipientRows.writeStandingAfter(record, after, limit);
    if (this.hasChanges) this.putChanges();
    const prefix = keys.recordKey(record.publisherKey, record.sequence);
    const end = keys.afterPrefix(last === 0xff ? prefix : Buffer.concat([prefix, Buffer.of(last)]));
    const start = after === null ? prefix : keys.afterKey(Buffer.concat([prefix, after]));
    return this.store
      .range(Table.recipients, start, end, limit)
      .map(({ key, value }) => ({ recipientKey: keys.recipientOfRowKey(key), row: decodeRow(value) }));
  }

  /** Sequences of a publisher's messages after `since`, the newest `limit` of them, oldest first. */
  sequencesAfter(publisherKey: Buffer, since: number, limit: number): number[] {
    if (this.changedRecords.size + this.soles.size > 0) this.putChanges();
    const start = keys.recordKey(publisherKey, Number.MAX_SAFE_INTEGER);
    const end = keys.recordKey(publisherKey, since);
    const entries = this.store.range(Table.records, start, end, limit);
    return entries.map(({ key }) => keys.readRecordKey(key).sequence).reverse();
  }

  /** Sequences of a publisher's messages after `after` and up to `last`, oldest first. */
  oldestSequences(publisherKey: Buffer, after: number, limit: number, last = Number.MAX_SAFE_INTEGER): number[] {
    if (this.changedRecords.size + this.soles.size > 0) this.putChanges();
    const start = keys.recordKey(publisherKey, last);
    const end = keys.recordKey(publisherKey, after);
    const entries = this.store.rangeReverse(Table.records, start, end, limit);
    return entries.map(({ key }) => keys.readRecordKey(key).sequence);
  }

  /** The oldest record whose final tally was before a time. */
  oldestFinished(beforeMs: number): TrackedRecord | null {
    for (;;) {
      const first = this.finished.first(beforeMs);
      if (first === null) return null;
      const record = this.find(first.publisherKey, first.sequence);
      if (record !== null) return record;
      this.finished.skip();
    }
  }

  /**
   * The first of the next `limit` finished records that `accepts` takes; null if it takes none of them. The next call
   * goes on behind it.
   */
  nextFinished(limit: number, accepts: (record: TrackedRecord) => boolean): TrackedRecord | null {
    for (let left = limit, ends = 0; left > 0; left--) {
      const next = this.finished.next();
      if (next === null) {
        if (++ends > 1) return null;
        continue;
      }
      const record = this.find(next.publisherKey, next.sequence);
      if (record !== null && accepts(record)) return record;
    }
    return null;
  }

  /** Takes a slice of removed records off the lists of finished ones, if they are many; true if there is more to do. */
  tidyFinished(limit: number): boolean {
    return this.finished.tidy(this.size, limit, (publisherKey, sequence) => {
      if (this.changedRecords.get(sequence) !== undefined || this.soles.has(sequence)) return true;
      return this.store.get(Table.records, keys.recordKey(publisherKey, sequence)) !== null;
    });
  }

  /** Deletes a record and everything that leads to it; false if rows are left for a further call. */
  remove(record: TrackedRecord, rowsLimit: number): boolean {
    const { publisherKey, sequence, correlationData } = record;
    if (record.rows === null) {
      const rows = this.rowsAfter(record, null, rowsLimit);
      for (const { recipientKey } of rows) {
        this.store.delete(Table.recipients, keys.recipientRowKey(publisherKey, sequence, recipientKey));
      }
      if (rows.length === rowsLimit) return false;
    }
    this.changedRecords.delete(sequence);
    this.store.delete(Table.records, keys.recordKey(publisherKey, sequence));
    if (record.requested === 'processed') {
      this.store.delete(Table.answers, keys.answerBySequenceKey(sequence));
      if (correlationData !== null) {
        this.store.delete(Table.answers, keys.answerByCorrelationKey(publisherKey, correlationData, sequence));
      }
    }
    this.release(record);
    this.publishers.remove(publisherKey);
    return true;
  }

  private putAnswerKeys(record: TrackedRecord): void {
    const { publisherKey, sequence, correlationData } = record;
    this.store.putNew(Table.answers, keys.answerBySequenceKey(sequence), publisherKey);
    if (correlationData === null) return;
    const key = keys.answerByCorrelationKey(publisherKey, correlationData, sequence);
    this.store.putNew(Table.answers, key, publisherKey);
  }

  private get hasChanges(): boolean {
    return this.changedRecords.size > 0 || this.recipientRows.hasChanges || this.finished.hasChanges;
  }

  /** The store sees its own uncommitted puts, so a record can leave memory at any time but while it is opening. */
  private remember(record: TrackedRecord): void {
    // One being opened is among the latest.
    if (this.active.isFull && this.hasChanges) this.putChanges();
    this.active.set(record.sequence, record);
    this.last = record;
  }
}
