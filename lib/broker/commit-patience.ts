import type { Clock, Wakeup } from '../base/clock.js';
import type { Store } from '../store/store.js';
import type { Sizes } from './sizes.js';

/** Commits that do not wait after some did for nothing: twice as many each time, up to this. */
const skippedWaitsMax = 64;

/** What of the open batch is to be committed. */
export const Due = {
  all: 0,
  /** What was there when the wait began that is over now: the rest is to wait in its turn. */
  old: 1,
  nothing: 2,
} as const;
export type Due = (typeof Due)[keyof typeof Due];

type PatienceSizes = Pick<Sizes, 'patientFrom' | 'patienceMs'>;
type Deferring = Pick<Store, 'deferred' | 'uncommitted' | 'countDeferred'>;

/**
 * Whether a commit should wait a little: all it would record is what many recipients are acknowledging right now, and
 * what they have acknowledged need not be recorded. What has waited for long enough is recorded, if it still must be.
 */
export class CommitPatience {
  private readonly clock: Clock;
  private readonly sizes: PatienceSizes;
  private readonly onOver: () => void;
  private wait: Wakeup | null = null;
  private isOver = false;
  /** The first rows of the open batch, which the wait is or was for. */
  private old = 0;
  private toSkip = 0;
  private skipped = 0;

  /** @param onOver called when a wait is over: what has arrived meanwhile is still read before the turn ends */
  constructor(clock: Clock, sizes: PatienceSizes, onOver: () => void) {
    this.clock = clock;
    this.sizes = sizes;
    this.onOver = onOver;
  }

  /** How many rows of the open batch the wait is or was for: its first ones. */
  get rows(): number {
    return this.old;
  }

  /** True while it is waited. */
  get isWaiting(): boolean {
    return this.wait !== null;
  }

  /**
   * Decides at the end of a turn.
   * @param needsCommit true if something waits for the commit that acknowledgements do not bring
   */
  due(store: Deferring, needsCommit: boolean): Due {
    const { deferred } = store;
    if (deferred !== store.uncommitted) return Due.all;
    if (this.isOver) return this.dueAfterWait(store, needsCommit);
    if (this.wait === null && (deferred < this.sizes.patientFrom || this.skips())) return Due.all;
    if (store.countDeferred(deferred) > 0) return Due.nothing;
    this.skipped = 0;
    return Due.all;
  }

  private dueAfterWait(store: Deferring, needsCommit: boolean): Due {
    // If it was for nothing, the next ones would be too.
    const wasForNothing = store.countDeferred(this.old) * 2 > this.old;
    this.skipped = wasForNothing ? Math.min(skippedWaitsMax, Math.max(2, this.skipped * 2)) : 0;
    this.toSkip = this.skipped;
    const isBusy = store.deferred >= this.sizes.patientFrom && store.deferred > this.old;
    return wasForNothing || needsCommit || !isBusy ? Due.all : Due.old;
  }

  private skips(): boolean {
    if (this.toSkip === 0) return false;
    this.toSkip--;
    return true;
  }

  /** The wait for the open batch's rows begins. */
  begin(rows: number): void {
    this.old = rows;
    this.wait = this.clock.after(this.sizes.patienceMs, () => {
      this.wait = null;
      this.isOver = true;
      this.onOver();
    });
  }

  /** Something is committed: nothing is waited for any more. */
  end(): void {
    if (this.wait !== null) this.clock.cancel(this.wait);
    this.wait = null;
    this.isOver = false;
  }
}
