import type { Message } from '../base/message.js';
import { DeliveryEvent, DeliveryState, Effect, effectsOf, Outcome, outcomeOf, step } from '../delivery/table.js';
import { Cause } from '../receipts/causes.js';
import { groupIdentityKey } from '../receipts/names.js';
import { hasVerdict } from '../receipts/record.js';
import { type Delivery, DeliveryKind, memoryBytesOf } from '../session/delivery.js';
import { Session, transientSessionBase } from '../session/session.js';
import type { ProtocolVersion } from '../spec/packet-types.js';
import type { Context } from './context.js';
import type { FanOut } from './fan-out.js';
import type { Holds } from './holds.js';
import type { LargeFanOuts } from './large-fan-outs.js';
import { Outgoing } from './outgoing.js';
import type { StoredRow } from './persistence.js';
import { removeRow } from './send-window.js';
import type { Subscriptions } from './subscriptions.js';
import { neverExpires, type Wills } from './wills.js';

/** Rows of an ended session handled in one turn. */
const sweepSlice = 500;

/** Sessions begin, are left, expire and end. @see MQTT 5 §4.1 */
export class SessionLifecycle {
  private readonly context: Context;
  private readonly wills: Wills;
  private readonly fanOut: FanOut;
  private readonly subscriptions: Subscriptions;
  private readonly holds: Holds;
  private readonly largeFanOuts: LargeFanOuts;
  private readonly moved = new Outgoing();
  private nextTransient = transientSessionBase;
  /** The turn in which a stored session ended last: until that is committed, a restart brings the session back. */
  private endedInTurn = 0;

  constructor(
    context: Context,
    wills: Wills,
    fanOut: FanOut,
    subscriptions: Subscriptions,
    holds: Holds,
    largeFanOuts: LargeFanOuts,
  ) {
    this.context = context;
    this.wills = wills;
    this.fanOut = fanOut;
    this.subscriptions = subscriptions;
    this.holds = holds;
    this.largeFanOuts = largeFanOuts;
  }

  /** True while the end of a stored session is not recorded: nobody may be told yet that there is none. */
  get isEnding(): boolean {
    return this.endedInTurn > this.context.turns.released;
  }

  begin(clientId: string, userName: string | null, version: ProtocolVersion, expirySeconds: number): Session {
    const { persistence, sessions } = this.context;
    const stored = expirySeconds > 0;
    const number = stored ? persistence.nextSessionNumber() : this.nextTransientNumber();
    const session = new Session(number, clientId, userName, stored, version, expirySeconds);
    session.queueKnown = true;
    sessions.set(clientId, session);
    if (stored) this.context.storedSessions.set(number, session);
    return session;
  }

  /** Rows of sessions that are not stored were swept at the start, so their numbers begin anew in each process. */
  private nextTransientNumber(): number {
    const number = this.nextTransient++;
    if (this.nextTransient > 0xffffffff) this.nextTransient = transientSessionBase;
    return number;
  }

  /**
   * The session's connection is gone. Ends the session if it has no expiry, else waits for the client.
   * @param withWill false after a DISCONNECT that drops the will [MQTT-3.14.4-3]
   */
  connectionGone(session: Session, withWill: boolean, cause: Cause): void {
    const { clock, persistence } = this.context;
    session.link = null;
    session.sendQuota = 0;
    session.resendIds = null;
    this.holds.connectionGone(session);
    // Not when the turn began, which may be long before: the session would end too early.
    session.disconnectedAtMs = clock.exactNow();
    if (withWill) this.wills.connectionLost(session);
    else this.wills.cancel(session);
    if (session.expirySeconds === 0) {
      this.end(session, cause);
      return;
    }
    session.clearOutbound();
    if (session.queueLength > 0) {
      const first = session.queue.first();
      session.queue.leaveToStore(session.queue.length, first === null ? session.queue.cursor : first.sequence - 1);
    }
    if (session.stored) persistence.restartRows.putSession(session);
    this.armExpiry(session);
  }

  /** Starts the expiry of a session that is not connected. [MQTT-4.1.0-2] */
  armExpiry(session: Session): void {
    if (neverExpires(session.expirySeconds)) return;
    const dueAtMs = session.disconnectedAtMs + session.expirySeconds * 1000;
    session.expiryTimer = this.context.timers.at(dueAtMs, () => {
      this.context.turns.begin();
      this.context.metrics.sessionsExpired++;
      this.end(session, Cause.sessionExpired);
    });
  }

  /** Ends a session: its subscriptions and deliveries with it, its will before it. [MQTT-3.1.2-4] [MQTT-4.1.0-2] */
  end(session: Session, cause: Cause): void {
    if (session.ended) return;
    const { sessions, timers, persistence } = this.context;
    session.ended = true;
    timers.cancel(session.expiryTimer);
    this.subscriptions.unindexAll(session);
    this.holds.forget(session);
    this.largeFanOuts.ended(session, cause);
    if (sessions.get(session.clientId) === session) sessions.delete(session.clientId);
    this.context.storedSessions.delete(session.number);
    // The session's end is the latest moment for a will that is still to come. [MQTT-3.1.2-8]
    this.wills.publishNow(session);
    if (session.stored) {
      this.endedInTurn = this.context.turns.number;
      persistence.retireSession(session, cause);
      this.sweepStored(session.number, session.clientId, session.userName, cause);
    } else {
      this.sweepInMemory(session, cause);
    }
  }

