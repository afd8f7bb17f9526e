import type { Clock, Wakeup } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { BrokerCore } from '../../lib/broker/broker-core.js';
import type { Hooks } from '../../lib/broker/hooks.js';
import type { Sizes } from '../../lib/broker/sizes.js';
import type { ConnectPacket } from '../../lib/codec/control-packets.js';
import { decodePublish, encodeUserProperties, PublishView } from '../../lib/codec/publish.js';
import { encodePublishFrame, type PublishFrame } from '../../lib/codec/publish-frame.js';
import { type BrokerOptions, parseOptions } from '../../lib/config/schema.js';
import { type Link, LinkGates } from '../../lib/session/link.js';
import type { Session } from '../../lib/session/session.js';
import type { Store } from '../../lib/store/store.js';
import { wholeOf } from './publish-fields.js';

/** A clock that only the test moves, and turns that only the test ends. */
export class ManualClock implements Clock {
  private time = Date.UTC(2026, 0, 1);
  private turns: (() => void)[] = [];
  private readonly wakeups = new Map<{ readonly dueAtMs: number }, () => void>();

  now(): number {
    return this.time;
  }

  after(delayMs: number, callback: () => void): Wakeup {
    const wakeup = { dueAtMs: this.time + delayMs };
    this.wakeups.set(wakeup, callback);
    return wakeup;
  }

  cancel(wakeup: Wakeup): void {
    this.wakeups.delete(wakeup as { readonly dueAtMs: number });
  }

  /** Lets time pass, and what is due by then happen. */
  advance(ms: number): void {
    this.time += ms;
    for (const [wakeup, callback] of [...this.wakeups]) {
      if (wakeup.dueAtMs > this.time || !this.wakeups.delete(wakeup)) continue;
      callback();
    }
  }

  endOfTurn(callback: () => void): void {
    this.turns.push(callback);
  }

  /** Ends one turn; false if nothing was left to do. */
  turn(): boolean {
    const due = this.turns;
    this.turns = [];
    for (const callback of due) callback();
    return due.length > 0;
  }

  /** Ends turns until there is nothing left to do. */
  settle(): void {
    while (this.turn());
  }
}

/** A client's end of a connection without a socket: keeps what the broker sends. */
export class FakeLink extends LinkGates implements Link {
  readonly version: 4 | 5;
  readonly maximumPacketSize = 0;
  readonly problemInformation = true;
  readonly address = 'nowhere';
  readonly mountPoint = null;
  closed = false;
  readonly slow = false;
  readonly publishes: { readonly packetId: number; readonly firstByte: number; readonly bytes: Buffer }[] = [];
  /** Packets sent as bytes: CONNACK, SUBACK and the like, which are not looked into. */
  others = 0;
  readonly acks: { readonly packetType: number; readonly packetId: number; readonly reasonCode: number }[] = [];

  constructor(version: 4 | 5 = 5) {
    super();
    this.version = version;
  }

  sendPublish(frame: PublishFrame, firstByte: number, packetId: number): void {
    this.publishes.push({ packetId, firstByte, bytes: Buffer.from(frame.bytes.subarray(frame.start, frame.end)) });
  }

  sendAck(packetType: number, packetId: number, reasonCode: number): void {
    this.acks.push({ packetType, packetId, reasonCode });
  }

  sendBytes(): void {
    this.others++;
  }

  close(): void {
    this.closed = true;
  }

  /** Payloads of the receipts and tallies that came, as objects. */
  receipts(): Record<string, unknown>[] {
    return this.publishes
      .map(({ bytes }) => bytes.toString('utf8'))
      .filter((text) => text.includes('$receipts/'))
      .map((text) => JSON.parse(text.slice(text.indexOf('{'))) as Record<string, unknown>);
  }
}

export function connectPacket(clientId: string, sessionExpirySeconds: number): ConnectPacket {
  return {
    version: 5,
    bridge: false,
    clientId,
    cleanStart: false,
    keepAliveSeconds: 0,
    userName: null,
    password: null,
    will: null,
    sessionExpirySeconds,
    receiveMaximum: 65_535,
    maximumPacketSize: 0,
    topicAliasMaximum: 0,
    requestResponseInformation: false,
    requestProblemInformation: true,
    authenticationMethod: null,
    authenticationData: null,
    userProperties: [],
  };
}

/** A broker without sockets over a store that outlives it: dropping one between turns is a crash. */
export class CoreWorld {
  readonly clock: ManualClock;
  readonly core: BrokerCore;

  constructor(
    store: Store,
    options: BrokerOptions = {},
    clock = new ManualClock(),
    hooks: Hooks = {},
    sizes: Partial<Sizes> = {},
  ) {
    this.clock = clock;
    const settings = parseOptions({ memory: true, sysInterval: 0, ...options }, '');
    this.core = new BrokerCore(settings, store, clock, silentLog, hooks, sizes);
    this.core.start();
    clock.turn();
  }

  connect(clientId: string, sessionExpirySeconds = 3600, link = new FakeLink()): { link: FakeLink; session: Session } {
    const accepted = this.core.connect(link, connectPacket(clientId, sessionExpirySeconds), null, null);
    if (!('session' in accepted)) throw new Error(`refused: ${accepted.reason}`);
    return { link, session: accepted.session };
  }

  disconnect({ link, session }: { link: FakeLink; session: Session }): void {
    link.closed = true;
    this.core.connectionGone(session, false);
  }

  subscribe({ link, session }: { link: FakeLink; session: Session }, topicFilter: string, qos: 0 | 1 | 2): void {
    const subscription = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const };
    const packet = { packetId: 1, subscriptionId: 0, userProperties: [], subscriptions: [subscription] };
    this.core.subscribe(session, link, packet);
  }

  /** Publishes with user properties. */
  publish(
    { link, session }: { link: FakeLink; session: Session },
    topicName: string,
    userProperties: readonly (readonly [string, string])[],
    packetId = 7,
    expirySeconds = -1,
    qos: 1 | 2 = 1,
  ): void {
    const fields = {
      ...wholeOf(Buffer.from(topicName), encodeUserProperties(userProperties), Buffer.from('now')),
      messageExpirySeconds: expirySeconds,
      subscriptionIds: null,
      extraUserProperties: null,
      topicAlias: 0,
    };
    const { bytes, start, end, packetIdAt } = encodePublishFrame(fields, true, true);
    bytes[start] = 0x30 | (qos << 1);
    bytes.writeUInt16BE(packetId, packetIdAt);
    let bodyStart = start + 1;
    while (bytes[bodyStart] >= 0x80) bodyStart++;
    const view = new PublishView();
    decodePublish(view, bytes, start, bodyStart + 1, end, 5);
    this.core.publish(session, link, view, topicName);
  }
}
