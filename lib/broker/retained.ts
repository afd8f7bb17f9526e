import type { Message } from '../base/message.js';
import type { Session } from '../session/session.js';
import { DerivedTarget, type Subscription, type Target } from '../session/subscription.js';
import { type RetainedCursor, type RetainedEntry, RetainedIndex } from '../topic/retained-index.js';
import type { Context } from './context.js';
import { type Offers, plainCarriage } from './offers.js';
import { Outgoing } from './outgoing.js';

/** Retained messages looked up at a time, and how many of them wait in a session's queue at most. */
const replaySlice = 64;

/** What the search for a slice counts as in a turn: it looks at several topics for each that it may find. */
const searchUnits = 2 * replaySlice;

/** What one subscription is still to be sent. */
interface Replay {
  subscription: Subscription;
  /** Made for the first message: most subscriptions find nothing retained. */
  target: Target | null;
  readonly cursor: RetainedCursor;
  /** The slice looked up last, and how much of it was sent. */
  readonly found: RetainedEntry[];
  sent: number;
  more: boolean;
}

/** Retained messages go out with RETAIN set, whatever the subscription asks for those that are live. */
function retainedTarget({ session, qos, subscriptionIds }: Subscription): Target {
  return new DerivedTarget(session, qos, true, subscriptionIds);
}

/** Keeps the retained messages and replays them to subscribers. @see MQTT 5 §3.3.1.3 */
export class Retained {
  private readonly context: Context;
  private readonly offers: Offers;
  private readonly index = new RetainedIndex();
  private readonly out = new Outgoing();
  /** The broker's own, which are never stored, by sequence. */
  private readonly inMemory = new Map<number, Message>();
  /** Characters of their topics. */
  private ownCharacters = 0;
  /** Replays under way, by session and topic filter, in the order in which they began. */
  private readonly replays = new Map<Session, Map<string, Replay>>();
  /** Sessions whose replays go on in the next turn. */
  private readonly waiting = new Set<Session>();

  constructor(context: Context, offers: Offers) {
    this.context = context;
    this.offers = offers;
  }

  /** Number of retained messages, without the broker's own. */
  get size(): number {
    return this.index.size - this.inMemory.size;
  }

  private get topicCharacters(): number {
    return this.index.characters - this.ownCharacters;
  }

  /** Sessions with a replay under way. */
  get replaying(): number {
    return this.replays.size;
  }

  /** Takes one that the store held at the start. */
  load(topicName: string, sequence: number): void {
    this.index.set(topicName, sequence);
  }

  /** True if one more topic can have a retained message. */
  hasRoomFor(topicName: string): boolean {
    const { maximumRetainedMessages, maximumRetainedTopicBytes } = this.context.settings;
    const hasRoom =
      (maximumRetainedMessages === 0 || this.size < maximumRetainedMessages) &&
      (maximumRetainedTopicBytes === 0 || this.topicCharacters + topicName.length <= maximumRetainedTopicBytes);
    return hasRoom || this.index.get(topicName) !== undefined;
  }

  /** Stores the message for its topic in place of the one before; an empty payload clears it. [MQTT-3.3.1-5] */
  store(out: Outgoing): void {
    const { persistence } = this.context;
    let before: number | undefined;
    if (out.payloadLength === 0) {
      before = this.index.delete(out.topicName); // [MQTT-3.3.1-6]
      if (before === undefined) return; // [MQTT-3.3.1-7]
    } else {
      before = this.index.set(out.topicName, out.sequence);
      out.references++;
      out.lasting++;
      persistence.putRetained(out.topicName, out.sequence, out.expiryAtMs);
    }
    if (before !== undefined) this.release(before);
  }

  /** The message is its topic's no more. */
  private release(sequence: number): void {
    this.context.persistence.restartRows.deleteRetained(sequence);
    this.context.persistence.releaseMessage(sequence);
  }

  /** Retains a message of the broker's own until the next one on its topic. */
  keepInMemory(message: Message): void {
    const before = this.index.set(message.topicName, message.sequence);
    if (before === undefined || !this.inMemory.delete(before)) this.ownCharacters += message.topicName.length;
    this.inMemory.set(message.sequence, message);
  }

  /**
   * Begins to send a new subscription what is retained, as fast as the subscriber takes it. [MQTT-3.3.1-9] Who
   * subscribes again before the end is sent everything anew, and no more for the first time.
   */
  replay(subscription: Subscription): void {
    const { session, topicFilter } = subscription;
    this.cancel(session, topicFilter);
    const cursor = this.index.match(topicFilter);
    const replay: Replay = { subscription, target: null, cursor, found: [], sent: 0, more: true };
    const underWay = this.replays.get(session);
    if (underWay !== undefined) {
      underWay.set(topicFilter, replay);
      return;
    }
    this.replays.set(session, new Map([[topicFilter, replay]]));
    this.goOn(session);
  }

