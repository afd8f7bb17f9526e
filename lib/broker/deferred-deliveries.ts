import type { Message } from '../base/message.js';
import { DeliveryState } from '../delivery/table.js';
import { type Delivery, DeliveryKind } from '../session/delivery.js';
import type { QoS } from '../spec/packet-types.js';
import type { MessageReferences } from '../store/message-references.js';
import { encodeDelivery } from '../store/records.js';
import { deliveryKey } from '../store/records-keys.js';
import { type DeferredRows, Table } from '../store/store.js';

/**
 * A delivery at QoS 1 to a stored session that was sent at once. Its row waits until its transaction is written: if the
 * recipient has acknowledged by then, there never is one.
 */
export class DeferredDelivery implements Delivery {
  readonly session: number;
  readonly sequence: number;
  readonly kind: DeliveryKind = DeliveryKind.message;
  readonly qos: QoS = 1;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[] | null;
  readonly group: string | null = null;
  readonly reference: Buffer | null = null;
  message: Message | null = null;
  packetId = 0;
  /** The other deliveries of the same message, as a list. */
  readonly next: DeferredDelivery | null;
  /** What it is part of while it has no row and may still have none. */
  rows: DeferredMessage | null = null;
  /** True once the recipient has acknowledged it before it had a row. */
  isSettled = false;

  constructor(
    session: number,
    sequence: number,
    retain: boolean,
    subscriptionIds: readonly number[] | null,
    next: DeferredDelivery | null,
  ) {
    this.session = session;
    this.sequence = sequence;
    this.retain = retain;
    this.subscriptionIds = subscriptionIds;
    this.next = next;
  }

  get messageSequence(): number {
    return this.sequence;
  }

  /** The recipient has acknowledged. @returns false if there is a row by now, which has to be deleted */
  settle(): boolean {
    const { rows } = this;
    if (rows === null) return false;
    this.isSettled = true;
    this.rows = null;
    rows.left--;
    return true;
  }
}

/** A message all of whose deliveries are deferred: it is stored if one of them is. */
export class DeferredMessage implements DeferredRows {
  /** Deliveries that have not been acknowledged. */
  left = 0;
  private readonly message: Message;
  private readonly first: DeferredDelivery;
  private readonly references: MessageReferences;

  constructor(message: Message, first: DeferredDelivery, references: MessageReferences) {
    this.message = message;
    this.first = first;
    this.references = references;
    for (let delivery: DeferredDelivery | null = first; delivery !== null; delivery = delivery.next) {
      delivery.rows = this;
      this.left++;
    }
  }

  get isSettled(): boolean {
    return this.left === 0;
  }

  write(put: (table: Table, key: Buffer, value: Buffer) => void): void {
    this.references.putMessage(this.message, this.left, put);
    for (let delivery: DeferredDelivery | null = this.first; delivery !== null; delivery = delivery.next) {
      if (delivery.isSettled) continue;
      delivery.rows = null;
      put(Table.deliveries, deliveryKey(delivery.session, delivery.sequence), encodeDeferred(delivery));
    }
  }
}

/** The row of a deferred delivery that was not acknowledged in time. */
export function encodeDeferred(delivery: DeferredDelivery): Buffer {
  return encodeDelivery(delivery, DeliveryState.awaitPuback, delivery.packetId);
}
