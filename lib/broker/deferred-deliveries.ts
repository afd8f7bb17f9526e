import type { Message } from '../base/message.js';
import { DeliveryState } from '../delivery/table.js';
import { type Delivery, DeliveryKind } from '../session/delivery.js';
import type { QoS } from '../spec/packet-types.js';
import type { MessageReferences } from '../store/message-references.js';
import { encodeDelivery } from '../store/records.js';
import { deliveryKey } from '../store/records-keys.js';
import { messageBytesMax } from '../store/records-message.js';
import { type DeferredRows, type Settlement, type Store, Table } from '../store/store.js';

type PutRow = (table: Table, key: Buffer, value: Buffer) => void;

/**
 * A delivery at QoS 1 or 2 that was sent at once, or will be with its commit. Its row waits: if the recipient has
 * acknowledged in time, there never is one.
 */
export class DeferredDelivery implements Delivery, Settlement {
  readonly session: number;
  readonly sequence: number;
  readonly kind: DeliveryKind;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[] | null;
  readonly group: string | null = null;
  readonly reference: Buffer | null;
  /** Of a session that is not stored; null for stored sessions, which need the message too. */
  readonly recipientKey: Buffer | null;
  message: Message | null = null;
  packetId = 0;
  /** As long as there is no row: then it is the row's. */
  private state: DeliveryState;
  /** The other deliveries of the same message, as a list. */
  readonly next: DeferredDelivery | null;
  /** What it is part of while it has no row and may still have none. */
  rows: DeferredMessage | null = null;
  /** True once the recipient has acknowledged it before it had a row. */
  isSettled = false;
  /** Once it is settled: the message's rows, and how many deliveries needed the message then. */
  private settled: DeferredMessage | null = null;
  private messageNeeds = 0;

  constructor(
    session: number,
    sequence: number,
    state: DeliveryState,
    retain: boolean,
    subscriptionIds: readonly number[] | null,
    record: Buffer | null,
    recipientKey: Buffer | null,
    next: DeferredDelivery | null,
  ) {
    this.session = session;
    this.sequence = sequence;
    this.state = state;
    this.qos = state === DeliveryState.awaitPuback ? 1 : 2;
    this.kind = record === null ? DeliveryKind.message : DeliveryKind.tracked;
    this.retain = retain;
    this.subscriptionIds = subscriptionIds;
    this.reference = record;
    this.recipientKey = recipientKey;
    this.next = next;
  }

  get messageSequence(): number {
    return this.sequence;
  }

  /** The delivery has come to another state. @returns false if there is a row by now, which has to be changed */
  advance(state: DeliveryState): boolean {
    this.rows?.beforeChange();
    const { rows } = this;
    if (rows === null) return false;
    this.state = state;
    rows.change(this);
    return true;
  }

  /** The delivery is at its end. @returns false if there is a row by now, which has to be deleted */
  settle(): boolean {
    this.rows?.beforeChange();
    const { rows } = this;
    if (rows === null) return false;
    this.isSettled = true;
    this.rows = null;
    this.messageNeeds = rows.settle(this);
    this.settled = rows;
    return true;
  }

  /** Takes the delivery out of what the log says of its message. */
  writeSettlement(put: (table: Table, key: Buffer, value: Buffer | null) => void): void {
    put(Table.deliveries, deliveryKey(this.session, this.sequence), null);
    if (this.recipientKey === null) this.settled?.references.writeReleased(this.sequence, this.messageNeeds, put);
  }

  /** The row, where there has to be one. */
  encode(): Buffer {
    const { recipientKey, reference, sequence } = this;
    if (recipientKey === null || reference === null) return encodeDelivery(this, this.state, this.packetId);
    return encodeTransient(sequence, sequence, Buffer.concat([reference, recipientKey]), null);
  }
}

/** A delivery's row as it was when its state changed: what happens later belongs to a later batch. */
class ChangedRow implements Settlement {
  private readonly key: Buffer;
  private readonly value: Buffer;

  constructor(delivery: DeferredDelivery) {
    this.key = deliveryKey(delivery.session, delivery.sequence);
    this.value = delivery.encode();
  }

  writeSettlement(put: (table: Table, key: Buffer, value: Buffer | null) => void): void {
    put(Table.deliveries, this.key, this.value);
  }
}

/** A message all of whose deliveries are deferred: it is stored if one of them is. */
export class DeferredMessage implements DeferredRows {
  readonly bytes: number;
  readonly mayVanish: boolean;
  putIn = 0;
  settledIn = 0;
  readonly references: MessageReferences;
  /** Deliveries that have not been acknowledged, and how many of these need the message. */
  private left = 0;
  private needs = 0;
  private isLogged = false;
  private readonly store: Store;
  private readonly message: Message;
  private readonly first: DeferredDelivery;

  constructor(message: Message, first: DeferredDelivery, references: MessageReferences, store: Store) {
    this.message = message;
    this.first = first;
    this.references = references;
    this.store = store;
    this.bytes = messageBytesMax(message);
    // What is tracked, and all at QoS 2, is sent when it has been written.
    let mayVanish = first.kind === DeliveryKind.message;
    for (let delivery: DeferredDelivery | null = first; delivery !== null; delivery = delivery.next) {
      delivery.rows = this;
      this.left++;
      if (delivery.recipientKey === null) this.needs++;
      if (delivery.qos === 2) mayVanish = false;
    }
    this.mayVanish = mayVanish;
  }

  get isSettled(): boolean {
    return this.left === 0;
  }

  /** Called before something of it changes: an earlier batch must say what was, or a death after it would undo more. */
  beforeChange(): void {
    if (!this.mayVanish) this.store.writeUncommitted(this);
  }

  /** @returns how many deliveries need the message from now on */
  settle(delivery: DeferredDelivery): number {
    this.left--;
    if (delivery.recipientKey === null) this.needs--;
    if (this.isLogged) this.store.putSettlement(this, delivery);
    return this.needs;
  }

  /** A delivery has another state. */
  change(delivery: DeferredDelivery): void {
    if (this.isLogged) this.store.putSettlement(this, new ChangedRow(delivery));
  }

  log(put: PutRow): void {
    this.isLogged = true;
    if (this.needs > 0) this.references.writeMessage(this.message, this.needs, put);
    this.putDeliveries(put);
  }

  write(put: PutRow): void {
    if (this.needs > 0) this.references.putMessage(this.message, this.needs, put);
    this.putDeliveries(put);
    for (let delivery: DeferredDelivery | null = this.first; delivery !== null; delivery = delivery.next) {
      delivery.rows = null;
    }
  }

  private putDeliveries(put: PutRow): void {
    for (let delivery: DeferredDelivery | null = this.first; delivery !== null; delivery = delivery.next) {
      if (delivery.isSettled) continue;
      put(Table.deliveries, deliveryKey(delivery.session, delivery.sequence), delivery.encode());
    }
  }
}

/** The row of a tracked delivery to a session that is not stored: only a restart reads it. */
export function encodeTransient(
  sequence: number,
  messageSequence: number,
  reference: Buffer,
  group: string | null,
): Buffer {
  const kind = DeliveryKind.tracked;
  const facts = { sequence, messageSequence, qos: 0 as const, retain: false, subscriptionIds: null, kind };
  return encodeDelivery({ ...facts, reference, group }, DeliveryState.queued, 0);
}
