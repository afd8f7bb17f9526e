import type { IPublishPacket, UserProperties } from 'mqtt-packet';
import { Answering } from './answering.js';
import { type Filter, fence, isPermanent, type Outlet, type Role, willFilter } from './cast.js';
import type { Account } from './deliveries.js';
import { clears } from './facts.js';
import { isJob } from './groups.js';
import type { Log } from './log.js';
import { type Application, Peer, type Publication } from './peer.js';
import { hashOf } from './random.js';
import type { World } from './world.js';

/** Messages that a publisher has unacknowledged at most. */
const windowSize = 8;
const refusedCode = 0x83;

/** Packets until a client that waits for what its absence brings about looks again. */
const awayPackets = 250;

/** Topics of sessions that end: each session of each such client has one of its own. */
const churnPrefix = 'churn/';

/** Plays one role: publishes, subscribes, comes and goes by chance, and keeps the log of what it saw. */
export class Actor implements Application {
  readonly peer: Peer;
  readonly role: Role;
  private readonly world: World;
  private readonly log: Log;
  private readonly account: Account;
  private readonly numbers = new Map<string, number>();
  /** Filters that are on, or on their way. */
  private readonly subscribed = new Set<string>();
  /** Sessions begun. */
  private session = 0;
  /** True if the next connection begins a new session. */
  private renews = false;
  /** True if the present session, or the next one if it is new, outlives its connection. */
  private keeps: boolean;
  private connections = 0;
  private readonly answering: Answering;
  /** True while it waits for what its absence brings about: a delayed will, the end of its session. */
  private isAway = false;

  constructor(world: World, log: Log, role: Role) {
    const { clientId, version, durable, receiveMaximum = 100, filters = [], expirySeconds } = role;
    this.world = world;
    this.log = log;
    this.role = role;
    this.peer = new Peer(world, { clientId, version, receiveMaximum, expirySeconds }, this);
    this.account = log.deliveries.open(clientId, isPermanent(role));
    this.answering = new Answering(world, this.peer, log.recipients);
    this.keeps = durable;
    const qos = Math.min(...filters.map((filter) => filter.qos));
    log.recipients.know({ clientId, version, permanent: isPermanent(role), qos });
  }

  connect(): void {
    const { clientId, durable, willQos, willDelay = 0 } = this.role;
    if (!this.peer.isClosed || !this.world.up || this.staysAway()) return;
    this.isAway = false;
    if (this.account.mayHaveEnded && this.log.receipts.hasExpired(this.account)) this.peer.expectNone();
    if (this.session === 0 || this.renews || !this.account.durable) {
      this.session++;
      this.account.begin(this.keeps);
      this.subscribed.clear();
    }
    this.connections++;
    const clean = !durable || this.renews;
    if (willQos === undefined) this.peer.connect(clean, this.keeps);
    else {
      this.log.wills.onConnecting(this.willName, clientId, willQos, willDelay);
      const properties = willDelay > 0 ? { properties: { willDelayInterval: willDelay } } : {};
      const will = { topic: `will/${clientId}`, payload: String(this.connections), qos: willQos, retain: false };
      this.peer.connect(clean, this.keeps, { ...will, ...properties });
    }
  }

  /** True when nothing is open between this client and the broker. */
  get isAtRest(): boolean {
    return this.peer.isAtRest && this.answering.isAtRest;
  }

  /** Publishes one message to a topic of its own. */
  publish(outlet: Outlet): void {
    const { topic, qos, retain = false } = outlet;
    const { random } = this.world;
    const n = (this.numbers.get(topic) ?? 0) + 1;
    this.numbers.set(topic, n);
    const isPlain = this.role.version === 4 || retain;
    const isTracked = !isPlain && random.chance(this.role.tracked ?? 0);
    const request = isTracked ? { receipt: 'delivered' as const, deadline: 0, hold: false } : null;
    const publication: Publication = {
      ...{ topic, n, qos, retain, sentAt: this.world.now() },
      payload: retain && clears(n) ? '' : String(n),
      request: outlet.request ?? request,
      expires: !isPlain && topic !== fence && random.chance(0.03),
    };
    if (retain) this.log.retained.onSent(topic, n);
    else this.log.deliveries.onSent(publication);
    if (publication.request !== null) this.log.receipts.onSent(publication);
    this.peer.publish(publication);
  }

