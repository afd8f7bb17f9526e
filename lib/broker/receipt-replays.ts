import { ByteReader, ByteWriter } from '../base/bytes.js';
import { identityKeyOf } from '../receipts/identities.js';
import { parseReceiptId } from '../receipts/receipt-id.js';
import { recipientSegment } from '../receipts/receipt-message.js';
import type { TrackedRecord } from '../receipts/record.js';
import { ReceiptKind, type ReceiptReference } from '../receipts/reference.js';
import { ReceiptState } from '../receipts/states.js';
import type { Session } from '../session/session.js';
import type { Subscription } from '../session/subscription.js';
import { pages } from '../store/pages.js';
import { subscriptionKey } from '../store/records-keys.js';
import { Table } from '../store/store.js';
import { filterMatches } from '../topic/names.js';
import type { Context } from './context.js';

/** Receipts a replay may have waiting in its session's queue before it rests. */
const waitingMax = 64;
/** Rows read at a time. */
const rowSlice = 64;
/** Messages looked for at a time. */
const sequencesSlice = 1000;
/** Records and rows looked at before other work gets its turn. */
const turnMax = 512;

/** A replay under way: everything up to `done` (and of the message in progress, up to `after`) has been told. */
interface Replay {
  subscription: Subscription;
  /** The publisher's level in the topics of what is told; `~` for the session's own. */
  readonly publisher: string;
  /** The next messages to tell, oldest first. */
  sequences: { publisherKey: Buffer; sequence: number }[];
  at: number;
  /** Sequence up to which all is told. */
  done: number;
  /** Sequence of the message in progress, 0 for none, and the recipient key up to which it is told. */
  inProgress: number;
  after: Buffer | null;
  /** The message that the filter names: nothing else can match. Null if it has a wildcard there. */
  readonly single: number | null;
}

/**
 * Serves records like retained messages: a new subscription is told the current state of what it matches, oldest first,
 * as fast as it takes it, and goes on live where the replay ends: while it is under way, live receipts of messages that
 * it has not come to yet are left to it.
 */
export class ReceiptReplays {
  private readonly context: Context;
  private readonly bySession = new Map<Session, Map<Subscription, Replay>>();
  /** Sessions whose replays go on when this turn is committed. */
  private readonly resting = new Set<Session>();
  /** Offers one receipt; set by `ReceiptDelivery`. */
  send: (subscription: Subscription, reference: ReceiptReference) => void = () => undefined;

  constructor(context: Context) {
    this.context = context;
  }

  /** Sessions with a replay under way. */
  get size(): number {
    return this.bySession.size;
  }

  /** True if a filter under `$receipts/` has the records of many messages replayed. */
  isLong(topicFilter: string): boolean {
    const [, publisher, id] = topicFilter.split('/');
    return publisher !== '+' && publisher !== '#' && (id === '+' || id === '#');
  }

  /** How many replays of many messages a session has under way. */
  longOf(session: Session): number {
    let count = 0;
    for (const { single } of this.bySession.get(session)?.values() ?? []) if (single === null) count++;
    return count;
  }

  /**
   * Begins the replay of a new subscription; `goOn` tells what it has to, for all that a SUBSCRIBE has begun.
   * @param since sequence of the message to begin behind, 0 for none
   */
  begin(subscription: Subscription, since: number): void {
    this.drop(subscription);
    const replay = this.replayOf(subscription);
    if (replay === null) return;
    replay.done = Math.max(since, replay.single === null ? this.beginningOf(replay) : replay.single - 1);
    this.add(replay);
    this.putPosition(replay);
  }

  /** Takes up what a restart interrupted. Call once all subscriptions are there, before anything is told. */
  restore(): void {
    const { storedSessions, persistence } = this.context;
    for (const { key, value } of pages(persistence.store, Table.replays)) {
      const reader = new ByteReader(value);
      const subscription = storedSessions.get(key.readUInt32BE(0))?.subscriptions.get(reader.string());
      const replay = subscription === undefined ? null : this.replayOf(subscription);
      if (replay === null) continue;
      replay.done = reader.varint();
      replay.inProgress = reader.varint();
      replay.after = reader.optionalBytes();
      this.add(replay);
    }
  }

