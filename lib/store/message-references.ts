import { assert } from '../base/assert.js';
import type { Message } from '../base/message.js';
import { RecentMap } from '../base/recent-map.js';
import { SequenceMap } from '../base/sequence-map.js';
import { decodeNumber, encodeNumber } from './records.js';
import { messageKey, passingMessageKey } from './records-keys.js';
import { encodeMessage } from './records-message.js';
import { type Store, Table } from './store.js';

type Put = (table: Table, key: Buffer, value: Buffer) => void;

/** Counts kept in the heap at least; others are read again from the store. */
const cachedCounts = 50_000;

/**
 * How many deliveries, retained topics and records need a stored message: its row goes with the last of them. Most
 * have one, and one costs nothing: only a higher count has a row, in table `references`.
 */
export class MessageReferences {
  private readonly store: Store;
  /** Of messages stored or counted lately. */
  private readonly counts = new RecentMap<number, number>(cachedCounts, () => new SequenceMap());

  constructor(store: Store) {
    this.store = store;
  }

  /** Stores a new message. @param references how many will be released, at least 1 */
  putMessage(message: Message, references: number): void {
    this.putRow(message.sequence, encodeMessage(message), references, false);
  }

  /** Stores the row of a message that was deferred. @param put where to: it goes with its own batch */
  putDeferredRow(sequence: number, row: Buffer, references: number, put: Put): void {
    writeRow(sequence, row, references, put, messageKey);
    this.counts.set(sequence, references);
  }

  /** The same for the log, which copies it: the references are counted by the caller. */
  logRow(sequence: number, row: Buffer, references: number, put: Put): void {
    writeRow(sequence, row, references, put, passingMessageKey);
  }

  /** What releasing one of those references changes, for the log. @param left how many there are then */
  logReleased(sequence: number, left: number, put: (table: Table, key: Buffer, value: Buffer | null) => void): void {
    const key = passingMessageKey(sequence);
    if (left === 0) put(Table.messages, key, null);
    else put(Table.references, key, left === 1 ? null : encodeNumber(left));
  }

  /**
   * Stores the row of a new message.
   * @param isLasting true if it most likely stays for long
   */
  putRow(sequence: number, row: Buffer, references: number, isLasting: boolean): void {
    writeRow(sequence, row, references, isLasting ? this.putLasting : this.putPassing, messageKey);
    this.counts.set(sequence, references);
  }

  private readonly putPassing: Put = (table, key, value) => this.store.putNew(table, key, value);

  private readonly putLasting: Put = (table, key, value) => this.store.putNew(table, key, value, true);

  /** @param count further references to a stored message */
  add(sequence: number, count: number): void {
    if (count === 0) return;
    this.writeCount(sequence, this.count(sequence) + count);
  }

  /** Gives one reference back; the last deletes the message. */
  release(sequence: number): void {
    const left = this.count(sequence) - 1;
    if (left > 0) {
      this.writeCount(sequence, left);
      return;
    }
    this.counts.delete(sequence);
    this.store.delete(Table.messages, messageKey(sequence));
  }

  private count(sequence: number): number {
    const cached = this.counts.get(sequence);
    if (cached !== undefined) return cached;
    const stored = this.store.get(Table.references, messageKey(sequence));
    return stored === null ? 1 : decodeNumber(stored);
  }

  private writeCount(sequence: number, count: number): void {
    this.counts.set(sequence, count);
    if (count > 1) this.store.put(Table.references, messageKey(sequence), encodeNumber(count));
    else this.store.delete(Table.references, messageKey(sequence));
  }
}

function writeRow(
  sequence: number,
  row: Buffer,
  references: number,
  put: Put,
  keyOf: (sequence: number) => Buffer,
): void {
  assert(references >= 1, 'a stored message has a reference');
  put(Table.messages, keyOf(sequence), row);
  if (references > 1) put(Table.references, keyOf(sequence), encodeNumber(references));
}
