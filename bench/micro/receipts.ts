import { InlineRows } from '../../lib/receipts/inline-rows.js';
import { clientIdentityKey } from '../../lib/receipts/names.js';
import { receiptId } from '../../lib/receipts/receipt-id.js';
import { ReceiptPackets } from '../../lib/receipts/receipt-message.js';
import { decodeRecord, encodeRecord, noCounts, type Row, type TrackedRecord } from '../../lib/receipts/record.js';
import { ReceiptKind, type ReceiptReference } from '../../lib/receipts/reference.js';
import { ReceiptState } from '../../lib/receipts/states.js';
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

/** What the record of a tracked message costs each time it is written, told, and asked for later. */
export const receiptCases: readonly (() => MicroCase)[] = [
  () => encoding(1, 400),
  () => encoding(16, 2500),
  () => decoding(1, 2500),
  () => decoding(16, 14_000),
  () => receiptWriting(true, 400),
  () => receiptWriting(false, 100),
];