  /** The subscription was made anew without a replay of its own: the one under way goes on for it. */
  rebind(former: Subscription, subscription: Subscription): void {
    const replay = this.bySession.get(former.session)?.get(former);
    if (replay === undefined) return;
    this.drop(former);
    replay.subscription = subscription;
    this.add(replay);
  }

  cancel(subscription: Subscription): void {
    if (this.drop(subscription)) this.forgetPosition(subscription);
  }

  /** True if a replay of this subscription will tell of this delivery. @param recipientKey null for tallies */
  covers(subscription: Subscription, sequence: number, recipientKey: Buffer | null): boolean {
    const replay = this.bySession.get(subscription.session)?.get(subscription);
    if (replay === undefined || sequence <= replay.done) return false;
    if (replay.single !== null && replay.single !== sequence) return false;
    if (replay.inProgress !== sequence || replay.after === null || recipientKey === null) return true;
    return recipientKey.compare(replay.after) > 0;
  }

  /** Goes on where the session's connection takes more. */
  goOn(session: Session): void {
    const replays = this.bySession.get(session);
    if (replays === undefined) return;
    if (session.ended || (session.link === null && !session.stored)) {
      this.bySession.delete(session);
      return;
    }
    const budget = { left: turnMax };
    for (const [subscription, replay] of replays) {
      if (!this.advance(replay, budget)) {
        if (budget.left <= 0) this.rest(session);
        return;
      }
      replays.delete(subscription);
      this.forgetPosition(subscription);
    }
    this.bySession.delete(session);
  }

  /** Other work first: the replay goes on behind what it has told so far. */
  private rest(session: Session): void {
    if (this.resting.has(session)) return;
    this.resting.add(session);
    this.context.turns.afterCommit(() => {
      this.resting.delete(session);
      this.goOn(session);
    });
  }

  private add(replay: Replay): void {
    const { subscription } = replay;
    const replays = this.bySession.get(subscription.session) ?? new Map<Subscription, Replay>();
    this.bySession.set(subscription.session, replays.set(subscription, replay));
  }

  /** False if there was none. */
  private drop(subscription: Subscription): boolean {
    const { session } = subscription;
    const replays = this.bySession.get(session);
    if (!replays?.delete(subscription)) return false;
    if (replays.size === 0) this.bySession.delete(session);
    return true;
  }

  /** A replay of what a filter matches; null for filters that are live only. */
  private replayOf(subscription: Subscription): Replay | null {
    const { topicFilter } = subscription;
    const [, publisher = '', id = ''] = topicFilter.split('/');
    if (!topicFilter.startsWith('$receipts/') || publisher === '+' || publisher === '#') return null;
    const single = id === '+' || id === '#' ? null : (parseReceiptId(id)?.sequence ?? null);
    if (id !== '+' && id !== '#' && single === null) return null;
    return { subscription, publisher, sequences: [], at: 0, done: 0, inProgress: 0, after: null, single };
  }

  /** Whose records are told. Another user may begin to publish under the same client identifier at any time. */
  private publisherKeys({ publisher, subscription }: Replay): Buffer[] {
    return publisher === '~' ? [identityKeyOf(subscription.session)] : this.context.records.publishersNamed(publisher);
  }

  /** The sequence behind which the newest `receipts.replay` messages come. */
  private beginningOf(replay: Replay): number {
    const { records, settings, sequences } = this.context;
    const limit = settings.receipts.replay;
    const newest = this.publisherKeys(replay).flatMap((publisherKey) => records.sequencesAfter(publisherKey, 0, limit));
    newest.sort((one, other) => one - other);
    const oldest = newest[Math.max(0, newest.length - limit)];
    return oldest === undefined ? sequences.current : oldest - 1;
  }

