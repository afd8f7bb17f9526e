import { ByteReader, ByteWriter } from '../base/bytes.js';
import type { Message } from '../base/message.js';
import { Outcome } from '../delivery/table.js';
import { Cause, reasonOfCause } from '../receipts/causes.js';
import type { Verdict } from '../receipts/verdicts.js';
import { DeliveryKind } from '../session/delivery.js';
import type { Session } from '../session/session.js';
import type { Target } from '../session/subscription.js';
import { messageKey, readMessageKey } from '../store/records-keys.js';
import { Table } from '../store/store.js';
import { putCohort } from './cohort-row.js';
import { type Cohort, decodeCohort, endedSession } from './cohort-value.js';
import type { Context } from './context.js';
import type { FanOut } from './fan-out.js';
import type { Offers } from './offers.js';
import { Outgoing } from './outgoing.js';
import type { Retired } from './persistence.js';
import { grantedTargets, isEmpty, type Route } from './routes.js';
import type { Sizes } from './sizes.js';
import type { StandingCohort } from './standing-cohorts.js';
import { UnwrittenRecipients } from './unwritten-recipients.js';

/** A slice ends after this time, whatever its size; what was recorded just before it counts as part of it. */
const sliceMs = 6;
/** But it has so much at least. */
const leastSliceMs = 2;
/** Offers in a slice where others have used up the turn: it goes on under any load. */
const leastOffers = 250;
/** Slices that may wait for their commit. */
const unrecordedMax = 4;
/** Messages that may be under way, and their payload bytes; then their publishers are not read from. */
const messagesMax = 1000;
const bytesMax = 16 * 1024 * 1024;
/** Offers between looks at the clock. */
const clockEvery = 25;

/** A fan-out under way. */
export interface LargeFanOut extends Cohort {
  readonly message: Message;
  /** Speaks for recipients who have been sent the message; null if that is not tracked. */
  readonly cohort: StandingCohort | null;
  /** Recipients before this one may have been sent the message by a process that died since. */
  readonly doubtfulUntil: number;
  /** True if the cohort and the cursor are in the store, or will be with the commit. */
  readonly durable: boolean;
  /** True while the cohort is being written down: nothing commits before that is done. */
  isWriting: boolean;
  /** True once they are. */
  isRecorded: boolean;
  cursor: number;
  /** The highest number that a recipient's stored session can have. */
  readonly lastSession: number;
  /** Ends of sessions that are remembered until everybody has been offered the message. */
  readonly endings: (() => void)[];
  /** Called when everybody has been offered the message. */
  done: () => void;
}

/**
 * Offers messages with many recipients slice by slice, one message after the other. The cohort is recorded with the
 * message, and the cursor with each slice, so that a restart goes on where it stopped: nobody is missed, and nobody
 * gets the message twice.
 */
export class LargeFanOuts {
  private readonly context: Context;
  private readonly offers: Offers;
  private readonly fanOut: FanOut;
  private readonly underWay: LargeFanOut[] = [];
  /** Why sessions ended that may yet be offered a message. */
  private readonly causes = new WeakMap<Session, Cause>();
  private bytes = 0;
  private readonly topics = new Map<string, number>();
  private readonly out = new Outgoing();
  private readonly sizes: Sizes;
  private readonly unwrittenRecipients: UnwrittenRecipients;
  private running = false;
  /** Slices whose commit is to come. */
  private unrecorded = 0;

  constructor(context: Context, offers: Offers, fanOut: FanOut, sizes: Sizes) {
    this.context = context;
    this.offers = offers;
    this.fanOut = fanOut;
    this.sizes = sizes;
    this.unwrittenRecipients = new UnwrittenRecipients(context, offers, sizes.sliceMax);
  }

  /** Messages that are still being offered. */
  get size(): number {
    return this.underWay.length;
  }

  private get isFull(): boolean {
    return this.underWay.length >= messagesMax || this.bytes >= bytesMax;
  }

