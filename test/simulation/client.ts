import { generate, type Packet } from 'mqtt-packet';
import type { Random } from '../crash/random.js';
import type { Account } from './deliveries.js';
import { describePacket } from './describe.js';
import type { Environment } from './environment.js';
import { Flows } from './flows.js';
import { Inbox } from './inbox.js';
import { OwnWills, willPacket } from './own-wills.js';
import { newSubscription, type PublishChoice, type SubscriptionChoice, type SubscriptionFact } from './publication.js';
import type { ConnectChoice, Role } from './role.js';
import { SessionFacts } from './session-facts.js';
import type { WillFact } from './wills.js';
import { Wire } from './wire.js';

/** A SUBSCRIBE or UNSUBSCRIBE without its answer, and the subscriptions that it begins or ends. */
interface Request {
  readonly isSubscribe: boolean;
  readonly filters: readonly string[];
  readonly subscriptions: readonly SubscriptionFact[];
}

/** Type and length of a packet below 128 bytes. */
const headerBytes = 2;
const allFilter = '$receipts/~/#';
const deliveriesFilter = '$receipts/~/+/+';

/** A client: its half of every flow over connections and sessions, and a log of what it saw. */
export class SimulatedClient {
  readonly role: Role;
  readonly account: Account;
  readonly facts: SessionFacts;
  /** True from CONNACK to the end of the connection. */
  isOnline = false;
  readonly inbox: Inbox;
  private readonly env: Environment;
  private readonly random: Random;
  private wire: Wire | null = null;
  /** True if the broker may well send it away. */
  private mayBeSentAway = false;
  private readonly flows: Flows;
  private readonly requests = new Map<number, Request>();
  private lastPacketId = 0;
  private will: WillFact | null = null;
  private readonly wills: OwnWills;
  private connections = 0;

  constructor(env: Environment, role: Role, random: Random) {
    this.env = env;
    this.role = role;
    this.random = random;
    this.account = env.deliveries.account(role.clientId);
    this.facts = new SessionFacts(env, role.clientId);
    this.account.maximumPacketSize = role.maximumPacketSize;
    this.account.isAlive = () => this.facts.isAlive;
    const send = (packet: Packet, onTaken?: () => void): void => this.send(packet, onTaken);
    const broken = (what: string): void => this.broken(what);
    this.inbox = new Inbox(env, role, this.account, random, { send, broken });
    this.wills = new OwnWills(env, role);
    this.flows = new Flows(env, role, { send, broken });
  }

  get isConnected(): boolean {
    return this.wire !== null;
  }

  /** True if nothing is under way between this client and the broker. */
  get isAtRest(): boolean {
    return this.isOnline && this.flows.size + this.requests.size + this.inbox.size === 0;
  }

  /** True if it surely takes the receipts of its messages. */
  get isFollowing(): boolean {
    return this.role.followsReceipts && this.account.isSure(this.receiptsFilter) && !this.account.isBlurred;
  }

  private get receiptsFilter(): string {
    return this.role.followsTallies ? allFilter : deliveriesFilter;
  }

  describe(): string {
    const { role, isOnline, flows, requests, inbox } = this;
    const state = isOnline ? 'online' : 'offline';
    return `${role.clientId} ${state}, open: ${flows.describe()}; ${requests.size} requests, ${inbox.size} in`;
  }

  // ---- what it does ----

