import { naiveMatches } from '../model/topic-naive.js';
import { clockMarginMs, messageExpirySeconds, type Publication } from './peer.js';
import type { World } from './world.js';

interface Subscribed {
  readonly qos: number;
  /** When SUBACK came; null while it has not. */
  from: number | null;
}

/** What came of one topic, whose messages are numbered. */
interface Stream {
  /** Everything up to here is settled. */
  floor: number;
  highest: number;
  readonly seen: Set<number>;
}

/** What one subscriber is owed and what it got. */
export class Account {
  readonly clientId: string;
  /** True if its session never ends. */
  readonly permanent: boolean;
  /** Number of the session, rising. */
  session = 0;
  /** True for a session with a short expiry while its client is away: it may have ended unseen. */
  mayHaveEnded = false;
  /** True if its present session outlives the connection. */
  durable = false;
  /** What it has subscribed to for certain, by filter: from SUBACK until UNSUBSCRIBE or a clean start is sent. */
  readonly subscriptions = new Map<string, Subscribed>();
  /** Acknowledged messages that it must still get. */
  readonly owed = new Set<string>();
  private readonly streams = new Map<string, Stream>();

  constructor(clientId: string, permanent: boolean) {
    this.clientId = clientId;
    this.permanent = permanent;
  }

  /** A new session: nothing of the old one is owed any more. */
  begin(durable: boolean): void {
    this.session++;
    this.durable = durable;
    this.mayHaveEnded = false;
    this.subscriptions.clear();
    this.owed.clear();
    this.streams.clear();
  }

  stream(topic: string): Stream {
    const known = this.streams.get(topic);
    if (known !== undefined) return known;
    const stream = { floor: 0, highest: 0, seen: new Set<number>() };
    this.streams.set(topic, stream);
    return stream;
  }

  /** True if it subscribed before the message was sent, and has not taken that back; at that QoS or above. */
  covers(publication: Publication, minimumQos: number): boolean {
    if (this.mayHaveEnded) return false;
    for (const [filter, { from, qos }] of this.subscriptions) {
      if (from === null || from > publication.sentAt || Math.min(qos, publication.qos) < minimumQos) continue;
      if (naiveMatches(filter, publication.topic)) return true;
    }
    return false;
  }

  /** The client is away, and its session may end for that: what it had subscribed to is not certain any more. */
  leave(): void {
    this.mayHaveEnded = true;
  }

  /** The client is back and has its session: what is sent from now on is for it. */
  comeBack(at: number): void {
    this.mayHaveEnded = false;
    for (const subscription of this.subscriptions.values()) subscription.from = at;
  }

  settle(): void {
    for (const stream of this.streams.values()) {
      stream.floor = stream.highest;
      stream.seen.clear();
    }
  }
}

const keyOf = (topic: string, n: number): string => `${topic} ${n}`;

/** Who must get which message, and what came: nothing lost, nothing twice at QoS 2, in the order of each topic. */
export class Deliveries {
  readonly accounts: Account[] = [];
  /** Messages acknowledged to their publishers, and messages that came. */
  taken = 0;
  arrived = 0;
  private readonly world: World;
  private readonly sent = new Map<string, Publication>();
  /** When messages that expire were acknowledged, by the publisher's clock. */
  private readonly takenAtMs = new Map<string, number>();

  constructor(world: World) {
    this.world = world;
  }

  open(clientId: string, permanent: boolean): Account {
    const account = new Account(clientId, permanent);
    this.accounts.push(account);
    return account;
  }

  onSent(publication: Publication): void {
    this.sent.set(keyOf(publication.topic, publication.n), publication);
  }

  /** The broker acknowledged a message: from now on it is owed to every durable session that had subscribed. */
  onTaken(publication: Publication): void {
    this.taken++;
    if (publication.expires) {
      this.takenAtMs.set(keyOf(publication.topic, publication.n), performance.now());
      return;
    }
    for (const account of this.accounts) {
      if (!account.durable || !account.covers(publication, 1)) continue;
      const { floor, seen } = account.stream(publication.topic);
      if (publication.n > floor && !seen.has(publication.n)) account.owed.add(keyOf(publication.topic, publication.n));
    }
  }

  /** Durable sessions that a tracked message must have among its recipients. */
  recipientsOf(publication: Publication): Account[] {
    return this.accounts.filter((account) => account.durable && account.covers(publication, 0));
  }

  /** The message as it was first sent, since everything was settled last. */
  find(key: string): Publication | undefined {
    return this.sent.get(key);
  }

  /** A message came to a connection for the first time: it must not have expired before there was that connection. */
  checkExpiry(account: Account, topic: string, n: number, connectedAtMs: number): void {
    const takenAtMs = this.takenAtMs.get(keyOf(topic, n)) ?? Number.POSITIVE_INFINITY;
    if (connectedAtMs < takenAtMs + messageExpirySeconds * 1000 + clockMarginMs) return;
    this.world.violation(`${account.clientId}: ${topic} number ${n} came after it had expired`);
  }

  onArrived(account: Account, topic: string, n: number, qos: number): void {
    this.arrived++;
    const stream = account.stream(topic);
    const where = `${account.clientId}: ${topic} number ${n}`;
    if (n <= stream.floor || stream.seen.has(n)) {
      if (qos === 2) this.world.violation(`${where} came twice at QoS 2`);
      return;
    }
    const publication = this.sent.get(keyOf(topic, n));
    if (publication === undefined) this.world.violation(`${where} was never sent`);
    else if (n < stream.highest && this.keepsOrder(account, publication)) {
      this.world.violation(`${where} came for the first time after number ${stream.highest}`);
    }
    stream.seen.add(n);
    stream.highest = Math.max(stream.highest, n);
    account.owed.delete(keyOf(topic, n));
  }

  /**
   * False for a message that the session may have gone without when it was first published, and got when its publisher
   * repeated it: not subscribed yet, away at QoS 0, or the message expired.
   */
  private keepsOrder(account: Account, publication: Publication): boolean {
    return !publication.expires && account.covers(publication, Math.min(publication.qos, 1));
  }

  /** The subscriber refused a message: it was delivered, and counts for nothing else. */
  onRefused(account: Account, topic: string, n: number): void {
    account.owed.delete(keyOf(topic, n));
    account.stream(topic).seen.add(n);
  }

  get isPaid(): boolean {
    return this.accounts.every(({ owed }) => owed.size === 0);
  }

  /** What acknowledged messages are missing, in words. */
  missing(): string[] {
    return this.accounts
      .filter(({ owed }) => owed.size > 0)
      .map(({ clientId, owed }) => `${clientId} lacks ${owed.size} acknowledged: ${[...owed].slice(0, 5).join(', ')}`);
  }

  /** Everything is settled: what comes from now on must be new. */
  settle(): void {
    for (const account of this.accounts) account.settle();
    this.sent.clear();
    this.takenAtMs.clear();
  }
}
