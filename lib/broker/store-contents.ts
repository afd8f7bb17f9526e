import type { Message } from '../base/message.js';
import { DeliveryState } from '../delivery/table.js';
import { decodeRecord } from '../receipts/record.js';
import { readRecordKey } from '../receipts/record-keys.js';
import { DeliveryKind } from '../session/delivery.js';
import { pages } from '../store/pages.js';
import { decodeDelivery, decodeRetained } from '../store/records.js';
import { messageKey, readDeliveryKey, readMessageKey, readSessionKey } from '../store/records-keys.js';
import { decodeMessage } from '../store/records-message.js';
import { decodeSession, decodeSubscription } from '../store/records-session.js';
import { type Store, type StoreEntry, Table, tableNames } from '../store/store.js';
import { Persistence } from './persistence.js';

/** One thing that a store holds, as plain values for JSON; payloads in base64, times in ms since the epoch. */
export type Content = { readonly type: 'session' | 'subscription' | 'retained' | 'queued' | 'record' } & Readonly<
  Record<string, unknown>
>;

/** A row that can not be read, or that lacks what it refers to. */
export interface Damage {
  readonly table: string;
  /** The row's key in hexadecimal. */
  readonly key: string;
  readonly problem: string;
}

/** Receives what is found, in order. */
export interface ContentSink {
  onContent(content: Content): void;
  onDamage(damage: Damage): void;
}

/**
 * Goes through a store, row by row: sessions, subscriptions, retained messages, waiting deliveries, records. A row that
 * is damaged is told and passed over. Yields now and then, so that the caller can wait for whoever reads.
 */
export function* readContents(store: Store, sink: ContentSink): Generator<void> {
  const persistence = new Persistence(store);
  const names = new Map<number, string>();
  const clientOf = (session: number): string => {
    const name = names.get(session);
    if (name === undefined) throw new Error(`session ${session} is missing`);
    return name;
  };
  const messageOf = (sequence: number): Message => {
    const value = store.get(Table.messages, messageKey(sequence));
    if (value === null) throw new Error(`message ${sequence} is missing`);
    return decodeMessage(sequence, value);
  };
  const readers: readonly [Table, (entry: StoreEntry) => Content | null][] = [
    [
      Table.sessions,
      ({ key, value }) => {
        const { number, will, ...session } = decodeSession(readSessionKey(key), value);
        names.set(number, session.clientId);
        return { type: 'session', ...session, will: will === null ? null : { ...will, ...bytesOf(will) } };
      },
    ],
    [
      Table.subscriptions,
      ({ key, value }) => ({
        ...{ type: 'subscription', clientId: clientOf(key.readUInt32BE(0)) },
        ...decodeSubscription(value),
      }),
    ],
    [
      Table.retainedTopics,
      ({ key, value }) => {
        const { sequence, expiryAtMs } = decodeRetained(readMessageKey(key), value);
        return { type: 'retained', expiryAtMs, ...describe(messageOf(sequence)) };
      },
    ],
    [
      Table.deliveries,
      ({ key, value }) => {
        const { session, sequence } = readDeliveryKey(key);
        const { messageSequence, state, qos, kind } = decodeDelivery(sequence, value);
        // Receipts are in the records; what sessions without expiry leave is swept at the next start.
        if (kind === DeliveryKind.receipt || !names.has(session)) return null;
        const sent = state !== DeliveryState.queued;
        return { type: 'queued', clientId: clientOf(session), sent, ...describe(messageOf(messageSequence)), qos };
      },
    ],
    [
      Table.records,
      ({ key, value }) => {
        const { publisherKey, sequence } = readRecordKey(key);
        const { owner, topicName, requested, qos, acceptedAtMs, matched, counts, finalAtMs, failures } = decodeRecord(
          ...([publisherKey, sequence, value] as const),
        );
        const facts = { sequence, publisher: owner.clientId, topicName, requested, qos, acceptedAtMs };
        return { type: 'record', ...facts, matched, ...counts, finalAtMs, failures };
      },
    ],
  ];
  for (const [table, read] of readers) {
    for (const entry of pages(persistence.store, table)) {
      try {
        const content = read(entry);
        if (content !== null) sink.onContent(content);
      } catch (error) {
        const problem = error instanceof Error ? error.message : String(error);
        sink.onDamage({ table: tableNames[table], key: entry.key.toString('hex'), problem });
      }
      yield;
    }
  }
}

function describe(message: Message): Record<string, unknown> {
  const { sequence, topicName, qos, retain, expiryAtMs, publisherId } = message;
  return { sequence, topicName, qos, retain, expiryAtMs, publisherId, ...bytesOf(message) };
}

/** Payload and properties, the latter in wire form. */
function bytesOf({ payload, properties }: { readonly payload: Buffer; readonly properties: Buffer }) {
  return { payload: payload.toString('base64'), properties: properties.toString('base64') };
}
