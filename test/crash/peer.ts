import type { IConnectPacket, IPublishPacket, ISubscription, Packet, UserProperties } from 'mqtt-packet';
import { Wire } from './wire.js';
import type { World } from './world.js';

/** What a publisher asks of the broker about its message. */
export interface ReceiptRequest {
  readonly receipt: 'delivered' | 'processed';
  /** Seconds to the tally of what is overdue; 0 for none. */
  readonly deadline: number;
  /** True if PUBACK is to wait for the outcome. */
  readonly hold: boolean;
}

/** A recipient's application on one message: dealt with, or not. */
export interface Word {
  readonly receiptId: string;
  readonly ok: boolean;
  /** Names the message instead of its receipt-id where not null. */
  readonly correlationData: Buffer | null;
}

/** An application message as a client publishes it. */
export interface Publication {
  readonly topic: string;
  /** Number in its topic, rising. */
  readonly n: number;
  readonly payload: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** Null for a message that is not tracked. */
  readonly request: ReceiptRequest | null;
  /** True if it is for one second only. */
  readonly expires: boolean;
  /** Set if it is not a message for others but an application's acknowledgement. */
  readonly word?: Word;
  /** When it was first sent. */
  readonly sentAt: number;
}

/** Seconds that a message lives which expires. */
export const messageExpirySeconds = 1;
/** How far the clocks of a client and of the broker may be apart when they time the same thing. */
export const clockMarginMs = 50;

/** What the client's application does about what happens. */
export interface Application {
  onConnected(sessionPresent: boolean): void;
  onClosed(): void;
  /** A message came, not a repeat of one whose QoS 2 flow is open. @returns the reason code to answer with */
  onMessage(packet: IPublishPacket): number;
  /** The answer to a message has been handed to the socket. */
  onAnswered(packet: IPublishPacket, reasonCode: number): void;
  /** PUBACK or PUBREC for a message of the client's own. */
  onTaken(publication: Publication, reasonCode: number, userProperties: UserProperties): void;
  /** PUBCOMP: one message fewer is open. */
  onCompleted(): void;
  onSubscribed(filters: readonly string[], granted: readonly number[]): void;
  onUnsubscribed(filters: readonly string[]): void;
}

export interface PeerSetup {
  readonly clientId: string;
  readonly version: 4 | 5;
  readonly receiveMaximum: number;
  /** Seconds that the session outlives its connection, if it is to. */
  readonly expirySeconds?: number | undefined;
}

interface Flow {
  readonly publication: Publication;
  /** True once PUBREC came: what is repeated from then on is PUBREL. */
  released: boolean;
}

interface Request {
  readonly filters: readonly string[];
  readonly isSubscribe: boolean;
}

const longExpirySeconds = 3600;

/**
 * The protocol's part of a client, with the session state that MQTT wants a client to keep across connections: open
 * flows both ways. What it answers is put off now and then, in order, so that flows are open when the broker dies.
 */
export class Peer {
  readonly setup: PeerSetup;
  private readonly world: World;
  private readonly application: Application;
  private wire: Wire | null = null;
  /** True from CONNACK to the end of the connection. */
  online = false;
  /** True if the broker must have the session: a CONNACK came for it. */
  established = false;
  private readonly flows = new Map<number, Flow>();
  private readonly held = new Set<number>();
  private readonly requests = new Map<number, Request>();
  private answers: (() => void)[] = [];
  private lastPacketId = 0;
  private cleanUnanswered = false;
  /** True if the session of this connection goes on after it. */
  private keeps = false;
  /** True if the broker must not have a session: a CONNACK came for one that ended with its connection. */
  private mustBeNone = false;
  private expectsNone = false;
  /** When the last connection ended, and when this one was asked for, by the client's clock. */
  private closedAtMs = 0;
  connectedAtMs = 0;

  constructor(world: World, setup: PeerSetup, application: Application) {
    this.world = world;
    this.setup = setup;
    this.application = application;
  }

  /** Messages that wait for an acknowledgement. */
  get openFlows(): number {
    return this.flows.size;
  }

  get isAtRest(): boolean {
    return this.online && this.flows.size === 0 && this.requests.size === 0 && this.answers.length === 0;
  }

  get isClosed(): boolean {
    return this.wire === null;
  }

