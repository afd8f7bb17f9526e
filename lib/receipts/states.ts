import { Outcome } from '../delivery/table.js';

/** States of a tracked delivery as records store them. Numbers are on disk: append only. */
export const ReceiptState = {
  accepted: 0,
  queued: 1,
  sent: 2,
  delivered: 3,
  processed: 4,
  rejected: 5,
  expired: 6,
  dropped: 7,
  lost: 8,
} as const;
export type ReceiptState = (typeof ReceiptState)[keyof typeof ReceiptState];

/** Names in receipts, by number. */
export const stateNames: readonly string[] = Object.keys(ReceiptState);

/** True for the outcomes that count as `failed` in a tally. */
export function isFailure(state: ReceiptState): boolean {
  return state >= ReceiptState.rejected;
}

/** State of a delivery that the delivery table has brought to an outcome. */
export const stateOfOutcome: Readonly<Record<Outcome, ReceiptState>> = {
  [Outcome.none]: ReceiptState.accepted,
  [Outcome.sent]: ReceiptState.sent,
  [Outcome.delivered]: ReceiptState.delivered,
  [Outcome.rejected]: ReceiptState.rejected,
  [Outcome.expired]: ReceiptState.expired,
  [Outcome.dropped]: ReceiptState.dropped,
  [Outcome.lost]: ReceiptState.lost,
};
