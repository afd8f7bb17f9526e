import type { QoS } from '../spec/packet-types.js';
import type { Session } from './session.js';

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
}
