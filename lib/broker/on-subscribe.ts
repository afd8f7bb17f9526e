import { ProtocolError } from '../base/errors.js';
import type { SubscribePacket, SubscriptionRequest, UnsubscribePacket } from '../codec/control-packets.js';
import { encodeSuback, encodeUnsuback } from '../codec/subscribe.js';
import { isReceiptsTopic } from '../receipts/names.js';
import { parseSince } from '../receipts/request.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import { Subscription } from '../session/subscription.js';
import type { QoS } from '../spec/packet-types.js';
import { firstFailureCode, ReasonCode } from '../spec/reason-codes.js';
import type { MountPoint } from '../topic/mount-point.js';
import { countLevels, hasWildcard, isTopicFilter, parseSharedFilter } from '../topic/names.js';
import type { Context } from './context.js';
import { mayReadReceipts, receiptAccess } from './receipt-access.js';
import type { ReceiptReplays } from './receipt-replays.js';
import type { Retained } from './retained.js';
import { plainFilter, type Subscriptions } from './subscriptions.js';

/** Replays of many messages' records that a session may have under way: each goes through all of them. */
const longReplaysMax = 100;

function tooMany(longReplays: number): number | null {
  return longReplays < longReplaysMax ? null : ReasonCode.quotaExceeded;
}

/** The rules of SUBSCRIBE and UNSUBSCRIBE. @see MQTT 5 §3.8, §3.10 */
export class OnSubscribe {
  private readonly context: Context;
  private readonly subscriptions: Subscriptions;
  private readonly retained: Retained;
  private readonly replays: ReceiptReplays;

  constructor(context: Context, subscriptions: Subscriptions, retained: Retained, replays: ReceiptReplays) {
    this.context = context;
    this.subscriptions = subscriptions;
    this.retained = retained;
    this.replays = replays;
  }

  subscribe(session: Session, link: Link, packet: SubscribePacket): void {
    const { turns, settings, persistence } = this.context;
    if (packet.subscriptionId !== 0 && !settings.subscriptionIdentifiersAvailable) {
      throw new ProtocolError(ReasonCode.subscriptionIdentifiersNotSupported, 'Subscription Identifier, §3.2.2.3.12');
    }
    // All filters are checked before any takes effect: a malformed packet changes nothing.
    const requests = mountedRequests(packet.subscriptions, link.mountPoint);
    for (const request of requests) this.check(request);
    const before = persistence.uncommitted;
    const reasonCodes: number[] = [];
    const replays: Subscription[] = [];
    const since = packet.userProperties.length === 0 ? 0 : parseSince(packet.userProperties);
    let longReplays = session.receiptSubscriptions > 0 ? this.replays.longOf(session) : 0;
    for (const request of requests) {
      const isLong = request.retainHandling !== 2 && this.isLongReplay(request.topicFilter);
      const refusal = this.refusal(session, request, since) ?? (isLong ? tooMany(longReplays) : null);
      if (refusal !== null) {
        this.context.metrics.subscriptionsRefused++;
        reasonCodes.push(refusal);
        continue;
      }
      const subscription = this.subscriptionOf(session, request, packet.subscriptionId);
      const isNew = !session.subscriptions.has(request.topicFilter);
      this.subscriptions.add(subscription);
      reasonCodes.push(subscription.qos); // [MQTT-3.9.3-1]
      if (!this.wantsRetained(request, isNew)) {
        if (!isNew) this.retained.rebind(subscription);
        continue;
      }
      replays.push(subscription);
      if (isLong) longReplays++;
    }
    this.count(this.context.metrics.subscribed, reasonCodes);
    const waits = persistence.uncommitted !== before;
    const refused = reasonCodes.some((code) => code >= firstFailureCode);
    const reason = refused && link.problemInformation ? reasonOf(reasonCodes, since) : null;
    turns.bytes(link, encodeSuback(packet.packetId, reasonCodes, link.version, reason, link.maximumPacketSize), waits);
    // What is retained follows SUBACK.
    if (waits && replays.length > 0) link.publishGate = turns.number;
    for (const subscription of replays) this.replay(subscription, typeof since === 'number' ? since : 0);
    this.replays.goOn(session);
  }

  unsubscribe(session: Session, link: Link, packet: UnsubscribePacket): void {
    const { turns, persistence } = this.context;
    const before = persistence.uncommitted;
    const { mountPoint } = link;
    const filters = packet.topicFilters.map((filter) => mountPoint?.filter(filter) ?? filter);
    const reasonCodes = filters.map((topicFilter) => {
      this.retained.cancel(session, topicFilter);
      return this.subscriptions.remove(session, topicFilter) ? ReasonCode.success : ReasonCode.noSubscriptionExisted;
    });
    this.count(this.context.metrics.unsubscribed, reasonCodes);
    const unsuback = encodeUnsuback(packet.packetId, reasonCodes, link.version, null, link.maximumPacketSize);
    turns.bytes(link, unsuback, persistence.uncommitted !== before); // [MQTT-3.10.4-4]
  }

