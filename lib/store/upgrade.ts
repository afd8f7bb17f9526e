import type { RootDatabase } from 'lmdb';
import type { BinaryDatabase } from './lmdb-open.js';

/** The table of format 3 that `moveRetained` empties. */
export const oldRetainedTable = 'retained';
/** Rows moved in one transaction. */
const rowsAtOnce = 10_000;
const sequenceBytes = 8;

/**
 * Moves the rows of retained messages of format 3 to the table of today. They had the topic as their key, and the
 * sequence, which is the key now, at the beginning of the value. Where it is broken off, the next start goes on.
 * @param old emptied
 */
export function moveRetained(
  root: RootDatabase<Buffer, Buffer>,
  old: BinaryDatabase,
  retainedTopics: BinaryDatabase,
): void {
  for (;;) {
    const rows = Array.from(old.getRange({ limit: rowsAtOnce }));
    if (rows.length === 0) return;
    root.transactionSync(() => {
      for (const { key, value } of rows) {
        retainedTopics.put(Buffer.from(value.subarray(0, sequenceBytes)), Buffer.from(value.subarray(sequenceBytes)));
        old.remove(key);
      }
    });
    root.resetReadTxn();
  }
}
