import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  generate,
  type IConnectPacket,
  type IPublishPacket,
  type ISubscription,
  type Packet,
  type Parser,
  parser,
} from 'mqtt-packet';
import type { Test } from 'tap';
import { withDeadline } from './deadline.js';

/** A client for tests about who gets what: packets in and out by name, over a socket of its own. */

export type Pairs = Readonly<Record<string, string | string[]>>;

export interface PeerOptions {
  readonly version?: 4 | 5;
  readonly cleanStart?: boolean;
  /** Session Expiry Interval, seconds; with MQTT 3.1.1 any makes the session last. */
  readonly expiry?: number;
  readonly userName?: string;
  readonly receiveMaximum?: number;
  readonly maximumPacketSize?: number;
  readonly problemInformation?: boolean;
  readonly will?: IConnectPacket['will'];
  /** False leaves it to the test to acknowledge what comes. */
  readonly acknowledges?: boolean;
}

export interface PublishOptions {
  readonly qos?: 0 | 1 | 2;
  readonly payload?: string | Buffer;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly packetId?: number;
  /** User properties. */
  readonly ask?: Pairs;
  readonly properties?: IPublishPacket['properties'];
}

export interface SubscribeOptions {
  readonly qos?: 0 | 1 | 2;
  readonly noLocal?: boolean;
  readonly retainHandling?: 0 | 1 | 2;
  readonly id?: number;
  /** User properties. */
  readonly ask?: Pairs;
}

/** What the broker answered a PUBLISH with. */
export interface Answered {
  readonly code: number;
  readonly reason: string | undefined;
  readonly pairs: Pairs;
  /** `receipt-id`, or an empty string. */
  readonly id: string;
  readonly matched: number;
}

/** A message that came. */
export interface Message {
  readonly topic: string;
  readonly text: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly pairs: Pairs;
  readonly packet: IPublishPacket;
}

interface Waiting {
  readonly accepts: (packet: Packet) => boolean;
  readonly resolve: (packet: Packet) => void;
  readonly reject: (error: Error) => void;
}

interface Port {
  readonly port: number;
}

/** The code of an acknowledgement, 0 where it is left out. */
function codeOf(packet: Packet): number {
  const { reasonCode } = packet as { reasonCode?: number };
  return reasonCode ?? 0;
}

function answeredOf(packet: Packet): Answered {
  const { properties } = packet as { properties?: { reasonString?: string; userProperties?: Pairs } };
  const pairs = { ...properties?.userProperties };
  const { 'receipt-id': id = '', 'receipt-matched': matched = '-1' } = pairs as Record<string, string>;
  return { code: codeOf(packet), reason: properties?.reasonString, pairs, id, matched: Number(matched) };
}

export class Peer {
  readonly clientId: string;
  /** Messages that came and were not taken, oldest first. */
  readonly inbox: Message[] = [];
  /** Reason code of the DISCONNECT that came, if one came. */
  disconnectCode: number | null = null;
  sessionPresent = false;
  connackCode = 0;
  acknowledges: boolean;
  private readonly version: 4 | 5;
  private readonly socket: Socket;
  private readonly parser: Parser;
  private unclaimed: Packet[] = [];
  private waiting: Waiting[] = [];
  private lastPacketId = 0;
  private isClosed = false;

