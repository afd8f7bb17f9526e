import type { Message } from '../base/message.js';
import { DeliveryEvent, DeliveryState, Effect, effectsOf, Outcome, outcomeOf, step } from '../delivery/table.js';
import type { Cause } from '../receipts/causes.js';
import { groupIdentityKey } from '../receipts/names.js';
import { hasVerdict } from '../receipts/record.js';
import { type Delivery, DeliveryKind } from '../session/delivery.js';
import { Session } from '../session/session.js';
import type { Context } from './context.js';
import type { FanOut } from './fan-out.js';
import type { LargeFanOuts } from './large-fan-outs.js';
import { Outgoing } from './outgoing.js';
import type { StoredRow } from './persistence.js';
import { removeRow } from './send-window.js';

/** Rows read and ended together. */
const rowsAtOnce = 50;
/** Units of a turn's budget that the end of a delivery comes to: of one in memory, and of one with a row. */
const deliveryUnits = 1;
const rowUnits = 3;
/** The same if its publisher is told. */
const trackedUnits = 30;
/** Units of each turn that are for sweeps whatever others have done in it, so that they end under any load. */
const leastUnits = 300;
/** Units and time that sweeps take at most: others wait for the same turn. */
const mostUnits = 16_000;
const mostMs = 2;
/** Between runs in turns that others have used up, or while output or the store is behind. */
const waitMs = 1;

interface Sweep {
  /** Each step ends a few deliveries and says what that came to in units of the budget. */
  readonly steps: Generator<number, void, void>;
  readonly isStored: boolean;
}

/**
 * Ends the deliveries of sessions that have ended: each has its outcome, or goes to another member of its group. As
 * much as a turn's budget allows is done at once, the rest in the turns that follow: a thousand sessions with full
 * queues may end at the same moment.
 */
export class SessionSweeps {
  private readonly context: Context;
  private readonly fanOut: FanOut;
  private readonly largeFanOuts: LargeFanOuts;
  private readonly moved = new Outgoing();
  private readonly sweeps = new Set<Sweep>();
  private isScheduled = false;
  /** The turn in which sweeps ran last, what they came to in it, and when they began. */
  private turn = -1;
  private units = 0;
  private startedAtMs = 0;

  constructor(context: Context, fanOut: FanOut, largeFanOuts: LargeFanOuts) {
    this.context = context;
    this.fanOut = fanOut;
    this.largeFanOuts = largeFanOuts;
  }

  /** Ended sessions whose deliveries are still to be. */
  get size(): number {
    return this.sweeps.size;
  }

  /** Of a session that is not stored: they are all in memory. */
  inMemory(session: Session, cause: Cause): void {
    if (session.inflightCount > 0 || session.queueLength > 0) {
      // At once: what others may queue does not depend on how far the sweep is.
      if (session.queueLength > 0) this.context.metrics.queuedBytesInMemory -= session.queue.memoryBytes;
      this.begin({ steps: this.sweepMemory(session, cause), isStored: false });
    }
  }

  /** Of a stored session; its `retired` row lets a restart go on. */
  ofStored(number: number, clientId: string, userName: string | null, cause: Cause): void {
    const session = new Session(number, clientId, userName, true, 5, 0);
    session.ended = true;
    this.begin({ steps: this.sweepRows(session, cause), isStored: true });
  }

  /** Before the broker stops: a restart knows nothing of sessions that were not stored. */
  finishInMemory(): void {
    for (const { steps, isStored } of this.sweeps) if (!isStored) while (!steps.next().done);
  }

  private begin(sweep: Sweep): void {
    this.sweeps.add(sweep);
    if (!this.isScheduled) this.run();
  }

  private run(): void {
    const { turns, budget, clock } = this.context;
    // Hooks are asked about who gets what moves, and may end further sessions.
    this.isScheduled = true;
    turns.begin();
    budget.open();
    if (this.turn !== clock.turn) {
      this.turn = clock.turn;
      this.units = 0;
      this.startedAtMs = clock.exactNow();
    }
    try {
      for (const sweep of this.sweeps) {
        if (!this.goOn(sweep)) break;
        this.sweeps.delete(sweep);
      }
    } finally {
      this.isScheduled = false;
      if (this.sweeps.size > 0) this.schedule();
    }
  }

