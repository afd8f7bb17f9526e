import { SequenceMap } from '../base/sequence-map.js';
import { type Store, Table } from '../store/store.js';
import type { SoleRecord } from './sole-record.js';
import { soleRecordBytes, soleRecordKey } from './sole-record-bytes.js';

/** The sole records that stand for theirs, from acceptance until the end of the turn in which they are delivered. */
export class SoleRecords {
  private readonly store: Store;
  private bySequence = new SequenceMap<SoleRecord>();
  /** Those delivered in this turn; of some a record may have been made since. */
  private delivered: SoleRecord[] = [];

  constructor(store: Store) {
    this.store = store;
  }

  get size(): number {
    return this.bySequence.size;
  }

  has(sequence: number): boolean {
    return this.bySequence.get(sequence) !== undefined;
  }

  /** Takes up one that was accepted. A store that outlives the process gets its row with those of its delivery. */
  add(sole: SoleRecord): void {
    this.bySequence.set(sole.sequence, sole);
    if (sole.carrier !== null) sole.isStored = true;
  }

  /** One was delivered: `putDelivered` puts it. */
  deliver(sole: SoleRecord): void {
    this.delivered.push(sole);
  }

  /** Puts those that were delivered and lets go of them: hardly anything will happen to them any more. */
  putDelivered(): void {
    const { delivered } = this;
    for (let at = 0; at < delivered.length; at++) {
      const sole = delivered[at] as SoleRecord;
      if (!sole.stands) continue;
      this.put(sole);
      sole.stands = false;
      this.bySequence.delete(sole.sequence);
    }
    delivered.length = 0;
  }

  /** Lets go of one of which a record is to be made; null if there is none. */
  take(publisherKey: Buffer, sequence: number): SoleRecord | null {
    const sole = this.bySequence.get(sequence);
    if (sole === undefined) return null;
    const known = sole.publisherKey;
    if (known !== publisherKey && !known.equals(publisherKey)) return null;
    this.bySequence.delete(sequence);
    letGo(sole);
    return sole;
  }

  /** Lets go of all of them. @param visit gets each, in the order of sequences */
  takeAll(visit: (sole: SoleRecord) => void): void {
    const { bySequence } = this;
    this.bySequence = new SequenceMap();
    bySequence.forEach(0, Number.MAX_SAFE_INTEGER, (_sequence, sole) => {
      letGo(sole);
      visit(sole);
      return true;
    });
  }

  private put(sole: SoleRecord): void {
    this.store.putLasting(Table.records, soleRecordKey(sole), soleRecordBytes.encode(sole), !sole.isStored);
    sole.isStored = true;
  }
}

/** An earlier batch has to say what was before the record changes. */
function letGo(sole: SoleRecord): void {
  sole.carrier?.releaseRecord();
  sole.stands = false;
}
