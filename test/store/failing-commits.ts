import type { Clock, Wakeup } from '../../lib/base/clock.js';
import type { LmdbStore } from '../../lib/store/lmdb-store.js';

/** A clock whose wake-ups are called by the test. */
export interface StillClock extends Clock {
  readonly wakeups: Map<Wakeup, () => void>;
}

export function stillClock(): StillClock {
  const wakeups = new Map<Wakeup, () => void>();
  return {
    wakeups,
    now: () => 0,
    after(delayMs, callback) {
      const wakeup = { dueAtMs: delayMs };
      wakeups.set(wakeup, callback);
      return wakeup;
    },
    cancel: (wakeup) => void wakeups.delete(wakeup),
    endOfTurn: (callback) => void setImmediate(callback),
  };
}

/** What fails the transactions of a store, and tries them again. */
export interface FailingCommits {
  /** While true, transactions that begin do not reach LMDB, and fail. */
  isFailing: boolean;
  /** Resolves once the next transaction has failed. */
  failed(): Promise<void>;
  /** What the store does a second after a failure. */
  retry(): void;
}

/** The delay of the wake-up that tries again. */
const retryAfterMs = 1_000;

/** @param clock the store's */
export function failCommits(store: LmdbStore, { wakeups }: StillClock): FailingCommits {
  const retries = () => [...wakeups].filter(([{ dueAtMs }]) => dueAtMs === retryAfterMs);
  const control: FailingCommits = {
    isFailing: false,
    async failed() {
      while (retries().length === 0) await new Promise((resolve) => setImmediate(resolve));
    },
    retry() {
      for (const [wakeup, callback] of retries()) {
        wakeups.delete(wakeup);
        callback();
      }
    },
  };
  // One promise for all writes of a turn, as lmdb-js has it.
  let failure: Promise<never> | null = null;
  const fail = (): Promise<never> => {
    // Not at once: what is being written is read meanwhile, too.
    failure ??= new Promise((_, reject) => setImmediate(() => reject(new Error('a failure that is played'))));
    queueMicrotask(() => {
      failure = null;
    });
    return failure;
  };
  // biome-ignore lint/complexity/useLiteralKeys: a private member, reached on purpose
  for (const table of store['tables']) {
    for (const name of ['put', 'remove'] as const) {
      const write = table[name] as (...row: unknown[]) => Promise<boolean>;
      const value = (...row: unknown[]) => (control.isFailing ? fail() : write.apply(table, row));
      Object.defineProperty(table, name, { value });
    }
  }
  return control;
}
