import { assert } from '../base/assert.js';
import type { Message } from '../base/message.js';
import { DeliveryState } from '../delivery/table.js';
import type { RowCarrier, SoleRecord } from '../receipts/sole-record.js';
import { soleRecordBytes, soleRecordKey } from '../receipts/sole-record-bytes.js';
import { type Delivery, DeliveryKind } from '../session/delivery.js';
import type { QoS } from '../spec/packet-types.js';
import type { MessageReferences } from '../store/message-references.js';
import { encodeDelivery, encodePassingDelivery } from '../store/records.js';
import { deliveryKey, passingDeliveryKey } from '../store/records-keys.js';
import { encodeMessage, messageBytesMax } from '../store/records-message.js';
import { type DeferredRows, type Settlement, type Store, Table } from '../store/store.js';

/** A message that can be kept as an object or as its row. */
interface MessageSource {
  readonly sequence: number;
  message(): Message;
  row(): Buffer;
}

type PutRow = (table: Table, key: Buffer, value: Buffer) => void;

/**
 * A delivery at QoS 1 or 2 that was sent at once, or will be with its commit. Its row waits: if the recipient has
 * acknowledged in time, there never is one.
 */
export class DeferredDelivery implements Delivery, Settlement, RowCarrier {
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
  /** What stands for the record, if that has no other recipient; else null. */
  sole: SoleRecord | null = null;
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
    rows.change(this, state);
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
    put(Table.deliveries, passingDeliveryKey(this.session, this.sequence), null);
    if (this.recipientKey === null) this.settled?.references.logReleased(this.sequence, this.messageNeeds, put);
  }

  /** The record's row changes: what the log says of it stays there until that is recorded. */
  releaseRecord(): void {
    this.rows?.beforeChange();
    this.rows?.keepLogged();
  }

  /** Puts the row to the log, and that of the record if it goes with it. */
  log(put: PutRow): void {
    put(Table.deliveries, passingDeliveryKey(this.session, this.sequence), this.encodePassing(this.state));
    const record = this.carriedRecord;
    if (record !== null) put(Table.records, soleRecordKey(record), soleRecordBytes.encode(record));
  }

  /** The same to the tables. */
  write(put: PutRow): void {
    put(Table.deliveries, deliveryKey(this.session, this.sequence), this.encode());
    const record = this.carriedRecord;
    if (record === null) return;
    put(Table.records, Buffer.from(soleRecordKey(record)), Buffer.from(soleRecordBytes.encode(record)));
    record.carrier = null;
  }

  /** The record whose row goes with this one; null if there is none, or another row of it has been put since. */
  private get carriedRecord(): SoleRecord | null {
    const { sole } = this;
    return sole !== null && sole.carrier === this && sole.stands ? sole : null;
  }

  /** The row, where there has to be one. */
  encode(): Buffer {
    return this.encodeTransient() ?? encodeDelivery(this, this.state, this.packetId);
  }

  /** The row with a state for whoever copies it at once: the memory may be used again for the next. */
  encodePassing(state: DeliveryState): Buffer {
    return this.encodeTransient() ?? encodePassingDelivery(this, state, this.packetId);
  }

  /** Of a delivery to a session that is not stored; else null. */
  private encodeTransient(): Buffer | null {
    const { recipientKey, reference, sequence } = this;
    if (recipientKey === null || reference === null) return null;
    return encodeTransient(sequence, sequence, Buffer.concat([reference, recipientKey]), null);
  }
}

/** A delivery with the state that it came to: what happens later belongs to a later batch. */
class ChangedState implements Settlement {
  private readonly delivery: DeferredDelivery;
  private readonly state: DeliveryState;

  constructor(delivery: DeferredDelivery, state: DeliveryState) {
    this.delivery = delivery;
    this.state = state;
  }

  writeSettlement(put: (table: Table, key: Buffer, value: Buffer | null) => void): void {
    const { session, sequence } = this.delivery;
    put(Table.deliveries, passingDeliveryKey(session, sequence), this.delivery.encodePassing(this.state));
  }
}

const nothingSettled: Settlement = { writeSettlement: () => undefined };

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
  private readonly sequence: number;
  /** The message, or its row; both null if none of the deliveries needs them. */
  private readonly message: Message | null = null;
  private readonly row: Buffer | null = null;
  private readonly first: DeferredDelivery;

  /** @param message taken now, if it is needed */
  constructor(message: MessageSource, first: DeferredDelivery, references: MessageReferences, store: Store) {
    this.sequence = message.sequence;
    this.first = first;
    this.references = references;
    this.store = store;
    // What is tracked, and all at QoS 2, is sent when it has been written.
    let mayVanish = first.kind === DeliveryKind.message;
    for (let delivery: DeferredDelivery | null = first; delivery !== null; delivery = delivery.next) {
      delivery.rows = this;
      this.left++;
      if (delivery.recipientKey === null) this.needs++;
      if (delivery.qos === 2) mayVanish = false;
    }
    this.mayVanish = mayVanish;
    // Where the row most likely is never written, it is not made before.
    if (this.needs > 0 && mayVanish) this.message = message.message();
    else if (this.needs > 0) this.row = message.row();
    if (this.message !== null) this.bytes = messageBytesMax(this.message);
    else this.bytes = this.row === null ? 0 : this.row.length;
  }

  get isSettled(): boolean {
    return this.left === 0;
  }

  private encodedMessage(): Buffer {
    if (this.row !== null) return this.row;
    assert(this.message !== null, 'a message that is needed was kept');
    return encodeMessage(this.message);
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

  /** Of what the log has, something is put with the open batch: the log has to stay until that is written. */
  keepLogged(): void {
    if (this.isLogged) this.store.putSettlement(this, nothingSettled);
  }

  /** A delivery has another state. */
  change(delivery: DeferredDelivery, state: DeliveryState): void {
    if (this.isLogged) this.store.putSettlement(this, new ChangedState(delivery, state));
  }

  log(put: PutRow): void {
    this.isLogged = true;
    if (this.needs > 0) this.references.logRow(this.sequence, this.encodedMessage(), this.needs, put);
    for (let delivery: DeferredDelivery | null = this.first; delivery !== null; delivery = delivery.next) {
      if (!delivery.isSettled) delivery.log(put);
    }
  }

  write(put: PutRow): void {
    if (this.needs > 0) this.references.putDeferredRow(this.sequence, this.encodedMessage(), this.needs, put);
    for (let delivery: DeferredDelivery | null = this.first; delivery !== null; delivery = delivery.next) {
      if (!delivery.isSettled) delivery.write(put);
      delivery.rows = null;
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
