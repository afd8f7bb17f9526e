import fc from 'fast-check';
import type { Message } from '../../lib/base/message.js';
import type { DeliveryState } from '../../lib/delivery/table.js';
import type { Delivery } from '../../lib/session/delivery.js';
import { decodeDelivery, decodeInbound, decodeNumber } from '../../lib/store/records.js';
import { deliveryKey, messageKey, readDeliveryKey, readInboundKey } from '../../lib/store/records-keys.js';
import { encodeMessage } from '../../lib/store/records-message.js';
import { type Store, type StoreEntry, Table } from '../../lib/store/store.js';

/** Below all keys. */
export const first = Buffer.alloc(0);
/** Above them. */
export const end = Buffer.alloc(20, 0xff);
/** More rows than there ever are. */
export const limit = 10_000;
/** Where the walk has rows. */
export const tables = [
  ...[Table.messages, Table.references, Table.deliveries, Table.inbound],
  ...[Table.records, Table.publishers, Table.sessions],
] as const;
/** Of deliveries that no message goes with; its rows are put and deleted like those of other tables. */
export const plainSession = 50;
/** Sessions from this one on are not stored: their deliveries do not need the message. */
export const transientBase = 100;

/** What happens next, and how often. A turn leaves the log with the ninth after it: what can go wrong does so then. */
const weights = {
  ...{ publish: 4, publishRows: 1, advance: 8, settle: 10, keep: 2, release: 3, put: 3, putNew: 3, remove: 4 },
  ...{ hold: 6, free: 6, peek: 4, read: 1, turn: 18, seal: 3, fail: 0.7, retry: 0.7, death: 0.4, reopen: 0.2 },
};
export type Kind = keyof typeof weights;
const kinds = Object.entries(weights).flatMap(([kind, weight]) => new Array(10 * weight).fill(kind) as Kind[]);
export const step = fc.record({ kind: fc.constantFrom(...kinds), which: fc.nat(9_999) });

/** A delivery that is not at its end, as its session has it. */
export interface Open {
  readonly session: number;
  readonly delivery: Delivery;
  state: DeliveryState;
}

/** What a batch leaves. */
export interface Snapshot {
  /** States of open deliveries. */
  readonly open: ReadonlyMap<string, DeliveryState>;
  /** By message: references that no open delivery has. */
  readonly kept: ReadonlyMap<number, number>;
  /** Rows that are nothing but rows. */
  readonly rows: ReadonlyMap<string, Plain>;
}

/** A row that is nothing but a row. */
export interface Plain {
  readonly table: Table;
  readonly key: Buffer;
  readonly value: string;
}

/** Where one of few plain rows is. */
export function plainPlace(which: number): Pick<Plain, 'table' | 'key'> {
  const at = which % 4;
  const places: readonly Pick<Plain, 'table' | 'key'>[] = [
    { table: Table.records, key: Buffer.alloc(13, at) },
    { table: Table.sessions, key: Buffer.alloc(3, at) },
    { table: Table.deliveries, key: deliveryKey(plainSession, at) },
  ];
  return places[(which >> 2) % places.length] as Pick<Plain, 'table' | 'key'>;
}

/** Puts it in one of the ways that there are. */
export function putPlain(store: Store, { table, key, value }: Plain, isNew: boolean, which: number): void {
  const bytes = Buffer.from(value);
  if (which % 5 === 0) store.putLasting(table, key, bytes, isNew);
  else if (isNew) store.putNew(table, key, bytes, which % 5 === 1);
  else store.put(table, key, bytes);
}

/**
 * A message is as large as its number says: large enough for its table at once, so by its topic only, or small. Of the
 * second kind are those that were once written to the log and to the table.
 */
export function messageOf(sequence: number): Message {
  const payload = Buffer.alloc(sequence % 5 === 0 ? 5_000 : sequence % 5 === 1 ? 4_000 : 10);
  const topicName = 'a'.repeat(sequence % 5 === 1 ? 200 : 1);
  return {
    ...{ sequence, topicName, payload, properties: first, qos: 2, retain: false },
    ...{ expiryAtMs: 0, publisherId: 'p', tracked: false },
  };
}

