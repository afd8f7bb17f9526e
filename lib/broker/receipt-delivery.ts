import { identityKeyOf } from '../receipts/identities.js';
import { publisherSegment, recipientSegment } from '../receipts/receipt-message.js';
import type { Row, TrackedRecord } from '../receipts/record.js';
import { encodeReference, ReceiptKind, type ReceiptReference } from '../receipts/reference.js';
import type { SoleRecord } from '../receipts/sole-record.js';
import { ReceiptState } from '../receipts/states.js';
import { DeliveryKind } from '../session/delivery.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import { DerivedTarget, type Subscription, type Target } from '../session/subscription.js';
import { countLevels, filterMatches, parseSharedFilter } from '../topic/names.js';
import type { Context } from './context.js';
import type { Carriage, Offers } from './offers.js';
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
  /** Where what only this one matches goes. */
  readonly target: Target;
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

  /** Queues a receipt for every session subscribed to it. @see TrackerPort.emit */
  emit(
    record: TrackedRecord,
    kind: ReceiptKind,
    state: ReceiptState,
    recipientKey: Buffer | null,
    row: Row | null,
  ): void {
    if (record.owner.byServer) this.server.emit(record, kind, state, row);
    else if (this.own.size > 0) this.emitToPublisher(record, kind, state, recipientKey, row);
    if (this.watchers.size > 0) {
      const reference = referenceTo(record, kind, state, recipientKey, false);
      this.emitToWatchers(record, reference, this.restOf(record, row));
    }
  }

  /** Topic levels behind the publisher's. */
  private restOf(record: TrackedRecord, row: Row | null): string {
    return `${this.context.tracker.id(record.sequence)}${row === null ? '' : `/${recipientSegment(row)}`}`;
  }

  private emitToPublisher(
    record: TrackedRecord,
    kind: ReceiptKind,
    state: ReceiptState,
    recipientKey: Buffer | null,
    row: Row | null,
  ): void {
    const { owner } = record;
    const session = this.context.sessions.get(owner.clientId);
    // Ownership is client identifier and user name. [receipts contract, "Who may subscribe"]
    if (session === undefined || session.userName !== owner.userName) return;
    const own = this.own.get(session);
    if (own === undefined) return;
    const access = receiptAccess(this.context, session);
    const sees = access === 'own' || access === 'all';
    let topicName = '';
    let first: OwnSubscription | null = null;
    let matching: Subscription[] | null = null;
    for (const each of own) {
      const matches = row === null ? each.tallies : each.receipts;
      if (matches === 'none') continue;
      const { subscription } = each;
      const { topicFilter } = subscription;
      if (matches === 'some') {
        if (topicName === '') topicName = ownReceiptsPrefix + this.restOf(record, row);
        if (!filterMatches(topicFilter, topicName)) continue;
      }
      if (!sees && !mayReadReceipts(access, topicFilter)) continue;
      if (this.replays.size > 0 && this.replays.covers(subscription, record.sequence, recipientKey)) continue;
      if (first === null) first = each;
      else if (matching === null) matching = [first.subscription, subscription];
      else matching.push(subscription);
    }
    if (first === null) return;
    const target = matching === null ? first.target : receiptTarget(session, matching);
    this.offer(target, null, referenceTo(record, kind, state, recipientKey, access === 'tally'));
  }

  /**
   * True if what is told of a client's messages now is at most told to the client itself, through one subscription that
   * takes all receipts or none, and all tallies or none. To whoever else watches, records have to speak.
   */
  tellsPublisherAlone(publisher: Session): boolean {
    if (publisher.ended || this.watchers.size > 0 || this.replays.size > 0) return false;
    const own = this.own.get(publisher);
    if (own === undefined) return true;
    const [only] = own;
    return own.length === 1 && only !== undefined && only.tallies !== 'some' && only.receipts !== 'some';
  }

  /** The same as `emit` for a message of whose publisher `tellsPublisherAlone` was true. */
  emitSole(sole: SoleRecord, kind: ReceiptKind): void {
    const { publisher } = sole;
    const only = this.own.get(publisher)?.[0];
    if (only === undefined) return;
    const { target, subscription, receipts, tallies } = only;
    const isReceipt = kind === ReceiptKind.delivery;
    if ((isReceipt ? receipts : tallies) === 'none') return;
    const access = receiptAccess(this.context, publisher);
    const sees = access === 'own' || access === 'all';
    if (!sees && !mayReadReceipts(access, subscription.topicFilter)) return;
    const { link } = publisher;
    if (sees && link !== null && this.isSimple(target, link)) {
      this.context.metrics.receiptsSent++;
      this.context.turns.receiptOfSole(link, sole, kind);
      return;
    }
    const { publisherKey, sequence, recipient } = sole;
    const facts = { publisherKey, sequence, recipientKey: isReceipt ? identityKeyOf(recipient) : null };
    const state = isReceipt ? ReceiptState.delivered : ReceiptState.accepted;
    this.offer(target, null, { ...facts, kind, state, replay: false, foreign: false, brief: access === 'tally' });
  }

  /** True if a receipt is sent now or never, to a client that knows topics by our names. */
  private isSimple({ session, qos, subscriptionIds }: Target, link: Link): boolean {
    if (subscriptionIds !== null) return false;
    return (
      qos === 0 &&
      !link.slow &&
      link.maximumPacketSize === 0 &&
      link.mountPoint === null &&
      session.waitingReceipts === 0 &&
      session.queueKnown
    );
  }

  private emitToWatchers(record: TrackedRecord, reference: ReceiptReference, rest: string): void {
    const { targets, groups } = this.watchers.match(`$receipts/${publisherSegment(record.owner)}/${rest}`);
    const foreign = { ...reference, foreign: true };
    for (const { session, subscriptions } of targets) {
      const live = subscriptions.filter(
        (subscription) => !this.replays.covers(subscription, reference.sequence, reference.recipientKey),
      );
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
    const target = receiptTarget(session, subscriptions);
    this.offer(target, groupOf(subscriptions), brief ? { ...reference, brief } : reference);
  }

  /** Offers one receipt packet to one session. @param group the shared subscription that it comes through, or null */
  private offer(target: Target, group: string | null, reference: ReceiptReference): void {
    const { session, qos } = target;
    const { tracker, metrics, sequences } = this.context;
    if (this.collapses(session, reference)) return;
    const packet = tracker.render(reference, false, session.link?.maximumPacketSize ?? 0);
    if (packet === null) return;
    metrics.receiptsSent++;
    if (qos === 0) {
      // It is sent now or never: nothing refers to it later.
      this.out.fromReceipt(packet, 0);
      this.offers.offer(target, this.out, unreferenced);
      return;
    }
    const sequence = sequences.next();
    this.out.fromReceipt(packet, sequence);
    const bytes = encodeReference(reference);
    this.offers.offer(target, this.out, {
      kind: DeliveryKind.receipt,
      sequence,
      reference: bytes,
      group,
      cohort: null,
    });
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

/** A receipt that is sent at QoS 0. */
const unreferenced: Carriage = { kind: DeliveryKind.receipt, sequence: 0, reference: null, group: null, cohort: null };

function referenceTo(
  { publisherKey, sequence }: TrackedRecord,
  kind: ReceiptKind,
  state: ReceiptState,
  recipientKey: Buffer | null,
  brief: boolean,
): ReceiptReference {
  return { kind, replay: false, publisherKey, sequence, state, recipientKey, foreign: false, brief };
}

/** Receipts have RETAIN as they are: it tells a replay. */
function receiptTarget(session: Session, subscriptions: readonly Subscription[]): Target {
  const { qos, subscriptionIds } = targetOf(session, subscriptions);
  return new DerivedTarget(session, qos, true, subscriptionIds);
}

function ownSubscription(subscription: Subscription): OwnSubscription {
  const target = receiptTarget(subscription.session, [subscription]);
  const rest = subscription.topicFilter.slice(ownReceiptsPrefix.length);
  if (rest === '#' || rest === '+/#') return { subscription, target, tallies: 'all', receipts: 'all' };
  if (rest === '+') return { subscription, target, tallies: 'all', receipts: 'none' };
  if (rest === '+/+') return { subscription, target, tallies: 'none', receipts: 'all' };
  if (rest.endsWith('#')) return { subscription, target, tallies: 'some', receipts: 'some' };
  const isOfReceipts = countLevels(subscription.topicFilter) > tallyLevels;
  return { subscription, target, tallies: isOfReceipts ? 'none' : 'some', receipts: isOfReceipts ? 'some' : 'none' };
}

/** The shared subscription a receipt comes through. */
function groupOf([first]: readonly Subscription[]): string | null {
  if (first === undefined || !first.topicFilter.startsWith('$share/')) return null;
  const shared = parseSharedFilter(first.topicFilter);
  return shared === null || shared === 'invalid' ? null : first.topicFilter;
}