  /** Connects; if it is connected, the broker is not told that the old connection is dead. */
  connect({ clean, expirySeconds, will }: ConnectChoice): void {
    const { env, role } = this;
    const parts = env.parts();
    if (parts === null) return;
    this.wire?.abandon();
    this.leave();
    const { clientId, version } = role;
    // In 3.1.1 a session lasts for ever unless it begins clean.
    let seconds = expirySeconds;
    if (version < 5) seconds = clean ? 0 : 0xffffffff;
    // The old session may be over once this is sent; whether it is, CONNACK says.
    if (clean || seconds === 0) this.account.doubt();
    if (!this.facts.isAlive) this.doubt();
    this.facts.onConnecting(clean, seconds);
    const connection = ++this.connections;
    const fact = will === null ? null : this.wills.begin(will, seconds, connection);
    this.will = fact;
    const wire = new Wire(env.time, this.random, version, parts, {
      onWritten: (packet) => this.onWritten(wire, packet),
      onPacket: (packet) => this.receive(packet),
      onClosed: () => this.closed(wire),
      onBrokerClosed: () => {
        if (fact !== null) env.wills.onLost(fact, env.time.nowMs, env.time.events, env.batch());
        this.facts.onBrokerClosed(wire);
      },
      onGarbage: (error) => env.verdicts.broken('the protocol', `${clientId} can not read: ${error.message}`),
    });
    if (this.facts.wire !== null) wire.follow(this.facts.wire);
    this.wire = wire;
    this.facts.wire = wire;
    env.onWire(wire);
    this.inbox.begin(env.time.nowMs);
    const { receiveMaximum, topicAliasMaximum, maximumPacketSize } = role;
    const properties = {
      ...{ sessionExpiryInterval: seconds, topicAliasMaximum },
      ...(receiveMaximum < 65_535 ? { receiveMaximum } : {}),
      ...(maximumPacketSize > 0 ? { maximumPacketSize } : {}),
    };
    const packet: Packet = {
      ...{ cmd: 'connect', clientId, clean, keepalive: 0, protocolId: 'MQTT' },
      protocolVersion: version,
      ...(version === 5 ? { properties } : {}),
      ...(fact === null ? {} : { will: willPacket(fact, version) }),
    };
    wire.send(generate(packet, { protocolVersion: version }), () => {
      this.facts.onConnectTaken(wire);
      this.wills.onReturned(connection, clean);
    });
  }

  publish(choice: PublishChoice): void {
    if (!this.isOnline || this.flows.size >= 60) return;
    const { clientId } = this.role;
    const publication = this.env.name(clientId, clientId, choice);
    this.flows.begin(publication, choice.qos === 0 ? 0 : this.nextPacketId());
  }

  subscribe(choices: readonly SubscriptionChoice[], rh: 0 | 1 | 2): void {
    if (!this.isOnline) return;
    const { version } = this.role;
    const messageId = this.nextPacketId();
    const askedAt = this.env.time.events;
    const subscriptions = choices.map((choice) => newSubscription(choice, askedAt));
    // Whatever it had under these filters may be replaced from now on.
    for (const { topicFilter } of subscriptions) this.account.unsure(topicFilter);
    this.account.subscriptions.push(...subscriptions);
    const filters = choices.map(({ topicFilter }) => topicFilter);
    this.requests.set(messageId, { isSubscribe: true, filters, subscriptions });
    const { subscriptionId } = choices[0];
    const options = choices.map(({ topicFilter, qos, noLocal, retainAsPublished }) => ({
      ...{ topic: topicFilter, qos },
      ...(version === 5 ? { nl: noLocal, rap: retainAsPublished, rh } : {}),
    }));
    const properties =
      version === 5 && subscriptionId > 0 ? { properties: { subscriptionIdentifier: subscriptionId } } : {};
    this.send({ cmd: 'subscribe', messageId, subscriptions: options, ...properties });
  }

  unsubscribe(topicFilter: string): void {
    if (!this.isOnline) return;
    const messageId = this.nextPacketId();
    this.account.unsure(topicFilter);
    const subscriptions = this.account.subscriptions.filter((known) => known.topicFilter === topicFilter);
    this.requests.set(messageId, { isSubscribe: false, filters: [topicFilter], subscriptions });
    this.send({ cmd: 'unsubscribe', messageId, unsubscriptions: [topicFilter] });
  }

