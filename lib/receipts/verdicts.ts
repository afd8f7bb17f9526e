import type { Outcome } from '../delivery/table.js';
import type { QoS } from '../spec/packet-types.js';
import type { Cause } from './causes.js';
import type { Row, TrackedRecord } from './record.js';
import type { ReceiptKind } from './reference.js';
import type { ReceiptState } from './states.js';

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
  /**
   * A receipt or tally for every session subscribed to it.
   * @param state that it tells; of tallies `accepted`
   * @param recipientKey null for tallies, as `row`
   */
  emit(
    record: TrackedRecord,
    kind: ReceiptKind,
    state: ReceiptState,
    recipientKey: Buffer | null,
    row: Row | null,
  ): void;
  /** The record has its final tally. */
  finished(record: TrackedRecord): void;
}