  /**
   * Connects.
   * @param clean begins a new session
   * @param keeps true if the session is to outlive the connection; in 3.1.1 a clean one can not
   */
  connect(clean: boolean, keeps: boolean, will?: IConnectPacket['will']): void {
    if (this.wire !== null || !this.world.up) return;
    const { clientId, version, receiveMaximum, expirySeconds = longExpirySeconds } = this.setup;
    this.connectedAtMs = performance.now();
    if (clean) this.forget();
    this.cleanUnanswered = clean;
    this.keeps = keeps;
    // From now on there may be one: this CONNECT may be taken and its CONNACK not come.
    this.expectsNone = this.mustBeNone;
    this.mustBeNone = false;
    const wire = new Wire(this.world.port, version, {
      onPacket: (packet) => {
        if (this.wire === wire) this.receive(packet);
      },
      onClosed: () => {
        if (this.wire === wire) this.closed();
      },
    });
    this.wire = wire;
    const sessionExpiryInterval = keeps ? expirySeconds : 0;
    wire.send({
      ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: version, clientId, clean, keepalive: 0 },
      ...(will === undefined ? {} : { will }),
      ...(version === 5 ? { properties: { sessionExpiryInterval, receiveMaximum } } : {}),
    });
  }

  /** The broker has told that the session is over: the next connection must not find it. */
  expectNone(): void {
    this.mustBeNone = true;
  }

  /** Drops the connection without a word; at once for this client, whenever it sees it for the broker. */
  cut(): void {
    this.wire?.cut();
    this.closed();
  }

  /** Closes with or without DISCONNECT. */
  end(withDisconnect: boolean): void {
    if (withDisconnect) this.wire?.send({ cmd: 'disconnect', reasonCode: 0 });
    this.wire?.end();
    this.closed();
  }

  publish(publication: Publication): void {
    const packetId = publication.qos === 0 ? 0 : this.nextPacketId();
    if (publication.qos > 0) this.flows.set(packetId, { publication, released: false });
    this.sendPublish(publication, packetId, false);
  }

  /** @param since receipt id behind which records are asked for */
  subscribe(filters: readonly ISubscription[], since?: string): void {
    const messageId = this.nextPacketId();
    this.requests.set(messageId, { filters: filters.map(({ topic }) => topic), isSubscribe: true });
    const properties = since === undefined ? {} : { properties: { userProperties: { 'receipt-since': since } } };
    this.wire?.send({ cmd: 'subscribe', messageId, subscriptions: [...filters], ...properties });
  }

  unsubscribe(filters: readonly string[]): void {
    const messageId = this.nextPacketId();
    this.requests.set(messageId, { filters, isSubscribe: false });
    this.wire?.send({ cmd: 'unsubscribe', messageId, unsubscriptions: [...filters] });
  }

  /** Sends the answers that were put off. */
  flush(): void {
    const answers = this.answers;
    this.answers = [];
    for (const answer of answers) answer();
  }

  private forget(): void {
    this.flows.clear();
    this.held.clear();
    this.established = false;
  }

  private closed(): void {
    this.wire = null;
    this.closedAtMs = performance.now();
    this.online = false;
    this.answers = [];
    this.requests.clear();
    this.application.onClosed();
  }

  private receive(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.onConnack(packet.sessionPresent, packet.reasonCode ?? packet.returnCode ?? 0);
        break;
      case 'publish':
        this.onPublish(packet);
        break;
      case 'pubrel':
        this.onPubrel(packet.messageId ?? 0);
        break;
      case 'puback':
      case 'pubrec':
        this.onTaken(packet.cmd, packet.messageId ?? 0, packet.reasonCode ?? 0, packet.properties?.userProperties);
        break;
      case 'pubcomp':
        this.flows.delete(packet.messageId ?? 0);
        this.application.onCompleted();
        break;
      case 'suback':
        this.onRequestAnswered(packet.messageId ?? 0, packet.granted as number[]);
        break;
      case 'unsuback':
        this.onRequestAnswered(packet.messageId ?? 0, []);
        break;
      case 'disconnect':
        this.world.violation(`${this.setup.clientId} was sent away with ${packet.reasonCode}`);
        break;
      default:
        this.world.violation(`${this.setup.clientId} got ${packet.cmd}`);
    }
    this.world.tick();
  }

  private onConnack(sessionPresent: boolean, reasonCode: number): void {
    const { clientId } = this.setup;
    if (reasonCode !== 0) {
      this.world.violation(`${clientId} was refused with ${reasonCode}`);
      return;
    }
    const expiresAtMs = this.closedAtMs + (this.setup.expirySeconds ?? longExpirySeconds) * 1000 - clockMarginMs;
    const mustBe = this.established && performance.now() < expiresAtMs;
    if (mustBe && !sessionPresent) this.world.violation(`the session of ${clientId} is lost`);
    if (this.cleanUnanswered && sessionPresent) this.world.violation(`${clientId} got a session after a clean start`);
    if (this.expectsNone && sessionPresent) this.world.violation(`an ended session of ${clientId} is back`);
    if (!sessionPresent) this.forget();
    this.cleanUnanswered = false;
    this.established = this.keeps;
    this.mustBeNone = !this.keeps;
    this.online = true;
    for (const [packetId, { publication, released }] of this.flows) {
      if (released) this.wire?.send({ cmd: 'pubrel', messageId: packetId, reasonCode: 0 });
      else this.sendPublish(publication, packetId, true);
    }
    this.application.onConnected(sessionPresent);
  }

  private onPublish(packet: IPublishPacket): void {
    const messageId = packet.messageId ?? 0;
    const isRepeat = packet.qos === 2 && this.held.has(messageId);
    const reasonCode = isRepeat ? 0 : this.application.onMessage(packet);
    if (packet.qos === 2 && reasonCode < 0x80) this.held.add(messageId);
    // The application may have cut the connection.
    if (packet.qos === 0 || this.wire === null) return;
    const cmd = packet.qos === 1 ? 'puback' : 'pubrec';
    this.answer(() => {
      this.wire?.send({ cmd, messageId, reasonCode });
      this.application.onAnswered(packet, reasonCode);
    });
  }

  private onPubrel(messageId: number): void {
    const known = this.held.delete(messageId);
    const reasonCode = known || this.setup.version === 4 ? 0 : 0x92;
    this.answer(() => this.wire?.send({ cmd: 'pubcomp', messageId, reasonCode }));
  }

  /** Answers in the order of what they answer; now, or a little later with others. */
  private answer(send: () => void): void {
    const { world } = this;
    this.answers.push(send);
    if (world.calm || world.random.chance(0.5)) this.flush();
    else world.after(world.random.below(15), () => this.flush());
  }

  private onTaken(cmd: 'puback' | 'pubrec', messageId: number, reasonCode: number, properties?: UserProperties): void {
    const flow = this.flows.get(messageId);
    if (flow === undefined) {
      // A PUBREC of a flow that has ended wants its PUBREL again.
      if (cmd === 'pubrec') this.wire?.send({ cmd: 'pubrel', messageId, reasonCode: 0x92 });
      else this.world.violation(`${this.setup.clientId} got a PUBACK for nothing`);
      return;
    }
    const isFirst = !flow.released;
    if (cmd === 'puback' || reasonCode >= 0x80) this.flows.delete(messageId);
    else {
      flow.released = true;
      this.wire?.send({ cmd: 'pubrel', messageId, reasonCode: 0 });
    }
    if (isFirst) this.application.onTaken(flow.publication, reasonCode, properties ?? {});
  }

  private onRequestAnswered(messageId: number, granted: readonly number[]): void {
    const request = this.requests.get(messageId);
    this.requests.delete(messageId);
    if (request === undefined) return;
    if (request.isSubscribe) this.application.onSubscribed(request.filters, granted);
    else this.application.onUnsubscribed(request.filters);
  }

  private sendPublish(publication: Publication, messageId: number, dup: boolean): void {
    const { topic, payload, qos, retain, expires } = publication;
    const properties = {
      ...receiptProperties(publication),
      ...(expires ? { messageExpiryInterval: messageExpirySeconds } : {}),
    };
    const packet = { cmd: 'publish' as const, topic, payload, qos, retain, dup };
    const identifier = qos === 0 ? {} : { messageId };
    this.wire?.send({ ...packet, ...identifier, ...(this.setup.version === 5 ? { properties } : {}) });
  }

  private nextPacketId(): number {
    do {
      this.lastPacketId = this.lastPacketId >= 65_535 ? 1 : this.lastPacketId + 1;
    } while (this.flows.has(this.lastPacketId) || this.requests.has(this.lastPacketId));
    return this.lastPacketId;
  }
}

/** What a message that is tracked, or an application's acknowledgement, carries along. */
function receiptProperties({ topic, n, request, word }: Publication): IPublishPacket['properties'] {
  if (word !== undefined) {
    const status = word.ok ? 'ok' : 'error';
    if (word.correlationData !== null) return { userProperties: { status }, correlationData: word.correlationData };
    return { userProperties: { status, 'receipt-id': word.receiptId } };
  }
  if (request === null) return {};
  const { receipt, deadline, hold } = request;
  const userProperties = {
    receipt,
    ...(deadline > 0 ? { 'receipt-deadline': String(deadline) } : {}),
    ...(hold ? { 'receipt-hold': 'true' } : {}),
  };
  return { userProperties, correlationData: Buffer.from(`${topic} ${n}`) };
}
