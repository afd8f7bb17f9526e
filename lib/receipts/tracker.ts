import type { Clock } from '../base/clock.js';
import type { Message } from '../base/message.js';
import { encodeUserProperties } from '../codec/publish.js';
import { Outcome } from '../delivery/table.js';
import type { Session } from '../session/session.js';
import type { QoS } from '../spec/packet-types.js';
import { type Store, Table } from '../store/store.js';
import type { Cause } from './causes.js';
import { clientIdentityKey, groupIdentityKey, identityKeyBytes, serverIdentityKey } from './names.js';
import { receiptId } from './receipt-id.js';
import { receiptMessage } from './receipt-message.js';
import {
  decodeFacts,
  decodeRow,
  decodeTally,
  encodeFacts,
  encodeRow,
  encodeTally,
  type Facts,
  newTally,
  RecordPart,
  type Row,
  recordKey,
  type Tally,
} from './record.js';
import { decodeReference, ReceiptKind, type ReceiptReference } from './reference.js';
import type { Requested } from './request.js';
import { isFailure, ReceiptState } from './states.js';

/** Failures listed in a tally. */
const failuresMax = 100;
const failureBytesMax = 16 * 1024;
/** Records of messages with pending deliveries kept in memory; the others are read when something happens to them. */
const activeMax = 10_000;

/** What the delivery table decided about a tracked delivery. */
export interface Verdict {
  readonly outcome: Outcome;
  readonly reasonCode: number;
  readonly cause: Cause | null;
  readonly reasonString: string | null;
}

/** Takes a receipt to every session subscribed to it. Implemented by the broker. */
export type EmitReceipt = (facts: Facts, reference: ReceiptReference, row: Row | null) => void;

/** Who publishes a tracked message. */
export interface Publisher {
  readonly clientId: string;
  readonly userName: string | null;
  readonly byServer: boolean;
}

interface ActiveRecord {
  readonly publisherKey: Buffer;
  readonly sequence: number;
  facts: Facts;
  tally: Tally;
  /** While the message is being fanned out: rows by recipient key, and receipts that follow the first tally. */
  opening: { readonly rows: Map<string, Row>; readonly receipts: ReceiptReference[] } | null;
}

const stateOfOutcome: Readonly<Record<Outcome, ReceiptState>> = {
  [Outcome.none]: ReceiptState.accepted,
  [Outcome.sent]: ReceiptState.sent,
  [Outcome.delivered]: ReceiptState.delivered,
  [Outcome.rejected]: ReceiptState.rejected,
  [Outcome.expired]: ReceiptState.expired,
  [Outcome.dropped]: ReceiptState.dropped,
  [Outcome.lost]: ReceiptState.lost,
};

/** The recipient's key of a session, computed once. */
export function identityKeyOf(session: Session): Buffer {
  session.identityKey ??= clientIdentityKey(session.clientId, session.userName);
  return session.identityKey;
}

function recipientKeyOf(session: Session | null, group: string | null): Buffer {
  return group === null && session !== null ? identityKeyOf(session) : groupIdentityKey(group ?? '');
}

/** What the row of a tracked delivery to a session that is not stored refers to: record and recipient. */
export function transientReference(publisherKey: Buffer, session: Session, group: string | null): Buffer {
  return Buffer.concat([publisherKey, recipientKeyOf(session, group)]);
}

/**
 * Keeps the records of tracked messages: who was to get each, what became of it, and the counts. Every change is put in
 * the store with the change of session state that caused it, and emitted as a receipt in the same transaction.
 */
export class Tracker {
  private readonly store: Store;
  private readonly clock: Clock;
  private readonly nodeNumber: number;
  private readonly emit: EmitReceipt;
  private readonly active = new Map<number, ActiveRecord>();

  constructor(store: Store, clock: Clock, nodeNumber: number, emit: EmitReceipt) {
    this.store = store;
    this.clock = clock;
    this.nodeNumber = nodeNumber;
    this.emit = emit;
  }

  /** The id by which receipts name a message. */
  id(sequence: number): string {
    return receiptId(sequence, this.nodeNumber);
  }

  /** The user property that the broker appends for recipients, in wire form. */
  receiptProperty(sequence: number): Buffer {
    return encodeUserProperties([['receipt-id', this.id(sequence)]]);
  }

  /**
   * Begins to track a message. Its cohort joins while it is fanned out; `accept` ends that.
   * @returns the record's key, which goes with every delivery of the message
   */
  begin(
    sequence: number,
    publisher: Publisher,
    message: { topicName: string; qos: QoS; correlationData: Buffer | null },
    requested: Requested,
    deadlineSeconds: number,
  ): Buffer {
    const publisherKey = publisher.byServer
      ? serverIdentityKey
      : clientIdentityKey(publisher.clientId, publisher.userName);
    const acceptedAtMs = this.clock.now();
    const facts: Facts = {
      publisherId: publisher.clientId,
      userName: publisher.userName,
      byServer: publisher.byServer,
      topicName: message.topicName,
      correlationData: message.correlationData,
      requested,
      acceptedAtMs,
      deadlineAtMs: deadlineSeconds === 0 ? 0 : acceptedAtMs + deadlineSeconds * 1000,
      qos: message.qos,
      matched: 0,
    };
    const record = { publisherKey, sequence, facts, tally: newTally(0), opening: { rows: new Map(), receipts: [] } };
    this.remember(record);
    return publisherKey;
  }

