import type { Clock } from '../base/clock.js';
import type { Session } from '../session/session.js';
import type { QoS } from '../spec/packet-types.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { Cause } from './causes.js';
import { identityKeyOf, recipientKeyOf } from './identities.js';
import { InlineRows } from './inline-rows.js';
import { identityKeyBytes } from './names.js';
import { newRow } from './new-row.js';
import { receiptId, receiptIdLength, writeReceiptId } from './receipt-id.js';
import { type ReceiptPacket, ReceiptPackets } from './receipt-message.js';
import type { StandingRecipient } from './recipient-rows.js';
import {
  hasVerdict,
  noCounts,
  noFailures,
  noGroups,
  type OpeningReceipt,
  type Owner,
  type Row,
  type TrackedRecord,
} from './record.js';
import type { RecordStore } from './record-store.js';
import { ReceiptKind, type ReceiptReference } from './reference.js';
import type { Requested } from './request.js';
import { isFailure, ReceiptState, stateOfOutcome } from './states.js';
import { countOutcome } from './tally-counts.js';
import type { ApplicationVerdict, TrackerPort, Verdict } from './verdicts.js';

/**
 * Changes the records of tracked messages: who was to get each, what became of it, and the counts. Every change is put
 * in the store with the change of session state that caused it, and emitted as a receipt in the same transaction.
 */
export class Tracker {
  private readonly records: RecordStore;
  private readonly clock: Clock;
  private readonly nodeNumber: number;
  private readonly port: TrackerPort;
  private readonly packets = new ReceiptPackets();
  /** The id asked for last, in ASCII: one message's is asked for many times in a row. */
  private readonly lastId = Buffer.alloc(receiptIdLength);
  private lastIdSequence = -1;

  constructor(records: RecordStore, clock: Clock, nodeNumber: number, port: TrackerPort) {
    this.records = records;
    this.clock = clock;
    this.nodeNumber = nodeNumber;
    this.port = port;
  }

  /** The id by which receipts name a message. */
  id(sequence: number): string {
    return receiptId(sequence, this.nodeNumber);
  }

  /** The same in ASCII; the memory is used again for the next. */
  idBytes(sequence: number): Buffer {
    if (sequence !== this.lastIdSequence) {
      this.lastIdSequence = sequence;
      writeReceiptId(sequence, this.nodeNumber, this.lastId, 0);
    }
    return this.lastId;
  }

  /**
   * Begins to track a message. Its cohort joins while it is fanned out; `accept` ends that.
   * @param publisherKey of the owner: the record's key, which goes with every delivery of the message
   */
  begin(
    sequence: number,
    owner: Owner,
    publisherKey: Buffer,
    message: { topicName: string; qos: QoS; correlationData: Buffer | null },
    requested: Requested,
    deadlineSeconds: number,
  ): void {
    const acceptedAtMs = this.clock.now();
    this.records.open({
      sequence,
      publisherKey,
      owner,
      topicName: message.topicName,
      correlationData: message.correlationData,
      requested,
      qos: message.qos,
      acceptedAtMs,
      deadlineAtMs: deadlineSeconds === 0 ? 0 : acceptedAtMs + deadlineSeconds * 1000,
      matched: 0,
      counts: noCounts(),
      overdue: null,
      overdueAtMs: 0,
      finalAtMs: 0,
      collapsed: false,
      failures: noFailures,
      groups: noGroups,
      rows: new InlineRows(),
      opening: true,
      openingReceipts: null,
      stored: false,
    });
  }

  /** A recipient joins the cohort. @param session null for a shared group without a member that can take it */
  join(publisherKey: Buffer, sequence: number, session: Session | null, group: string | null): void {
    const record = this.records.find(publisherKey, sequence);
    if (record === null || !record.opening || record.rows === null) return;
    record.rows.set(recipientKeyOf(session, group), newRow(session, group));
    if (group !== null) record.groups = [...record.groups, group];
    record.counts.pending++;
  }

  /**
   * Accepts a message whose cohort is known but not joined yet: the record and the first tally come first, the
   * recipients' rows with `joinLater` as each is offered the message.
   */
  acceptLarge(publisherKey: Buffer, sequence: number, matched: number, groups: readonly string[]): void {
    const record = this.records.find(publisherKey, sequence);
    if (record === null) return;
    record.matched = matched;
    record.counts.pending = matched;
    record.groups = groups;
    record.rows = null;
    this.records.create(record);
    this.tellTally(record, ReceiptKind.firstTally);
  }

  /**
   * A recipient of a large cohort is about to be offered the message, and to have a row: not those for whom the stored
   * cohort speaks until more is to be recorded than that it was sent.
   */
  joinLater(publisherKey: Buffer, sequence: number, session: Session | null, group: string | null): void {
    const record = this.records.find(publisherKey, sequence);
    if (record !== null) this.records.addRow(record, recipientKeyOf(session, group), newRow(session, group));
  }

