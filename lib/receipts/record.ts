import { ByteReader, ByteWriter } from '../base/bytes.js';
import type { QoS } from '../spec/packet-types.js';
import { Cause, causesByNumber } from './causes.js';
import { InlineRows } from './inline-rows.js';
import { identityKeyBytes } from './names.js';
import type { Requested } from './request.js';
import { ReceiptState } from './states.js';

/** One entry of a tally's list of failures. */
export interface Failure {
  readonly to: string;
  readonly state: ReceiptState;
  readonly reasonCode: number;
  readonly cause: Cause | null;
}

/** Where a message's deliveries stand; together they are the cohort. */
export interface Counts {
  processed: number;
  delivered: number;
  sent: number;
  failed: number;
  pending: number;
}

/** State of one delivery of a tracked message. */
export interface Row {
  /** Client identifier of the recipient; for a shared group the member that has it, or an empty string. */
  to: string;
  userName: string | null;
  readonly group: string | null;
  state: ReceiptState;
  /** True once the state is the outcome. */
  final: boolean;
  qos: QoS;
  /** False for MQTT 3 recipients, which can not acknowledge in the application. */
  canAnswer: boolean;
  queuedAtMs: number;
  sentAtMs: number;
  deliveredAtMs: number;
  endedAtMs: number;
  reasonCode: number;
  cause: Cause | null;
  reasonString: string | null;
  answer: Buffer | null;
  answerCut: boolean;
}

/** True if an application has had its say on a delivery: the first verdict stays. */
export function hasVerdict({ state, cause }: Pick<Row, 'state' | 'cause'>): boolean {
  return state === ReceiptState.processed || cause === Cause.application;
}

/** Who publishes a tracked message: the owner of its record. */
export interface Owner {
  readonly clientId: string;
  readonly userName: string | null;
  /** True for the embedding program. */
  readonly byServer: boolean;
}

/** Facts of a tracked message that are fixed at acceptance. */
export interface Facts {
  readonly sequence: number;
  readonly publisherKey: Buffer;
  readonly owner: Owner;
  readonly topicName: string;
  readonly correlationData: Buffer | null;
  readonly requested: Requested;
  readonly qos: QoS;
  readonly acceptedAtMs: number;
  /** When the `overdue` tally is due; 0 for none. */
  readonly deadlineAtMs: number;
}

/** A receipt that follows the first tally of its message. */
export interface OpeningReceipt {
  readonly state: ReceiptState;
  readonly recipientKey: Buffer;
  readonly row: Row;
}

/** A tracked message's record: facts, counts, and the rows of a small cohort. */
export interface TrackedRecord extends Facts {
  matched: number;
  counts: Counts;
  /** Counts at the deadline, if deliveries were pending then. */
  overdue: Counts | null;
  overdueAtMs: number;
  /** When the last delivery got its outcome; 0 before. */
  finalAtMs: number;
  /** True if receipts of this message were left out because too many waited. */
  collapsed: boolean;
  failures: readonly Failure[];
  /** Full names of the shared groups in the cohort. */
  groups: readonly string[];
  /** Rows by recipient; null if they have keys of their own in table `recipients`. */
  rows: InlineRows | null;
  /** True while the message is being fanned out. */
  opening: boolean;
  /** Receipts of that time, which follow the first tally; null while there are none. */
  openingReceipts: OpeningReceipt[] | null;
  /** True once the store has it, if perhaps not as it is now. */
  stored: boolean;
}

/** What the values of records share. */
const sharedBytes = 8 * 1024;
const shared = new ByteWriter(sharedBytes);

/** Where times are in the value that was encoded last; those of the last row: sent, delivered, ended. */
export interface TimePlaces {
  readonly accepted: number;
  readonly final: number;
  readonly sent: number;
}

const places = { accepted: 0, final: 0, sent: 0 };

export function lastTimePlaces(): TimePlaces {
  return { ...places };
}

/** Of most records: nothing failed, and no group was among the recipients. */
export const noFailures: readonly Failure[] = [];
export const noGroups: readonly string[] = [];

const requestedByNumber: readonly Requested[] = ['delivered', 'processed'];

export function noCounts(): Counts {
  return { processed: 0, delivered: 0, sent: 0, failed: 0, pending: 0 };
}

function writeCounts(writer: ByteWriter, counts: Counts): void {
  const { processed, delivered, sent, failed, pending } = counts;
  writer.varint(processed).varint(delivered).varint(sent).varint(failed).varint(pending);
}

function readCounts(reader: ByteReader): Counts {
  return {
    processed: reader.varint(),
    delivered: reader.varint(),
    sent: reader.varint(),
    failed: reader.varint(),
    pending: reader.varint(),
  };
}

