import type { Message } from '../base/message.js';
import type { Delivery } from '../session/delivery.js';
import { DeliveryKind } from '../session/delivery.js';
import type { Session } from '../session/session.js';
import { identityKeyOf, ownerOf } from './identities.js';
import { InlineRows } from './inline-rows.js';
import { newRow } from './new-row.js';
import { noCounts, noFailures, noGroups, type TrackedRecord } from './record.js';
import { ReceiptState } from './states.js';

/** Rows of a delivery in flight, which the row of its record goes with until it changes. */
export interface RowCarrier {
  /** The record's row is put with the open batch, or left as it is, from now on. */
  releaseRecord(): void;
}

/**
 * A tracked message with one recipient, handed to its connection at once at QoS 1: nearly every command. It stands for
 * the message's record, the recipient's row and the delivery, which would be several objects for some milliseconds.
 * ```
 *   accepted and sent --PUBACK--> delivered, its turn puts it --> forgotten
 *          |                          |
 *          +--- anything else, or somebody asks for the record: `RecordStore.find` makes one of it
 * ```
 * [receipts contract, "States"]
 */
export class SoleRecord implements Delivery {
  readonly sequence: number;
  readonly publisher: Session;
  readonly recipient: Session;
  /** As the publisher named it. */
  readonly topicName: string;
  /** When it was accepted, and handed to the connection. */
  readonly sentAtMs: number;
  /** When the recipient acknowledged it; 0 before. */
  deliveredAtMs = 0;
  /** Whether the recipient could answer when it was sent: a later connection may speak another version. */
  readonly canAnswer: boolean;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[] | null;
  /** What was sent at QoS 1 to one recipient alone is not read again where it is not stored. */
  message: Message | null = null;
  /** False once a record was made of it, which is what changes from then on. */
  stands = true;
  /** True once the store has it, if perhaps not as it is now; with the rows of its delivery it has it too. */
  isStored = false;
  /** What its row goes with; null if it goes alone, or is in its table. */
  carrier: RowCarrier | null = null;

  constructor(
    sequence: number,
    publisher: Session,
    recipient: Session,
    topicName: string,
    sentAtMs: number,
    retain: boolean,
    subscriptionIds: readonly number[] | null,
  ) {
    this.sequence = sequence;
    this.publisher = publisher;
    this.recipient = recipient;
    this.topicName = topicName;
    this.sentAtMs = sentAtMs;
    this.canAnswer = recipient.version === 5;
    this.retain = retain;
    this.subscriptionIds = subscriptionIds;
  }

  get messageSequence(): number {
    return this.sequence;
  }

  get kind(): DeliveryKind {
    return DeliveryKind.tracked;
  }

  get qos(): 1 {
    return 1;
  }

  get group(): null {
    return null;
  }

  /** Key of the record. */
  get reference(): Buffer {
    return identityKeyOf(this.publisher);
  }

  get publisherKey(): Buffer {
    return identityKeyOf(this.publisher);
  }

  get finalAtMs(): number {
    return this.deliveredAtMs;
  }

  /** The record that it stands for. */
  toRecord(): TrackedRecord {
    const { sequence, publisher, recipient, topicName, sentAtMs, deliveredAtMs } = this;
    const isDelivered = deliveredAtMs > 0;
    const row = newRow(recipient, null);
    row.state = isDelivered ? ReceiptState.delivered : ReceiptState.sent;
    row.final = isDelivered;
    row.qos = 1;
    row.canAnswer = this.canAnswer;
    row.sentAtMs = sentAtMs;
    row.deliveredAtMs = deliveredAtMs;
    row.endedAtMs = deliveredAtMs;
    const rows = new InlineRows();
    rows.set(identityKeyOf(recipient), row);
    const counts = noCounts();
    if (isDelivered) counts.delivered = 1;
    else counts.pending = 1;
    return {
      sequence,
      publisherKey: identityKeyOf(publisher),
      owner: ownerOf(publisher),
      topicName,
      correlationData: null,
      requested: 'delivered',
      qos: 1,
      acceptedAtMs: sentAtMs,
      deadlineAtMs: 0,
      matched: 1,
      counts,
      overdue: null,
      overdueAtMs: 0,
      finalAtMs: deliveredAtMs,
      collapsed: false,
      failures: noFailures,
      groups: noGroups,
      rows,
      opening: false,
      openingReceipts: null,
      stored: this.isStored,
    };
  }
}