  /** True if a message must go this way: by its route's size, or to stay behind one of the same topic. */
  takes(topicName: string, route: Route, publisher: Session | null): boolean {
    const isLarge =
      route.targets.length >= this.sizes.largeCohortMin || (this.topics.size > 0 && this.topics.has(topicName));
    return isLarge && !isEmpty(route, publisher);
  }

  /**
   * Begins to offer a message.
   * @returns the size of the cohort; `whenDone` is called when all have been offered
   */
  begin(out: Outgoing, route: Route, publisher: Session | null, record: Buffer | null): LargeFanOut {
    const targets = grantedTargets(route, publisher);
    const acknowledged = out.qos > 0 || this.context.settings.upgradeOutgoingQos;
    const stored = record !== null || (acknowledged && targets.some(({ session, qos }) => session.stored && qos > 0));
    const groups = route.groups.map(({ name }) => name);
    const message = out.message();
    const cohort = record === null ? null : this.context.cohorts.begin(message.sequence, record);
    const progress = { isRecorded: false, cursor: 0, doubtfulUntil: 0, done: () => undefined };
    const state = { durable: stored, isWriting: stored, ...progress, ...this.endings() };
    const fanOut = { message, record, targets, groups, cohort, ...state };
    this.add(fanOut);
    if (stored) {
      // The fan-out itself keeps the message until its end.
      out.references++;
      this.putCursor(fanOut);
      putCohort(this.context, fanOut, this.sizes.writtenMax, () => this.schedule());
    }
    if (this.isFull) this.context.budget.mustWait = true;
    return fanOut;
  }

  /** A session has ended. Call before `passed`, and only once for each. */
  ended(session: Session, cause: Cause): void {
    if (this.underWay.length > 0) this.causes.set(session, cause);
  }

  /**
   * Calls back when no message is left under way that the stored session of this number may be a recipient of: a
   * restart knows who it was by what the store keeps until then.
   */
  passed(number: number, callback: () => void): void {
    const last = this.underWay.findLast(({ durable, lastSession }) => durable && number <= lastSession);
    if (last === undefined) callback();
    else last.endings.push(callback);
  }

  private endings(): Pick<LargeFanOut, 'lastSession' | 'endings'> {
    return { lastSession: this.context.persistence.lastSessionNumber, endings: [] };
  }

  /**
   * Goes on with what a restart interrupted. Recipients whose sessions are no more are lost; those who had been offered
   * the message, and of whom the store knows no more than that, may have it. Call before anything else is published.
   */
  restore(): void {
    const { store } = this.context.persistence;
    const retired = new Map<number, Retired>();
    for (const ended of this.context.persistence.retired()) retired.set(ended.number, ended);
    for (const { key, value } of store.range(Table.fanOuts, Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER)) {
      const sequence = readMessageKey(key);
      const cohort = decodeCohort(value, (number) => this.storedSession(number, retired));
      const standing = cohort.record === null ? null : this.context.cohorts.begin(sequence, cohort.record);
      const message = this.context.persistence.readMessage(sequence);
      const stored = store.get(Table.fanOutCursors, key);
      const cursor = stored === null ? cohort.targets.length : new ByteReader(stored).varint();
      if (standing !== null) {
        standing.hold();
        const offered = cohort.targets.slice(0, cursor);
        this.unwrittenRecipients.settle({ sequence, record: standing.record, offered }, () => standing.release());
      }
      if (stored === null || message === null) {
        standing?.offered();
        continue;
      }
      const progress = {
        durable: true,
        isWriting: false,
        isRecorded: true,
        cursor,
        doubtfulUntil: cursor + unrecordedMax * this.sizes.sliceMax,
      };
      this.add({ ...cohort, ...progress, ...this.endings(), message, cohort: standing, done: () => undefined });
    }
  }

