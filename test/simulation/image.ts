import type { Packet } from 'mqtt-packet';
import { DeliveryState } from '../../lib/delivery/table.js';
import { parseReceiptId } from '../../lib/receipts/receipt-id.js';
import { readRecordKey } from '../../lib/receipts/record-keys.js';
import type { Session } from '../../lib/session/session.js';
import { decodeDelivery } from '../../lib/store/records.js';
import { deliveryKey, inboundKey, readSessionKey, sessionKey, subscriptionKey } from '../../lib/store/records-keys.js';
import { decodeSession } from '../../lib/store/records-session.js';
import { type Store, Table } from '../../lib/store/store.js';
import type { Operation } from '../helpers/crash-store.js';
import type { Verdicts } from './verdicts.js';

const looked: readonly Table[] = [Table.sessions, Table.subscriptions, Table.deliveries, Table.inbound];
const textOf = (key: Buffer): string => key.toString('latin1');

/** What a restart would find by what the store has reported so far: whatever leaves the broker must be in it. */
export class DurableImage {
  private readonly verdicts: Verdicts;
  private readonly tables = new Map(looked.map((table) => [table, new Map<string, Buffer>()]));

  /** Sequences of records that are there, or were. */
  private readonly recorded = new Set<number>();

  constructor(verdicts: Verdicts) {
    this.verdicts = verdicts;
  }

  /** Begins with what a store holds that has just been opened. */
  reset(store: Store): void {
    for (const [table, rows] of this.tables) {
      rows.clear();
      for (const { key, value } of store.range(table, Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER)) {
        rows.set(textOf(key), value);
      }
    }
    // What was there before may have been pruned since, and its message still be in flight.
    for (const { key } of store.range(Table.records, Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER)) {
      this.recorded.add(readRecordKey(key).sequence);
    }
  }

  onDurable({ table, key, value }: Operation): void {
    // A record may be pruned in the transaction that makes it: that it goes shows that it was.
    if (table === Table.records) this.recorded.add(readRecordKey(key).sequence);
    if (value === null) this.tables.get(table)?.delete(textOf(key));
    else this.tables.get(table)?.set(textOf(key), value);
  }

  /**
   * The broker writes a packet to the connection of a session.
   * @param filters of the request that the packet answers
   */
  check(session: Session, packet: Packet, filters: readonly string[]): void {
    const { number, clientId, inbound, outbound } = session;
    const need = (isSo: boolean, what: string): void => {
      if (!isSo) this.verdicts.broken('acknowledged after recorded', `${clientId} is told of ${what} on the disk`);
    };
    if (packet.cmd === 'connack') this.checkSession(session, packet.sessionPresent);
    if (packet.cmd === 'publish') {
      const id = packet.properties?.userProperties?.['receipt-id']?.toString() ?? null;
      if (id !== null) need(this.hasRecord(id), `a message with receipt-id ${id}, whose record is not`);
    }
    if (!session.stored) return;
    const packetId = packet.messageId ?? 0;
    const isHeld = this.has(Table.inbound, inboundKey(number, packetId));
    switch (packet.cmd) {
      case 'suback':
      case 'unsuback':
        for (const filter of filters) {
          const isStored = this.has(Table.subscriptions, subscriptionKey(number, filter));
          // What has been decided since then may be otherwise.
          const isOver = session.subscriptions.has(filter) !== (packet.cmd === 'suback');
          need(isOver || isStored === (packet.cmd === 'suback'), `${packet.cmd} for ${filter}, which is not so`);
        }
        break;
      case 'pubrec':
        if (inbound.find(packetId) !== undefined) need(isHeld, `PUBREC ${packetId}, which is not`);
        break;
      case 'pubcomp':
        if (inbound.find(packetId) === undefined) need(!isHeld, `PUBCOMP ${packetId}, which is still held`);
        break;
      case 'pubrel':
        if (outbound.state(packetId) === DeliveryState.awaitPubcomp) {
          const state = this.deliveryState(number, outbound.sequence(packetId));
          need(state === DeliveryState.awaitPubcomp, `PUBREL ${packetId}, which is not`);
        }
        break;
      case 'publish':
        if (packet.qos === 2 && outbound.state(packetId) === DeliveryState.awaitPubrec) {
          const state = this.deliveryState(number, outbound.sequence(packetId));
          need(state === DeliveryState.awaitPubrec, `QoS 2 message ${packetId}, which is not as sent`);
        }
        break;
    }
  }

  private checkSession({ number, clientId, stored }: Session, sessionPresent: boolean): void {
    if (stored && !this.has(Table.sessions, sessionKey(number))) {
      this.verdicts.broken('acknowledged after recorded', `${clientId} is told of a session that is not on the disk`);
    }
    if (sessionPresent) return;
    for (const [text, value] of this.tables.get(Table.sessions) ?? []) {
      const known = readSessionKey(Buffer.from(text, 'latin1'));
      if (known === number || decodeSession(known, value).clientId !== clientId) continue;
      this.verdicts.broken('no session resurrected', `${clientId} is told that it has none, and the disk has another`);
    }
  }

  private has(table: Table, key: Buffer): boolean {
    return this.tables.get(table)?.has(textOf(key)) === true;
  }

  private hasRecord(receiptId: string): boolean {
    return this.recorded.has(parseReceiptId(receiptId)?.sequence ?? -1);
  }

  private deliveryState(session: number, sequence: number): number | null {
    const value = this.tables.get(Table.deliveries)?.get(textOf(deliveryKey(session, sequence)));
    return value === undefined ? null : decodeDelivery(sequence, value).state;
  }
}