  private schedule(): void {
    const { budget, clock } = this.context;
    this.isScheduled = true;
    if (budget.isSpent) clock.after(waitMs, () => clock.endOfTurn(() => this.run()));
    else clock.endOfTurn(() => this.run());
  }

  /** True when nothing is left of it. */
  private goOn({ steps }: Sweep): boolean {
    while (this.mayGoOn()) {
      const { done, value } = steps.next();
      if (done) return true;
      this.units += value;
      this.context.budget.spend(value);
    }
    return false;
  }

  private mayGoOn(): boolean {
    const { budget, clock } = this.context;
    if (this.units < leastUnits) return true;
    return !budget.isSpent && this.units < mostUnits && clock.exactNow() - this.startedAtMs < mostMs;
  }

  private *sweepMemory(session: Session, cause: Cause): Generator<number, void, void> {
    const { metrics } = this.context;
    if (session.inflightCount > 0) {
      const { outbound } = session;
      for (const packetId of outbound.inOrder()) {
        const delivery = outbound.detail(packetId);
        const state = outbound.state(packetId);
        if (delivery !== null) this.finish(session, delivery, state, cause);
        else if (outcomeOf(step(state, DeliveryEvent.sessionEnd)) !== Outcome.none) metrics.droppedSessionEnded++;
        yield delivery === null || delivery.kind !== DeliveryKind.tracked ? deliveryUnits : trackedUnits;
      }
    }
    if (session.queueLength > 0) {
      metrics.droppedSessionEnded += session.queue.frameCount;
      for (const delivery of session.queue.inMemory()) {
        this.finish(session, delivery, DeliveryState.queued, cause);
        yield delivery.kind === DeliveryKind.tracked ? trackedUnits : deliveryUnits;
      }
    }
    session.clearOutbound();
  }

  private *sweepRows(session: Session, cause: Cause): Generator<number, void, void> {
    const { persistence } = this.context;
    const { number } = session;
    let rows: StoredRow[];
    let after = 0;
    do {
      rows = persistence.readDeliveries(number, after, rowsAtOnce);
      let units = rowUnits;
      for (const row of rows) {
        this.finish(session, row, row.state, cause);
        units += row.kind === DeliveryKind.tracked ? trackedUnits : rowUnits;
        after = row.sequence;
      }
      yield units;
    } while (rows.length === rowsAtOnce);
    this.largeFanOuts.passed(number, () => persistence.forgetRetired(number));
  }

  private finish(session: Session, delivery: Delivery | StoredRow, state: StoredRow['state'], cause: Cause): void {
    const { tracker, metrics } = this.context;
    const event = this.endOf(session, delivery, state);
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
  private endOf(session: Session, delivery: Delivery | StoredRow, state: StoredRow['state']): DeliveryEvent {
    const { persistence, clock } = this.context;
    const mayExpire = delivery.kind === DeliveryKind.tracked && state === DeliveryState.queued;
    const matters = delivery.group !== null || mayExpire;
    const message = delivery.message ?? (matters ? persistence.readMessage(delivery.messageSequence) : null);
    const isExpired = message !== null && message.expiryAtMs > 0 && message.expiryAtMs <= clock.now();
    if (isExpired && state === DeliveryState.queued) return DeliveryEvent.expire;
    const moves = message !== null && !isExpired && this.move(session, message, delivery, state);
    return moves ? DeliveryEvent.memberLeft : DeliveryEvent.sessionEnd;
  }

  /**
   * [MQTT-4.8.2-5] what the member of a shared group had not got goes to another; a started QoS 2 flow dies with it.
   */
  private move(session: Session, message: Message, delivery: Delivery | StoredRow, state: StoredRow['state']): boolean {
    if (delivery.group === null || !(effectsOf(step(state, DeliveryEvent.memberLeft)) & Effect.move)) return false;
    const { persistence, clock } = this.context;
    this.moved.fromMessage(message, clock.now());
    const record = delivery.kind === DeliveryKind.tracked ? delivery.reference : null;
    if (record !== null && this.isAnswered(record, message.sequence, delivery.group)) return false;
    if (record !== null) this.moved.appendReceiptId(this.context.tracker.idBytes(message.sequence));
    this.context.budget.offers(1, message.payload.length);
    if (!this.fanOut.offerToOneOf(delivery.group, this.moved, record, session.clientId)) return false;
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
