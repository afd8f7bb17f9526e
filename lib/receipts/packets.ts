import type { Cause } from './causes.js';
import type { Requested } from './request.js';

/** What a receipt can say of a delivery. */
export type DeliveryStateName =
  | 'queued'
  | 'sent'
  | 'delivered'
  | 'processed'
  | 'rejected'
  | 'expired'
  | 'dropped'
  | 'lost';

/**
 * One delivery's new state: the JSON body of a receipt. Times are milliseconds since the epoch by the broker's clock.
 */
export interface Receipt {
  readonly id: string;
  readonly topic: string;
  /** Client identifier of the recipient; of a shared group, the member that has the message, or an empty string. */
  readonly to: string;
  readonly state: DeliveryStateName;
  readonly qos: 0 | 1 | 2;
  /** MQTT reason code behind the state. */
  readonly reason: number;
  readonly at: number;
  readonly sentAt?: number;
  readonly deliveredAt?: number;
  /** How many recipients the message has. */
  readonly matched: number;
  /** Full name of the shared subscription that is the recipient. */
  readonly group?: string;
  readonly cause?: Cause;
  readonly reasonString?: string;
  /** What the recipient's application answered, as text if it is UTF-8. */
  readonly answer?: string;
  readonly answerBase64?: string;
  /** Set if the answer was longer than is kept. */
  readonly answerCut?: true;
}

/** One entry of a tally's list of failures. */
export interface TallyFailure {
  readonly to: string;
  readonly state: DeliveryStateName;
  readonly reason: number;
  readonly cause?: Cause;
}

/** The counts of one message: the JSON body of a tally. `matched` is always the sum of the five counts after it. */
export interface Tally {
  readonly id: string;
  readonly topic: string;
  readonly matched: number;
  readonly processed: number;
  readonly delivered: number;
  readonly sent: number;
  readonly failed: number;
  readonly pending: number;
  /** True if every delivery has its outcome. */
  readonly final: boolean;
  readonly at: number;
  /** Set on the tally at the deadline, if deliveries were pending then. */
  readonly overdue?: true;
  /** Set if receipts were left out because too many waited for the publisher. */
  readonly collapsed?: true;
  /** The first 100 failures. */
  readonly failures?: readonly TallyFailure[];
}

/** Tells a tally from a receipt. */
export function isTally(packet: Receipt | Tally): packet is Tally {
  return 'final' in packet;
}

/** True if nothing is pending or failed and at least one delivery reached the state asked for. */
export function succeeded(
  counts: Pick<Tally, 'processed' | 'delivered' | 'failed' | 'pending'>,
  requested: Requested,
): boolean {
  const reached = requested === 'processed' ? counts.processed : counts.delivered;
  return counts.pending === 0 && counts.failed === 0 && reached > 0;
}
