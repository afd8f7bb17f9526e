import type { PublishFrame } from '../codec/publish-frame.js';
import type { QoS } from '../spec/packet-types.js';
import { type Delivery, DeliveryKind } from './delivery.js';

/**
 * A plain message in the queue of a session that is not stored, as the packet that will go out: such a session has one
 * connection in its life, so what the packet looks like is known when it begins to wait. Several sessions share one.
 */
export class QueuedFrame implements Delivery {
  readonly sequence: number;
  readonly messageSequence: number;
  readonly kind = DeliveryKind.message;
  readonly message = null;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds = null;
  readonly group = null;
  readonly reference = null;
  /** Bytes of its own: none of a buffer that is read into again. */
  readonly frame: PublishFrame;
  readonly topicName: string;
  readonly payloadBytes: number;

  constructor(
    sequence: number,
    qos: QoS,
    retain: boolean,
    frame: PublishFrame,
    topicName: string,
    payloadBytes: number,
  ) {
    this.sequence = sequence;
    this.messageSequence = sequence;
    this.qos = qos;
    this.retain = retain;
    this.frame = frame;
    this.topicName = topicName;
    this.payloadBytes = payloadBytes;
  }
}
