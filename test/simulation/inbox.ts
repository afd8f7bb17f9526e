import type { IPublishPacket, Packet } from 'mqtt-packet';
import { hashOf, type Random } from '../crash/random.js';
import type { Account } from './deliveries.js';
import type { Environment } from './environment.js';
import type { Role } from './role.js';

/** How an inbox speaks. */
export interface InboxPort {
  /** @param onTaken called when the broker is about to be given the packet */
  send(packet: Packet, onTaken?: () => void): void;
  broken(what: string): void;
}

/** A message that came with a receipt id: its application may acknowledge it. */
interface Answerable {
  readonly name: string;
  readonly id: string;
  readonly group: string | null;
}

function receiptIdOf(packet: IPublishPacket): string | null {
  return packet.properties?.userProperties?.['receipt-id']?.toString() ?? null;
}

/**
 * The receiving half of a client: QoS 2 flows over connections, and acknowledgements that leave in order, a while after
 * what they answer.
 */
export class Inbox {
  /** True while nothing is acknowledged. */
  isStalled = false;
  /** When its connection was asked for. */
  private connectedAtMs = 0;
  /** When its full window last got room: what comes first at QoS 1 or 2 from then on was sent no earlier. */
  private roomSinceMs = 0;
  readonly answerable: Answerable[] = [];
  private readonly env: Environment;
  private readonly role: Role;
  private readonly account: Account;
  private readonly random: Random;
  private readonly port: InboxPort;
  /** QoS 2 messages that came and are not released, by packet identifier. */
  private readonly held = new Map<number, { readonly name: string; readonly group: string | null }>();
  /** What came on this connection and is not finished, by packet identifier. */
  private readonly inflight = new Map<number, string>();
  /** Identifiers last answered with an error PUBREC. */
  private readonly refused = new Set<number>();
  private readonly aliases = new Map<number, string>();
  private answers: (() => void)[] = [];
  private connection = 0;

  constructor(env: Environment, role: Role, account: Account, random: Random, port: InboxPort) {
    this.env = env;
    this.role = role;
    this.account = account;
    this.random = random;
    this.port = port;
  }

  /** A connection is asked for. */
  begin(nowMs: number): void {
    this.connectedAtMs = nowMs;
    this.roomSinceMs = nowMs;
  }

  /** How much is not finished. */
  get size(): number {
    return this.answers.length + this.inflight.size;
  }

  setStalled(isStalled: boolean): void {
    this.isStalled = isStalled;
    if (!isStalled) this.flush();
  }

  /** The connection is over. */
  leave(): void {
    this.connection++;
    this.answers = [];
    this.inflight.clear();
    this.aliases.clear();
  }

  /** The session is over. */
  forget(): void {
    this.held.clear();
    this.refused.clear();
  }

  onPublish(packet: IPublishPacket): void {
    const { qos, messageId = 0, payload } = packet;
    const name = payload.toString();
    const topic = this.topicOf(packet);
    if (qos > 0) {
      const other = this.inflight.get(messageId);
      if (other !== undefined) this.port.broken(`got ${name} under identifier ${messageId} of ${other}`);
      this.inflight.set(messageId, name);
      const { receiveMaximum } = this.role;
      if (this.inflight.size > receiveMaximum)
        this.port.broken(`has ${this.inflight.size} in flight of ${receiveMaximum}`);
      this.checkBytes();
      this.refused.delete(messageId);
    }
    const held = qos === 2 ? this.held.get(messageId) : undefined;
    if (held !== undefined && held.name !== name && !topic.startsWith('$receipts/')) {
      this.port.broken(`got ${name} under identifier ${messageId}, which ${held.name} still holds`);
    }
    const isRefused = held === undefined && this.refuses(topic, name);
    const group = held === undefined ? this.onMessage(packet, topic, name, isRefused) : held.group;
    if (qos === 2 && !isRefused) this.held.set(messageId, { name, group });
    if (qos > 0) this.answer(packet, { name, group, isMessage: !topic.startsWith('$receipts/') }, isRefused ? 0x83 : 0);
  }

