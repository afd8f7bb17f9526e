import type { Store, StoreEntry, Table } from './store.js';

const pageRows = 1000;
const afterKey = Buffer.of(0);
const firstKey = Buffer.alloc(0);

/**
 * Entries with `start <= key < end`, a page at a time; rows may be deleted meanwhile.
 * @param end null for no upper end
 * @param rows of a page
 */
export function* pages(
  store: Store,
  table: Table,
  start: Buffer = firstKey,
  end: Buffer | null = null,
  rows = pageRows,
): Generator<StoreEntry> {
  for (let from = start; ; ) {
    const page = store.range(table, from, end, rows);
    yield* page;
    const last = page[page.length - 1];
    if (last === undefined || page.length < rows) return;
    from = Buffer.concat([last.key, afterKey]);
  }
}
