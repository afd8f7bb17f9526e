import type { Session } from '../session/session.js';
import type { QoS } from '../spec/packet-types.js';
import { type Store, Table } from '../store/store.js';
import { identityKeyOf } from './identities.js';
import { newRow } from './new-row.js';
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

/** A recipient who has been sent the message, and of whom nobody but the stored cohort says so. */
export interface StandingRecipient {
  readonly session: Session;
  /** 1 or 2. */
  readonly qos: QoS;
  readonly sentAtMs: number;
  /** What the client that was sent it could do. */
  readonly canAnswer: boolean;
  /** True once there is a row that says as much. */
  readonly isWritten: boolean;
  /** There is such a row. */
  written(): void;
}

/** Those of one message. */
export interface StandingRecipients extends Iterable<StandingRecipient> {
  /** How many of them lack rows. */
  readonly lacking: number;
  /** The one with this key; null if there is none who may lack a row. */
  find(recipientKey: Buffer): StandingRecipient | null;
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
  /**
   * Rows of recipients that have done without, of one message: nobody asks for any but the last, as a rule, so they
   * are not found by their keys until somebody does.
   */
  private fresh: ChangedRow[] = [];
  private freshRecord: TrackedRecord | null = null;
  private readonly pending: RowsOf<Row> = new Map();
  /** Recipients who may lack rows, by the message's sequence. */
  private readonly standing = new Map<number, StandingRecipients>();
  private pendingCount = 0;
  /** The key asked for last, as text: most are asked for several times in a row. */
  private lastKey: Buffer | null = null;
  private lastText = '';

  constructor(store: Store) {
    this.store = store;
  }

  /** True while rows wait for `putChanges`: only then differs what the store has. */
  get hasChanges(): boolean {
    return this.changed.size > 0 || this.fresh.length > 0;
  }

  private textOf(recipientKey: Buffer): string {
    if (recipientKey !== this.lastKey) {
      this.lastKey = recipientKey;
      this.lastText = recipientKey.toString('latin1');
    }
    return this.lastText;
  }

  get(record: TrackedRecord, recipientKey: Buffer): Row | null {
    const latest = this.latest(record, recipientKey);
    if (latest !== null) return latest.row;
    const standing = this.standing.size === 0 ? undefined : this.standing.get(record.sequence);
    const recipient = standing === undefined || standing.lacking === 0 ? null : standing.find(recipientKey);
    if (recipient !== null && !recipient.isWritten) return this.writeStanding(record, recipient);
    const text = this.textOf(recipientKey);
    const known = this.changed.get(record)?.get(text)?.row ?? this.pending.get(record)?.get(text);
    if (known !== undefined) return known;
    const key = recipientRowKey(record.publisherKey, record.sequence, recipientKey);
    const value = this.store.get(Table.recipients, key);
    return value === null ? null : decodeRow(value);
  }

  /** Recipients of a message who need no rows before there is more to say than that it was sent to them. */
  stand(sequence: number, recipients: StandingRecipients): void {
    this.standing.set(sequence, recipients);
  }

  /** None of them is left. */
  standNoMore(sequence: number): void {
    this.standing.delete(sequence);
  }

  /** Makes the row of a recipient that has none, before more is said than that the message was sent. */
  writeStanding(record: TrackedRecord, recipient: StandingRecipient): Row {
    const { session, qos, sentAtMs, canAnswer } = recipient;
    recipient.written();
    const row = newRow(session, null);
    row.state = ReceiptState.sent;
    row.qos = qos;
    row.sentAtMs = sentAtMs;
    row.canAnswer = canAnswer;
    if (record !== this.freshRecord) {
      this.indexFresh();
      this.freshRecord = record;
    }
    this.fresh.push({ recipientKey: identityKeyOf(session), row, isNew: true });
    return row;
  }

  /** The row that was made last, if it is the one that is meant; if not, those like it can be found by their keys. */
  private latest(record: TrackedRecord, recipientKey: Buffer): ChangedRow | null {
    if (record !== this.freshRecord) return null;
    const last = this.fresh[this.fresh.length - 1];
    if (last?.recipientKey === recipientKey) return last;
    this.indexFresh();
    return null;
  }

  private indexFresh(): void {
    if (this.freshRecord !== null && this.fresh.length > 0) {
      const changed = this.changedOf(this.freshRecord);
      for (const row of this.fresh) changed.set(this.textOf(row.recipientKey), row);
    }
    this.fresh = [];
    this.freshRecord = null;
  }

  /**
   * Makes the rows that are lacking behind a recipient's key: about `count`, so that a turn does not have to write them
   * all.
   * @param after null to begin with the first
   * @returns the first byte of the last keys that are written; `count` rows at least are up to there, or it is 255
   */
  writeStandingAfter(record: TrackedRecord, after: Buffer | null, count: number): number {
    const standing = this.standing.get(record.sequence);
    if (standing === undefined || standing.lacking === 0) return lastByte;
    const lacking: StandingRecipient[] = [];
    // Keys are hashes: no byte is the first of many more than any other.
    const byFirstByte = new Uint32Array(lastByte + 1);
    for (const recipient of standing) {
      if (recipient.isWritten) continue;
      const key = identityKeyOf(recipient.session);
      if (after !== null && key.compare(after) <= 0) continue;
      lacking.push(recipient);
      byFirstByte[key[0] as number]++;
    }
    let last = 0;
    for (let found = byFirstByte[0] as number; found < count && last < lastByte; ) {
      last++;
      found += byFirstByte[last] as number;
    }
    for (const recipient of lacking) {
      if ((identityKeyOf(recipient.session)[0] as number) <= last) this.writeStanding(record, recipient);
    }
    return last;
  }

  /** @param isNew true if the store certainly has no row of the key */
  put(record: TrackedRecord, recipientKey: Buffer, row: Row, isNew = false): void {
    const latest = this.latest(record, recipientKey);
    if (latest !== null) {
      latest.row = row;
      return;
    }
    const text = this.textOf(recipientKey);
    const changed = this.changedOf(record);
    const known = changed.get(text);
    if (known === undefined) changed.set(text, { recipientKey, row, isNew });
    else known.row = row;
  }

  putChanges(): void {
    for (const [record, rows] of this.changed) for (const row of rows.values()) this.putChanged(record, row);
    this.changed.clear();
    if (this.freshRecord !== null) for (const row of this.fresh) this.putChanged(this.freshRecord, row);
    this.fresh = [];
    this.freshRecord = null;
  }

  private putChanged(record: TrackedRecord, { recipientKey, row, isNew }: ChangedRow): void {
    const key = recipientRowKey(record.publisherKey, record.sequence, recipientKey);
    // An outcome stays, and so does what waits for a client that is away.
    if (isNew) this.store.putNew(Table.recipients, key, encodeRow(row), row.final || row.state === ReceiptState.queued);
    else this.store.put(Table.recipients, key, encodeRow(row));
    if (!row.final) this.keep(record, this.textOf(recipientKey), row);
    else if (!isNew) this.drop(record, this.textOf(recipientKey));
  }

  private changedOf(record: TrackedRecord): Map<string, ChangedRow> {
    let changed = this.changed.get(record);
    if (changed === undefined) {
      changed = new Map();
      this.changed.set(record, changed);
    }
    return changed;
  }

  /** The record has its final tally, or is gone. */
  forget(record: TrackedRecord): void {
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
