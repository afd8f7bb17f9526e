import { ByteReader, ByteWriter } from '../base/bytes.js';
import { parseReceiptId } from '../receipts/receipt-id.js';
import { publisherSegment, recipientSegment } from '../receipts/receipt-message.js';
import type { TrackedRecord } from '../receipts/record.js';
import { ReceiptKind, type ReceiptReference } from '../receipts/reference.js';
import { ReceiptState } from '../receipts/states.js';
import { identityKeyOf } from '../receipts/tracker.js';
import type { Session } from '../session/session.js';
import type { Subscription } from '../session/subscription.js';
import { subscriptionKey, subscriptionRange } from '../store/records-keys.js';
import { Table } from '../store/store.js';
import { filterMatches } from '../topic/names.js';
import type { Context } from './context.js';
import { ownReceiptsPrefix } from './receipt-access.js';

/** Receipts a replay may have waiting in its session's queue before it rests. */
const waitingMax = 64;
/** Rows read at a time. */
const rowSlice = 64;
/** Messages looked for at a time once the replay has caught up with the newest it knew. */
const sequencesSlice = 10_000;

/** A replay under way: everything before `done` (and of the message in progress, up to `after`) has been told. */
interface Replay {
  readonly subscription: Subscription;
  readonly publisherKeys: readonly Buffer[];
  readonly foreign: boolean;
  /** Messages still to tell, oldest first. */
  sequences: { publisherKey: Buffer; sequence: number }[];
  at: number;
  /** Sequence up to which all is told. */
  done: number;
  /** Recipient key up to which the message in progress is told, null for none of it. */
  after: Buffer | null;
  /** True if the filter names one message: nothing newer can match. */
  readonly single: boolean;
}

/**
 * Serves records like retained messages: a new subscription is told the current state of what it matches, oldest first,
 * as fast as it takes it, and goes on live where the replay ends: while it is under way, live receipts of messages that
 * it has not come to yet are left to it.
 */
export class ReceiptReplays {
  private readonly context: Context;
  private readonly bySession = new Map<Session, Replay[]>();
  /** Offers one receipt; set by `ReceiptDelivery`. */
  send: (subscription: Subscription, reference: ReceiptReference) => void = () => undefined;

  constructor(context: Context) {
    this.context = context;
  }

  /** Sessions with a replay under way. */
  get size(): number {
    return this.bySession.size;
  }

  /**
   * Begins the replay of a new subscription.
   * @param since receipt id to begin behind, or null
   */
  begin(subscription: Subscription, since: string | null): void {
    const from = since === null ? 0 : (parseReceiptId(since)?.sequence ?? 0);
    const replay = this.replayOf(subscription, from, null, this.context.settings.receipts.replay);
    if (replay !== null) this.start(replay);
  }

  /** Takes up what a restart interrupted. */
  restore(session: Session): void {
    const { start, end } = subscriptionRange(session.number);
    const { store } = this.context.persistence;
    for (const { value } of store.range(Table.replays, start, end, Number.MAX_SAFE_INTEGER)) {
      const reader = new ByteReader(value);
      const subscription = session.subscriptions.get(reader.string());
      const since = reader.varint();
      const after = reader.optionalBytes();
      if (subscription === undefined) continue;
      const replay = this.replayOf(subscription, since, after, sequencesSlice);
      if (replay !== null) this.add(replay);
    }
  }

  cancel(subscription: Subscription): void {
    const { session } = subscription;
    const left = (this.bySession.get(session) ?? []).filter((replay) => replay.subscription !== subscription);
    if (left.length > 0) this.bySession.set(session, left);
    else this.bySession.delete(session);
    this.forgetPosition(subscription);
  }

  /** True if a replay of this subscription will tell what the reference tells. */
  covers(subscription: Subscription, { sequence, recipientKey }: ReceiptReference): boolean {
    const replay = this.bySession.get(subscription.session)?.find((known) => known.subscription === subscription);
    if (replay === undefined) return false;
    if (replay.single && !replay.sequences.some((known) => known.sequence === sequence)) return false;
    if (sequence <= replay.done) return false;
    const inProgress = replay.sequences[replay.at]?.sequence === sequence;
    if (!inProgress || replay.after === null || recipientKey === null) return true;
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
    for (let first = replays[0]; first !== undefined; first = replays[0]) {
      if (!this.advance(first)) return;
      replays.shift();
      this.forgetPosition(first.subscription);
    }
    this.bySession.delete(session);
  }

  private start(replay: Replay): void {
    this.add(replay);
    this.putPosition(replay);
    this.goOn(replay.subscription.session);
  }

  private add(replay: Replay): void {
    const { session } = replay.subscription;
    this.bySession.set(session, [...(this.bySession.get(session) ?? []), replay]);
  }

