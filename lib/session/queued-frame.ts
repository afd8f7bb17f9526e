import type { PublishFrame } from '../codec/publish-frame.js';
import type { QoS } from '../spec/packet-types.js';
import { type Delivery, DeliveryKind } from './delivery.js';

/**
 * A plain message in the queue of a session that is not stored, as the packet that will go out: such a session has one
 * connection in its life, so what the packet looks like is known when it begins to wait. Several sessions share one.
 */
export class QueuedFrame implements Delivery {
  readonly sequence: number;
  readonly qos: QoS;
  readonly retain: boolean;
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
    this.qos = qos;
    this.retain = retain;
    this.frame = frame;
    this.topicName = topicName;
    this.payloadBytes = payloadBytes;
  }

  // What is the same for all of them takes no room in each: thousands wait in a queue.

  get messageSequence(): number {
    return this.sequence;
  }

  get kind(): DeliveryKind {
    return DeliveryKind.message;
  }

  get message(): null {
    return null;
  }

  get subscriptionIds(): null {
    return null;
  }

  get group(): null {
    return null;
  }

  get reference(): null {
    return null;
  }
}
