import { publisherSegment, recipientSegment } from '../receipts/receipt-message.js';
import type { Row, TrackedRecord } from '../receipts/record.js';
import { encodeReference, ReceiptKind, type ReceiptReference } from '../receipts/reference.js';
import { DeliveryKind } from '../session/delivery.js';
import type { Session } from '../session/session.js';
import { DerivedTarget, type Subscription } from '../session/subscription.js';
import { countLevels, filterMatches, parseSharedFilter } from '../topic/names.js';
import type { Context } from './context.js';
import type { Offers } from './offers.js';
import { Outgoing } from './outgoing.js';
import { mayReadReceipts, ownReceiptsPrefix, receiptAccess } from './receipt-access.js';
import type { ReceiptReplays } from './receipt-replays.js';
import { Routes, targetOf } from './routes.js';
import type { ServerReceipts } from './server-receipts.js';
import { queueLength } from './stored-queues.js';

/** Levels of a tally's topic; a receipt's has one more. */
const tallyLevels = 3;

/** A subscription to one's own receipts, and which of them its filter can match at all. */
interface OwnSubscription {
  readonly subscription: Subscription;
  readonly tallies: Share;
  readonly receipts: Share;
}

/** How many of the tallies, or of the receipts, a filter matches. */
type Share = 'all' | 'some' | 'none';

/** Takes receipts to the sessions subscribed to them. Receipts are routed by publisher: their topics are used once. */
export class ReceiptDelivery {
  private readonly context: Context;
  private readonly offers: Offers;
  private readonly replays: ReceiptReplays;
  /** Subscriptions to one's own receipts, by session. */
  private readonly own = new Map<Session, OwnSubscription[]>();
  /** Subscriptions of those who may see the receipts of others. */
  private readonly watchers = new Routes();
  private readonly out = new Outgoing();
  private readonly server: ServerReceipts;

  constructor(context: Context, offers: Offers, replays: ReceiptReplays, server: ServerReceipts) {
    this.context = context;
    this.offers = offers;
    this.replays = replays;
    this.server = server;
    replays.send = (subscription, reference) => this.send(subscription.session, [subscription], reference);
  }

  add(subscription: Subscription): void {
    const { session, topicFilter } = subscription;
    session.receiptSubscriptions++;
    if (topicFilter.startsWith(ownReceiptsPrefix)) {
      this.own.set(session, [...(this.own.get(session) ?? []), ownSubscription(subscription)]);
    } else {
      this.watchers.add(subscription);
    }
  }

  /** A subscription is made again: a replay under way goes on unless a new one begins. */
  replace(former: Subscription, subscription: Subscription): void {
    this.replays.rebind(former, subscription);
    this.remove(former);
    this.add(subscription);
  }

  remove(subscription: Subscription): void {
    const { session, topicFilter } = subscription;
    this.replays.cancel(subscription);
    session.receiptSubscriptions--;
    if (!topicFilter.startsWith(ownReceiptsPrefix)) {
      this.watchers.remove(subscription);
      return;
    }
    const left = (this.own.get(session) ?? []).filter((known) => known.subscription !== subscription);
    if (left.length === 0) this.own.delete(session);
    else this.own.set(session, left);
  }

  /** Queues a receipt for every session subscribed to it. */
  emit(record: TrackedRecord, reference: ReceiptReference, row: Row | null): void {
    const { owner } = record;
    if (owner.byServer) this.server.emit(record, reference, row);
    else this.emitToPublisher(record, reference, row);
    if (this.watchers.size > 0) this.emitToWatchers(record, reference, this.restOf(record, row));
  }

  /** Topic levels behind the publisher's. */
  private restOf(record: TrackedRecord, row: Row | null): string {
    return `${this.context.tracker.id(record.sequence)}${row === null ? '' : `/${recipientSegment(row)}`}`;
  }

  private emitToPublisher(record: TrackedRecord, reference: ReceiptReference, row: Row | null): void {
    const { owner } = record;
    const session = this.context.sessions.get(owner.clientId);
    // Ownership is client identifier and user name. [receipts contract, "Who may subscribe"]
    if (session === undefined || session.userName !== owner.userName) return;
    const own = this.own.get(session);
    if (own === undefined) return;
    const access = receiptAccess(this.context, session);
    const sees = access === 'own' || access === 'all';
    let topicName = '';
    let matching: Subscription[] | null = null;
    for (const { subscription, tallies, receipts } of own) {
      const matches = row === null ? tallies : receipts;
      if (matches === 'none') continue;
      const { topicFilter } = subscription;
      if (matches === 'some') {
        if (topicName === '') topicName = ownReceiptsPrefix + this.restOf(record, row);
        if (!filterMatches(topicFilter, topicName)) continue;
      }
      if (!sees && !mayReadReceipts(access, topicFilter)) continue;
      if (this.replays.size > 0 && this.replays.covers(subscription, reference)) continue;
      if (matching === null) matching = [subscription];
      else matching.push(subscription);
    }
    if (matching === null) return;
    this.offer(session, matching, access === 'tally' ? { ...reference, brief: true } : reference);
  }

