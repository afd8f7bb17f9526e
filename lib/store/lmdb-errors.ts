import { statfsSync } from 'node:fs';
import { CountersignError } from '../base/errors.js';

/** What a failed write says. */
export function writeError(directory: string, cause: unknown): CountersignError {
  const free = freeBytes(directory);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CountersignError(
    'ERR_COUNTERSIGN_DATA_WRITE',
    `cannot write to data directory ${directory}: ${reason}; ${free} bytes are free there. ` +
      'Nothing is lost or acknowledged; writing is tried again every second',
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

function freeBytes(directory: string): number | string {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch (error) {
    return `unknown (${error instanceof Error ? error.message : error})`;
  }
}
