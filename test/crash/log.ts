import type { Deliveries } from './deliveries.js';
import type { RetainedFacts } from './facts.js';
import type { Groups } from './groups.js';
import type { ReceiptsLedger } from './receipts-ledger.js';
import type { RecipientLog } from './recipient-log.js';
import type { WillFacts } from './wills.js';

/** What all clients of a run together know. */
export interface Log {
  readonly deliveries: Deliveries;
  readonly groups: Groups;
  readonly recipients: RecipientLog;
  readonly receipts: ReceiptsLedger;
  readonly retained: RetainedFacts;
  readonly wills: WillFacts;
  /** Topics of sessions that may end, for others to publish to. */
  churnTopics(): string[];
}
