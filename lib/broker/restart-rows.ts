import type { Session } from '../session/session.js';
import type { Subscription } from '../session/subscription.js';
import { pages } from '../store/pages.js';
import { decodeRetained, encodeRetained, type StoredRetained } from '../store/records.js';
import { messageKey, readMessageKey, readSessionKey, sessionKey, subscriptionKey } from '../store/records-keys.js';
import {
  decodeSession,
  decodeSubscription,
  encodeSession,
  encodeSubscription,
  type StoredSession,
  type StoredSubscription,
} from '../store/records-session.js';
import { type Store, Table } from '../store/store.js';

/**
 * Rows that nobody but a restart reads: sessions, their subscriptions, and which topics have a retained message. What
 * the broker runs on is in memory, so a store that dies with the process is not given them.
 */
export class RestartRows {
  private readonly store: Store;

  constructor(store: Store) {
    this.store = store;
  }

  putSession(session: Session): void {
    if (!this.store.outlivesProcess) return;
    const { number, clientId, userName, expirySeconds, disconnectedAtMs, version, will, willDueAtMs } = session;
    const stored = { number, clientId, userName, expirySeconds, disconnectedAtMs, will, willDueAtMs };
    this.store.put(Table.sessions, sessionKey(number), encodeSession({ ...stored, protocolVersion: version }));
  }

  /** With its subscriptions. */
  deleteSession({ number, subscriptions }: Session): void {
    if (!this.store.outlivesProcess) return;
    this.store.delete(Table.sessions, sessionKey(number));
    for (const { topicFilter } of subscriptions.values()) this.deleteSubscription(number, topicFilter);
  }

  putSubscription(subscription: Subscription): void {
    if (!this.store.outlivesProcess) return;
    const key = subscriptionKey(subscription.session.number, subscription.topicFilter);
    this.store.put(Table.subscriptions, key, encodeSubscription(subscription));
  }

  deleteSubscription(session: number, topicFilter: string): void {
    if (!this.store.outlivesProcess) return;
    this.store.delete(Table.subscriptions, subscriptionKey(session, topicFilter));
  }

  /** Of a new message. Its number is the key, so that rows come behind each other: by topic they would be all over. */
  putRetained({ topicName, sequence, expiryAtMs }: StoredRetained): void {
    if (!this.store.outlivesProcess) return;
    this.store.putNew(Table.retainedTopics, messageKey(sequence), encodeRetained(topicName, expiryAtMs), true);
  }

  deleteRetained(sequence: number): void {
    if (!this.store.outlivesProcess) return;
    this.store.delete(Table.retainedTopics, messageKey(sequence));
  }

  *sessions(): Generator<StoredSession> {
    for (const { key, value } of pages(this.store, Table.sessions)) yield decodeSession(readSessionKey(key), value);
  }

  /** Those of all sessions, by session. */
  *subscriptions(): Generator<{ session: number; subscription: StoredSubscription }> {
    for (const { key, value } of pages(this.store, Table.subscriptions)) {
      yield { session: key.readUInt32BE(0), subscription: decodeSubscription(value) };
    }
  }

  *retained(): Generator<StoredRetained> {
    for (const { key, value } of pages(this.store, Table.retainedTopics)) {
      yield decodeRetained(readMessageKey(key), value);
    }
  }
}
