import type { Clock } from '../base/clock.js';
import { firstSequenceAt } from '../base/sequence.js';
import type { TrackedRecord } from './record.js';
import type { RecordStore } from './record-store.js';
import type { Tracker } from './tracker.js';

/** What bounds the record store. Times in seconds. */
export interface RecordLimits {
  readonly retention: number;
  readonly maxPending: number;
  readonly maxRecords: number;
  readonly maxRecordsPerPublisher: number;
}

/** Records and rows handled in one slice. */
const slice = 200;
/** After any time that a key can hold. */
const endOfTimeMs = 2 ** 47;
/** Listed records looked at for each that is removed out of turn. */
const tidied = 64;
/** How many of a publisher's oldest records are looked at for a finished one, when it has too many. */
const searched = 200;
/** Finished records looked at for one whose receipts have all been sent, when there are too many. */
const lookedAt = 200;

/** Prunes old records, in bounded slices, and gives up deliveries that have been pending for too long. */
export class Housekeeping {
  private readonly records: RecordStore;
  private readonly tracker: Tracker;
  private readonly clock: Clock;
  private readonly limits: RecordLimits;
  private readonly isAwaited: (record: TrackedRecord) => boolean;
  private givingUp: { record: TrackedRecord; after: Buffer | null }[] = [];
  /** Publishers still to be visited in this round, and the sequence behind which to go on. */
  private unvisited: { publisherKey: Buffer; after: number }[] = [];

  /** @param isAwaited true if receipts of the message may still wait to be sent */
  constructor(
    records: RecordStore,
    tracker: Tracker,
    clock: Clock,
    limits: RecordLimits,
    isAwaited: (record: TrackedRecord) => boolean,
  ) {
    this.records = records;
    this.tracker = tracker;
    this.clock = clock;
    this.limits = limits;
    this.isAwaited = isAwaited;
  }

  /** True if one more record of this publisher may be kept, making room among the finished ones if need be. */
  makeRoom(publisherKey: Buffer): boolean {
    const { records, limits } = this;
    if (records.sizeOf(publisherKey) >= limits.maxRecordsPerPublisher && !this.removeOldestOf(publisherKey))
      return false;
    if (records.size < limits.maxRecords) return true;
    const oldest = records.oldestFinished(endOfTimeMs);
    if (oldest === null) return false;
    if (!this.isAwaited(oldest)) {
      records.remove(oldest, slice);
      return true;
    }
    const told = records.nextFinished(lookedAt, (record) => !this.isAwaited(record));
    records.remove(told ?? oldest, slice);
    if (told !== null) records.tidyFinished(tidied);
    return true;
  }

  private removeOldestOf(publisherKey: Buffer): boolean {
    const { records } = this;
    for (const sequence of records.oldestSequences(publisherKey, 0, searched)) {
      const record = records.find(publisherKey, sequence);
      if (record === null || record.counts.pending > 0) continue;
      // One with a large cohort takes several slices: what it has left does not hold up the publish.
      records.remove(record, slice);
      // Out of turn: so it is still listed as finished.
      records.tidyFinished(tidied);
      return true;
    }
    return false;
  }

  /** One slice of upkeep; true if there is more to do at once. */
  run(): boolean {
    return this.prune() || this.records.tidyFinished(slice) || this.giveUp();
  }

  private prune(): boolean {
    const beforeMs = this.clock.now() - this.limits.retention * 1000;
    for (let rows = slice; rows > 0; ) {
      const record = this.records.oldestFinished(beforeMs);
      if (record === null) return false;
      rows -= record.rows === null ? slice : 1;
      if (!this.records.remove(record, slice)) return true;
    }
    return true;
  }

  /** Visits every publisher's oldest records in turn: what is older than `maxPending` ends. */
  private giveUp(): boolean {
    const current = this.givingUp[0];
    if (current !== undefined) {
      const after = this.tracker.giveUp(current.record, current.after, slice);
      if (after === null) this.givingUp.shift();
      else this.givingUp[0] = { record: current.record, after };
      return true;
    }
    if (this.unvisited.length === 0) {
      this.unvisited = this.records.publisherKeys().map((publisherKey) => ({ publisherKey, after: 0 }));
    }
    const cutoff = firstSequenceAt(this.clock.now() - this.limits.maxPending * 1000);
    for (let left = slice; left > 0; ) {
      const visit = this.unvisited.pop();
      if (visit === undefined) break;
      left -= 1 + this.visit(visit.publisherKey, visit.after, cutoff, left);
    }
    return this.unvisited.length > 0 || this.givingUp.length > 0;
  }

  /** Looks at the next of a publisher's records before the cutoff; returns how many. */
  private visit(publisherKey: Buffer, after: number, cutoff: number, limit: number): number {
    const old = this.records.oldestSequences(publisherKey, after, limit, cutoff);
    for (const sequence of old) {
      const record = this.records.find(publisherKey, sequence);
      if (record !== null && record.counts.pending > 0) this.givingUp.push({ record, after: null });
    }
    const last = old.at(-1);
    if (last !== undefined && old.length === limit) this.unvisited.push({ publisherKey, after: last });
    return old.length;
  }
}