  /** A recipient with a session that was stored; one that has ended since is known by what was kept of it. */
  private storedSession(number: number, retired: ReadonlyMap<number, Retired>): Session {
    const known = this.context.storedSessions.get(number);
    if (known !== undefined) return known;
    const { clientId, userName, cause } = retired.get(number) ?? { clientId: '', userName: null, cause: Cause.deleted };
    const session = endedSession(number, clientId, userName);
    this.causes.set(session, cause);
    return session;
  }

  private add(fanOut: LargeFanOut): void {
    const { topicName, payload } = fanOut.message;
    this.underWay.push(fanOut);
    if (fanOut.durable) this.awaitCommit(fanOut);
    this.bytes += payload.length;
    this.topics.set(topicName, (this.topics.get(topicName) ?? 0) + 1);
    // To find the recipients took its time: the first of them get the message in a turn of its own.
    this.context.turns.begin();
    this.context.clock.endOfTurn(() => this.schedule());
  }

  private schedule(): void {
    const [next] = this.underWay;
    if (this.running || next === undefined || next.isWriting) return;
    // The cohort speaks for whoever is sent the message once it is recorded itself.
    if (next.cohort !== null && !next.isRecorded) return;
    // What waits for the disk stays small; while one slice is on its way there, the next is offered.
    if (next.durable && this.unrecorded >= unrecordedMax) return;
    this.running = true;
    this.context.turns.begin();
    this.context.clock.endOfTurn(() => this.run());
  }

  private run(): void {
    this.running = false;
    const [fanOut] = this.underWay;
    if (fanOut === undefined) return;
    const { turns, budget } = this.context;
    const { sliceMax } = this.sizes;
    turns.begin();
    budget.enter(null);
    if (this.slice(fanOut, budget.isSpent ? Math.min(leastOffers, sliceMax) : sliceMax)) this.finish(fanOut);
    else if (fanOut.durable) this.putCursor(fanOut);
    if (fanOut.durable) this.awaitCommit(fanOut);
    this.schedule();
  }

  private awaitCommit(fanOut: LargeFanOut): void {
    this.unrecorded++;
    this.context.turns.afterCommit(() => {
      fanOut.isRecorded = true;
      this.unrecorded--;
      this.schedule();
    });
  }

  /** Offers to the next recipients; true when all have been offered. */
  private slice(fanOut: LargeFanOut, offersMax: number): boolean {
    const { clock, sequences, persistence, turns } = this.context;
    const { message, targets } = fanOut;
    const until = Math.max(turns.endedAtMs + sliceMs, clock.exactNow() + leastSliceMs);
    const first = fanOut.cursor;
    const last = Math.min(targets.length, fanOut.cursor + offersMax);
    this.out.fromMessage(message, clock.now());
    if (fanOut.record !== null) this.out.appendReceiptId(this.context.tracker.idBytes(message.sequence));
    const { record: reference } = fanOut;
    const kind = reference === null ? DeliveryKind.message : DeliveryKind.tracked;
    const cohort = this.context.cohorts.hasRoom(this.sizes.sliceMax) ? fanOut.cohort : null;
    while (fanOut.cursor < last) {
      const target = targets[fanOut.cursor++];
      // Messages accepted meanwhile may be in the queue already: each copy gets its own place, behind them.
      this.offer(fanOut, target, { kind, sequence: sequences.next(), reference, group: null, cohort });
      if (fanOut.cursor % clockEvery === 0 && clock.exactNow() >= until) break;
    }
    this.context.budget.offers(fanOut.cursor - first, message.payload.length);
    if (this.out.references > 0) persistence.keepMessage(message, this.out.references);
    return fanOut.cursor === targets.length;
  }