  /** The stored cohort speaks no more for a recipient that has no row. */
  writeStanding(publisherKey: Buffer, sequence: number, recipient: StandingRecipient): void {
    const record = this.records.find(publisherKey, sequence);
    if (record !== null) this.records.writeStanding(record, recipient);
  }

  /**
   * The row of a recipient for whom only the cohort of a process that died speaks, if the message is still pending.
   * @param mayHaveIt false if it was certainly not sent
   */
  restoreUnwritten(record: TrackedRecord, session: Session, qos: QoS, mayHaveIt: boolean): void {
    const recipientKey = identityKeyOf(session);
    if (record.counts.pending === 0 || this.records.row(record, recipientKey) !== null) return;
    const row = newRow(session, null);
    if (mayHaveIt) {
      row.sentAtMs = record.acceptedAtMs;
      row.qos = qos;
      if (qos > 0) row.state = ReceiptState.sent;
    }
    this.records.putRow(record, recipientKey, row);
  }

  /**
   * The cohort is complete: the record is put, the first tally goes out, then the receipts of the fan-out.
   * @returns the cohort's size
   */
  accept(publisherKey: Buffer, sequence: number): number {
    const record = this.records.find(publisherKey, sequence);
    if (record === null || record.rows === null) return 0;
    record.matched = record.rows.size;
    const isFinal = record.counts.pending === 0;
    if (isFinal) record.finalAtMs = this.clock.now();
    this.records.create(record);
    this.tellTally(record, ReceiptKind.firstTally);
    if (record.openingReceipts !== null) this.tellOpening(record, record.openingReceipts);
    if (isFinal) this.finish(record, record.matched > 0);
    return record.matched;
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
    const record = this.records.find(publisherKey, sequence);
    if (record === null) return;
    const recipientKey = recipientKeyOf(session, group);
    const row = this.pendingRow(record, recipientKey);
    if (row === null) return;
    const now = this.clock.now();
    row.to = session.clientId;
    row.userName = session.userName;
    const isNew = row.state === ReceiptState.accepted;
    if (isNew) {
      row.state = ReceiptState.queued;
      row.queuedAtMs = now;
      row.qos = qos;
    }
    this.changed(record, recipientKey, row, now, isNew && offline);
  }

  /** A delivery at QoS 1 or 2 was handed to the recipient's connection. */
  sent(publisherKey: Buffer, sequence: number, session: Session, group: string | null, qos: QoS): void {
    const record = this.records.find(publisherKey, sequence);
    if (record === null) return;
    const recipientKey = recipientKeyOf(session, group);
    const row = this.pendingRow(record, recipientKey);
    if (row === null) return;
    const now = this.clock.now();
    row.to = session.clientId;
    row.userName = session.userName;
    row.canAnswer = session.version === 5;
    row.qos = qos;
    if (row.sentAtMs === 0) row.sentAtMs = now;
    if (row.state < ReceiptState.sent) row.state = ReceiptState.sent;
    this.changed(record, recipientKey, row, now, false);
  }

  /** The delivery table came to an outcome. @param session null for a group without members */
  outcome(
    publisherKey: Buffer,
    sequence: number,
    session: Session | null,
    group: string | null,
    verdict: Verdict,
  ): void {
    const record = this.records.find(publisherKey, sequence);
    if (record === null) return;
    const recipientKey = recipientKeyOf(session, group);
    const row = this.pendingRow(record, recipientKey);
    // The end of a session, or a late error, changes nothing once the recipient has the message.
    if (row === null || hasMessage(row)) return;
    const now = this.clock.now();
    const state = stateOfOutcome[verdict.outcome];
    if (session !== null) {
      row.to = session.clientId;
      row.userName = session.userName;
    }
    if (state === ReceiptState.sent) {
      row.sentAtMs = now;
      row.canAnswer = session?.version === 5;
    }
    if (state === ReceiptState.delivered) row.deliveredAtMs = now;
    if (verdict.qos !== undefined) row.qos = verdict.qos;
    row.state = state;
    row.reasonCode = verdict.reasonCode;
    row.cause = verdict.cause;
    row.reasonString = verdict.reasonString;
    row.final = isFailure(state) || record.requested !== 'processed' || !row.canAnswer;
    this.changed(record, recipientKey, row, now, true);
  }

  /** A delivery to a session that was not stored is lost with the process that knew it. */
  lose(reference: Buffer, sequence: number, cause: Cause): void {
    const record = this.records.find(reference.subarray(0, identityKeyBytes), sequence);
    if (record === null) return;
    const recipientKey = reference.subarray(identityKeyBytes);
    const row = this.pendingRow(record, recipientKey);
    if (row === null || hasMessage(row)) return;
    row.state = ReceiptState.lost;
    row.cause = cause;
    row.final = true;
    this.changed(record, recipientKey, row, this.clock.now(), true);
  }

