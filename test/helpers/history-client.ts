import { generate, type IPublishPacket, type Packet, parser } from 'mqtt-packet';
import type { BrokerCore } from '../../lib/broker/broker-core.js';
import { decodePublish, type PublishFrame, PublishView } from '../../lib/codec/publish.js';
import type { Link } from '../../lib/session/link.js';
import type { Session } from '../../lib/session/session.js';
import { PacketType } from '../../lib/spec/packet-types.js';
import { connectPacket } from './core-world.js';

/** An answer of the broker to a packet of the client. */
interface Answer {
  readonly packetType: number;
  readonly packetId: number;
  readonly reasonCode: number;
}

/** One connection of a simulated client: what the broker sent waits in `arriving` until the client takes it. */
export class HistoryLink implements Link {
  readonly version: 4 | 5;
  readonly maximumPacketSize = 0;
  readonly problemInformation = true;
  readonly address = 'nowhere';
  readonly slow = false;
  closed = false;
  publishGate = 0;
  answerGate = 0;
  unansweredPublishes = 0;
  arriving: (IPublishPacket | Answer)[] = [];
  private readonly parser;

  constructor(version: 4 | 5) {
    this.version = version;
    this.parser = parser({ protocolVersion: version });
    this.parser.on('packet', (packet: Packet) => this.arriving.push(packet as IPublishPacket));
  }

  sendPublish(frame: PublishFrame, firstByte: number, packetId: number): void {
    const bytes = Buffer.from(frame.bytes.subarray(frame.start, frame.end));
    bytes[0] = firstByte;
    if (frame.packetIdAt >= 0) bytes.writeUInt16BE(packetId, frame.packetIdAt - frame.start);
    this.parser.parse(bytes);
  }

  sendAck(packetType: number, packetId: number, reasonCode: number): void {
    if (packetType === PacketType.puback) this.unansweredPublishes--;
    this.arriving.push({ packetType, packetId, reasonCode });
  }

  sendBytes(): void {
    // CONNACK, SUBACK and the like say nothing that the model does not know.
  }

  close(): void {
    this.closed = true;
  }
}

/** An application message that a recipient has and did not acknowledge. */
export interface Unacknowledged {
  readonly topic: string;
  readonly qos: number;
  readonly packetId: number;
}

/** A receipt as a publisher's application sees it: once, whatever the transport repeated. */
export interface Told {
  readonly id: string;
  readonly to: string | null;
  readonly retain: boolean;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What becomes of a client between histories' steps; its own half of each QoS 2 flow included. */
export class HistoryClient {
  readonly clientId: string;
  readonly version: 4 | 5;
  readonly expirySeconds: number;
  readonly receiveMaximum: number;
  link: HistoryLink | null = null;
  session: Session | null = null;
  /** Granted filters, as the model has them. */
  readonly filters = new Map<string, 0 | 1 | 2>();
  /** When the model's session ends without a connection, ms. */
  aliveUntilMs = 0;
  inbox: Unacknowledged[] = [];
  /** Receipt ids of messages that came, by topic. */
  readonly ids = new Map<string, string>();
  /** How often each topic came to the application. */
  readonly received = new Map<string, number>();
  /** Receipts of this life of the session. */
  told: Told[] = [];
  /** QoS 2 publishes without PUBREC, by packet identifier. */
  readonly unanswered = new Map<number, Packet>();
  private readonly held = new Set<number>();
  private lastPacketId = 0;

  constructor(clientId: string, version: 4 | 5, expirySeconds: number, receiveMaximum: number) {
    this.clientId = clientId;
    this.version = version;
    this.expirySeconds = expirySeconds;
    this.receiveMaximum = receiveMaximum;
  }

  /** @returns true if its session was there, as far as the broker knows */
  connect(core: BrokerCore, cleanStart: boolean): boolean {
    const known = core.context.sessions.get(this.clientId);
    const present = known !== undefined && !cleanStart && known.expirySeconds > 0;
    const link = new HistoryLink(this.version);
    const { receiveMaximum, version } = this;
    const packet = { ...connectPacket(this.clientId, this.expirySeconds), cleanStart, receiveMaximum, version };
    const accepted = core.connect(link, packet, null, null);
    if (!('session' in accepted)) throw new Error(`refused: ${accepted.reason}`);
    this.link = link;
    this.session = accepted.session;
    this.inbox = [];
    if (!present) this.beginLife();
    return present;
  }

  /** The connection is gone without the client's doing. */
  lose(): void {
    if (this.link !== null) this.link.closed = true;
    this.link = null;
    this.session = null;
    this.inbox = [];
  }