  /** Tells on until the session has enough waiting, or for long enough; true when there is nothing left to tell. */
  private advance(replay: Replay, budget: { left: number }): boolean {
    const { session } = replay.subscription;
    const roomy = Math.min(waitingMax, this.context.settings.receipts.maxWaiting);
    for (let moved = false; ; moved = true) {
      const { link } = session;
      if (link === null || link.slow || session.queueLength >= roomy || budget.left <= 0) {
        if (moved) this.putPosition(replay);
        return false;
      }
      const next = replay.sequences[replay.at];
      if (next === undefined) {
        if (!this.findNewer(replay)) return true;
        continue;
      }
      if (replay.inProgress !== next.sequence) replay.after = null;
      replay.inProgress = next.sequence;
      budget.left--;
      const record = this.context.records.find(next.publisherKey, next.sequence);
      if (record !== null && this.tellRows(replay, record, budget)) continue;
      if (record !== null) this.tellTally(replay, record);
      replay.done = next.sequence;
      replay.inProgress = 0;
      replay.after = null;
      replay.at++;
    }
  }

  /** The next messages; those published while the replay was under way are among them. */
  private findNewer(replay: Replay): boolean {
    const { records } = this.context;
    const { single, done } = replay;
    replay.at = 0;
    replay.sequences = [];
    if (single !== null && single <= done) return false;
    for (const publisherKey of this.publisherKeys(replay)) {
      const found = single === null ? records.oldestSequences(publisherKey, done, sequencesSlice) : [single];
      for (const sequence of found) replay.sequences.push({ publisherKey, sequence });
    }
    replay.sequences.sort((one, other) => one.sequence - other.sequence);
    // Each publisher's list may end early: what is behind the first end comes with the next look.
    if (single === null) replay.sequences = replay.sequences.slice(0, sequencesSlice);
    return replay.sequences.length > 0;
  }

  /** Tells a slice of one message's deliveries; false when all are told. */
  private tellRows(replay: Replay, record: TrackedRecord, budget: { left: number }): boolean {
    const { topicFilter } = replay.subscription;
    const topicName = this.topicOf(replay, record);
    // A filter of three levels takes tallies only.
    if (!topicFilter.endsWith('#') && topicFilter.split('/').length < 4) return false;
    const rows = this.context.records.rowsAfter(record, replay.after, rowSlice);
    budget.left -= rows.length;
    for (const { recipientKey, row } of rows) {
      replay.after = recipientKey;
      if (row.state === ReceiptState.accepted) continue;
      if (!filterMatches(topicFilter, `${topicName}/${recipientSegment(row)}`)) continue;
      this.send(replay.subscription, {
        ...{ kind: ReceiptKind.delivery, state: row.state, recipientKey, replay: true, brief: false },
        ...{ foreign: replay.publisher !== '~', publisherKey: record.publisherKey, sequence: record.sequence },
      });
    }
    return rows.length === rowSlice;
  }

  private tellTally(replay: Replay, record: TrackedRecord): void {
    if (!filterMatches(replay.subscription.topicFilter, this.topicOf(replay, record))) return;
    // A tally that is final once it is sent, but was not when it was noted, is left to the final one that follows.
    const state = record.counts.pending === 0 ? ReceiptState.delivered : ReceiptState.accepted;
    this.send(replay.subscription, {
      ...{ kind: ReceiptKind.currentTally, state, recipientKey: null, replay: true, brief: false },
      ...{ foreign: replay.publisher !== '~', publisherKey: record.publisherKey, sequence: record.sequence },
    });
  }

  private topicOf(replay: Replay, record: TrackedRecord): string {
    return `$receipts/${replay.publisher}/${this.context.tracker.id(record.sequence)}`;
  }

  private putPosition({ subscription, done, inProgress, after }: Replay): void {
    const { session, topicFilter } = subscription;
    if (!session.stored) return;
    const value = new ByteWriter().string(topicFilter).varint(done).varint(inProgress).optionalBytes(after).finish();
    this.context.persistence.store.put(Table.replays, subscriptionKey(session.number, topicFilter), value);
  }

  private forgetPosition({ session, topicFilter }: Subscription): void {
    if (!session.stored) return;
    this.context.persistence.store.delete(Table.replays, subscriptionKey(session.number, topicFilter));
  }
}