  /** Publishes while there is room for more unacknowledged messages. */
  work(): void {
    const { publishes = [] } = this.role;
    if (publishes.length === 0) return;
    while (this.peer.online && !this.world.calm && this.peer.openFlows < windowSize) {
      const { random } = this.world;
      const churning = this.log.churnTopics();
      const qos = random.chance(0.5) ? 1 : 2;
      if (random.chance(0.15)) this.publish({ topic: `${random.pick(churning)}/${this.role.clientId}/${qos}`, qos });
      else this.publish(random.pick(publishes));
    }
  }

  /** Topics that belong to this client's session: the present one and the one before. */
  churnTopics(): string[] {
    if (this.role.churns !== true) return [];
    return [this.session, this.session - 1].map((session) => `${churnPrefix}${this.role.clientId}/${session}`);
  }

  // ---- Application ----

  onConnected(sessionPresent: boolean): void {
    const { clientId, filters = [], churns, willQos } = this.role;
    this.renews = false;
    this.findSession(sessionPresent);
    // A session that is not kept is followed by one that is, and asks for the old one: there must be none.
    this.keeps = this.role.durable;
    if (willQos !== undefined) this.log.wills.onConnected(this.willName, clientId);
    const own: Filter = { topic: `${churnPrefix}${clientId}/${this.session}/#`, qos: 1 };
    const wanted = churns === true ? [...filters, own] : filters;
    // What was not acknowledged is asked for again; a repeated SUBSCRIBE is a subscription all the same.
    const missing = wanted.filter(({ topic }) => !this.account.subscriptions.has(topic));
    if (missing.length > 0) this.subscribe(missing);
    this.answering.onConnected(sessionPresent);
    // Publishers of tracked messages begin when their receipts are sure to come.
    if (missing.length === 0) this.work();
  }

  onSubscribed(filters: readonly string[], granted: readonly number[]): void {
    for (const [at, filter] of filters.entries()) {
      const qos = granted[at];
      if (qos === undefined || qos >= 0x80) this.world.violation(`${this.role.clientId} may not have ${filter}`);
      else this.account.subscriptions.set(filter, { qos, from: this.world.now() });
      if (filter === willFilter) this.log.wills.onWatched();
    }
    this.work();
  }

  onUnsubscribed(filters: readonly string[]): void {
    for (const filter of filters) this.subscribed.delete(filter);
  }

  onTaken(publication: Publication, reasonCode: number, userProperties: UserProperties): void {
    const { topic, n, retain, request, word } = publication;
    const { clientId } = this.role;
    if (word !== undefined) {
      this.answering.onTaken(word, reasonCode);
      return;
    }
    const isHeld = request?.hold === true && reasonCode === 0x83;
    if (reasonCode >= 0x80 && !isHeld)
      this.world.violation(`${clientId}: ${topic} ${n} was refused with ${reasonCode}`);
    const { deliveries, groups, receipts } = this.log;
    if (retain) this.log.retained.onTaken(topic, n);
    else deliveries.onTaken(publication);
    groups.onTaken(publication);
    if (request !== null) {
      const certain = [...deliveries.recipientsOf(publication), ...groups.recipientsOf(publication)];
      receipts.onTaken(clientId, publication, reasonCode, userProperties, certain);
    }
    this.maybeLeave(0.004);
    this.work();
  }

  onCompleted(): void {
    this.work();
  }

  onMessage(packet: IPublishPacket): number {
    const { topic } = packet;
    const text = packet.payload.toString();
    if (topic.startsWith('$receipts/')) {
      this.log.receipts.onReceived(this.role.clientId, packet);
    } else if (topic.startsWith('will/')) {
      this.log.wills.onArrived(`${topic.slice('will/'.length)} ${text}`);
    } else if (this.refuses(packet)) {
      this.log.deliveries.onRefused(this.account, topic, Number(text));
      return refusedCode;
    } else {
      this.onNumbered(packet, Number(text));
    }
    this.maybeToggle();
    this.maybeLeave(this.role.churns === true ? 0.04 : 0.01);
    return 0;
  }

  onAnswered(packet: IPublishPacket, reasonCode: number): void {
    const { clientId, version } = this.role;
    if (packet.topic.startsWith('$receipts/') || packet.topic.startsWith('will/')) return;
    const name = version === 4 ? `${packet.topic} ${packet.payload.toString()}` : receiptIdOf(packet);
    if (name !== null) this.log.recipients.onAnswered(clientId, name, reasonCode);
  }

