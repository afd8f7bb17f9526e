import type { BrokerCore } from '../../lib/broker/broker-core.js';
import { auditRows } from '../../lib/broker/store-audit.js';
import { type Damage, readContents } from '../../lib/broker/store-contents.js';
import { DeliveryState } from '../../lib/delivery/table.js';
import type { Row, TrackedRecord } from '../../lib/receipts/record.js';
import { ReceiptState, stateNames } from '../../lib/receipts/states.js';
import { DeliveryKind } from '../../lib/session/delivery.js';
import type { Session } from '../../lib/session/session.js';
import { messageKey } from '../../lib/store/records-keys.js';
import { type Store, Table } from '../../lib/store/store.js';
import type { Verdicts } from './verdicts.js';

/** A record with the rows of its recipients. */
export interface Whole {
  readonly record: TrackedRecord;
  readonly rows: readonly Row[];
  readonly id: string;
}

/** What has expired may wait this much longer: it goes in slices. */
const expiryGraceMs = 2000;

/** Every record that the broker has. */
export function recordsOf({ context }: BrokerCore): Whole[] {
  const { records, tracker } = context;
  return records.publisherKeys().flatMap((key) =>
    records.oldestSequences(key, 0, 100_000).flatMap((sequence) => {
      const record = records.find(key, sequence);
      if (record === null) return [];
      const rows = records.rowsAfter(record, null, 1000).map(({ row }) => row);
      return [{ record, rows, id: tracker.id(sequence) }];
    }),
  );
}

/** Looks into the broker: what it has in memory and in its store must agree, whatever has happened. */
export class Audit {
  private readonly verdicts: Verdicts;
  /** When the broker started that is watched. */
  private startedAtMs = 0;

  constructor(verdicts: Verdicts) {
    this.verdicts = verdicts;
  }

  /** Looks on while records are pruned: the outcomes of one that is finished have been told. */
  watch({ context }: BrokerCore): void {
    const { records, clock } = context;
    this.startedAtMs = clock.now();
    const remove = records.remove.bind(records);
    records.remove = (record, rows) => {
      const { topicName, counts } = record;
      if (counts.pending > 0) {
        this.verdicts.broken('exactly one outcome', `the record of ${topicName} goes with ${counts.pending} pending`);
      }
      return remove(record, rows);
    };
  }

  private checkBounds({ context }: BrokerCore): void {
    const { sessions, settings, records } = context;
    const { maximumQueuedMessages, maximumQueuedBytes, receipts } = settings;
    const need = (isSo: boolean, what: string): void => {
      if (!isSo) this.verdicts.broken('queues and records within bounds', what);
    };
    for (const { clientId, queueKnown, queueLength, waitingReceipts, queue } of sessions.values()) {
      const waiting = queueLength - waitingReceipts;
      if (queueKnown && maximumQueuedMessages > 0) {
        need(waiting <= maximumQueuedMessages, `${waiting} messages wait for ${clientId}`);
      }
      if (maximumQueuedBytes > 0) need(queue.bytes <= maximumQueuedBytes, `${queue.bytes} bytes wait for ${clientId}`);
    }
    need(records.size <= receipts.maxRecords, `${records.size} records`);
    for (const publisherKey of records.publisherKeys()) {
      const size = records.sizeOf(publisherKey);
      need(size <= receipts.maxRecordsPerPublisher, `${size} records of one publisher`);
    }
  }

  /** What holds after every step, and costs next to nothing to look at. */
  quick({ context }: BrokerCore): void {
    for (const session of context.sessions.values()) {
      const { clientId, link, sendQuota, sendQuotaMax, inflightCount, unpaidIds } = session;
      if (link === null) continue;
      const paid = inflightCount - (unpaidIds?.size ?? 0);
      if (sendQuota < 0 || sendQuota + paid !== sendQuotaMax) {
        const text = `${clientId} has a quota of ${sendQuota} of ${sendQuotaMax} with ${paid} in flight`;
        this.verdicts.broken('windows within bounds', text);
      }
      const { receiveMaximum } = context.settings;
      if (link.version === 5 && link.unansweredPublishes + session.inboundCount > receiveMaximum) {
        this.verdicts.broken('windows within bounds', `${clientId} has more than ${receiveMaximum} publishes open`);
      }
      if (link.unansweredPublishes < 0) {
        this.verdicts.broken('windows within bounds', `${clientId} has ${link.unansweredPublishes} publishes open`);
      }
    }
  }

  /** Everything: rows of the store against each other, and against what is in memory. */
  thorough(core: BrokerCore): void {
    const { context } = core;
    const { store } = context.persistence;
    // As whoever reads them does.
    context.turns.begin();
    context.unrecorded.recordAll();
    this.checkRows(store);
    const sessions = [...context.persistence.restartRows.sessions()].length;
    if (sessions !== context.storedSessions.size) {
      this.verdicts.broken('memory and store agree', `${context.storedSessions.size} sessions, stored are ${sessions}`);
    }
    for (const session of context.storedSessions.values()) this.checkSession(core, session);
    this.checkBounds(core);
    for (const whole of recordsOf(core)) this.checkRecord(core, whole);
  }

  /** The rows of the store fit together. */
  private checkRows(store: Store): void {
    const onDamage = ({ table, key, problem }: Damage): void =>
      this.verdicts.broken('rows of the store fit together', `${table} ${key}: ${problem}`);
    for (const _ of readContents(store, { onDamage, onContent: () => undefined }));
    for (const _ of auditRows(store, onDamage));
  }