  /** Its application acknowledges a message that came. @returns its name; null if there was none */
  acknowledgeProcessed(at: number, ok: boolean): string | null {
    const { answerable } = this.inbox;
    const message = answerable[at % Math.max(1, answerable.length)];
    if (message === undefined || !this.isOnline || this.role.version < 5) return null;
    const { env } = this;
    const said = env.receipts.say(env.receipts.answered, { ...message, clientId: this.role.clientId, ok });
    const properties = { userProperties: { 'receipt-id': message.id, status: ok ? 'ok' : 'error' } };
    const packet: Packet = {
      cmd: 'publish',
      topic: '$receipts/ack',
      payload: '',
      qos: 0,
      retain: false,
      dup: false,
      properties,
    };
    this.send(packet, () => {
      said.batch = env.batch();
    });
    return message.name;
  }

  /** Leaves with DISCONNECT. @param expirySeconds changes the session's expiry, null to leave it */
  disconnect(reasonCode: 0 | 4, expirySeconds: number | null): void {
    const { wire, env, will } = this;
    if (wire === null || !this.isOnline) return;
    const { version } = this.role;
    const canChange = version === 5 && expirySeconds !== null && this.facts.expirySeconds > 0;
    if (canChange) {
      this.facts.onExpiryChanging(expirySeconds);
      if (will !== null) will.dueAfterMs = Math.min(will.dueAfterMs, expirySeconds * 1000);
    }
    if (canChange && expirySeconds === 0) this.account.doubt();
    const properties = canChange ? { properties: { sessionExpiryInterval: expirySeconds } } : {};
    const packet: Packet = { cmd: 'disconnect', ...(version === 5 ? { reasonCode, ...properties } : {}) };
    this.send(packet, () => {
      if (will === null || will.lostAtMs > 0) return;
      if (reasonCode === 0 || version < 5) will.droppedIn = env.batch();
      else env.wills.onLost(will, env.time.nowMs, env.time.events, env.batch());
    });
    wire.cut(false);
    this.closed(wire);
  }

  /** Loses its connection. @param isAbrupt true if what is on its way is lost */
  cut(isAbrupt: boolean): void {
    const { wire } = this;
    if (wire === null) return;
    wire.cut(isAbrupt);
    this.closed(wire);
  }

  /** Sends what no client may. */
  violate(bytes: Buffer): void {
    this.mayBeSentAway = true;
    this.wire?.send(bytes);
  }

  setDeaf(isDeaf: boolean): void {
    if (this.wire === null) return;
    if (isDeaf) this.wire.isDeaf = true;
    else this.wire.listen();
  }

  /** A crash has undone what happened in some batches: what is known of the session is not certain any more. */
  blur(): void {
    this.facts.blur();
    this.inbox.forget();
  }

  // ---- what comes ----

  private onWritten(wire: Wire, packet: Packet): void {
    this.flows.onWritten(packet);
    const asked = [...this.requests.values()].flatMap(({ filters }) => filters);
    const { filters: all = [] } = this.requests.get(packet.messageId ?? 0) ?? {};
    // Of two requests about the same filter the later one may have been heard.
    const filters = all.filter((filter) => asked.filter((other) => other === filter).length === 1);
    this.env.onWritten(this.role.clientId, wire, packet, filters);
  }

