import type { Message } from '../base/message.js';
import { sequenceReserveBlock } from '../base/sequence.js';
import type { HeldPublish } from '../delivery/inbound-qos2.js';
import { DeliveryState } from '../delivery/table.js';
import { type Cause, causesByNumber } from '../receipts/causes.js';
import { transientReference } from '../receipts/identities.js';
import { type Delivery, DeliveryKind } from '../session/delivery.js';
import { type Session, transientSessionBase } from '../session/session.js';
import { MessageReferences } from '../store/message-references.js';
import { pages } from '../store/pages.js';
import {
  type DeliveryFacts,
  decodeDelivery,
  decodeInbound,
  decodeNumber,
  encodeDelivery,
  encodeInbound,
  encodeNumber,
  type StoredInbound,
} from '../store/records.js';
import {
  deliveryKey,
  deliveryRange,
  inboundKey,
  inboundRange,
  messageKey,
  metaKey,
  readDeliveryKey,
  readInboundKey,
  readSessionKey,
  readTimerKey,
  retiredKey,
  sessionKey,
  timerKey,
  timersDueRange,
} from '../store/records-keys.js';
import { decodeMessage } from '../store/records-message.js';
import { decodeSession, encodeSession } from '../store/records-session.js';
import { type Store, type StoreEntry, Table } from '../store/store.js';
import { DeferredMessage, encodeTransient } from './deferred-deliveries.js';
import { HeldIdentifier } from './held-identifier.js';
import type { Outgoing } from './outgoing.js';
import { RestartRows } from './restart-rows.js';
import type { SharedDelivery } from './shared-delivery.js';

/** Rows read at a time where a whole table is read. */
const pageRows = 1000;
/** Rows read first where only some are expected. */
const inflightRows = 16;
const sessionNumberBlock = 1000;
const noBytes = Buffer.alloc(0);
/** Sorts after every key of table `deliveries`. */
const pastAll = Buffer.alloc(13, 0xff);

/** What a timer row is about. Stored: append only. */
export const TimerKind = { deliveryExpiry: 0, retainedExpiry: 1, recordDeadline: 2 };

/** A delivery as the store has it: its state, and no message yet. */
export interface StoredRow extends Delivery {
  readonly state: DeliveryState;
  readonly packetId: number;
  /** Of the message, while it waits; else 0. */
  readonly payloadBytes: number;
}

/** What a retired session's sweep needs to know. */
export interface Retired {
  readonly number: number;
  readonly clientId: string;
  readonly userName: string | null;
  readonly cause: Cause;
}

/** The broker's rows in the store, in the broker's words. */
export class Persistence {
  readonly store: Store;
  readonly restartRows: RestartRows;
  private readonly references: MessageReferences;
  lastSessionNumber: number;
  private sessionNumbersReserved: number;
  private sequencesReserved: number;
  /** Told of every timer put, so that its owner can wake up in time. */
  onTimer: (dueMs: number) => void = () => undefined;

  constructor(store: Store) {
    this.store = store;
    this.restartRows = new RestartRows(store);
    this.lastSessionNumber = this.sessionNumbersReserved = this.readNumber('sessions-reserved');
    this.sequencesReserved = this.readNumber('sequences-reserved');
    this.references = new MessageReferences(store);
  }

  /** Puts and deletes of the open turn: unchanged means that nothing was recorded in between. */
  get uncommitted(): number {
    return this.store.uncommitted;
  }

  /** False while the store can not commit. */
  get healthy(): boolean {
    return this.store.healthy;
  }

  /** No sequence at or below this was given out before. */
  get sequenceFloor(): number {
    return this.sequencesReserved;
  }

  /** Sees to it that `sequence` is below what a restart begins from. */
  reserveSequences(sequence: number): void {
    if (sequence < this.sequencesReserved) return;
    this.sequencesReserved = sequence + sequenceReserveBlock;
    this.store.put(Table.meta, metaKey('sequences-reserved'), encodeNumber(this.sequencesReserved));
  }

  nextSessionNumber(): number {
    this.lastSessionNumber++;
    if (this.lastSessionNumber > this.sessionNumbersReserved) {
      this.sessionNumbersReserved = this.lastSessionNumber + sessionNumberBlock;
      this.store.put(Table.meta, metaKey('sessions-reserved'), encodeNumber(this.sessionNumbersReserved));
    }
    return this.lastSessionNumber;
  }

  /** The session is gone at once; who it was is kept until `forgetRetired`. */
  retireSession(session: Session, cause: Cause): void {
    const { number, clientId, userName, version } = session;
    const end = { expirySeconds: causesByNumber.indexOf(cause), disconnectedAtMs: 0, will: null, willDueAtMs: 0 };
    this.restartRows.deleteSession(session);
    this.store.put(
      Table.retired,
      retiredKey(number),
      encodeSession({ number, clientId, userName, protocolVersion: version, ...end }),
    );
    const { start, end: last } = inboundRange(number);
    for (const entry of this.store.range(Table.inbound, start, last, 0x10000)) {
      this.store.delete(Table.inbound, entry.key);
    }
  }