  /** The subscription was made anew without a replay of its own: the one under way goes on as it asks now. */
  rebind(subscription: Subscription): void {
    const replay = this.replays.get(subscription.session)?.get(subscription.topicFilter);
    if (replay === undefined) return;
    replay.subscription = subscription;
    replay.target = null;
  }

  /** Sends no more to a subscription that is gone. [MQTT-3.10.4-2] */
  cancel(session: Session, topicFilter: string): void {
    const underWay = this.replays.get(session);
    if (underWay?.delete(topicFilter) && underWay.size === 0) this.replays.delete(session);
  }

  private later(session: Session): void {
    this.waiting.add(session);
    if (this.waiting.size > 1) return;
    const { clock, turns, budget } = this.context;
    clock.endOfTurn(() => {
      turns.begin();
      const sessions = [...this.waiting];
      this.waiting.clear();
      for (const next of sessions) {
        budget.enter(null);
        if (budget.isSpent) this.later(next);
        else this.goOn(next);
      }
    });
  }

  /** Sends the next slice of a session's replays if its connection takes it. Called when there is room again. */
  goOn(session: Session): void {
    const underWay = this.replays.get(session);
    if (underWay === undefined) return;
    if (session.ended || (session.link === null && !session.stored)) this.replays.delete(session);
    if (session.ended || session.link === null) return;
    for (const [topicFilter, replay] of underWay) {
      for (;;) {
        if (!this.hasRoom(session)) return;
        const next = this.context.budget.isSpent ? 'later' : this.nextOf(replay);
        if (next === 'later') {
          this.later(session);
          return;
        }
        if (next === null) break;
        this.send(replay, next);
      }
      underWay.delete(topicFilter);
    }
    this.replays.delete(session);
  }

  /** The client's pace is the replay's: it must not run into the limits that are there for live messages. */
  private hasRoom(session: Session): boolean {
    if (session.link === null || session.link.slow) return false;
    const length = session.queueLength;
    if (length === 0) return true;
    const { maximumQueuedMessages, maximumQueuedBytes } = this.context.settings;
    if (length >= replaySlice || (maximumQueuedMessages > 0 && length >= maximumQueuedMessages)) return false;
    return maximumQueuedBytes === 0 || session.queue.bytes < maximumQueuedBytes / 2;
  }

  /** The message that a replay sends next, null at its end, `later` where this turn may search no further. */
  private nextOf(replay: Replay): RetainedEntry | null | 'later' {
    const { budget } = this.context;
    if (replay.sent === replay.found.length) {
      replay.found.length = 0;
      replay.sent = 0;
      while (replay.more && replay.found.length === 0) {
        if (budget.isSpent) return 'later';
        replay.more = replay.cursor.next(replaySlice, replay.found);
        budget.spend(searchUnits);
      }
      if (replay.found.length === 0) return null;
    }
    return replay.found[replay.sent++] as RetainedEntry;
  }

  private send(replay: Replay, { topicName, sequence }: RetainedEntry): void {
    const { subscription } = replay;
    const { persistence, clock, sequences } = this.context;
    const { out } = this;
    const own = this.inMemory.get(sequence);
    if (own === undefined) {
      const row = persistence.readMessageRow(sequence);
      if (row === null) return;
      out.fromRow(row, topicName, sequence, clock.now());
    } else {
      out.fromMessage(own, clock.now());
    }
    if (out.expiryAtMs > 0 && out.expiryAtMs <= clock.now()) {
      this.forget(topicName, sequence);
      return;
    }
    if (!this.context.rights.mayFollow(subscription, topicName)) return;
    // [MQTT-3.8.3-3] what the client published itself is not for it, retained or live
    if (subscription.noLocal && out.publisherId === subscription.session.clientId) return;
    // A replay is a delivery of its own, not the repeat of an earlier one: it gets its own place in the queue.
    out.tracked = false;
    out.retain = true;
    const carriage = { ...plainCarriage, sequence: sequences.next() };
    replay.target ??= retainedTarget(subscription);
    this.offers.offer(replay.target, out, carriage);
    if (out.references > 0) persistence.addReferences(sequence, out.references);
  }

  /** Removes an expired message unless a newer one took its place. */
  forget(topicName: string, sequence: number): void {
    if (this.index.get(topicName) !== sequence) return;
    this.index.delete(topicName);
    this.release(sequence);
  }
}