  /** A recipient joins the cohort. @param session null for a shared group without a member that can take it */
  join(publisherKey: Buffer, sequence: number, session: Session | null, group: string | null): void {
    const record = this.find(publisherKey, sequence);
    if (record === null || record.opening === null) return;
    const recipientKey = recipientKeyOf(session, group);
    record.opening.rows.set(recipientKey.toString('latin1'), {
      to: session?.clientId ?? '',
      userName: session?.userName ?? null,
      group,
      state: ReceiptState.accepted,
      final: false,
      qos: 0,
      canAnswer: session !== null && session.version === 5,
      queuedAtMs: 0,
      sentAtMs: 0,
      deliveredAtMs: 0,
      endedAtMs: 0,
      reasonCode: 0,
      cause: null,
      reasonString: null,
      answer: null,
      answerCut: false,
    });
    record.tally.pending++;
  }

  /** The cohort is complete: the record is put, the first tally goes out, then the receipts of the fan-out. */
  accept(publisherKey: Buffer, sequence: number): number {
    const record = this.find(publisherKey, sequence);
    if (record === null || record.opening === null) return 0;
    const { rows, receipts } = record.opening;
    const matched = rows.size;
    record.facts = { ...record.facts, matched };
    record.opening = null;
    const now = this.clock.now();
    if (matched === 0) record.tally.finalAtMs = now;
    this.store.putNew(
      Table.records,
      recordKey(publisherKey, sequence, RecordPart.facts, null),
      encodeFacts(record.facts),
    );
    for (const [recipientKey, row] of rows) this.putRow(record, Buffer.from(recipientKey, 'latin1'), row);
    this.putTally(record);
    this.emit(record.facts, this.tallyReference(record, ReceiptKind.firstTally), null);
    for (const receipt of receipts) {
      const row = receipt.recipientKey === null ? null : (rows.get(receipt.recipientKey.toString('latin1')) ?? null);
      this.emit(record.facts, receipt, row);
    }
    if (matched > 0 && record.tally.pending === 0) this.emitFinal(record, now);
    return matched;
  }

  /** A delivery was put in a queue. @param offline true if the recipient is not connected: then a receipt says so */
  queued(
    publisherKey: Buffer,
    sequence: number,
    session: Session,
    group: string | null,
    qos: QoS,
    offline: boolean,
  ): void {
    this.change(publisherKey, sequence, recipientKeyOf(session, group), (row, now) => {
      if (row.state !== ReceiptState.accepted) return false;
      row.state = ReceiptState.queued;
      row.queuedAtMs = now;
      row.qos = qos;
      return offline;
    });
  }

  /** A delivery at QoS 1 or 2 was handed to the recipient's connection. */
  sent(publisherKey: Buffer, sequence: number, session: Session, group: string | null, qos: QoS): void {
    this.change(publisherKey, sequence, recipientKeyOf(session, group), (row, now) => {
      row.to = session.clientId;
      row.canAnswer = session.version === 5;
      row.qos = qos;
      if (row.sentAtMs === 0) row.sentAtMs = now;
      if (row.state < ReceiptState.sent) row.state = ReceiptState.sent;
      return false;
    });
  }

  /** The delivery table came to an outcome. */
  outcome(
    publisherKey: Buffer,
    sequence: number,
    session: Session | null,
    group: string | null,
    verdict: Verdict,
  ): void {
    this.change(publisherKey, sequence, recipientKeyOf(session, group), (row, now, facts) => {
      const state = stateOfOutcome[verdict.outcome];
      if (state === row.state && state !== ReceiptState.sent) return false;
      if (session !== null) row.to = session.clientId;
      if (state === ReceiptState.sent) {
        row.sentAtMs = now;
        row.canAnswer = session?.version === 5;
      }
      if (state === ReceiptState.delivered) row.deliveredAtMs = now;
      row.state = state;
      row.reasonCode = verdict.reasonCode;
      row.cause = verdict.cause;
      row.reasonString = verdict.reasonString;
      const awaited = facts.requested === 'processed' && row.canAnswer;
      row.final = isFailure(state) || !awaited;
      if (row.final) row.endedAtMs = now;
      return state !== ReceiptState.sent || row.final;
    });
  }