  private constructor(clientId: string, socket: Socket, { version = 5, acknowledges = true }: PeerOptions) {
    this.clientId = clientId;
    this.socket = socket;
    this.version = version;
    this.acknowledges = acknowledges;
    this.parser = parser({ protocolVersion: version });
    this.parser.on('packet', (packet) => this.onPacket(packet));
    socket.on('data', (chunk) => this.parser.parse(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => this.onClose());
  }

  /** Connects and takes CONNACK, whatever it says. */
  static async greet(t: Test, { port }: Port, clientId: string, options: PeerOptions = {}): Promise<Peer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await withDeadline(once(socket, 'connect'), () => `no connection to port ${port}`);
    const peer = new Peer(clientId, socket, options);
    t.teardown(() => peer.cut());
    const { version = 5, expiry = 0, userName, will } = options;
    const properties = {
      sessionExpiryInterval: expiry,
      ...(options.receiveMaximum === undefined ? {} : { receiveMaximum: options.receiveMaximum }),
      ...(options.maximumPacketSize === undefined ? {} : { maximumPacketSize: options.maximumPacketSize }),
      ...(options.problemInformation === undefined ? {} : { requestProblemInformation: options.problemInformation }),
    };
    peer.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clientId,
      clean: options.cleanStart ?? expiry === 0,
      keepalive: 0,
      ...(version === 5 ? { properties } : {}),
      ...(will === undefined ? {} : { will }),
      ...(userName === undefined ? {} : { username: userName, password: Buffer.from('x') }),
    });
    const connack = await peer.expect('connack');
    const fields = connack as { reasonCode?: number; returnCode?: number; sessionPresent: boolean };
    peer.connackCode = (version === 5 ? fields.reasonCode : fields.returnCode) ?? 0;
    peer.sessionPresent = fields.sessionPresent;
    return peer;
  }

  /** Connects; the broker must accept. */
  static async join(t: Test, broker: Port, clientId: string, options: PeerOptions = {}): Promise<Peer> {
    const peer = await Peer.greet(t, broker, clientId, options);
    assert.equal(peer.connackCode, 0, 'CONNACK accepts');
    return peer;
  }

  send(packet: Packet): void {
    this.socket.write(generate(packet, { protocolVersion: this.version }));
  }

  /** Subscribes; the codes of SUBACK. */
  async subscribe(topicFilter: string, options: SubscribeOptions = {}): Promise<number> {
    const { qos = 1, noLocal = false, retainHandling = 0, id, ask } = options;
    const messageId = this.nextPacketId();
    const subscription = { topic: topicFilter, qos, nl: noLocal, rap: false, rh: retainHandling } as ISubscription;
    const properties = {
      ...(id === undefined ? {} : { subscriptionIdentifier: id }),
      ...(ask === undefined ? {} : { userProperties: { ...ask } as Record<string, string> }),
    };
    const extra = this.version === 5 ? { properties } : {};
    this.send({ cmd: 'subscribe', messageId, subscriptions: [subscription], ...extra });
    const suback = await this.expect('suback', messageId);
    return Number((suback as { granted: unknown[] }).granted[0]);
  }

  async unsubscribe(topicFilter: string): Promise<void> {
    const messageId = this.nextPacketId();
    this.send({ cmd: 'unsubscribe', messageId, unsubscriptions: [topicFilter] });
    await this.expect('unsuback', messageId);
  }

  /** Sends a PUBLISH and does not wait; returns its packet identifier. */
  send1(topic: string, options: PublishOptions = {}): number {
    const { qos = 1, payload = '', retain = false, dup = false, ask, properties } = options;
    const messageId = options.packetId ?? this.nextPacketId();
    // An empty map would be written as malformed properties.
    const asked = Object.keys(ask ?? {}).length === 0 ? {} : { userProperties: { ...ask } as Record<string, string> };
    const extra = this.version === 5 ? { properties: { ...properties, ...asked } } : {};
    this.send({ cmd: 'publish', topic, payload, qos, retain, dup, messageId, ...extra });
    return messageId;
  }

  /** Publishes and sees it through; at QoS 0 until the broker has dealt with it. */
  async publish(topic: string, options: PublishOptions = {}): Promise<Answered> {
    const { qos = 1 } = options;
    const packetId = this.send1(topic, options);
    if (qos === 0) {
      await this.settle();
      return { code: 0, reason: undefined, pairs: {}, id: '', matched: -1 };
    }
    const answer = await this.answer(packetId);
    if (qos === 2 && answer.code < 0x80) {
      this.send({ cmd: 'pubrel', messageId: packetId });
      await this.expect('pubcomp', packetId);
    }
    return answer;
  }

  /** PUBACK or PUBREC to a PUBLISH that was sent. */
  async answer(packetId: number): Promise<Answered> {
    const isAnswer = (packet: Packet) => packet.cmd === 'puback' || packet.cmd === 'pubrec';
    return answeredOf(await this.claim((packet) => isAnswer(packet) && packet.messageId === packetId, 'an answer'));
  }

  /** The next message. */
  async take(): Promise<Message> {
    if (this.inbox.length === 0) await this.claim((packet) => packet.cmd === 'publish', 'a PUBLISH');
    return this.inbox.shift() as Message;
  }

  /** Acknowledges a message as far as its QoS asks first: PUBACK or PUBREC. */
  acknowledge({ qos, packetId }: Message, reasonCode = 0, reasonString?: string): void {
    const cmd = qos === 2 ? 'pubrec' : 'puback';
    const properties = reasonString === undefined ? {} : { properties: { reasonString } };
    this.send({ cmd, messageId: packetId, ...(this.version === 5 ? { reasonCode, ...properties } : {}) });
  }

  /** The broker has dealt with everything sent so far, and all that this gave has come. */
  async settle(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      this.send({ cmd: 'pingreq' });
      await this.expect('pingresp');
    }
  }

  async expect(cmd: Packet['cmd'], messageId?: number): Promise<Packet> {
    const accepts = (packet: Packet) =>
      packet.cmd === cmd && (messageId === undefined || packet.messageId === messageId);
    return this.claim(accepts, cmd);
  }

  /** True if a packet of this kind has come and was not taken. */
  has(cmd: Packet['cmd'], messageId?: number): boolean {
    return this.unclaimed.some(
      (packet) => packet.cmd === cmd && (messageId === undefined || packet.messageId === messageId),
    );
  }

  /** DISCONNECT and the close. */
  async leave(expiry?: number): Promise<void> {
    const properties = expiry === undefined ? {} : { properties: { sessionExpiryInterval: expiry } };
    this.send({ cmd: 'disconnect', ...(this.version === 5 ? properties : {}) });
    await this.closed();
  }

  /** The broker closes the connection. */
  async closed(): Promise<void> {
    if (!this.isClosed) await withDeadline(once(this.socket, 'close'), () => `${this.clientId}: the close`);
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.socket.resetAndDestroy();
  }

  /** Stops reading. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  private nextPacketId(): number {
    this.lastPacketId++;
    return this.lastPacketId;
  }

  private claim(accepts: (packet: Packet) => boolean, what: string): Promise<Packet> {
    const found = this.unclaimed.findIndex(accepts);
    if (found >= 0) return Promise.resolve(this.unclaimed.splice(found, 1)[0] as Packet);
    if (this.isClosed) return Promise.reject(new Error(`${this.clientId}: closed while waiting for ${what}`));
    const come = new Promise<Packet>((resolve, reject) => {
      this.waiting.push({ accepts, resolve, reject });
    });
    return withDeadline(come, () => `${this.clientId}: waited for ${what}`);
  }

  private onPacket(packet: Packet): void {
    if (packet.cmd === 'publish') this.onMessage(packet);
    if (packet.cmd === 'disconnect') this.disconnectCode = codeOf(packet);
    if (packet.cmd === 'pubrel' && this.acknowledges) this.send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 });
    const at = this.waiting.findIndex(({ accepts }) => accepts(packet));
    if (at >= 0) this.waiting.splice(at, 1)[0]?.resolve(packet);
    else if (packet.cmd !== 'publish') this.unclaimed.push(packet);
  }

  private onMessage(packet: IPublishPacket): void {
    const { topic, qos, retain, dup, messageId = 0 } = packet;
    const pairs = { ...packet.properties?.userProperties } as Pairs;
    const message = { topic, text: packet.payload.toString(), qos, retain, dup, packetId: messageId, pairs, packet };
    this.inbox.push(message);
    if (this.acknowledges && qos > 0) this.acknowledge(message);
  }

  private onClose(): void {
    this.isClosed = true;
    for (const { reject } of this.waiting.splice(0)) reject(new Error(`${this.clientId}: the connection closed`));
  }
}