  /** A session in memory and its rows say the same. */
  private checkSession(core: BrokerCore, session: Session): void {
    const { persistence } = core.context;
    const { clientId, number } = session;
    const rows = persistence.readDeliveries(number, 0, Number.MAX_SAFE_INTEGER);
    const stored = [...persistence.restartRows.subscriptions()].filter((row) => row.session === number);
    const filters = stored.map(({ subscription }) => subscription.topicFilter);
    const known = [...session.subscriptions.values()].map(({ topicFilter }) => topicFilter);
    if (filters.sort().join() !== known.sort().join()) {
      this.verdicts.broken('memory and store agree', `${clientId} has ${known}, stored are ${filters}`);
    }
    if (session.queueKnown) {
      const waiting = rows.filter(({ state }) => state === DeliveryState.queued);
      const queued = waiting.length;
      const bytes = waiting.reduce((sum, { payloadBytes }) => sum + payloadBytes, 0);
      if (bytes !== session.queue.bytes) {
        this.verdicts.broken(
          'memory and store agree',
          `${clientId} has ${session.queue.bytes} bytes waiting, ${bytes}`,
        );
      }
      if (queued !== session.queueLength) {
        this.verdicts.broken(
          'memory and store agree',
          `${clientId} has ${session.queueLength} waiting, ${queued} rows`,
        );
      }
    }
    this.checkQueue(core, session);
    if (session.link !== null) this.checkInflight(session, rows);
    if (!session.restored) {
      const held = persistence.readInbound(number).filter(({ kind }) => kind === 0);
      const stored = held.map(({ packetId }) => packetId).sort();
      const open = session.inboundCount === 0 ? [] : [...session.inbound.packetIds()].sort();
      if (stored.join() !== open.join()) {
        this.verdicts.broken('memory and store agree', `${clientId} holds ${open}, stored are ${stored}`);
      }
    }
  }

  /** What is counted of a queue is what waits in it, and nothing waits that has expired. */
  private checkQueue(
    { context: { persistence, clock } }: BrokerCore,
    { clientId, queueKnown, queue, number }: Session,
  ): void {
    let bytes = 0;
    for (const { state, kind, messageSequence } of persistence.readDeliveries(number, 0, Number.MAX_SAFE_INTEGER)) {
      if (state !== DeliveryState.queued || kind === DeliveryKind.receipt) continue;
      const { payload, expiryAtMs } = persistence.readMessage(messageSequence) ?? { payload: [], expiryAtMs: 0 };
      bytes += payload.length;
      if (expiryAtMs > 0 && Math.max(expiryAtMs, this.startedAtMs) + expiryGraceMs < clock.now()) {
        this.verdicts.broken('nothing waits that has expired', `${payload} waits for ${clientId}`);
      }
    }
    if (!queueKnown || bytes === queue.bytes) return;
    this.verdicts.broken('memory and store agree', `${queue.bytes} bytes wait for ${clientId}, stored are ${bytes}`);
  }

  private checkInflight(
    { clientId, outbound }: Session,
    rows: readonly { sequence: number; state: DeliveryState; packetId: number }[],
  ): void {
    const stored = rows.filter(({ packetId }) => packetId > 0);
    const open = outbound.inOrder();
    const isSame = stored.every(
      ({ packetId, state, sequence }) => outbound.state(packetId) === state && outbound.sequence(packetId) === sequence,
    );
    if (isSame && stored.length === open.length) return;
    const text = stored.map(({ packetId, state }) => `${packetId} in state ${state}`).join(', ');
    this.verdicts.broken('memory and store agree', `${clientId} has ${open} in flight, stored are ${text}`);
  }

  /** Every delivery has one state, and the tally is their sum. */
  private checkRecord({ context }: BrokerCore, { record, rows }: Whole): void {
    const { topicName, matched, counts } = record;
    // The stored cohort speaks for recipients that have no rows yet, or will with the commit that waits for it.
    const key = messageKey(record.sequence);
    const has = (table: Table): boolean => context.persistence.store.get(table, key) !== null;
    const stands = has(Table.fanOuts) || (context.turns.isHeld && has(Table.fanOutCursors));
    const pending = stands ? matched - rows.length : 0;
    if (rows.length + pending !== matched || pending < 0) {
      this.verdicts.broken('every tally adds up', `${topicName}: ${rows.length} rows of ${matched}`);
    }
    const found = { processed: 0, delivered: 0, sent: 0, failed: 0, pending };
    for (const { state, final } of rows) {
      const name = stateNames[state];
      if (!final) found.pending++;
      else if (name === 'processed' || name === 'delivered' || name === 'sent') found[name]++;
      else found.failed++;
      if (final && state < ReceiptState.sent) {
        this.verdicts.broken('exactly one outcome', `${topicName}: ${name} is no outcome`);
      }
    }
    const said = JSON.stringify({ ...found, ...counts });
    if (JSON.stringify(found) !== said) {
      this.verdicts.broken('every tally adds up', `${topicName}: rows ${JSON.stringify(found)}, counts ${said}`);
    }
    if (record.finalAtMs > 0 !== (found.pending === 0)) {
      this.verdicts.broken(
        'every tally adds up',
        `${topicName}: final at ${record.finalAtMs}, ${found.pending} pending`,
      );
    }
  }
}