  forgetRetired(number: number): void {
    this.store.delete(Table.retired, retiredKey(number));
  }

  putNewDelivery(session: number, delivery: DeliveryFacts, state: DeliveryState, packetId: number): void {
    const key = deliveryKey(session, delivery.sequence);
    this.store.putNew(Table.deliveries, key, encodeDelivery(delivery, state, packetId));
  }

  /**
   * @param payloadBytes of a message, which a restart counts unread
   * @param isLasting true if it may be long until it is sent
   */
  putQueuedDelivery(session: number, delivery: DeliveryFacts, payloadBytes: number, isLasting: boolean): void {
    const row = queuedRow(delivery, payloadBytes);
    this.store.putNew(Table.deliveries, deliveryKey(session, delivery.sequence), row, isLasting);
  }

  /** The same of what waits in the queues of many for long: its row is encoded once. */
  putSharedDelivery(session: number, shared: SharedDelivery, payloadBytes: number): void {
    const { delivery } = shared;
    if (delivery === null) return;
    shared.row ??= queuedRow(delivery, payloadBytes);
    this.store.putNew(Table.deliveries, deliveryKey(session, delivery.sequence), shared.row, true);
  }

  putDelivery(session: number, delivery: DeliveryFacts, state: DeliveryState, packetId: number): void {
    const key = deliveryKey(session, delivery.sequence);
    this.store.put(Table.deliveries, key, encodeDelivery(delivery, state, packetId));
  }

  /** True if rows of deliveries to sessions that are not stored are kept: only a restart reads them. */
  get keepsTransients(): boolean {
    return this.store.outlivesProcess;
  }

  /** Puts the row of a tracked delivery to a session that is not stored. */
  putTransient(session: Session, sequence: number, message: number, publisherKey: Buffer, group: string | null): void {
    if (!this.keepsTransients) return;
    const value = encodeTransient(sequence, message, transientReference(publisherKey, session, group), group);
    this.store.putNew(Table.deliveries, deliveryKey(session.number, sequence), value);
  }

  deleteTransient(session: number, sequence: number): void {
    if (this.keepsTransients) this.deleteDelivery(session, sequence);
  }

  deleteDelivery(session: number, sequence: number): void {
    this.store.delete(Table.deliveries, deliveryKey(session, sequence));
  }

  /** Deliveries of a session after a sequence, in order. */
  readDeliveries(session: number, after: number, limit: number): StoredRow[] {
    const { start, end } = deliveryRange(session, after);
    return this.store.range(Table.deliveries, start, end, limit).map(rowOf);
  }

  /** Waiting deliveries of a session after a sequence, in order. */
  readQueued(session: number, after: number, limit: number): StoredRow[] {
    return this.readDeliveries(session, after, limit).filter((row) => row.state === DeliveryState.queued);
  }

  /** Deliveries that were sent and not finished: they come before all that wait. */
  readInflight(session: number): StoredRow[] {
    const inflight: StoredRow[] = [];
    // Most sessions have few, and all that waits comes after them.
    for (let after = 0, limit = inflightRows; ; limit = pageRows) {
      const rows = this.readDeliveries(session, after, limit);
      for (const row of rows) {
        if (row.state === DeliveryState.queued) return inflight;
        inflight.push(row);
      }
      const last = rows[rows.length - 1];
      if (last === undefined || rows.length < limit) return inflight;
      after = last.sequence;
    }
  }

  /** How many deliveries wait for a session, the sequence before the first of them, and that of the last. */
  countQueued(session: number): { queued: number; before: number; last: number } {
    const inflight = this.readInflight(session);
    const before = inflight[inflight.length - 1]?.sequence ?? 0;
    const { start, end } = deliveryRange(session, before);
    const queued = this.store.countRange(Table.deliveries, start, end, Number.MAX_SAFE_INTEGER);
    const [last] = queued === 0 ? [] : this.store.rangeReverse(Table.deliveries, start, end ?? pastAll, 1);
    return { queued, before, last: last === undefined ? before : readDeliveryKey(last.key).sequence };
  }

  putMessage(message: Message, references: number): void {
    this.references.putMessage(message, references);
  }

  /**
   * Records a message that has just been fanned out.
   * @param out rows are put already that refer to it, or its deliveries' rows can wait; if there are both, those are
   * put now
   * @returns all that was put, if it may vanish; else null
   */
  putFannedOut(out: Outgoing): DeferredMessage | null {
    const { references, deferred } = out;
    if (references === 0 && deferred !== null) {
      const rows = new DeferredMessage(out, deferred, this.references, this.store);
      this.store.putDeferred(rows);
      return rows.mayVanish ? rows : null;
    }
    let all = references;
    for (let delivery = deferred; delivery !== null; delivery = delivery.next) {
      if (delivery.recipientKey === null) all++;
      this.store.putNew(Table.deliveries, deliveryKey(delivery.session, delivery.sequence), delivery.encode());
    }
    if (all > 0) this.references.putRow(out.sequence, out.row(), all, deferred === null && out.lasting === references);
    return null;
  }

