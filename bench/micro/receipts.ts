import { SoleOutput } from '../../lib/broker/sole-output.js';
import type { PublishFrame } from '../../lib/codec/publish-frame.js';
import { InlineRows } from '../../lib/receipts/inline-rows.js';
import { clientIdentityKey } from '../../lib/receipts/names.js';
import { receiptId } from '../../lib/receipts/receipt-id.js';
import { ReceiptPackets } from '../../lib/receipts/receipt-message.js';
import { decodeRecord, encodeRecord, noCounts, type Row, type TrackedRecord } from '../../lib/receipts/record.js';
import { ReceiptKind, type ReceiptReference } from '../../lib/receipts/reference.js';
import { SoleRecord } from '../../lib/receipts/sole-record.js';
import { SoleRecordBytes } from '../../lib/receipts/sole-record-bytes.js';
import { ReceiptState } from '../../lib/receipts/states.js';
import type { Link } from '../../lib/session/link.js';
import { Session, transientSessionBase } from '../../lib/session/session.js';
import type { MicroCase } from './hot-path.js';

/** Results go here, so that nothing is optimized away. */
const kept = { bytes: 0 };

const sequence = 9e14;
const nowMs = 1.79e12;

function rowOf(to: string): Row {
  return {
    ...{ to, userName: null, group: null, state: ReceiptState.delivered, final: true, qos: 1, canAnswer: true },
    ...{ queuedAtMs: 0, sentAtMs: nowMs, deliveredAtMs: nowMs + 2, endedAtMs: nowMs + 2, reasonCode: 0, cause: null },
    ...{ reasonString: null, answer: null, answerCut: false },
  };
}

/** The record of a command that its recipients have. */
function recordOf(recipients: number): TrackedRecord {
  const rows = new InlineRows();
  for (let at = 0; at < recipients; at++) rows.set(clientIdentityKey(`device-${at}`, null), rowOf(`device-${at}`));
  const publisherKey = clientIdentityKey('console', null);
  const owner = { clientId: 'console', userName: null, byServer: false };
  return {
    ...{ sequence, publisherKey, owner, topicName: 'cmd/7/reboot', correlationData: null, requested: 'delivered' },
    ...{ qos: 1, acceptedAtMs: nowMs, deadlineAtMs: 0, matched: recipients, overdue: null, overdueAtMs: 0 },
    ...{ counts: { ...noCounts(), delivered: recipients }, finalAtMs: nowMs + 2, collapsed: false, failures: [] },
    ...{ groups: [], rows, opening: false, openingReceipts: null, stored: true },
  };
}

function encoding(recipients: number, bytesMax: number): MicroCase {
  const record = recordOf(recipients);
  const run = () => {
    kept.bytes += encodeRecord(record).length;
  };
  return { name: `encode receipt record of ${recipients}`, bytesMax, operations: 1, run };
}

function decoding(recipients: number, bytesMax: number): MicroCase {
  const record = recordOf(recipients);
  const value = encodeRecord(record);
  const run = () => {
    kept.bytes += decodeRecord(record.publisherKey, sequence, value).matched;
  };
  return { name: `decode receipt record of ${recipients}`, bytesMax, operations: 1, run };
}

/** The receipt of a message whose only recipient has it. @param isAnother true if it has nothing from the one before */
function receiptWriting(isAnother: boolean, bytesMax: number): MicroCase {
  const packets = new ReceiptPackets();
  const records = [recordOf(1), { ...recordOf(1), topicName: 'cmd/8/reboot' }];
  const row = rowOf('device-0');
  const { publisherKey } = records[0];
  const facts = { replay: false, foreign: false, brief: false, recipientKey: clientIdentityKey('device-0', null) };
  const { delivery: kind } = ReceiptKind;
  const reference: ReceiptReference = { kind, state: ReceiptState.delivered, publisherKey, sequence, ...facts };
  const id = Buffer.from(receiptId(sequence, 1));
  let at = 0;
  const run = () => {
    at = isAnother ? 1 - at : at;
    kept.bytes += packets.packet(reference, id, records[at], row, false, 0)?.end ?? 0;
  };
  return { name: isAnother ? 'write receipt' : 'write receipt like the last', bytesMax, operations: 1, run };
}

/** A message with one recipient, which has acknowledged it. */
function deliveredSole(): SoleRecord {
  const [publisher, recipient] = ['console', 'device-0'].map((clientId, at) => {
    return new Session(transientSessionBase + at, clientId, null, false, 5, 0);
  }) as [Session, Session];
  const sole = new SoleRecord(sequence, publisher, recipient, 'cmd/7/reboot', nowMs, false, null);
  sole.deliveredAtMs = nowMs + 2;
  return sole;
}

function soleEncoding(bytesMax: number): MicroCase {
  const bytes = new SoleRecordBytes();
  const sole = deliveredSole();
  const run = () => {
    kept.bytes += bytes.encode(sole).length;
  };
  return { name: 'encode sole record like the last', bytesMax, operations: 1, run };
}

/** The receipt of a sole record, as the turn's release writes it. */
function soleReceipt(bytesMax: number): MicroCase {
  const output = new SoleOutput(1);
  const sole = deliveredSole();
  const sendPublish = ({ end }: PublishFrame) => {
    kept.bytes += end;
  };
  const link = { version: 5, sendPublish } as unknown as Link;
  return {
    name: 'write sole receipt',
    bytesMax,
    operations: 1,
    run: () => output.sendReceipt(link, sole, ReceiptKind.delivery),
  };
}

/** What the record of a tracked message costs each time it is written, told, and asked for later. */
export const receiptCases: readonly (() => MicroCase)[] = [
  () => encoding(1, 400),
  () => encoding(16, 2500),
  () => decoding(1, 2500),
  () => decoding(16, 14_000),
  () => receiptWriting(true, 400),
  () => receiptWriting(false, 100),
  () => soleEncoding(20),
  () => soleReceipt(50),
];