  onClosed(): void {
    const { willQos, willDelay, expirySeconds, publishes, toggles = [] } = this.role;
    if (willQos !== undefined) this.log.wills.onEnded(this.willName, false);
    if (expirySeconds !== undefined) this.account.leave();
    this.isAway = (willDelay !== undefined || expirySeconds !== undefined) && this.world.random.chance(0.6);
    for (const { topic } of toggles) this.unsure(topic);
    if (!this.world.up) return;
    // Publishers keep time going, so they wait for nothing.
    if (publishes !== undefined || this.world.calm) setImmediate(() => this.connect());
    else this.comeBackLater();
  }

  // ---- chance ----

  private get willName(): string {
    return `${this.role.clientId} ${this.connections}`;
  }

  private refuses(packet: IPublishPacket): boolean {
    const id = receiptIdOf(packet);
    return this.role.refuses === true && packet.qos > 0 && id !== null && hashOf(id) % 7 === 0;
  }

  private get isMember(): boolean {
    return this.role.filters?.some(({ topic }) => topic.startsWith('$share/')) ?? false;
  }

  /** True if its absence has not brought about yet what it must. */
  private staysAway(): boolean {
    if (!this.isAway) return false;
    const { wills, receipts } = this.log;
    if (this.role.expirySeconds !== undefined) return receipts.pendingFor(this.account) > 0;
    return wills.owes(this.willName) || receipts.overdueFor(this.role.clientId).length > 0;
  }

  private comeBackLater(): void {
    this.world.after(this.world.random.below(awayPackets) + 1, () => {
      this.connect();
      // In calm somebody else looks.
      if (this.peer.isClosed && !this.world.calm) this.comeBackLater();
    });
  }

  /** Takes note of whether the broker still has a session that may have ended. */
  private findSession(sessionPresent: boolean): void {
    if (this.role.expirySeconds === undefined) return;
    if (sessionPresent) this.account.comeBack(this.world.now());
    else {
      this.account.begin(true);
      this.subscribed.clear();
    }
  }

  private onNumbered(packet: IPublishPacket, n: number): void {
    const { topic, qos, dup } = packet;
    const { deliveries, groups } = this.log;
    if (!dup && n > 0) deliveries.checkExpiry(this.account, topic, n, this.peer.connectedAtMs);
    if (isJob(topic)) groups.onArrived(this.account, topic, n, qos, receiptIdOf(packet));
    else deliveries.onArrived(this.account, topic, n, qos);
    this.checkSession(topic);
    if (this.role.version === 5) this.answering.onMessage(packet);
  }

  private checkSession(topic: string): void {
    if (!topic.startsWith(churnPrefix)) return;
    const [, clientId, session] = topic.split('/');
    if (clientId !== this.role.clientId || Number(session) !== this.session) {
      this.world.violation(`${this.role.clientId} in session ${this.session} got ${topic}: an ended one is back`);
    }
  }

  private subscribe(filters: readonly Filter[]): void {
    for (const { topic } of filters) this.subscribed.add(topic);
    this.peer.subscribe(filters);
  }

  /** A request whose answer did not come: the filter may be on or off. */
  private unsure(topic: string): void {
    if (!this.account.subscriptions.has(topic)) this.subscribed.delete(topic);
  }

  private maybeToggle(): void {
    const { random, calm } = this.world;
    const { toggles } = this.role;
    if (toggles === undefined || calm || !this.peer.online || !random.chance(0.05)) return;
    const filter = random.pick(toggles);
    if (!this.subscribed.has(filter.topic)) this.subscribe([filter]);
    else if (this.account.subscriptions.delete(filter.topic)) this.peer.unsubscribe([filter.topic]);
  }

  /** Leaves in one of the ways there are. */
  private maybeLeave(probability: number): void {
    const { random, calm, up } = this.world;
    if (calm || !up || this.role.steady === true || !this.peer.online || !random.chance(probability)) return;
    if (this.role.churns === true && this.account.durable && random.chance(0.5)) {
      this.renews = true;
      // In 3.1.1 a session that begins clean is not kept. That of a group's member is: what one without a stored
      // session has not acknowledged dies with the broker, and no other member gets it.
      this.keeps = this.role.version === 5 && (this.isMember || random.chance(0.5));
    }
    const way = random.below(3);
    if (way === 0) this.peer.cut();
    else if (way === 1) this.peer.end(false);
    else {
      if (this.role.willQos !== undefined) this.log.wills.onEnded(this.willName, true);
      this.peer.end(true);
    }
  }
}

function receiptIdOf(packet: IPublishPacket): string | null {
  return packet.properties?.userProperties?.['receipt-id']?.toString() ?? null;
}
