import type { QoS } from '../spec/packet-types.js';
import type { Session } from './session.js';

/** How one session gets a message: its matching subscriptions merged into one copy. [MQTT-3.3.4-2] */
export interface Target {
  readonly session: Session;
  /** The highest QoS granted. */
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  /** Identifiers of all matching subscriptions that have one. [MQTT-3.3.4-4] */
  readonly subscriptionIds: readonly number[] | null;
  /** How the session gets messages of its own: null if No Local excludes them. [MQTT-3.8.3-3] */
  readonly own: Target | null;
}

/** One subscription of one session: a filter and its options. @see MQTT 5 §3.8.3.1 */
export interface Subscription {
  readonly session: Session;
  /** As subscribed, `$share/…` included. */
  readonly topicFilter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** 0 for none. */
  readonly subscriptionId: number;
  /** The target this subscription makes alone; made at first use. */
  target: Target | null;
}
