import { receiptsPrefix } from '../receipts/names.js';
import { recipientSegment } from '../receipts/receipt-message.js';
import type { Facts, Row } from '../receipts/record.js';
import { encodeReference, type ReceiptReference } from '../receipts/reference.js';
import { DeliveryKind } from '../session/delivery.js';
import type { Session } from '../session/session.js';
import type { Subscription } from '../session/subscription.js';
import { filterMatches } from '../topic/names.js';
import type { Context } from './context.js';
import type { Offers } from './offers.js';
import { Outgoing } from './outgoing.js';
import { targetOf } from './routes.js';

/** Filters of one's own receipts begin so. */
export const ownReceiptsPrefix = `${receiptsPrefix}~/`;

/** Takes receipts to the sessions subscribed to them. Receipts are routed by publisher: their topics are used once. */
export class ReceiptDelivery {
  private readonly context: Context;
  private readonly offers: Offers;
  private readonly subscriptions = new Map<Session, Subscription[]>();
  private readonly out = new Outgoing();

  constructor(context: Context, offers: Offers) {
    this.context = context;
    this.offers = offers;
  }

  add(subscription: Subscription): void {
    const { session } = subscription;
    const known = this.subscriptions.get(session) ?? [];
    this.subscriptions.set(session, [...known, subscription]);
  }

  remove(subscription: Subscription): void {
    const { session } = subscription;
    const left = (this.subscriptions.get(session) ?? []).filter((known) => known !== subscription);
    if (left.length === 0) this.subscriptions.delete(session);
    else this.subscriptions.set(session, left);
  }

  forget(session: Session): void {
    this.subscriptions.delete(session);
  }

  /** Queues a receipt for its publisher's session, if that has subscribed to it. */
  emit(facts: Facts, reference: ReceiptReference, row: Row | null): void {
    if (facts.byServer) return;
    const session = this.context.sessions.get(facts.publisherId);
    // Ownership is client identifier and user name. [receipts contract, "Who may subscribe"]
    if (session === undefined || session.userName !== facts.userName) return;
    const subscriptions = this.subscriptions.get(session);
    if (subscriptions === undefined) return;
    const id = this.context.tracker.id(reference.sequence);
    const topicName = `${ownReceiptsPrefix}${id}${row === null ? '' : `/${recipientSegment(row)}`}`;
    const matching = subscriptions.filter(({ topicFilter }) => filterMatches(topicFilter, topicName));
    if (matching.length === 0) return;
    const bytes = encodeReference(reference);
    const message = this.context.tracker.render(bytes);
    if (message === null) return;
    this.context.metrics.receiptsSent++;
    const sequence = this.context.sequences.next();
    this.out.fromMessage({ ...message, sequence }, this.context.clock.now());
    const carriage = { kind: DeliveryKind.receipt, sequence, reference: bytes, group: null };
    this.offers.offer(targetOf(session, matching), this.out, carriage);
  }
}
