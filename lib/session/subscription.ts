import type { QoS } from '../spec/packet-types.js';
import type { Session } from './session.js';

/** How one session gets a message: its matching subscriptions merged into one copy. [MQTT-3.3.4-2] */
export interface Target {
  readonly session: Session;
  /** QoS and Retain As Published once more, as bits of the options byte in SUBSCRIBE; other bits mean nothing. */
  readonly options: number;
  /** The highest QoS granted. */
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  /** Identifiers of all matching subscriptions that have one. [MQTT-3.3.4-4] */
  readonly subscriptionIds: readonly number[] | null;
  /** How the session gets messages of its own: null if No Local excludes them. [MQTT-3.8.3-3] */
  readonly own: Target | null;
}

/** What a subscription asks for beside its filter. @see MQTT 5 §3.8.3.1 */
export interface SubscriptionOptions {
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

export const qosMask = 0x03;
const noLocalBit = 0x04;
export const retainAsPublishedBit = 0x08;
const retainHandlingShift = 4;

/**
 * One subscription of one session: a filter and its options, and what it makes of a message if it alone matches. There
 * may be millions: its options are one number.
 */
export class Subscription implements SubscriptionOptions, Target {
  readonly session: Session;
  /** As subscribed, `$share/…` included. */
  readonly topicFilter: string;
  /** Its own identifier, if it has one. */
  readonly subscriptionIds: readonly number[] | null;
  /** As the byte in SUBSCRIBE. */
  readonly options: number;

  /** @param subscriptionId 0 for none */
  constructor(session: Session, topicFilter: string, options: SubscriptionOptions, subscriptionId: number) {
    this.session = session;
    this.topicFilter = topicFilter;
    this.subscriptionIds = subscriptionId === 0 ? null : [subscriptionId];
    this.options =
      options.qos |
      (options.noLocal ? noLocalBit : 0) |
      (options.retainAsPublished ? retainAsPublishedBit : 0) |
      (options.retainHandling << retainHandlingShift);
  }

  /** 0 for none. */
  get subscriptionId(): number {
    return this.subscriptionIds === null ? 0 : (this.subscriptionIds[0] as number);
  }

  get own(): Target | null {
    return this.noLocal ? null : this;
  }

  get qos(): QoS {
    return (this.options & qosMask) as QoS;
  }

  get noLocal(): boolean {
    return (this.options & noLocalBit) !== 0;
  }

  get retainAsPublished(): boolean {
    return (this.options & retainAsPublishedBit) !== 0;
  }

  get retainHandling(): 0 | 1 | 2 {
    return (this.options >> retainHandlingShift) as 0 | 1 | 2;
  }
}

/** A target that is no subscription of its own: several that match, or one seen otherwise. */
export class DerivedTarget implements Target {
  readonly session: Session;
  readonly options: number;
  readonly subscriptionIds: readonly number[] | null;
  own: Target | null = null;

  constructor(session: Session, qos: QoS, retainAsPublished: boolean, subscriptionIds: readonly number[] | null) {
    this.session = session;
    this.options = qos | (retainAsPublished ? retainAsPublishedBit : 0);
    this.subscriptionIds = subscriptionIds;
  }

  get qos(): QoS {
    return (this.options & qosMask) as QoS;
  }

  get retainAsPublished(): boolean {
    return (this.options & retainAsPublishedBit) !== 0;
  }
}