  /** Deliveries of a session that is not stored are all in memory. */
  private sweepInMemory(session: Session, cause: Cause): void {
    const { metrics } = this.context;
    if (session.inflightCount > 0) {
      const { outbound } = session;
      for (const packetId of outbound.inOrder()) {
        const delivery = outbound.detail(packetId);
        const state = outbound.state(packetId);
        if (delivery !== null) this.finish(session, delivery, state, cause);
        else if (outcomeOf(step(state, DeliveryEvent.sessionEnd)) !== Outcome.none) metrics.droppedSessionEnded++;
      }
    }
    if (session.queueLength > 0) {
      for (const delivery of session.queue.inMemory()) {
        this.context.metrics.queuedBytesInMemory -= memoryBytesOf(delivery);
        this.finish(session, delivery, DeliveryState.queued, cause);
      }
    }
    session.clearOutbound();
  }

  /**
   * Ends the deliveries of a retired session slice by slice; the `retired` row lets a restart go on.
   */
  sweepStored(number: number, clientId: string, userName: string | null, cause: Cause): void {
    const { persistence, turns, clock } = this.context;
    const rows = persistence.readDeliveries(number, 0, sweepSlice);
    const session = new Session(number, clientId, userName, true, 5, 0);
    session.ended = true;
    for (const row of rows) this.finish(session, row, row.state, cause);
    if (rows.length < sweepSlice) {
      this.largeFanOuts.passed(number, () => persistence.forgetRetired(number));
      return;
    }
    turns.begin();
    clock.endOfTurn(() => this.sweepStored(number, clientId, userName, cause));
  }

  private finish(session: Session, delivery: Delivery | StoredRow, state: StoredRow['state'], cause: Cause): void {
    const { tracker, metrics } = this.context;
    const event = this.endOf(delivery, state);
    const transition = step(state, event);
    removeRow(this.context, session, delivery.sequence, delivery);
    const outcome = outcomeOf(transition);
    if (outcome !== Outcome.none && delivery.kind !== DeliveryKind.receipt) {
      if (event === DeliveryEvent.expire) metrics.expired++;
      else metrics.droppedSessionEnded++;
    }
    if (outcome === Outcome.none || delivery.kind !== DeliveryKind.tracked || delivery.reference === null) return;
    tracker.outcome(delivery.reference, delivery.messageSequence, session, delivery.group, {
      outcome,
      reasonCode: 0,
      cause: event === DeliveryEvent.expire ? null : cause,
      reasonString: null,
    });
  }

  /** What the end of its session is for a delivery; moves it if it is another member's from here on. */
  private endOf(delivery: Delivery | StoredRow, state: StoredRow['state']): DeliveryEvent {
    const { persistence, clock } = this.context;
    const mayExpire = delivery.kind === DeliveryKind.tracked && state === DeliveryState.queued;
    const matters = delivery.group !== null || mayExpire;
    const message = delivery.message ?? (matters ? persistence.readMessage(delivery.messageSequence) : null);
    const isExpired = message !== null && message.expiryAtMs > 0 && message.expiryAtMs <= clock.now();
    if (isExpired && state === DeliveryState.queued) return DeliveryEvent.expire;
    const moves = message !== null && !isExpired && this.move(message, delivery, state);
    return moves ? DeliveryEvent.memberLeft : DeliveryEvent.sessionEnd;
  }

  /**
   * [MQTT-4.8.2-5] what the member of a shared group had not got goes to another; a started QoS 2 flow dies with it.
   */
  private move(message: Message, delivery: Delivery | StoredRow, state: StoredRow['state']): boolean {
    if (delivery.group === null || !(effectsOf(step(state, DeliveryEvent.memberLeft)) & Effect.move)) return false;
    const { persistence, clock } = this.context;
    this.moved.fromMessage(message, clock.now());
    const record = delivery.kind === DeliveryKind.tracked ? delivery.reference : null;
    if (record !== null && this.isAnswered(record, message.sequence, delivery.group)) return false;
    if (record !== null) this.moved.receiptProperty = this.context.tracker.receiptProperty(message.sequence);
    if (!this.fanOut.redispatch(delivery.group, this.moved, record)) return false;
    if (this.moved.references > 0) {
      persistence.keepMessage(message, this.moved.references);
    }
    return true;
  }

  /** True if the application of the member has had its say, before the transport: then no other member is asked. */
  private isAnswered(publisherKey: Buffer, sequence: number, group: string): boolean {
    const { records } = this.context;
    const record = records.find(publisherKey, sequence);
    const row = record === null ? null : records.row(record, groupIdentityKey(group));
    return row !== null && hasVerdict(row);
  }
}
