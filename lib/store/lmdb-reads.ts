import type { BinaryDatabase } from './lmdb-open.js';
import { keyText, type OverlayEntry } from './overlay.js';
import type { StoreEntry } from './store.js';

/** LMDB gives Uint8Arrays for some values: the same bytes as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Rows of a table with what is not committed laid over them: start <= key < end, at most `limit`.
 * @param overlaid uncommitted entries of that range, in the order of keys
 */
export function mergedRange(
  database: BinaryDatabase,
  overlaid: readonly OverlayEntry[],
  start: Buffer,
  end: Buffer | null,
  limit: number,
): StoreEntry[] {
  const found: StoreEntry[] = [];
  let index = 0;
  for (const { key, value } of database.getRange({ start, ...(end === null ? {} : { end }) })) {
    let isOverlaid = false;
    if (index < overlaid.length) {
      const text = keyText(key);
      while (index < overlaid.length && overlaid[index].text <= text) {
        const entry = overlaid[index++];
        if (entry.text === text) isOverlaid = true;
        if (entry.value !== null) found.push({ key: entry.key, value: entry.value });
        if (found.length === limit) return found;
      }
    }
    if (!isOverlaid) found.push({ key: asBuffer(key), value: asBuffer(value) });
    if (found.length === limit) return found;
  }
  for (; index < overlaid.length && found.length < limit; index++) {
    const { key, value } = overlaid[index];
    if (value !== null) found.push({ key, value });
  }
  return found;
}

/** The same from the last row back. */
export function mergedRangeReverse(
  database: BinaryDatabase,
  overlaid: readonly OverlayEntry[],
  start: Buffer,
  end: Buffer,
  limit: number,
): StoreEntry[] {
  const found: StoreEntry[] = [];
  const lowest = keyText(start);
  const highest = keyText(end);
  let index = overlaid.length - 1;
  for (const { key, value } of database.getRange({ start: end, reverse: true })) {
    const text = keyText(key);
    if (text >= highest) continue;
    if (text < lowest) break;
    let isOverlaid = false;
    while (index >= 0 && overlaid[index].text >= text) {
      const entry = overlaid[index--];
      if (entry.text === text) isOverlaid = true;
      if (entry.value !== null) found.push({ key: entry.key, value: entry.value });
      if (found.length === limit) return found;
    }
    if (!isOverlaid) found.push({ key: asBuffer(key), value: asBuffer(value) });
    if (found.length === limit) return found;
  }
  for (; index >= 0 && found.length < limit; index--) {
    const { key, value } = overlaid[index];
    if (value !== null) found.push({ key, value });
  }
  return found;
}

/** How many rows `mergedRange` would give. */
export function mergedCount(
  database: BinaryDatabase,
  overlaid: readonly OverlayEntry[],
  start: Buffer,
  end: Buffer | null,
  limit: number,
): number {
  const atMost = limit + overlaid.length;
  let count = database.getKeysCount({ start, limit: atMost, ...(end === null ? {} : { end }) });
  if (count === atMost) return limit;
  for (const entry of overlaid) {
    const isOnDisk = !entry.absentOnDisk && database.doesExist(entry.key);
    count += (entry.value === null ? 0 : 1) - (isOnDisk ? 1 : 0);
  }
  return Math.min(count, limit);
}
