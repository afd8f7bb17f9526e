import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { CountersignError } from '../base/errors.js';
import { hasUnsynced } from './lmdb-meta.js';

/** Why nothing is written although something still could be. */
export const noRoom = new Error('what is free is kept in reserve');
const diskErrorCode = 5;

/**
 * True for an input/output error that left a transaction committed and not synced. After one nothing more may be
 * written: the system may have dropped pages that it could not sync, and the next sync would succeed without them. A
 * start goes on from what was synced before. (A short write on a full disk is an input/output error, too, to LMDB.)
 */
export function isSyncError(directory: string, cause: unknown): boolean {
  const isDiskError = (cause as { code?: unknown } | null)?.code === diskErrorCode;
  return isDiskError && hasUnsynced(join(directory, 'data.mdb'));
}

/** What a failed write says. */
export function writeError(directory: string, cause: unknown, isFinal: boolean): CountersignError {
  const free = freeBytes(directory);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CountersignError(
    'ERR_COUNTERSIGN_DATA_WRITE',
    `cannot write to data directory ${directory}: ${reason}; ${free} bytes are free there. ` +
      (isFinal
        ? 'Nothing is acknowledged any more; see to the disk and restart the broker, which keeps what it acknowledged'
        : 'Nothing is lost or acknowledged; writing is tried again every second'),
    { cause },
  );
}

/** What a write says that the disk does not confirm. */
export function notFlushedError(directory: string, seconds: number): CountersignError {
  return new CountersignError(
    'ERR_COUNTERSIGN_DATA_WRITE',
    `data directory ${directory}: the disk has not confirmed a write for ${seconds} seconds; ` +
      'check the disk, and restart the broker if it does not recover',
  );
}

/** What a write says whose data file is not where it was opened. */
export function missingFileError(directory: string): CountersignError {
  return new CountersignError(
    'ERR_COUNTERSIGN_DATA_WRITE',
    `data directory ${directory}: data.mdb was removed or replaced while the broker had it open. ` +
      'Nothing is acknowledged until that file is back; if it is lost, restore a copy and restart the broker',
  );
}

function freeBytes(directory: string): number | string {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch (error) {
    return `unknown (${error instanceof Error ? error.message : error})`;
  }
}

/** LMDB's own promise of a transaction may be rejected without a listener: the store has another. */
export function ignoreCommitted(root: { readonly committed: PromiseLike<unknown> }): void {
  root.committed.then(nothing, nothing);
}

function nothing(): void {}