  private receive(packet: Packet): void {
    this.env.onEvent?.(`${this.role.clientId} gets ${describePacket(packet)}`);
    const { maximumPacketSize } = this.role;
    const bytes = (packet.length ?? 0) + headerBytes;
    if (maximumPacketSize > 0 && bytes > maximumPacketSize) this.broken(`got ${packet.cmd} of ${bytes} bytes`);
    switch (packet.cmd) {
      case 'connack':
        this.onConnack(packet.sessionPresent, packet.reasonCode ?? packet.returnCode ?? 0);
        break;
      case 'publish':
        this.inbox.onPublish(packet);
        break;
      case 'pubrel':
        this.inbox.onPubrel(packet.messageId ?? 0, packet.reasonCode ?? 0);
        break;
      case 'puback':
      case 'pubrec':
        this.flows.onTaken(
          packet.cmd,
          packet.messageId ?? 0,
          packet.reasonCode ?? 0,
          packet.properties?.userProperties ?? {},
        );
        break;
      case 'pubcomp':
        this.flows.onPubcomp(packet.messageId ?? 0);
        break;
      case 'suback':
        this.onRequestAnswered(packet.messageId ?? 0, packet.granted as number[]);
        break;
      case 'unsuback':
        this.onRequestAnswered(packet.messageId ?? 0, []);
        break;
      case 'disconnect':
        if (!this.mayBeSentAway)
          this.broken(`was sent away with ${packet.reasonCode} ${packet.properties?.reasonString}`);
        break;
      default:
        this.broken(`got ${packet.cmd}`);
    }
  }

  private onConnack(sessionPresent: boolean, reasonCode: number): void {
    const { env, will } = this;
    if (reasonCode !== 0) {
      if (env.isWell()) this.broken(`was refused with ${reasonCode}`);
      return;
    }
    this.facts.onConnack(sessionPresent);
    if (!sessionPresent) this.forget();
    this.account.isDurable = this.facts.expirySeconds > 0;
    if (will !== null && this.facts.expirySeconds > 0) will.isSure = true;
    this.isOnline = true;
    this.flows.resume();
    if (this.role.followsReceipts && !this.account.isSure(this.receiptsFilter)) this.followReceipts();
  }

  private followReceipts(): void {
    const filter = { topicFilter: this.receiptsFilter, qos: 2 as const, noLocal: false, retainAsPublished: false };
    this.subscribe([{ ...filter, subscriptionId: 0 }], 1);
  }

  private onRequestAnswered(messageId: number, codes: readonly number[]): void {
    const request = this.requests.get(messageId);
    this.requests.delete(messageId);
    if (request === undefined) {
      this.broken(`got an answer ${messageId} for nothing`);
      return;
    }
    const { events } = this.env.time;
    if (!request.isSubscribe) {
      this.account.gone(request.subscriptions, events);
      return;
    }
    for (const [at, subscription] of request.subscriptions.entries()) {
      const code = codes[at];
      if (code >= 0x80 && this.env.isWell()) this.broken(`may not have ${subscription.topicFilter}: ${code}`);
      if (code < 0x80) this.account.begun(subscription, events);
    }
  }

  // ---- within ----

  private send(packet: Packet, onTaken: (() => void) | null = null): void {
    this.wire?.send(generate(packet, { protocolVersion: this.role.version }), onTaken);
  }

  private closed(wire: Wire): void {
    if (this.wire !== wire) return;
    this.leave();
  }

  /** The connection is over for the client. */
  private leave(): void {
    if (this.wire !== null) this.facts.onClosed();
    this.wire = null;
    this.isOnline = false;
    this.mayBeSentAway = false;
    this.requests.clear();
    this.inbox.leave();
  }

  /**
   * The session may be over already. If its successor's CONNACK is lost, the next CONNACK tells of that as if it were
   * the old one: then nothing that the client knows is certain.
   */
  private doubt(): void {
    this.account.doubt();
    this.account.isBlurred = true;
    this.flows.clear();
    this.inbox.forget();
  }

  /** The session is over: so is everything in it. */
  private forget(): void {
    this.flows.clear();
    this.inbox.forget();
    this.account.begin();
    this.env.receipts.begin(this.role.clientId);
  }

  private nextPacketId(): number {
    do this.lastPacketId = this.lastPacketId >= 200 ? 1 : this.lastPacketId + 1;
    while (this.flows.has(this.lastPacketId) || this.requests.has(this.lastPacketId));
    return this.lastPacketId;
  }

  private broken(what: string): void {
    this.env.verdicts.broken('the protocol', `${this.role.clientId} ${what}`);
  }
}