/** What a store must hold, by table: each row as its key in hex and what is to be known of it. */
export function expected(
  open: readonly Open[],
  kept: ReadonlyMap<number, number>,
  rows: Iterable<Plain>,
): ReadonlyMap<Table, string[]> {
  const wanted = new Map<Table, string[]>(tables.map((table) => [table, []]));
  const put = (table: Table, key: Buffer, what: string) => wanted.get(table)?.push(rowName(key, what));
  const needs = new Map(kept);
  for (const { session, delivery, state } of open) {
    put(Table.deliveries, deliveryKey(session, delivery.sequence), `state ${state}`);
    if (session < transientBase) needs.set(delivery.sequence, (needs.get(delivery.sequence) ?? 0) + 1);
  }
  for (const [sequence, count] of needs) {
    put(Table.messages, messageKey(sequence), `${encodeMessage(messageOf(sequence)).length} bytes`);
    if (count > 1) put(Table.references, messageKey(sequence), `${count} references`);
  }
  for (const { table, key, value } of rows) put(table, key, value);
  for (const names of wanted.values()) names.sort();
  return wanted;
}

/** What is to be known of a held packet identifier. */
export const heldName = (sequence: number): string => `held ${sequence}`;
/** A row's name among those of all tables. */
export const nameOf = (table: Table, key: Buffer): string => `${table} ${key.toString('hex')}`;
const rowName = (key: Buffer, what: string): string => `${key.toString('hex')} ${what}`;

/** What is to be known of a row that was found. */
export function rowOf(table: Table): (entry: StoreEntry) => string {
  return ({ key, value }) => {
    if (table === Table.messages) return rowName(key, `${value.length} bytes`);
    if (table === Table.references) return rowName(key, `${decodeNumber(value)} references`);
    if (table === Table.inbound)
      return rowName(key, heldName(decodeInbound(readInboundKey(key).packetId, value).sequence));
    if (table !== Table.deliveries) return rowName(key, String(value));
    const { session, sequence } = readDeliveryKey(key);
    return rowName(key, session === plainSession ? String(value) : `state ${decodeDelivery(sequence, value).state}`);
  };
}

/** Throws unless the two lists are the same. */
export function same(found: readonly string[], wanted: readonly string[], when: string): void {
  if (found.length === wanted.length && found.every((row, at) => row === wanted[at])) return;
  const missing = wanted.filter((row) => !found.includes(row));
  const tooMany = found.filter((row) => !wanted.includes(row));
  throw new Error(`${when}: missing: ${missing.join(', ')}; too many: ${tooMany.join(', ')}`);
}

/**
 * Compares rows with what they must be.
 * @param early deliveries at QoS 1 that ended after their batch was sealed, and before it was told: it may have been
 *   written without them
 * @returns the deliveries among them
 */
export function examine(
  { open, kept, rows }: Snapshot,
  early: ReadonlySet<string>,
  rowsOf: (table: Table) => StoreEntry[],
  when: string,
): Open[] {
  const found = new Map<string, Open>();
  for (const { key, value } of rowsOf(Table.deliveries)) {
    const { session, sequence } = readDeliveryKey(key);
    if (session === plainSession) continue;
    const { state: number, ...facts } = decodeDelivery(sequence, value);
    const state = number as DeliveryState;
    const name = `${session}/${sequence}`;
    found.set(name, { session, delivery: { ...facts, message: null } as Delivery, state });
    if (!open.has(name)) throw new Error(`${when}: delivery ${name} is back from the dead`);
    if (state !== open.get(name)) throw new Error(`${when}: delivery ${name} has state ${state}`);
  }
  for (const name of open.keys()) {
    if (!early.has(name) && !found.has(name)) throw new Error(`${when}: delivery ${name} is lost`);
  }
  const deliveries = [...found.values()];
  for (const [table, wanted] of expected(deliveries, kept, rows.values())) {
    same(rowsOf(table).map(rowOf(table)).sort(), wanted, `${when}: table ${table}`);
  }
  return deliveries;
}
