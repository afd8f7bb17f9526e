import { InboundQos2 } from '../delivery/inbound-qos2.js';
import { PacketIds } from '../delivery/packet-ids.js';
import type { ProtocolVersion, QoS } from '../spec/packet-types.js';
import type { MountPoint } from '../topic/mount-point.js';
import type { Delivery } from './delivery.js';
import { DeliveryQueue } from './delivery-queue.js';
import type { InflightBytes } from './inflight-bytes.js';
import type { Link } from './link.js';
import { OwnSubscriptions } from './own-subscriptions.js';
import type { Subscription } from './subscription.js';

/**
 * The message a client left to be published should its connection end without a proper DISCONNECT.
 * @see MQTT 5 §3.1.2.5
 */
export interface Will {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly delaySeconds: number;
  /** -1 for none. */
  readonly messageExpirySeconds: number;
  /** Forwarded properties in wire form. */
  readonly properties: Buffer;
}

/** A pending timer of the broker's wheel, opaque here. */
export interface TimerHandle {
  cancelled: boolean;
}

const noSubscriptions: Pick<OwnSubscriptions, 'size' | 'filterCharacters' | 'get' | 'has' | 'values'> =
  new OwnSubscriptions();

/**
 * State that outlives a network connection. @see MQTT 5 §4.1
 * Data and bookkeeping only: what happens to it is decided in `lib/broker`.
 */
export class Session {
  /** Key of the session's rows in the store. Those of sessions that are not stored begin at `transientSessionBase`. */
  readonly number: number;
  readonly clientId: string;
  readonly userName: string | null;
  /** True if the session's state is in the store: it had an expiry when it began, or was resumed from one that had. */
  readonly stored: boolean;
  version: ProtocolVersion;
  /** Session Expiry Interval in force, seconds; 0xFFFFFFFF is never. */
  expirySeconds: number;
  /** ms since the epoch, 0 while connected. */
  disconnectedAtMs = 0;
  link: Link | null = null;
  /** That of the last connection, which decides what the session is sent; null before the first since the start. */
  mountPoint: MountPoint | null = null;
  /** How many of the subscriptions are to receipts. */
  receiptSubscriptions = 0;
  /** How many of the deliveries in its queue are receipts: they have a limit of their own. */
  waitingReceipts = 0;
  /** How many further PUBLISH packets at QoS > 0 the client takes now. [MQTT-3.3.4-9] */
  sendQuota = 0;
  /** Its value when the connection began; acknowledgements never raise it above. [MQTT-4.9.0-2] */
  sendQuotaMax = 0;
  /** What is in flight in bytes; null where that has no bound. */
  inflightBytes: InflightBytes | null = null;
  /** False until the queue's length is known from the store. */
  queueKnown: boolean;
  /** Identifiers whose PUBLISH must be repeated on this connection and has not been, for want of quota. */
  resendIds: number[] | null = null;
  /**
   * Identifiers of earlier connections that have taken none of this one's quota, and so give none back when they are
   * done. [MQTT-3.3.4-9]
   */
  unpaidIds: Set<number> | null = null;
  will: Will | null = null;
  /** When the will goes out, ms since the epoch; 0 while it is not due. */
  willDueAtMs = 0;
  willTimer: TimerHandle | null = null;
  expiryTimer: TimerHandle | null = null;
  /** Expiry its last CONNECT asked for, before any cap; what a DISCONNECT may change depends on it. [MQTT-3.14.2-2] */
  requestedExpirySeconds = 0;
  /**
   * True for a session read at the start that has not been connected since: open QoS 2 identifiers are in the store.
   */
  restored = false;
  /** Set once the session has ended: late events change nothing. */
  ended = false;
  /** Identity in receipt records, computed at first use. */
  identityKey: Buffer | null = null;
  /** Who the records of its messages belong to; made at first need. */
  owner: { readonly clientId: string; readonly userName: string | null; readonly byServer: boolean } | null = null;

  /** What the client may do with topics, as far as it was asked: bits of `lib/broker/rights`, and how old they are. */
  rights: Map<string, number> | null = null;
  rightsGeneration = 0;

  /** Marks that a route being built has the session already: `lib/broker/routes`. */
  routeStamp = 0;
  routeIndex = 0;

  private ownSubscriptions: OwnSubscriptions | null = null;
  private outboundIds: PacketIds<Delivery> | null = null;
  private inboundHeld: InboundQos2 | null = null;
  private waiting: DeliveryQueue | null = null;

  constructor(
    number: number,
    clientId: string,
    userName: string | null,
    stored: boolean,
    version: ProtocolVersion,
    expirySeconds: number,
  ) {
    this.number = number;
    this.clientId = clientId;
    this.userName = userName;
    this.stored = stored;
    this.version = version;
    this.expirySeconds = expirySeconds;
    this.queueKnown = !stored;
  }

  /** By topic filter as subscribed, `$share/…` included. */
  get subscriptions(): Pick<OwnSubscriptions, 'size' | 'filterCharacters' | 'get' | 'has' | 'values'> {
    return this.ownSubscriptions ?? noSubscriptions;
  }

  /** Adds a subscription in place of one with the same filter. */
  putSubscription(subscription: Subscription): void {
    this.ownSubscriptions ??= new OwnSubscriptions();
    this.ownSubscriptions.put(subscription);
  }

  removeSubscription(topicFilter: string): void {
    this.ownSubscriptions?.remove(topicFilter);
  }

  /** Packet identifiers open towards the client; made at first use. */
  get outbound(): PacketIds<Delivery> {
    this.outboundIds ??= new PacketIds<Delivery>();
    return this.outboundIds;
  }

  get inflightCount(): number {
    return this.outboundIds === null ? 0 : this.outboundIds.size;
  }

  /** Forgets open identifiers; on resume they are read again from the store. */
  clearOutbound(): void {
    this.outboundIds = null;
  }

  /** QoS 2 identifiers the client has open towards the broker; made at first use. */
  get inbound(): InboundQos2 {
    this.inboundHeld ??= new InboundQos2();
    return this.inboundHeld;
  }

  get inboundCount(): number {
    return this.inboundHeld === null ? 0 : this.inboundHeld.size;
  }

  get queue(): DeliveryQueue {
    this.waiting ??= new DeliveryQueue();
    return this.waiting;
  }

  get queueLength(): number {
    return this.waiting === null ? 0 : this.waiting.length;
  }
}

/** Session numbers from here on belong to sessions that are not stored: their rows are swept at the next start. */
export const transientSessionBase = 0x80000000;
