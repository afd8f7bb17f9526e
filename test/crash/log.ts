import type { Deliveries } from './deliveries.js';
import type { RetainedFacts, WillFacts } from './facts.js';
import type { ReceiptsLedger } from './receipts-ledger.js';

/** What all clients of a run together know. */
export interface Log {
  readonly deliveries: Deliveries;
  readonly receipts: ReceiptsLedger;
  readonly retained: RetainedFacts;
  readonly wills: WillFacts;
  /** Topics of sessions that may end, for others to publish to. */
  churnTopics(): string[];
}
