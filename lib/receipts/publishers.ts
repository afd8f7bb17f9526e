import { ByteReader, ByteWriter } from '../base/bytes.js';
import { pages } from '../store/pages.js';
import { type Store, Table } from '../store/store.js';
import { encodeSegment, serverSegment } from './names.js';
import type { Owner } from './record.js';

interface Publisher {
  readonly key: Buffer;
  readonly owner: Owner;
  readonly segment: string;
  records: number;
}

/** Who has records of tracked messages, and how many. */
export class Publishers {
  private readonly store: Store;
  /** By key, as latin1. */
  private readonly byKey = new Map<string, Publisher>();
  private readonly bySegment = new Map<string, Set<Publisher>>();
  private readonly changed = new Set<Publisher>();
  private count = 0;
  /** The key asked for last, as text: most are asked for several times in a row. */
  private lastKey: Buffer | null = null;
  private lastText = '';

  constructor(store: Store) {
    this.store = store;
    for (const { key, value } of pages(store, Table.publishers)) {
      const reader = new ByteReader(value);
      const byServer = reader.u8() === 1;
      const owner = { byServer, clientId: reader.string(), userName: reader.optionalString() };
      this.count += this.register(Buffer.from(key), owner, reader.varint()).records;
    }
  }

  /** Records of all publishers. */
  get records(): number {
    return this.count;
  }

  /** Records of one publisher. */
  recordsOf(publisherKey: Buffer): number {
    return this.byKey.get(this.textOf(publisherKey))?.records ?? 0;
  }

  /** Keys of those whose receipts have this segment in their topics. */
  named(segment: string): Buffer[] {
    return [...(this.bySegment.get(segment) ?? [])].map(({ key }) => key);
  }

  keys(): Buffer[] {
    return [...this.byKey.values()].map(({ key }) => key);
  }

  /** Counts a new record. */
  add(publisherKey: Buffer, owner: Owner): void {
    const publisher = this.byKey.get(this.textOf(publisherKey)) ?? this.register(publisherKey, owner, 0);
    publisher.records++;
    this.count++;
    this.changed.add(publisher);
  }

  /** Counts a record that is removed. */
  remove(publisherKey: Buffer): void {
    const text = this.textOf(publisherKey);
    const publisher = this.byKey.get(text);
    if (publisher === undefined) return;
    publisher.records--;
    this.count--;
    if (publisher.records > 0) {
      this.changed.add(publisher);
      return;
    }
    this.changed.delete(publisher);
    this.store.delete(Table.publishers, publisherKey);
    this.byKey.delete(text);
    const named = this.bySegment.get(publisher.segment);
    named?.delete(publisher);
    if (named?.size === 0) this.bySegment.delete(publisher.segment);
  }

  /** Puts the counts that have changed: only a restart reads them. */
  putChanges(): void {
    if (this.changed.size === 0) return;
    if (this.store.outlivesProcess) for (const publisher of this.changed) this.put(publisher);
    this.changed.clear();
  }

  private put({ key, owner, records }: Publisher): void {
    const value = new ByteWriter()
      .u8(owner.byServer ? 1 : 0)
      .string(owner.clientId)
      .optionalString(owner.userName);
    this.store.put(Table.publishers, key, value.varint(records).finish());
  }

  private register(key: Buffer, owner: Owner, records: number): Publisher {
    const segment = owner.byServer ? serverSegment : encodeSegment(owner.clientId);
    const publisher = { key, owner, segment, records };
    this.byKey.set(this.textOf(key), publisher);
    const named = this.bySegment.get(segment) ?? new Set();
    this.bySegment.set(segment, named.add(publisher));
    return publisher;
  }

  private textOf(publisherKey: Buffer): string {
    if (publisherKey !== this.lastKey) {
      this.lastKey = publisherKey;
      this.lastText = publisherKey.toString('latin1');
    }
    return this.lastText;
  }
}
