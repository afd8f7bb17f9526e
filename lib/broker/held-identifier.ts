import type { HeldPublish } from '../delivery/inbound-qos2.js';
import { encodeInbound } from '../store/records.js';
import { inboundKey, passingInboundKey } from '../store/records-keys.js';
import { type DeferredRows, type Settlement, type Store, Table } from '../store/store.js';

/** About what the row takes. */
const rowBytes = 20;

/**
 * A packet identifier that a stored session has published under at QoS 2 and not released: most are released within
 * milliseconds, so its row is part of the log only, unless it stays for longer.
 */
export class HeldIdentifier implements HeldPublish, DeferredRows, Settlement {
  /** PUBREC says that it is held. */
  readonly mayVanish = false;
  readonly bytes = rowBytes;
  readonly reasonCode: number;
  readonly sequence: number;
  readonly matched: number;
  putIn = 0;
  settledIn = 0;
  isSettled = false;
  private isLogged = false;
  private isRow = false;
  private readonly store: Store;
  private readonly session: number;
  private readonly packetId: number;

  constructor(store: Store, session: number, packetId: number, { reasonCode, sequence, matched }: HeldPublish) {
    this.store = store;
    this.session = session;
    this.packetId = packetId;
    this.reasonCode = reasonCode;
    this.sequence = sequence;
    this.matched = matched;
  }

  /** The client has released it. [MQTT-4.3.3-12] */
  release(): void {
    const { store } = this;
    // An earlier batch must say that it was held, or a death after it would undo more.
    store.writeUncommitted(this);
    if (this.isRow) {
      store.delete(Table.inbound, this.key());
      return;
    }
    this.isSettled = true;
    if (this.isLogged) store.putSettlement(this, this);
  }

  log(put: (table: Table, key: Buffer, value: Buffer) => void): void {
    this.isLogged = true;
    put(Table.inbound, passingInboundKey(this.session, this.packetId), this.encode());
  }

  write(put: (table: Table, key: Buffer, value: Buffer) => void): void {
    this.isRow = true;
    put(Table.inbound, this.key(), this.encode());
  }

  writeSettlement(put: (table: Table, key: Buffer, value: Buffer | null) => void): void {
    put(Table.inbound, passingInboundKey(this.session, this.packetId), null);
  }

  private key(): Buffer {
    return inboundKey(this.session, this.packetId);
  }

  private encode(): Buffer {
    const { packetId, reasonCode, sequence, matched } = this;
    return encodeInbound({ packetId, reasonCode, sequence, matched, kind: 0 });
  }
}
