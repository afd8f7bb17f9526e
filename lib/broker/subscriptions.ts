import { isReceiptsTopic } from '../receipts/names.js';
import type { Session } from '../session/session.js';
import type { Subscription } from '../session/subscription.js';
import { parseSharedFilter } from '../topic/names.js';
import type { Context } from './context.js';
import type { ReceiptDelivery } from './receipt-delivery.js';

/** The filter that topics are compared with: a shared subscription's without its `$share/{group}/`. */
export function plainFilter(topicFilter: string): string {
  const shared = parseSharedFilter(topicFilter);
  return shared === null || shared === 'invalid' ? topicFilter : shared.topicFilter;
}

/** Subscriptions come and go: in the session, in the index they are found by, and in the store. */
export class Subscriptions {
  private readonly context: Context;
  private readonly receipts: ReceiptDelivery;

  constructor(context: Context, receipts: ReceiptDelivery) {
    this.context = context;
    this.receipts = receipts;
  }

  /** Adds a subscription in place of the session's former one with the same filter. [MQTT-3.8.4-3] */
  add(subscription: Subscription): void {
    const { session, topicFilter } = subscription;
    const former = session.subscriptions.get(topicFilter);
    if (former !== undefined && this.isOfReceipts(former)) this.receipts.replace(former, subscription);
    else {
      if (former !== undefined) this.unindex(former);
      this.index(subscription);
    }
    session.putSubscription(subscription);
    if (session.stored) this.context.persistence.restartRows.putSubscription(subscription);
  }

  /** Indexes a subscription read from the store. */
  restore(subscription: Subscription): void {
    subscription.session.putSubscription(subscription);
    this.index(subscription);
  }

  /** False if there is none with exactly this filter. [MQTT-3.10.4-1] */
  remove(session: Session, topicFilter: string): boolean {
    const subscription = session.subscriptions.get(topicFilter);
    if (subscription === undefined) return false;
    session.removeSubscription(topicFilter);
    this.unindex(subscription);
    if (session.stored) this.context.persistence.restartRows.deleteSubscription(session.number, topicFilter);
    return true;
  }

  /** Takes all of an ended session's subscriptions out of the index. */
  unindexAll(session: Session): void {
    for (const subscription of session.subscriptions.values()) this.unindex(subscription);
  }

  private index(subscription: Subscription): void {
    if (this.isOfReceipts(subscription)) this.receipts.add(subscription);
    else this.context.routes.add(subscription);
  }

  private unindex(subscription: Subscription): void {
    if (this.isOfReceipts(subscription)) this.receipts.remove(subscription);
    else this.context.routes.remove(subscription);
  }

  private isOfReceipts(subscription: Subscription): boolean {
    return this.context.settings.receipts.enabled && isReceiptsTopic(plainFilter(subscription.topicFilter));
  }
}