  private offer(fanOut: LargeFanOut, target: Target, carriage: Parameters<Offers['offer']>[2]): void {
    const { tracker, rights, metrics } = this.context;
    const { session } = target;
    const { record, message } = fanOut;
    if (record !== null && session.restored && !session.stored) {
      this.unwrittenRecipients.lose(record, message.sequence, target, fanOut.cursor <= fanOut.doubtfulUntil);
      return;
    }
    const qos = this.offers.qosOf(target, this.out);
    // The hook that is asked may end sessions.
    const isPermitted = session.ended || rights.mayReceive(session, message.topicName);
    // Since the cohort was fixed a session may have ended, lost the right to the message, or seen it expire.
    if (session.ended) {
      const cause = this.causes.get(session) ?? Cause.disconnected;
      this.settle(fanOut, session, null, { outcome: Outcome.lost, cause, qos });
    } else if (!isPermitted) {
      metrics.droppedNotAuthorized++;
      this.settle(fanOut, session, null, { outcome: Outcome.dropped, cause: Cause.notAuthorized, qos });
    } else if (this.hasExpired(message)) {
      metrics.expired++;
      this.settle(fanOut, session, null, { outcome: Outcome.expired, cause: null, qos });
    } else {
      if (record !== null && carriage.cohort === null) tracker.joinLater(record, message.sequence, session, null);
      this.offers.offer(target, this.out, carriage);
    }
  }

  /** [MQTT-3.3.2-5] */
  private hasExpired({ expiryAtMs }: Message): boolean {
    return expiryAtMs > 0 && expiryAtMs <= this.context.clock.now();
  }

  /** A recipient that the message is not offered to. */
  private settle(
    { record, message }: LargeFanOut,
    session: Session | null,
    group: string | null,
    verdict: Pick<Verdict, 'outcome' | 'cause' | 'qos'>,
  ): void {
    if (record === null) return;
    const { tracker } = this.context;
    const reasonCode = reasonOfCause(verdict.cause);
    tracker.joinLater(record, message.sequence, session, group);
    tracker.outcome(record, message.sequence, session, group, {
      ...verdict,
      reasonCode,
      reasonString: null,
    });
  }

  /** The cohort's part that is no single session. */
  private offerToGroup(fanOut: LargeFanOut, group: string): void {
    const { tracker, routes, metrics } = this.context;
    const { record, message } = fanOut;
    if (this.hasExpired(message)) {
      metrics.expired++;
      this.settle(fanOut, null, group, { outcome: Outcome.expired, cause: null });
    } else if (routes.group(group) === null) {
      this.settle(fanOut, null, group, { outcome: Outcome.lost, cause: Cause.disconnected });
    } else {
      if (record !== null) tracker.joinLater(record, message.sequence, null, group);
      this.fanOut.offerToGroup(group, this.out, record);
    }
  }

  private finish(fanOut: LargeFanOut): void {
    const { persistence } = this.context;
    const { message, record, groups } = fanOut;
    this.out.fromMessage(message, this.context.clock.now());
    if (record !== null) this.out.appendReceiptId(this.context.tracker.idBytes(message.sequence));
    for (const group of groups) this.offerToGroup(fanOut, group);
    if (this.out.references > 0) persistence.keepMessage(message, this.out.references);
    if (fanOut.durable) {
      if (fanOut.cohort === null) persistence.store.delete(Table.fanOuts, messageKey(message.sequence));
      else this.context.cohorts.offered(fanOut.cohort);
      persistence.store.delete(Table.fanOutCursors, messageKey(message.sequence));
      persistence.releaseMessage(message.sequence);
    }
    this.underWay.shift();
    this.bytes -= message.payload.length;
    const others = (this.topics.get(message.topicName) ?? 1) - 1;
    if (others === 0) this.topics.delete(message.topicName);
    else this.topics.set(message.topicName, others);
    for (const passed of fanOut.endings) passed();
    fanOut.done();
    if (!this.isFull) this.context.budget.onRoom();
  }

  private putCursor({ message, cursor }: LargeFanOut): void {
    const value = new ByteWriter().varint(cursor).finish();
    this.context.persistence.store.put(Table.fanOutCursors, messageKey(message.sequence), value);
  }
}
