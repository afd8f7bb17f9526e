import { Cause } from '../receipts/causes.js';
import { transientReference } from '../receipts/identities.js';
import type { Target } from '../session/subscription.js';
import type { Context } from './context.js';
import type { Offers } from './offers.js';

/** A cohort of a process that died, as far as it was offered the message. */
export interface LostCohort {
  /** The message's number, and the key of its record. */
  readonly sequence: number;
  readonly record: Buffer;
  /** Those who had been offered the message. */
  readonly offered: readonly Target[];
}

/** Recipients for whom only the cohort of a process that died speaks: the message's record has no rows of theirs. */
export class UnwrittenRecipients {
  private readonly context: Context;
  private readonly offers: Offers;
  private readonly sliceMax: number;

  /** @param sliceMax recipients in a turn at most that are told of */
  constructor(context: Context, offers: Offers, sliceMax: number) {
    this.context = context;
    this.offers = offers;
    this.sliceMax = sliceMax;
  }

  /**
   * Stored sessions have been sent the message and may acknowledge it as soon as they come back: they get their rows at
   * once. The others are lost, slice by slice.
   */
  settle(lost: LostCohort, onDone: () => void): void {
    const { turns, records, tracker } = this.context;
    turns.begin();
    const record = records.find(lost.record, lost.sequence);
    // Where all have their outcomes the cohort speaks for nobody: rows that are missing have been pruned.
    if (record === null || record.counts.pending === 0) {
      onDone();
      return;
    }
    for (const target of lost.offered) {
      const { session } = target;
      // Nothing is left of a session whose end is complete: its deliveries have their outcomes.
      if (session.stored && session.clientId !== '') {
        tracker.restoreUnwritten(record, session, this.offers.qosOf(target, record) || 1, true);
      }
    }
    this.loseFrom(lost, 0, onDone);
  }

  /**
   * Ends the delivery to a session that is no more.
   * @param mayHaveIt false if the message was certainly not sent
   */
  lose(key: Buffer, sequence: number, target: Target, mayHaveIt: boolean): void {
    const { records, tracker } = this.context;
    const { session } = target;
    const record = records.find(key, sequence);
    if (record === null) return;
    tracker.restoreUnwritten(record, session, this.offers.qosOf(target, record), mayHaveIt);
    tracker.lose(transientReference(key, session, null), sequence, Cause.brokerRestart);
  }

  private loseFrom(lost: LostCohort, from: number, onDone: () => void): void {
    const { turns, clock } = this.context;
    const { record, sequence, offered } = lost;
    turns.begin();
    const last = Math.min(offered.length, from + this.sliceMax);
    for (const target of offered.slice(from, last)) {
      if (!target.session.stored) this.lose(record, sequence, target, true);
    }
    if (last < offered.length) clock.endOfTurn(() => this.loseFrom(lost, last, onDone));
    else onDone();
  }
}
