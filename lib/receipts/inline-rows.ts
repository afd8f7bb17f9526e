import type { Row } from './record.js';

/** The rows of a small cohort, by recipient: few enough to be looked through. */
export class InlineRows {
  readonly keys: Buffer[] = [];
  readonly rows: Row[] = [];

  get size(): number {
    return this.rows.length;
  }

  get(recipientKey: Buffer): Row | null {
    const at = this.find(recipientKey);
    return at === -1 ? null : (this.rows[at] as Row);
  }

  set(recipientKey: Buffer, row: Row): void {
    const at = this.find(recipientKey);
    if (at !== -1) {
      this.rows[at] = row;
      return;
    }
    this.keys.push(recipientKey);
    this.rows.push(row);
  }

  /** Recipients' keys and rows in the order of keys. */
  inOrder(): { recipientKey: Buffer; row: Row }[] {
    const all = this.keys.map((recipientKey, at) => ({ recipientKey, row: this.rows[at] as Row }));
    return all.sort((one, other) => one.recipientKey.compare(other.recipientKey));
  }

  private find(recipientKey: Buffer): number {
    const { keys } = this;
    // A session's key is the same object for as long as the session lives.
    for (let at = 0; at < keys.length; at++) if (keys[at] === recipientKey) return at;
    for (let at = 0; at < keys.length; at++) if (keys[at]?.equals(recipientKey)) return at;
    return -1;
  }
}