  private count(counts: Float64Array, reasonCodes: readonly number[]): void {
    for (const code of reasonCodes) counts[code]++;
  }

  private replay(subscription: Subscription, since: number): void {
    if (this.isOfReceipts(subscription.topicFilter)) this.replays.begin(subscription, since);
    else this.retained.replay(subscription);
  }

  private check(request: SubscriptionRequest): void {
    const { settings } = this.context;
    const { topicFilter } = request;
    const shared = parseSharedFilter(topicFilter);
    // [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    if (shared === 'invalid' || !isTopicFilter(topicFilter)) {
      throw new ProtocolError(ReasonCode.malformedPacket, 'a topic filter with a wildcard or share name out of place');
    }
    if (shared !== null && request.noLocal) {
      throw new ProtocolError(ReasonCode.protocolError, 'No Local on a shared subscription'); // [MQTT-3.8.3-4]
    }
    if (shared !== null && !settings.sharedSubscriptionAvailable) {
      throw new ProtocolError(ReasonCode.sharedSubscriptionsNotSupported, 'a shared subscription, §3.2.2.3.13');
    }
    if (!settings.wildcardSubscriptionAvailable && hasWildcard(plainFilter(topicFilter))) {
      throw new ProtocolError(ReasonCode.wildcardSubscriptionsNotSupported, 'a filter with a wildcard, §3.2.2.3.11');
    }
  }

  /** True for filters, without `$share/group/`, that ask for receipts. */
  private isOfReceipts(filter: string): boolean {
    return this.context.settings.receipts.enabled && isReceiptsTopic(filter);
  }

  private isLongReplay(topicFilter: string): boolean {
    return this.isOfReceipts(topicFilter) && this.replays.isLong(topicFilter);
  }

  /** @param since what `parseSince` made of the packet */
  private refusal(session: Session, request: SubscriptionRequest, since: number | string): number | null {
    const { settings, persistence } = this.context;
    const filter = plainFilter(request.topicFilter);
    if (session.stored && !persistence.healthy) return ReasonCode.unspecifiedError;
    if (countLevels(filter) > settings.maximumTopicLevels) return ReasonCode.topicFilterInvalid;
    if (!this.isPermitted(session, request.topicFilter, filter)) {
      this.context.metrics.subscriptionsNotAuthorized++;
      return ReasonCode.notAuthorized;
    }
    if (typeof since === 'string' && this.isOfReceipts(filter)) {
      this.refuseSince(session, since);
      return ReasonCode.implementationSpecificError;
    }
    const { subscriptions } = session;
    const { maximumSubscriptionsPerSession, maximumSubscriptionBytesPerSession } = settings;
    const characters = subscriptions.filterCharacters + request.topicFilter.length;
    const full =
      subscriptions.size >= maximumSubscriptionsPerSession || characters > maximumSubscriptionBytesPerSession;
    if (full && !subscriptions.has(request.topicFilter)) return ReasonCode.quotaExceeded;
    return null;
  }

  /** @param filter the same without `$share/group/`: what is inside is what is asked for */
  private isPermitted(session: Session, topicFilter: string, filter: string): boolean {
    if (!this.isOfReceipts(filter)) return this.context.rights.maySubscribe(session, filter);
    return mayReadReceipts(receiptAccess(this.context, session), topicFilter);
  }

  private refuseSince({ clientId }: Session, reason: string): void {
    this.context.metrics.receiptRequestsRefused++;
    this.context.log.info({ client: clientId }, `receipt request refused: ${reason}`);
  }

  private subscriptionOf(session: Session, request: SubscriptionRequest, subscriptionId: number): Subscription {
    const { maximumQos } = this.context.settings;
    const qos = Math.min(request.qos, maximumQos) as QoS; // [MQTT-3.2.2-10]
    const options = qos === request.qos ? request : { ...request, qos };
    return new Subscription(session, request.topicFilter, options, subscriptionId);
  }

  /** [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]; never for shared subscriptions. */
  private wantsRetained(request: SubscriptionRequest, isNew: boolean): boolean {
    if (parseSharedFilter(request.topicFilter) !== null) return false;
    return request.retainHandling === 0 || (request.retainHandling === 1 && isNew);
  }
}

/** What SUBACK says where it refuses. @param since what `parseSince` made of the packet */
function reasonOf(reasonCodes: readonly number[], since: number | string): string {
  const isSince = typeof since === 'string' && reasonCodes.includes(ReasonCode.implementationSpecificError);
  return isSince ? since : 'a filter was refused: see its reason code';
}

/** Requests with the broker's names for what they ask for. */
function mountedRequests(
  requests: readonly SubscriptionRequest[],
  mountPoint: MountPoint | null,
): readonly SubscriptionRequest[] {
  if (mountPoint === null) return requests;
  return requests.map((request) => ({ ...request, topicFilter: mountPoint.filter(request.topicFilter) }));
}