  /** Adds references to a message that may or may not be stored already. */
  keepMessage(message: Message, references: number): void {
    if (this.store.get(Table.messages, messageKey(message.sequence)) === null) this.putMessage(message, references);
    else this.references.add(message.sequence, references);
  }

  addReferences(sequence: number, references: number): void {
    this.references.add(sequence, references);
  }

  releaseMessage(sequence: number): void {
    this.references.release(sequence);
  }

  readMessage(sequence: number): Message | null {
    const row = this.readMessageRow(sequence);
    return row === null ? null : decodeMessage(sequence, row);
  }

  /** The bytes of a message, for `Outgoing.fromRow`. */
  readMessageRow(sequence: number): Buffer | null {
    return this.store.get(Table.messages, messageKey(sequence));
  }

  /** A stored session holds a packet identifier at QoS 2. */
  hold(session: number, packetId: number, answer: HeldPublish): HeldIdentifier {
    const held = new HeldIdentifier(this.store, session, packetId, answer);
    this.store.putDeferred(held);
    return held;
  }

  putInbound(session: number, inbound: StoredInbound): void {
    this.store.put(Table.inbound, inboundKey(session, inbound.packetId), encodeInbound(inbound));
  }

  deleteInbound(session: number, packetId: number): void {
    this.store.delete(Table.inbound, inboundKey(session, packetId));
  }

  readInbound(session: number): StoredInbound[] {
    const { start, end } = inboundRange(session);
    return this.store
      .range(Table.inbound, start, end, 0x10000)
      .map(({ key, value }) => decodeInbound(readInboundKey(key).packetId, value));
  }

  putRetained(topicName: string, sequence: number, expiryAtMs: number): void {
    this.restartRows.putRetained({ topicName, sequence, expiryAtMs });
    if (expiryAtMs > 0) this.putTimer(expiryAtMs, TimerKind.retainedExpiry, messageKey(sequence));
  }

  putDeliveryExpiry(expiryAtMs: number, session: number, sequence: number): void {
    this.putTimer(expiryAtMs, TimerKind.deliveryExpiry, deliveryKey(session, sequence));
  }

  deleteDeliveryExpiry(expiryAtMs: number, session: number, sequence: number): void {
    this.deleteTimer(expiryAtMs, TimerKind.deliveryExpiry, deliveryKey(session, sequence));
  }

  putTimer(dueMs: number, kind: number, reference: Buffer): void {
    this.store.put(Table.timers, timerKey(dueMs, kind, reference), noBytes);
    this.onTimer(dueMs);
  }

  deleteTimer(dueMs: number, kind: number, reference: Buffer): void {
    this.store.delete(Table.timers, timerKey(dueMs, kind, reference));
  }

  /** Takes the timers that are due, at most `limit`, off the store. */
  takeDueTimers(nowMs: number, limit: number): { kind: number; dueMs: number; reference: Buffer }[] {
    const { start, end } = timersDueRange(nowMs);
    return this.store.range(Table.timers, start, end, limit).map(({ key }) => {
      this.store.delete(Table.timers, key);
      return readTimerKey(key);
    });
  }

  /** When the next timer is due, or null if there is none. */
  nextTimerDue(): number | null {
    const [first] = this.store.range(Table.timers, noBytes, null, 1);
    return first === undefined ? null : readTimerKey(first.key).dueMs;
  }

  /** A delivery by its key in a timer. */
  readTimedDelivery(reference: Buffer): { session: number; row: StoredRow } | null {
    const value = this.store.get(Table.deliveries, reference);
    if (value === null) return null;
    return { session: readDeliveryKey(reference).session, row: rowOf({ key: reference, value }) };
  }

  *retired(): Generator<Retired> {
    for (const { key, value } of pages(this.store, Table.retired)) {
      const { number, clientId, userName, expirySeconds } = decodeSession(readSessionKey(key), value);
      yield { number, clientId, userName, cause: causesByNumber[expirySeconds] ?? 'deleted' };
    }
  }

  /** Rows that deliveries of tracked messages to sessions without expiry left behind. */
  *transientDeliveries(): Generator<{ session: number; row: StoredRow }> {
    for (const entry of pages(this.store, Table.deliveries, sessionKey(transientSessionBase))) {
      yield { session: readDeliveryKey(entry.key).session, row: rowOf(entry) };
    }
  }

  private readNumber(name: string): number {
    const value = this.store.get(Table.meta, metaKey(name));
    return value === null ? 0 : decodeNumber(value);
  }
}

/** The row of a delivery that waits. */
function queuedRow(delivery: DeliveryFacts, payloadBytes: number): Buffer {
  const bytes = delivery.kind === DeliveryKind.receipt ? 0 : payloadBytes;
  return encodeDelivery(delivery, DeliveryState.queued, 0, bytes);
}

function rowOf({ key, value }: StoreEntry): StoredRow {
  return decodeDelivery(readDeliveryKey(key).sequence, value) as StoredRow;
}
