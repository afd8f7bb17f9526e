import { ByteReader, ByteWriter } from '../base/bytes.js';
import type { QoS } from '../spec/packet-types.js';
import { type Cause, causesByNumber } from './causes.js';
import { identityKeyBytes } from './names.js';
import type { Requested } from './request.js';
import type { ReceiptState } from './states.js';

/**
 * Rows of the `records` table. One message has, under `publisher key (12) + sequence (8)`:
 *
 *     … 00               facts: what was published, by whom, what was asked
 *     … 01               tally: how many deliveries stand where
 *     … 02 recipient(12) one row per recipient: state and times
 */
export const RecordPart = { facts: 0, tally: 1, recipient: 2 } as const;

const headBytes = identityKeyBytes + 8;

/** Facts of a tracked message; fixed at acceptance. */
export interface Facts {
  readonly publisherId: string;
  readonly userName: string | null;
  /** True if the embedding program published it. */
  readonly byServer: boolean;
  readonly topicName: string;
  readonly correlationData: Buffer | null;
  readonly requested: Requested;
  readonly acceptedAtMs: number;
  /** 0 for none. */
  readonly deadlineAtMs: number;
  readonly qos: QoS;
  readonly matched: number;
}

/** One entry of a tally's list of failures. */
export interface Failure {
  readonly to: string;
  readonly state: ReceiptState;
  readonly reasonCode: number;
  readonly cause: Cause | null;
}

/** Counts of a tracked message. `matched` of the facts is the sum of all but the deliveries' detail. */
export interface Tally {
  processed: number;
  delivered: number;
  sent: number;
  failed: number;
  pending: number;
  /** When the last delivery got its outcome; 0 before. */
  finalAtMs: number;
  /** When the overdue tally was sent; 0 before. */
  overdueAtMs: number;
  failures: Failure[];
}

/** State of one delivery of a tracked message. */
export interface Row {
  /** Client identifier of the recipient; for a shared group the member that has it, or an empty string. */
  to: string;
  readonly userName: string | null;
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

/** Key of a part of a record; for the recipient's part with the recipient's key. */
export function recordKey(publisherKey: Buffer, sequence: number, part: number, recipientKey: Buffer | null): Buffer {
  const key = Buffer.allocUnsafe(headBytes + 1 + (recipientKey === null ? 0 : identityKeyBytes));
  key.set(publisherKey, 0);
  key.writeUInt32BE(Math.floor(sequence / 0x100000000), identityKeyBytes);
  key.writeUInt32BE(sequence >>> 0, identityKeyBytes + 4);
  key[headBytes] = part;
  if (recipientKey !== null) key.set(recipientKey, headBytes + 1);
  return key;
}

/** What a key of the `records` table says. */
export function readRecordKey(key: Buffer): {
  publisherKey: Buffer;
  sequence: number;
  part: number;
  recipientKey: Buffer | null;
} {
  const sequence = key.readUInt32BE(identityKeyBytes) * 0x100000000 + key.readUInt32BE(identityKeyBytes + 4);
  return {
    publisherKey: key.subarray(0, identityKeyBytes),
    sequence,
    part: key.readUInt8(headBytes),
    recipientKey: key.length > headBytes + 1 ? key.subarray(headBytes + 1) : null,
  };
}

const requestedByNumber: readonly Requested[] = ['delivered', 'processed'];

export function encodeFacts(facts: Facts): Buffer {
  return new ByteWriter()
    .u8(facts.byServer ? 1 : 0)
    .string(facts.publisherId)
    .optionalString(facts.userName)
    .string(facts.topicName)
    .optionalBytes(facts.correlationData)
    .u8(requestedByNumber.indexOf(facts.requested))
    .varint(facts.acceptedAtMs)
    .varint(facts.deadlineAtMs)
    .u8(facts.qos)
    .varint(facts.matched)
    .finish();
}

export function decodeFacts(value: Buffer): Facts {
  const reader = new ByteReader(value);
  return {
    byServer: reader.u8() === 1,
    publisherId: reader.string(),
    userName: reader.optionalString(),
    topicName: reader.string(),
    correlationData: reader.optionalBytes(),
    requested: requestedByNumber[reader.u8()] ?? 'delivered',
    acceptedAtMs: reader.varint(),
    deadlineAtMs: reader.varint(),
    qos: reader.u8() as QoS,
    matched: reader.varint(),
  };
}

export function newTally(pending: number): Tally {
  return { processed: 0, delivered: 0, sent: 0, failed: 0, pending, finalAtMs: 0, overdueAtMs: 0, failures: [] };
}

export function encodeTally(tally: Tally): Buffer {
  const writer = new ByteWriter()
    .varint(tally.processed)
    .varint(tally.delivered)
    .varint(tally.sent)
    .varint(tally.failed)
    .varint(tally.pending)
    .varint(tally.finalAtMs)
    .varint(tally.overdueAtMs)
    .varint(tally.failures.length);
  for (const failure of tally.failures) {
    writer.string(failure.to).u8(failure.state).u8(failure.reasonCode).u8(causeNumber(failure.cause));
  }
  return writer.finish();
}

export function decodeTally(value: Buffer): Tally {
  const reader = new ByteReader(value);
  const tally: Tally = {
    processed: reader.varint(),
    delivered: reader.varint(),
    sent: reader.varint(),
    failed: reader.varint(),
    pending: reader.varint(),
    finalAtMs: reader.varint(),
    overdueAtMs: reader.varint(),
    failures: [],
  };
  for (let left = reader.varint(); left > 0; left--) {
    tally.failures.push({
      to: reader.string(),
      state: reader.u8() as ReceiptState,
      reasonCode: reader.u8(),
      cause: causeOf(reader.u8()),
    });
  }
  return tally;
}

export function encodeRow(row: Row): Buffer {
  const flags = (row.final ? 1 : 0) | (row.canAnswer ? 2 : 0) | (row.answerCut ? 4 : 0);
  return new ByteWriter()
    .string(row.to)
    .optionalString(row.userName)
    .optionalString(row.group)
    .u8(row.state)
    .u8(flags)
    .u8(row.qos)
    .varint(row.queuedAtMs)
    .varint(row.sentAtMs)
    .varint(row.deliveredAtMs)
    .varint(row.endedAtMs)
    .u8(row.reasonCode)
    .u8(causeNumber(row.cause))
    .optionalString(row.reasonString)
    .optionalBytes(row.answer)
    .finish();
}

export function decodeRow(value: Buffer): Row {
  const reader = new ByteReader(value);
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

/** Causes are stored as their place in `causesByNumber` plus one; 0 is none. */
function causeNumber(cause: Cause | null): number {
  return cause === null ? 0 : causesByNumber.indexOf(cause) + 1;
}

function causeOf(number: number): Cause | null {
  return causesByNumber[number - 1] ?? null;
}
