import type { Message } from '../base/message.js';
import type { QoS } from '../spec/packet-types.js';

/** What a delivery carries. Stored as a number: append only. */
export const DeliveryKind = {
  /** An application message. */
  message: 0,
  /** An application message whose publisher is told what becomes of it; `reference` names its record. */
  tracked: 1,
  /** A receipt or tally of the broker's own; `reference` says which, its body is written when it is sent. */
  receipt: 2,
} as const;
export type DeliveryKind = (typeof DeliveryKind)[keyof typeof DeliveryKind];

/** One message on its way to one session, where it cannot simply be sent and forgotten. */
export interface Delivery {
  /** Place in the session's queue, unique in the session. */
  readonly sequence: number;
  /** The message's number in the store. */
  readonly messageSequence: number;
  readonly kind: DeliveryKind;
  /** The message, where it is held in memory; else it is read when needed. */
  message: Message | null;
  /** The lower of publish QoS and granted QoS. [MQTT-3.8.4-8] */
  readonly qos: QoS;
  /** RETAIN as it goes out. */
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[] | null;
  /** Full name of the shared subscription this came through. */
  readonly group: string | null;
  /** Key of a record or receipt, opaque here. */
  readonly reference: Buffer | null;
}

/** What a delivery takes beside its payload, in bytes. */
export const deliveryBytes = 200;

/** What a delivery takes in the queue of a session that is not stored; a payload that several share counts for each. */
export function memoryBytesOf({ message }: Delivery): number {
  return deliveryBytes + (message === null ? 0 : message.payload.length);
}