  /** A delivery to a session that was not stored is lost with the process that knew it. */
  lose(reference: Buffer, sequence: number, cause: Cause): void {
    const recipientKey = reference.subarray(identityKeyBytes);
    this.change(reference.subarray(0, identityKeyBytes), sequence, recipientKey, (row, now) => {
      row.state = ReceiptState.lost;
      row.cause = cause;
      row.final = true;
      row.endedAtMs = now;
      return true;
    });
  }

  /** The packet a stored reference stands for; null if its record has been pruned. */
  render(bytes: Buffer): Message | null {
    const reference = decodeReference(bytes);
    const record = this.find(reference.publisherKey, reference.sequence);
    if (record === null) return null;
    const row = reference.recipientKey === null ? null : this.readRow(record, reference.recipientKey);
    if (reference.recipientKey !== null && row === null) return null;
    return receiptMessage(reference, this.id(reference.sequence), record.facts, record.tally, row);
  }

  private change(
    publisherKey: Buffer,
    sequence: number,
    recipientKey: Buffer,
    update: (row: Row, now: number, facts: Facts) => boolean,
  ): void {
    const record = this.find(publisherKey, sequence);
    if (record === null) return;
    const row = record.opening?.rows.get(recipientKey.toString('latin1')) ?? this.readRow(record, recipientKey);
    // Once a delivery has its outcome, nothing changes it. [receipts contract, "States"]
    if (row === null || row.final) return;
    const now = this.clock.now();
    const tell = update(row, now, record.facts);
    if (record.opening === null) this.putRow(record, recipientKey, row);
    if (row.final) this.count(record, row);
    if (tell) {
      const reference: ReceiptReference = {
        kind: ReceiptKind.delivery,
        foreign: false,
        replay: false,
        publisherKey,
        sequence,
        state: row.state,
        recipientKey,
      };
      if (record.opening !== null) record.opening.receipts.push(reference);
      else this.emit(record.facts, reference, row);
    }
    if (!row.final || record.opening !== null) return;
    if (record.tally.pending === 0) this.emitFinal(record, now);
    else this.putTally(record);
  }

  private emitFinal(record: ActiveRecord, now: number): void {
    record.tally.finalAtMs = now;
    this.putTally(record);
    this.emit(record.facts, this.tallyReference(record, ReceiptKind.finalTally), null);
    this.active.delete(record.sequence);
  }

  private count(record: ActiveRecord, row: Row): void {
    const { tally } = record;
    tally.pending--;
    if (row.state === ReceiptState.delivered) tally.delivered++;
    else if (row.state === ReceiptState.processed) tally.processed++;
    else if (row.state === ReceiptState.sent) tally.sent++;
    else {
      tally.failed++;
      const listed = tally.failures.reduce((bytes, failure) => bytes + failure.to.length + 64, 0);
      if (tally.failures.length >= failuresMax || listed + row.to.length + 64 > failureBytesMax) return;
      tally.failures.push({ to: row.to, state: row.state, reasonCode: row.reasonCode, cause: row.cause });
    }
  }

  private tallyReference(record: ActiveRecord, kind: ReceiptKind): ReceiptReference {
    const { publisherKey, sequence } = record;
    const state = ReceiptState.accepted;
    return { kind, foreign: false, replay: false, publisherKey, sequence, state, recipientKey: null };
  }

  private putRow(record: ActiveRecord, recipientKey: Buffer, row: Row): void {
    const key = recordKey(record.publisherKey, record.sequence, RecordPart.recipient, recipientKey);
    this.store.put(Table.records, key, encodeRow(row));
  }

  private readRow(record: ActiveRecord, recipientKey: Buffer): Row | null {
    const key = recordKey(record.publisherKey, record.sequence, RecordPart.recipient, recipientKey);
    const value = this.store.get(Table.records, key);
    return value === null ? null : decodeRow(value);
  }

  private putTally(record: ActiveRecord): void {
    const key = recordKey(record.publisherKey, record.sequence, RecordPart.tally, null);
    this.store.put(Table.records, key, encodeTally(record.tally));
  }

  private find(publisherKey: Buffer, sequence: number): ActiveRecord | null {
    const active = this.active.get(sequence);
    if (active?.publisherKey.equals(publisherKey)) return active;
    const facts = this.store.get(Table.records, recordKey(publisherKey, sequence, RecordPart.facts, null));
    const tally = this.store.get(Table.records, recordKey(publisherKey, sequence, RecordPart.tally, null));
    if (facts === null || tally === null) return null;
    const record = { publisherKey, sequence, facts: decodeFacts(facts), tally: decodeTally(tally), opening: null };
    this.remember(record);
    return record;
  }

  /** The store sees its own uncommitted puts, so a record can leave memory at any time but while it is opening. */
  private remember(record: ActiveRecord): void {
    if (this.active.size >= activeMax) {
      for (const [sequence, other] of this.active) {
        if (other.opening !== null) continue;
        this.active.delete(sequence);
        break;
      }
    }
    this.active.set(record.sequence, record);
  }
}