  /**
   * The recipient's application acknowledges. [receipts contract, "Processed"]
   * @returns true if it was taken, or repeats what was taken
   */
  processed(record: TrackedRecord, recipientKey: Buffer, verdict: ApplicationVerdict): boolean {
    const row = this.records.row(record, recipientKey);
    if (row === null) return false;
    if (row.final) return hasVerdict(row);
    if (record.requested !== 'processed' || !row.canAnswer || row.sentAtMs === 0) return false;
    row.state = verdict.ok ? ReceiptState.processed : ReceiptState.rejected;
    row.reasonCode = verdict.ok ? ReasonCode.success : ReasonCode.implementationSpecificError;
    row.cause = verdict.ok ? null : Cause.application;
    row.reasonString = null;
    row.answer = verdict.answer;
    row.answerCut = verdict.answerCut;
    row.final = true;
    this.changed(record, recipientKey, row, this.clock.now(), true);
    return true;
  }

  /** The deadline has passed: says what is still pending. */
  overdue(publisherKey: Buffer, sequence: number): TrackedRecord | null {
    const record = this.records.find(publisherKey, sequence);
    if (record === null || record.counts.pending === 0 || record.overdue !== null) return record;
    record.overdue = { ...record.counts };
    record.overdueAtMs = this.clock.now();
    this.records.save(record);
    this.tellTally(record, ReceiptKind.overdueTally);
    return record;
  }

  /**
   * Ends what has been pending for too long, a slice of rows at a time.
   * @param after recipient key to go on behind, null to begin
   * @returns the key to go on behind, null when all are done
   */
  giveUp({ publisherKey, sequence }: TrackedRecord, after: Buffer | null, limit: number): Buffer | null {
    const found = this.records.find(publisherKey, sequence);
    if (found === null) return null;
    const rows = this.records.rowsAfter(found, after, limit);
    for (const { recipientKey } of rows) {
      // Whoever is told may publish, and make another record take the place of this one in memory.
      const record = this.records.find(publisherKey, sequence);
      const row = record === null ? null : this.pendingRow(record, recipientKey);
      if (record === null || row === null) continue;
      row.cause = hasMessage(row) ? Cause.unanswered : Cause.gaveUp;
      row.state = ReceiptState.lost;
      row.reasonCode = 0;
      row.final = true;
      this.changed(record, recipientKey, row, this.clock.now(), true);
    }
    return rows.length < limit ? null : (rows[rows.length - 1]?.recipientKey ?? null);
  }

  /**
   * The packet a stored reference stands for; null if its record has been pruned or there is nothing left to tell.
   * @param maximumBytes above it what can be left out is left out; 0 for no limit
   */
  render(reference: ReceiptReference, wasSent: boolean, maximumBytes: number): ReceiptPacket | null {
    const record = this.records.find(reference.publisherKey, reference.sequence);
    if (record === null) return null;
    const row = reference.recipientKey === null ? null : this.records.row(record, reference.recipientKey);
    if (reference.recipientKey !== null && row === null) return null;
    return this.packets.packet(reference, this.idBytes(reference.sequence), record, row, wasSent, maximumBytes);
  }

  /** The row of a delivery without its outcome: once there is one, nothing changes it. [receipts contract, "States"] */
  private pendingRow(record: TrackedRecord, recipientKey: Buffer): Row | null {
    const row = this.records.row(record, recipientKey);
    return row === null || row.final ? null : row;
  }

  /**
   * The one place where a row that has changed is counted, saved and told.
   * @param row as `pendingRow` gave it; final if it has its outcome now
   */
  private changed(record: TrackedRecord, recipientKey: Buffer, row: Row, now: number, isTold: boolean): void {
    const isFinal = row.final;
    if (isFinal) {
      row.endedAtMs = now;
      countOutcome(record, row);
    }
    const isLast = isFinal && !record.opening && record.counts.pending === 0;
    if (!record.opening) {
      if (record.rows === null) this.records.putRow(record, recipientKey, row);
      if (isLast) record.finalAtMs = now;
      if (record.rows !== null || isFinal) this.records.save(record);
    }
    if (isTold) this.tell(record, recipientKey, row);
    if (isLast) this.finish(record, true);
  }

  private tell(record: TrackedRecord, recipientKey: Buffer, row: Row): void {
    const { state } = row;
    if (!record.opening) {
      this.port.emit(record, ReceiptKind.delivery, state, recipientKey, row);
      return;
    }
    record.openingReceipts ??= [];
    record.openingReceipts.push({ state, recipientKey, row });
  }

  private tellOpening(record: TrackedRecord, receipts: readonly OpeningReceipt[]): void {
    record.openingReceipts = null;
    for (const { state, recipientKey, row } of receipts) {
      this.port.emit(record, ReceiptKind.delivery, state, recipientKey, row);
    }
  }

  private tellTally(record: TrackedRecord, kind: ReceiptKind): void {
    this.port.emit(record, kind, ReceiptState.accepted, null, null);
  }

  private finish(record: TrackedRecord, tell: boolean): void {
    this.records.finish(record);
    if (tell) this.tellTally(record, ReceiptKind.finalTally);
    this.port.finished(record);
  }
}

/** True if the recipient has the message: then only its application can say more. */
function hasMessage({ state, qos }: Row): boolean {
  return state === ReceiptState.delivered || (state === ReceiptState.sent && qos === 0);
}