  subscribe(core: BrokerCore, topicFilter: string, qos: 0 | 1 | 2, retainHandling: 0 | 1 = 0): void {
    const subscription = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling };
    const packet = { packetId: 1, subscriptionId: 0, userProperties: [], subscriptions: [subscription] };
    if (this.link === null || this.session === null) return;
    core.subscribe(this.session, this.link, packet);
    this.filters.set(topicFilter, qos);
  }

  publish(core: BrokerCore, fields: Pick<IPublishPacket, 'topic' | 'qos' | 'properties'>): void {
    const messageId = (this.lastPacketId++ % 1000) + 1;
    const packet: Packet = { cmd: 'publish', dup: false, retain: false, payload: 'p', messageId, ...fields };
    if (fields.qos === 2) this.unanswered.set(messageId, packet);
    this.sendPublish(core, packet);
  }

  /** Sends QoS 2 publishes again that were not answered. */
  resend(core: BrokerCore): string[] {
    const topics: string[] = [];
    for (const packet of this.unanswered.values()) {
      if (packet.cmd !== 'publish') continue;
      topics.push(packet.topic);
      this.sendPublish(core, { ...packet, dup: true });
    }
    return topics;
  }

  /** Takes what has arrived; receipts are acknowledged, messages wait in the inbox. */
  take(core: BrokerCore): boolean {
    const { link, session } = this;
    if (link === null || session === null || link.arriving.length === 0) return false;
    for (const packet of link.arriving.splice(0)) {
      if ('cmd' in packet) this.takePublish(core, packet);
      else if (packet.packetType === PacketType.pubrel) {
        this.held.delete(packet.packetId);
        this.send(core, PacketType.pubcomp, packet.packetId, 0);
      } else if (packet.packetType === PacketType.pubrec) {
        this.unanswered.delete(packet.packetId);
        if (packet.reasonCode < 0x80) this.send(core, PacketType.pubrel, packet.packetId, 0);
      }
    }
    return true;
  }

  /** Acknowledges a message of the inbox with a code. */
  acknowledge(core: BrokerCore, at: number, reasonCode: number): Unacknowledged | null {
    const [message] = this.inbox.splice(at, 1);
    if (message === undefined) return null;
    if (message.qos === 2 && reasonCode < 0x80) this.held.add(message.packetId);
    this.send(core, message.qos === 2 ? PacketType.pubrec : PacketType.puback, message.packetId, reasonCode);
    return message;
  }

  private beginLife(): void {
    this.filters.clear();
    this.held.clear();
    this.unanswered.clear();
    this.told = [];
  }

  private takePublish(core: BrokerCore, packet: IPublishPacket): void {
    const { topic, qos, messageId: packetId = 0 } = packet;
    const isRepeat = qos === 2 && this.held.has(packetId);
    if (topic.startsWith('$receipts/')) {
      if (!isRepeat) this.note(packet);
      if (qos === 2) this.held.add(packetId);
      if (qos > 0) this.send(core, qos === 2 ? PacketType.pubrec : PacketType.puback, packetId, 0);
      return;
    }
    const { 'receipt-id': id } = (packet.properties?.userProperties ?? {}) as Record<string, string>;
    if (id !== undefined) this.ids.set(topic, id);
    if (isRepeat) this.send(core, PacketType.pubrec, packetId, 0);
    else {
      if (!packet.dup || !this.received.has(topic)) this.received.set(topic, (this.received.get(topic) ?? 0) + 1);
      if (qos > 0) this.inbox.push({ topic, qos, packetId });
    }
  }

  private note(packet: IPublishPacket): void {
    const [, , id = '', to = null] = packet.topic.split('/');
    const body = JSON.parse(packet.payload.toString()) as Record<string, unknown>;
    const same = ({ id: otherId, to: otherTo, body: other }: Told) =>
      otherId === id &&
      otherTo === to &&
      ['state', 'at', 'final', 'overdue'].every((name) => other[name] === body[name]);
    // At QoS 1 a repeat that says so is the same receipt again.
    if (packet.dup && packet.qos === 1 && this.told.some(same)) return;
    this.told.push({ id, to, retain: packet.retain, body });
  }

  private send(core: BrokerCore, packetType: number, packetId: number, reasonCode: number): void {
    if (this.link === null || this.session === null) return;
    core.acknowledge(this.session, this.link, packetType, packetId, reasonCode, null);
  }

  private sendPublish(core: BrokerCore, packet: Packet): void {
    const { link, session } = this;
    if (link === null || session === null || packet.cmd !== 'publish') return;
    const bytes = generate(packet, { protocolVersion: 5 });
    let bodyStart = 1;
    while ((bytes[bodyStart] ?? 0) >= 0x80) bodyStart++;
    const view = new PublishView();
    decodePublish(view, bytes, 0, bodyStart + 1, bytes.length, 5);
    core.publish(session, link, view, packet.topic);
  }
}