  /** @returns the group by which it came, or null */
  private onMessage(packet: IPublishPacket, topic: string, name: string, isRefused: boolean): string | null {
    const { env } = this;
    const { clientId } = this.role;
    if (topic.startsWith('$receipts/')) {
      env.receipts.onArrived(this.role, topic, name, packet.retain, this.account.isBlurred);
      return null;
    }
    // What clears a retained message has no name.
    if (name === '') return null;
    const { qos, dup, retain } = packet;
    this.checkExpiry(name, packet);
    const ids = packet.properties?.subscriptionIdentifier ?? [];
    const subscriptionIds = typeof ids === 'number' ? [ids] : ids;
    env.wills.onArrived(name, env.time.nowMs);
    const group = env.deliveries.onArrived(this.account, { topic, name, qos, dup, retain, subscriptionIds, isRefused });
    const id = receiptIdOf(packet);
    if (id === null) return group;
    if (group === null) env.receipts.arrived.add(`${clientId} ${id}`);
    env.receipts.names.set(id, name);
    this.answerable.push({ name, id, group });
    return group;
  }

  /** Bytes in flight have a bound; one message alone may be larger. */
  private checkBytes(): void {
    const { maximumInflightBytes = 0 } = this.env.plan.options;
    if (maximumInflightBytes === 0 || this.inflight.size < 2) return;
    let bytes = 0;
    for (const name of this.inflight.values()) bytes += name.length;
    if (bytes > maximumInflightBytes) this.port.broken(`has ${bytes} bytes in flight of ${maximumInflightBytes}`);
  }

  /** What had expired before there was this connection, or room in its window, was not sent before it had. */
  private checkExpiry(name: string, { qos, dup }: IPublishPacket): void {
    const { expiry = 0, takenAtMs = 0 } = this.env.deliveries.find(name) ?? {};
    const notBeforeMs = qos === 0 ? this.connectedAtMs : this.roomSinceMs;
    if (expiry === 0 || takenAtMs === 0 || dup || notBeforeMs <= takenAtMs + expiry * 1000) return;
    this.env.verdicts.broken('nothing comes that has expired', `${this.role.clientId} gets ${name}`);
  }

  /** A client refuses the same messages whenever they come; what an application needs for its own business never. */
  private refuses(topic: string, name: string): boolean {
    const { version, refusesOneIn, clientId } = this.role;
    if (version < 5 || refusesOneIn === 0 || topic.startsWith('$')) return false;
    return hashOf(`${clientId} ${name}`) % refusesOneIn === 0;
  }

  private answer(
    packet: IPublishPacket,
    { name, group, isMessage }: { name: string; group: string | null; isMessage: boolean },
    reasonCode: number,
  ): void {
    const { env } = this;
    const { messageId = 0, qos } = packet;
    const cmd = qos === 1 ? 'puback' : 'pubrec';
    this.answerLater(() => {
      const { clientId } = this.role;
      const answer = { name, group, id: receiptIdOf(packet), clientId, ok: reasonCode < 0x80 };
      const said = isMessage ? env.receipts.say(env.receipts.acknowledged, answer) : null;
      if (qos === 1 || reasonCode >= 0x80) this.finish(messageId);
      if (qos === 2 && reasonCode >= 0x80) this.refused.add(messageId);
      this.port.send({ cmd, messageId, reasonCode }, () => {
        if (said !== null) said.batch = env.batch();
      });
    });
  }

  onPubrel(messageId: number, reasonCode: number): void {
    if (this.refused.has(messageId) && reasonCode < 0x80) {
      this.port.broken(`got PUBREL ${messageId} after an error PUBREC`);
    }
    this.answerLater(() => {
      const isKnown = this.held.delete(messageId);
      this.finish(messageId);
      this.port.send({ cmd: 'pubcomp', messageId, reasonCode: isKnown || this.role.version < 5 ? 0 : 0x92 });
    });
  }

  /** A flow is about to end; the broker may fill its place in the window. */
  private finish(messageId: number): void {
    const { inflight, role, env } = this;
    if (inflight.size === role.receiveMaximum) this.roomSinceMs = env.time.nowMs;
    inflight.delete(messageId);
  }

  private answerLater(send: () => void): void {
    this.answers.push(send);
    if (this.isStalled) return;
    const { connection } = this;
    this.env.time.after(this.random.below(this.role.answerMs + 1), () => {
      if (this.connection === connection && !this.isStalled) this.flush();
    });
  }

  private flush(): void {
    for (const send of this.answers.splice(0)) send();
  }

  private topicOf({ topic, properties }: IPublishPacket): string {
    const alias = properties?.topicAlias;
    if (alias === undefined) return topic;
    if (topic !== '') this.aliases.set(alias, topic);
    return this.aliases.get(alias) ?? topic;
  }
}
