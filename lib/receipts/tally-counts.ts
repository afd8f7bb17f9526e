import { assert } from '../base/assert.js';
import type { Row, TrackedRecord } from './record.js';
import { ReceiptState } from './states.js';

/** Failures listed in a tally, and their bytes. */
const failuresMax = 100;
const failureBytesMax = 16 * 1024;
/** What an entry has besides its recipient's name, at most. */
const failureBytes = 68;

/** Most bytes that a failure of this recipient takes in a tally. */
function entryBytes(to: string): number {
  return Buffer.byteLength(JSON.stringify(to)) + failureBytes;
}

/** Counts a delivery under its outcome, and lists it if it failed and there is room. */
export function countOutcome(record: TrackedRecord, row: Row): void {
  const { counts, failures } = record;
  assert(counts.pending > 0, 'a delivery has one outcome');
  counts.pending--;
  if (row.state === ReceiptState.delivered) counts.delivered++;
  else if (row.state === ReceiptState.processed) counts.processed++;
  else if (row.state === ReceiptState.sent) counts.sent++;
  else {
    counts.failed++;
    if (failures.length >= failuresMax) return;
    const listed = failures.reduce((bytes, { to }) => bytes + entryBytes(to), 0);
    if (listed + entryBytes(row.to) > failureBytesMax) return;
    const { to, state, reasonCode, cause } = row;
    record.failures = [...failures, { to, state, reasonCode, cause }];
  }
}
