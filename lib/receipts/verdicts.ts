import type { Outcome } from '../delivery/table.js';
import type { QoS } from '../spec/packet-types.js';
import type { Cause } from './causes.js';
import type { Row, TrackedRecord } from './record.js';
import type { ReceiptReference } from './reference.js';

/** What the delivery table decided about a tracked delivery. */
export interface Verdict {
  readonly outcome: Outcome;
  readonly reasonCode: number;
  readonly cause: Cause | null;
  readonly reasonString: string | null;
  /** QoS of a delivery that was neither queued nor sent before. */
  readonly qos?: QoS;
}

/** An application's word on a delivery. */
export interface ApplicationVerdict {
  readonly ok: boolean;
  readonly answer: Buffer | null;
  readonly answerCut: boolean;
}

/** What the tracker tells the broker. Called in the turn that changes the record. */
export interface TrackerPort {
  /** A receipt for every session subscribed to it. @param row null for tallies */
  emit(record: TrackedRecord, reference: ReceiptReference, row: Row | null): void;
  /** The record has its final tally. */
  finished(record: TrackedRecord): void;
}
