import { SequenceMap } from '../base/sequence-map.js';
import { DeliveryState } from '../delivery/table.js';
import { DeliveryKind } from '../session/delivery.js';
import { transientSessionBase } from '../session/session.js';
import { pages } from '../store/pages.js';
import { decodeDelivery, decodeNumber, decodeRetained } from '../store/records.js';
import { messageKey, readDeliveryKey, readInboundKey, readMessageKey, readSessionKey } from '../store/records-keys.js';
import { type Store, type StoreEntry, Table, tableNames } from '../store/store.js';
import type { Damage } from './store-contents.js';

/** What is known of one session's deliveries so far; rows come in the order of their sequences. */
interface Flows {
  session: number;
  /** True once a row came that waits: behind it there must be none that was sent. */
  hasWaiting: boolean;
  readonly packetIds: Set<number>;
}

/** Looks for rows that can be read and do not fit together: what a fault of the broker leaves, and not of the disk. */
class StoreAudit {
  private readonly store: Store;
  private readonly onDamage: (damage: Damage) => void;
  private readonly sessions = new Set<number>();
  /** Sessions that have ended and left deliveries, to be swept. */
  private readonly retired = new Set<number>();
  /** How many rows need each message. */
  private readonly needs = new SequenceMap<number>();
  /** True once a row could not be read: what it needs is not known then. */
  private isBlind = false;
  private readonly flows: Flows = { session: -1, hasWaiting: false, packetIds: new Set() };

  constructor(store: Store, onDamage: (damage: Damage) => void) {
    this.store = store;
    this.onDamage = onDamage;
  }

  /** Passes over what can not be decoded: that is told elsewhere. */
  *run(): Generator<void> {
    const steps: readonly [Table, (entry: StoreEntry) => string | null][] = [
      [Table.sessions, ({ key }) => know(this.sessions, key)],
      [Table.retired, ({ key }) => know(this.retired, key)],
      [Table.deliveries, (entry) => this.delivery(entry)],
      [Table.inbound, ({ key }) => this.ofSession(readInboundKey(key).session)],
      [Table.subscriptions, ({ key }) => this.ofSession(key.readUInt32BE(0))],
      [Table.retainedTopics, ({ key, value }) => this.need(decodeRetained(readMessageKey(key), value).sequence)],
      // A fan-out under way keeps its message; the cohort that may stay behind does not.
      [Table.fanOutCursors, ({ key }) => this.need(readMessageKey(key))],
      [Table.messages, (entry) => this.message(entry)],
      [Table.references, (entry) => this.references(entry)],
    ];
    for (const [table, look] of steps) {
      for (const entry of pages(this.store, table)) {
        const problem = this.look(entry, look);
        if (problem !== null) this.onDamage({ table: tableNames[table], key: entry.key.toString('hex'), problem });
        yield;
      }
    }
  }

  private look(entry: StoreEntry, look: (entry: StoreEntry) => string | null): string | null {
    try {
      return look(entry);
    } catch {
      this.isBlind = true;
      return null;
    }
  }

  private delivery({ key, value }: StoreEntry): string | null {
    const { session, sequence } = readDeliveryKey(key);
    // What sessions without expiry leave needs nothing, and is swept at the next start.
    if (session >= transientSessionBase) return null;
    const { messageSequence, state, packetId, kind } = decodeDelivery(sequence, value);
    if (kind !== DeliveryKind.receipt) this.need(messageSequence);
    const { flows } = this;
    if (flows.session !== session) {
      flows.session = session;
      flows.hasWaiting = false;
      flows.packetIds.clear();
    }
    if (state === DeliveryState.queued) {
      flows.hasWaiting = true;
      return this.ofRetired(session);
    }
    if (flows.packetIds.has(packetId)) return `packet identifier ${packetId} is that of an earlier delivery, too`;
    flows.packetIds.add(packetId);
    return flows.hasWaiting ? 'it was sent, and an earlier one waits' : this.ofRetired(session);
  }

  private ofRetired(session: number): string | null {
    return this.retired.has(session) ? null : this.ofSession(session);
  }

  private ofSession(session: number): string | null {
    return this.sessions.has(session) ? null : `there is no session ${session}`;
  }

  private need(sequence: number): null {
    this.needs.set(sequence, (this.needs.get(sequence) ?? 0) + 1);
    return null;
  }

  private message({ key }: StoreEntry): string | null {
    if (this.isBlind) return null;
    const needed = this.needs.get(readMessageKey(key)) ?? 0;
    if (needed === 0) return 'nothing needs it any more';
    const row = this.store.get(Table.references, key);
    const counted = row === null ? 1 : decodeNumber(row);
    return counted === needed ? null : `${needed} rows need it, and ${counted} are counted`;
  }

  private references({ key }: StoreEntry): string | null {
    const sequence = readMessageKey(key);
    const isThere = this.store.get(Table.messages, messageKey(sequence)) !== null;
    return isThere ? null : `message ${sequence} is missing`;
  }
}

/** Goes through a store as `readContents` does, and tells which rows do not fit the others. */
export function auditRows(store: Store, onDamage: (damage: Damage) => void): Generator<void> {
  return new StoreAudit(store, onDamage).run();
}

function know(sessions: Set<number>, key: Buffer): null {
  sessions.add(readSessionKey(key));
  return null;
}