export function encodeRecord(record: TrackedRecord): Buffer {
  const { owner, rows } = record;
  const flags = (owner.byServer ? 1 : 0) | (record.collapsed ? 2 : 0) | (record.overdue ? 4 : 0) | (rows ? 8 : 0);
  const writer = shared
    .u8(flags)
    .u8((record.requested === 'processed' ? 1 : 0) | (record.qos << 4))
    .string(owner.clientId)
    .optionalString(owner.userName)
    .string(record.topicName)
    .optionalBytes(record.correlationData);
  places.accepted = writer.length;
  writer.varint(record.acceptedAtMs).varint(record.deadlineAtMs).varint(record.matched);
  places.final = writer.length;
  writer.varint(record.finalAtMs);
  writeCounts(writer, record.counts);
  if (record.overdue !== null) {
    writeCounts(writer, record.overdue);
    writer.varint(record.overdueAtMs);
  }
  writer.varint(record.failures.length);
  for (const { to, state, reasonCode, cause } of record.failures) {
    writer.string(to).u8(state).u8(reasonCode).u8(causeNumber(cause));
  }
  writer.varint(record.groups.length);
  for (const group of record.groups) writer.string(group);
  if (rows !== null) {
    writer.varint(rows.size);
    rows.forEach(writeRecipientRow);
  }
  return writer.finish();
}

export function decodeRecord(publisherKey: Buffer, sequence: number, value: Buffer): TrackedRecord {
  const reader = new ByteReader(value);
  const flags = reader.u8();
  const asked = reader.u8();
  const owner = { clientId: reader.string(), userName: reader.optionalString(), byServer: (flags & 1) !== 0 };
  const topicName = reader.string();
  const correlationData = reader.optionalBytes();
  const requested = requestedByNumber[asked & 0x0f] ?? 'delivered';
  const acceptedAtMs = reader.varint();
  const deadlineAtMs = reader.varint();
  const matched = reader.varint();
  const finalAtMs = reader.varint();
  const counts = readCounts(reader);
  const overdue = flags & 4 ? readCounts(reader) : null;
  const overdueAtMs = flags & 4 ? reader.varint() : 0;
  const failures: Failure[] = [];
  for (let left = reader.varint(); left > 0; left--) {
    const to = reader.string();
    failures.push({ to, state: reader.u8() as ReceiptState, reasonCode: reader.u8(), cause: causeOf(reader.u8()) });
  }
  const groups: string[] = [];
  for (let left = reader.varint(); left > 0; left--) groups.push(reader.string());
  const rows = flags & 8 ? readRows(reader) : null;
  // Field by field: spreads would cost more than all the reading.
  return {
    sequence,
    publisherKey,
    owner,
    topicName,
    correlationData,
    requested,
    qos: (asked >> 4) as QoS,
    acceptedAtMs,
    deadlineAtMs,
    matched,
    finalAtMs,
    counts,
    overdue,
    overdueAtMs,
    failures,
    collapsed: (flags & 2) !== 0,
    groups,
    rows,
    opening: false,
    openingReceipts: null,
    stored: true,
  };
}

function readRows(reader: ByteReader): InlineRows {
  const rows = new InlineRows();
  for (let left = reader.varint(); left > 0; left--) {
    rows.set(Buffer.from(reader.raw(identityKeyBytes)), readRow(reader));
  }
  return rows;
}

function writeRecipientRow(recipientKey: Buffer, row: Row): void {
  writeRow(shared.raw(recipientKey), row);
}

function writeRow(writer: ByteWriter, row: Row): void {
  const flags = (row.final ? 1 : 0) | (row.canAnswer ? 2 : 0) | (row.answerCut ? 4 : 0);
  writer
    .string(row.to)
    .optionalString(row.userName)
    .optionalString(row.group)
    .u8(row.state)
    .u8(flags)
    .u8(row.qos)
    .varint(row.queuedAtMs);
  places.sent = writer.length;
  writer
    .varint(row.sentAtMs)
    .varint(row.deliveredAtMs)
    .varint(row.endedAtMs)
    .u8(row.reasonCode)
    .u8(causeNumber(row.cause))
    .optionalString(row.reasonString)
    .optionalBytes(row.answer);
}

function readRow(reader: ByteReader): Row {
  const to = reader.string();
  const userName = reader.optionalString();
  const group = reader.optionalString();
  const state = reader.u8() as ReceiptState;
  const flags = reader.u8();
  return {
    to,
    userName,
    group,
    state,
    final: (flags & 1) !== 0,
    canAnswer: (flags & 2) !== 0,
    answerCut: (flags & 4) !== 0,
    qos: reader.u8() as QoS,
    queuedAtMs: reader.varint(),
    sentAtMs: reader.varint(),
    deliveredAtMs: reader.varint(),
    endedAtMs: reader.varint(),
    reasonCode: reader.u8(),
    cause: causeOf(reader.u8()),
    reasonString: reader.optionalString(),
    answer: reader.optionalBytes(),
  };
}

export function encodeRow(row: Row): Buffer {
  writeRow(shared, row);
  return shared.finish();
}

export function decodeRow(value: Buffer): Row {
  return readRow(new ByteReader(value));
}

/** Causes are stored as their place in `causesByNumber` plus one; 0 is none. */
function causeNumber(cause: Cause | null): number {
  return cause === null ? 0 : causesByNumber.indexOf(cause) + 1;
}

function causeOf(number: number): Cause | null {
  return causesByNumber[number - 1] ?? null;
}
