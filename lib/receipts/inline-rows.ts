import type { Row } from './record.js';

/** One recipient of a small cohort. */
export interface RecipientRow {
  readonly recipientKey: Buffer;
  row: Row;
}

/**
 * The rows of a small cohort, by recipient: few enough to be looked through. Most messages have one recipient, which
 * needs no list.
 */
export class InlineRows {
  private firstKey: Buffer | null = null;
  private firstRow: Row | null = null;
  /** All but the first. */
  private others: RecipientRow[] | null = null;

  get size(): number {
    if (this.firstKey === null) return 0;
    return this.others === null ? 1 : this.others.length + 1;
  }

  get(recipientKey: Buffer): Row | null {
    const { firstKey, others } = this;
    // A session's key is the same object for as long as the session lives.
    if (firstKey === recipientKey || firstKey?.equals(recipientKey)) return this.firstRow;
    return others === null ? null : (find(others, recipientKey)?.row ?? null);
  }

  set(recipientKey: Buffer, row: Row): void {
    const { firstKey } = this;
    if (firstKey === null || firstKey === recipientKey || firstKey.equals(recipientKey)) {
      this.firstKey = recipientKey;
      this.firstRow = row;
      return;
    }
    this.others ??= [];
    const known = find(this.others, recipientKey);
    if (known === null) this.others.push({ recipientKey, row });
    else known.row = row;
  }

  /** Calls back for each in the order in which they came. */
  forEach(visit: (recipientKey: Buffer, row: Row) => void): void {
    const { firstKey, firstRow, others } = this;
    if (firstKey === null || firstRow === null) return;
    visit(firstKey, firstRow);
    if (others !== null) for (const { recipientKey, row } of others) visit(recipientKey, row);
  }

  /** Recipients' keys and rows in the order of keys. */
  inOrder(): RecipientRow[] {
    const all: RecipientRow[] = [];
    this.forEach((recipientKey, row) => {
      all.push({ recipientKey, row });
    });
    return all.sort((one, other) => one.recipientKey.compare(other.recipientKey));
  }
}

function find(rows: readonly RecipientRow[], recipientKey: Buffer): RecipientRow | null {
  for (const known of rows) if (known.recipientKey === recipientKey) return known;
  for (const known of rows) if (known.recipientKey.equals(recipientKey)) return known;
  return null;
}