  /** Which records a filter's replay goes through; null for filters that are live only. */
  private replayOf(subscription: Subscription, since: number, after: Buffer | null, limit: number): Replay | null {
    const { records } = this.context;
    const { session, topicFilter } = subscription;
    const [, publisher = '', id = ''] = topicFilter.split('/');
    if (!topicFilter.startsWith('$receipts/') || publisher === '+' || publisher === '#') return null;
    const foreign = !topicFilter.startsWith(ownReceiptsPrefix);
    const publisherKeys = foreign ? records.publishersNamed(publisher) : [identityKeyOf(session)];
    const parsed = parseReceiptId(id);
    const single = id !== '+' && id !== '#';
    let sequences: Replay['sequences'] = [];
    for (const publisherKey of publisherKeys) {
      if (!single) {
        const found = records.sequencesAfter(publisherKey, since, limit);
        sequences = sequences.concat(found.map((sequence) => ({ publisherKey, sequence })));
      } else if (parsed !== null && records.find(publisherKey, parsed.sequence) !== null) {
        sequences.push({ publisherKey, sequence: parsed.sequence });
      }
    }
    sequences.sort((one, other) => one.sequence - other.sequence);
    const done = Math.max(since, (sequences[0]?.sequence ?? 1) - 1);
    return { subscription, publisherKeys, foreign, sequences, at: 0, done, after, single };
  }

  /** Tells on until the session has enough waiting; true when there is nothing left to tell. */
  private advance(replay: Replay): boolean {
    const { session } = replay.subscription;
    let moved = false;
    for (;;) {
      const { link } = session;
      if (link === null || link.slow || session.queueLength >= waitingMax) {
        if (moved) this.putPosition(replay);
        return false;
      }
      moved = true;
      const next = replay.sequences[replay.at];
      if (next === undefined) {
        if (!this.findNewer(replay)) return true;
        continue;
      }
      const record = this.context.records.find(next.publisherKey, next.sequence);
      if (record !== null && this.tellRows(replay, record)) continue;
      if (record !== null) this.tellTally(replay, record);
      replay.done = next.sequence;
      replay.after = null;
      replay.at++;
    }
  }

  /** Messages that were published while the replay was under way. */
  private findNewer(replay: Replay): boolean {
    if (replay.single) return false;
    const newer = replay.publisherKeys.flatMap((publisherKey) =>
      this.context.records
        .sequencesAfter(publisherKey, replay.done, sequencesSlice)
        .map((sequence) => ({ publisherKey, sequence })),
    );
    newer.sort((one, other) => one.sequence - other.sequence);
    replay.sequences = newer;
    replay.at = 0;
    return newer.length > 0;
  }

  /** Tells a slice of one message's deliveries; false when all are told. */
  private tellRows(replay: Replay, record: TrackedRecord): boolean {
    const { topicFilter } = replay.subscription;
    const topicName = this.topicOf(replay, record);
    // A filter of three levels takes tallies only.
    if (!topicFilter.endsWith('#') && topicFilter.split('/').length < 4) return false;
    const rows = this.context.records.rowsAfter(record, replay.after, rowSlice);
    for (const { recipientKey, row } of rows) {
      replay.after = recipientKey;
      if (row.state === ReceiptState.accepted) continue;
      if (!filterMatches(topicFilter, `${topicName}/${recipientSegment(row)}`)) continue;
      this.send(replay.subscription, {
        ...{ kind: ReceiptKind.delivery, state: row.state, recipientKey, replay: true, countsOnly: false },
        ...{ foreign: replay.foreign, publisherKey: record.publisherKey, sequence: record.sequence },
      });
    }
    return rows.length === rowSlice;
  }

  private tellTally(replay: Replay, record: TrackedRecord): void {
    if (!filterMatches(replay.subscription.topicFilter, this.topicOf(replay, record))) return;
    // A tally that is final once it is sent, but was not when it was noted, is left to the final one that follows.
    const state = record.counts.pending === 0 ? ReceiptState.delivered : ReceiptState.accepted;
    this.send(replay.subscription, {
      ...{ kind: ReceiptKind.currentTally, state, recipientKey: null, replay: true, countsOnly: false },
      ...{ foreign: replay.foreign, publisherKey: record.publisherKey, sequence: record.sequence },
    });
  }

  private topicOf(replay: Replay, record: TrackedRecord): string {
    const publisher = replay.foreign ? publisherSegment(record.owner) : '~';
    return `$receipts/${publisher}/${this.context.tracker.id(record.sequence)}`;
  }

  private putPosition({ subscription, done, after }: Replay): void {
    const { session, topicFilter } = subscription;
    if (!session.stored) return;
    const value = new ByteWriter().string(topicFilter).varint(done).optionalBytes(after).finish();
    this.context.persistence.store.put(Table.replays, subscriptionKey(session.number, topicFilter), value);
  }

  private forgetPosition({ session, topicFilter }: Subscription): void {
    if (!session.stored) return;
    const { store } = this.context.persistence;
    const key = subscriptionKey(session.number, topicFilter);
    if (store.get(Table.replays, key) !== null) store.delete(Table.replays, key);
  }
}
