import type { Clock, Wakeup } from '../base/clock.js';
import type { OverlayEntry } from './overlay.js';
import type { DeferredRows, Settlement } from './store.js';
import type { LoggedTurn } from './turn-log.js';

/** Puts and deletes that are atomic together. */
export interface Batch {
  readonly number: number;
  readonly entries: OverlayEntry[];
  /** What is written with the entries, if it is still needed then. */
  deferred: readonly DeferredRows[];
  readonly settlements: readonly Settlement[];
  readonly done: () => void;
}

/** Batches that are handed to LMDB as one. */
export interface Transaction {
  readonly batches: readonly Batch[];
  /** The transaction's own turn of the log, and the older ones that it retires. */
  logged: LoggedTurn | null;
  retired: readonly LoggedTurn[];
  isFlushed: boolean;
  wakeup: Wakeup | null;
}

/** How a store is opened. */
export interface LmdbStoreOptions {
  /** Created if absent; belongs to one store at a time. */
  readonly directory: string;
  readonly durability: 'flushed' | 'committed';
  readonly clock: Clock;
  /** Address space to reserve for the map; default 64 GiB. Not a limit: LMDB enlarges the map when it is full. */
  readonly mapSizeBytes?: number;
}