  private emitToWatchers(record: TrackedRecord, reference: ReceiptReference, rest: string): void {
    const { targets, groups } = this.watchers.match(`$receipts/${publisherSegment(record.owner)}/${rest}`);
    const foreign = { ...reference, foreign: true };
    for (const { session, subscriptions } of targets) {
      const live = subscriptions.filter((subscription) => !this.replays.covers(subscription, reference));
      if (live.length > 0) this.send(session, live, foreign);
    }
    for (const group of groups) {
      const may = (member: Subscription): boolean => this.isPermitted(member);
      const member =
        this.watchers.choose(group, (member) => {
          const { link } = member.session;
          return link !== null && !link.slow && may(member);
        }) ?? this.watchers.choose(group, may);
      if (member !== null) this.send(member.session, [member], foreign);
    }
  }

  /** Offers one receipt to those of a session's subscriptions that are permitted. */
  private send(session: Session, matching: readonly Subscription[], reference: ReceiptReference): void {
    const subscriptions = matching.filter((subscription) => this.isPermitted(subscription));
    if (subscriptions.length === 0) return;
    const isOwn = subscriptions.every(({ topicFilter }) => topicFilter.startsWith(ownReceiptsPrefix));
    const brief = isOwn && receiptAccess(this.context, session) === 'tally';
    this.offer(session, subscriptions, brief ? { ...reference, brief } : reference);
  }

  /** Offers one receipt packet to one session. */
  private offer(session: Session, subscriptions: readonly Subscription[], reference: ReceiptReference): void {
    const { tracker, metrics, sequences } = this.context;
    if (this.collapses(session, reference)) return;
    const packet = tracker.render(reference, false, session.link?.maximumPacketSize ?? 0);
    if (packet === null) return;
    metrics.receiptsSent++;
    const { qos, subscriptionIds } = targetOf(session, subscriptions);
    const target = new DerivedTarget(session, qos, true, subscriptionIds);
    // At QoS 0 it is sent now or never: nothing refers to it later.
    const kind = DeliveryKind.receipt;
    const sequence = sequences.next();
    this.out.fromText(packet.topicName, packet.text, packet.properties, packet.retain, sequence);
    const bytes = qos === 0 ? null : encodeReference(reference);
    const group = groupOf(subscriptions);
    this.offers.offer(target, this.out, { kind, sequence, reference: bytes, group, cohort: null });
  }

  /** False if the subscriber has lost the right to what it subscribed to. */
  private isPermitted({ session, topicFilter }: Subscription): boolean {
    return mayReadReceipts(receiptAccess(this.context, session), topicFilter);
  }

  /**
   * Too many wait for this session: what is left of a message's receipts is its final tally. A replay, which rests
   * while its receipts wait, leaves out nothing.
   */
  private collapses(session: Session, { kind, publisherKey, sequence, replay }: ReceiptReference): boolean {
    if (replay) return false;
    queueLength(this.context, session);
    if (session.waitingReceipts < this.context.settings.receipts.maxWaiting) return false;
    // Of a message for nobody the first tally is the final one.
    const { records, metrics } = this.context;
    if (kind === ReceiptKind.finalTally || records.find(publisherKey, sequence)?.matched === 0) return false;
    metrics.receiptsCollapsed++;
    records.collapse(publisherKey, sequence);
    return true;
  }
}

function ownSubscription(subscription: Subscription): OwnSubscription {
  const rest = subscription.topicFilter.slice(ownReceiptsPrefix.length);
  if (rest === '#' || rest === '+/#') return { subscription, tallies: 'all', receipts: 'all' };
  if (rest === '+') return { subscription, tallies: 'all', receipts: 'none' };
  if (rest === '+/+') return { subscription, tallies: 'none', receipts: 'all' };
  if (rest.endsWith('#')) return { subscription, tallies: 'some', receipts: 'some' };
  const isOfReceipts = countLevels(subscription.topicFilter) > tallyLevels;
  return { subscription, tallies: isOfReceipts ? 'none' : 'some', receipts: isOfReceipts ? 'some' : 'none' };
}

/** The shared subscription a receipt comes through. */
function groupOf([first]: readonly Subscription[]): string | null {
  if (first === undefined || !first.topicFilter.startsWith('$share/')) return null;
  const shared = parseSharedFilter(first.topicFilter);
  return shared === null || shared === 'invalid' ? null : first.topicFilter;
}
