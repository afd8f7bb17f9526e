import type { Clock, Wakeup } from '../base/clock.js';
import type { OverlayEntry } from './overlay.js';
import type { DeferredRows, Settlement } from './store.js';
import { keysPerRows, type LoggedTurn } from './turn-log.js';

/** Sealed batches are merged into one transaction up to about this many keys and bytes; one batch is never split. */
const transactionKeysMax = 20_000;
const transactionBytesMax = 32 * 2 ** 20;

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

/** How many of the batches that wait the next transaction takes, from the first on. */
export function countForTransaction(waiting: readonly Batch[]): number {
  let keys = 0;
  let bytes = 0;
  let count = 0;
  while (count < waiting.length && keys < transactionKeysMax && bytes < transactionBytesMax) {
    const { entries, deferred, settlements } = waiting[count++];
    keys += entries.length + keysPerRows * deferred.length + settlements.length;
    for (const entry of entries) bytes += entry.key.length + (entry.value === null ? 0 : entry.value.length);
    for (const rows of deferred) if (!rows.isSettled) bytes += rows.bytes;
  }
  return count;
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
