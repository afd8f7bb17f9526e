import type { Wakeup } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { BrokerCore } from '../../lib/broker/broker-core.js';
import { type BrokerOptions, parseOptions } from '../../lib/config/schema.js';
import { CrashStore } from './crash-store.js';
import { HistoryClient } from './history-client.js';

/** Time and turns of one run of a broker: both move only when the test says so. */
class RunClock {
  nowMs: number;
  private turns: (() => void)[] = [];
  private readonly wakeups = new Map<Wakeup, () => void>();

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  now(): number {
    return this.nowMs;
  }

  after(delayMs: number, callback: () => void): Wakeup {
    const wakeup = { dueAtMs: this.nowMs + Math.max(0, delayMs) };
    this.wakeups.set(wakeup, callback);
    return wakeup;
  }

  cancel(wakeup: Wakeup): void {
    this.wakeups.delete(wakeup);
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

  /** Lets time pass up to the next wake-up, at most to `untilMs`; false when it is `untilMs`. */
  next(untilMs: number): boolean {
    const [first] = [...this.wakeups].sort(([one], [other]) => one.dueAtMs - other.dueAtMs);
    if (first === undefined || first[0].dueAtMs > untilMs) {
      this.nowMs = Math.max(this.nowMs, untilMs);
      return false;
    }
    this.wakeups.delete(first[0]);
    this.nowMs = Math.max(this.nowMs, first[0].dueAtMs);
    first[1]();
    return true;
  }
}

/** What a recipient's transport or application said about a message. */
export interface Said {
  readonly topic: string;
  readonly clientId: string;
  readonly ok: boolean;
  /** True if its batch is durable, so that no crash can take it back. */
  isDurable: boolean;
  readonly batch: number;
}

export const groupFilter = '$share/g/a/+';

const recipients: readonly [clientId: string, version: 4 | 5, expiry: number, window: number, filters: string][] = [
  ['R1', 5, 600, 2, 'a/+ 1,# 2'],
  ['R2', 5, 0, 3, 'a/+ 1'],
  ['R3', 4, 600, 65_535, 'a/+ 1'],
  ['R4', 5, 600, 65_535, '# 0'],
  ['G1', 5, 300, 1, `${groupFilter} 2`],
  ['G2', 5, 0, 2, `${groupFilter} 1`],
];

/** A broker in its world: clients, time, and a disk that a crash can part it from. */
export class HistoryWorld {
  readonly clients: HistoryClient[];
  readonly publishers: HistoryClient[];
  readonly recipients: HistoryClient[];
  /** What each topic may have as its cohort's size: one number for each time it was offered to the broker. */
  readonly expected = new Map<string, Set<number>>();
  /** Topics of messages that could expire. */
  readonly expiring = new Set<string>();
  readonly acks: Said[] = [];
  readonly answers: Said[] = [];
  core: BrokerCore;
  clock = new RunClock(Date.UTC(2030, 0, 1));
  private readonly settings;
  private store = new CrashStore();
  private published = 0;

  constructor(options: BrokerOptions) {
    this.settings = parseOptions({ memory: true, sysInterval: 0, ...options }, '');
    this.publishers = [new HistoryClient('P1', 5, 1e9, 65_535), new HistoryClient('P2', 5, 1e9, 3)];
    this.recipients = recipients.map(([id, version, expiry, window]) => new HistoryClient(id, version, expiry, window));
    this.clients = [...this.publishers, ...this.recipients];
    this.core = this.startCore();
    for (const client of this.clients) this.connect(client, false);
  }

  /** Ends turns and commits until there is nothing left to do. */
  settle(): void {
    while (this.clock.turn() || this.flush());
  }

  turn(): void {
    this.clock.turn();
  }

  /** One batch becomes durable. */
  flush(): boolean {
    if (!this.store.flush()) return false;
    this.noteDurable();
    return true;
  }

  /** Lets time pass, everything due on the way in its own turn. */
  pass(ms: number): void {
    const untilMs = this.clock.nowMs + ms;
    this.settle();
    while (this.clock.next(untilMs)) this.settle();
  }

  isAlive(client: HistoryClient): boolean {
    return client.link !== null || this.clock.nowMs < client.aliveUntilMs;
  }

  connect(client: HistoryClient, cleanStart: boolean): void {
    this.settle();
    const isBack = client.connect(this.core, cleanStart);
    if (!isBack) {
      const isPublisher = this.publishers.includes(client);
      const filters = isPublisher ? `$receipts/~/# ${client.clientId === 'P1' ? 2 : 1}` : filtersOf(client);
      for (const entry of filters.split(',')) this.subscribe(client, entry);
    } else for (const topic of client.resend(this.core)) this.expected.get(topic)?.add(this.cohort());
    this.settle();
  }

  /** The connection breaks; with `leaves` the session ends as well. */
  disconnect(client: HistoryClient, leaves: boolean): void {
    const { session } = client;
    if (session === null) return;
    this.settle();
    client.aliveUntilMs = leaves ? 0 : this.clock.nowMs + client.expirySeconds * 1000;
    const sessionExpirySeconds = leaves ? 0 : null;
    client.lose();
    this.core.disconnect(session, { reasonCode: 0, sessionExpirySeconds, reasonString: null });
    this.settle();
  }

  /** A publisher subscribes again to what it is subscribed to, without asking for a replay. */
  resubscribe(client: HistoryClient): void {
    const [filter] = client.filters;
    if (filter !== undefined && client.link !== null) client.subscribe(this.core, ...filter, 1);
  }

  /** A publisher leaves many records, and begins a new life with a replay of them that takes a while. */
  backlog(client: HistoryClient): void {
    for (let at = 0; at < 20; at++) this.publish(client, 0, 'delivered', false, false);
    this.connect(client, true);
  }

  /** A recipient takes what there is and acknowledges it. */
  serve(client: HistoryClient): void {
    this.settle();
    this.take(client);
    while (client.inbox.length > 0) this.acknowledge(client, 0, 0);
  }

  /** Drops or takes up its first subscription again. */
  toggle(client: HistoryClient): void {
    const { session, link } = client;
    if (session === null || link === null || !this.recipients.includes(client)) return;
    this.settle();
    const [first = ''] = filtersOf(client).split(',');
    const [topicFilter = ''] = first.split(' ');
    if (client.filters.delete(topicFilter)) {
      this.core.unsubscribe(session, link, { packetId: 1, userProperties: [], topicFilters: [topicFilter] });
    } else this.subscribe(client, first);
    this.settle();
  }

  publish(client: HistoryClient, qos: 0 | 1 | 2, receipt: string, expires: boolean, deadline: boolean): void {
    if (client.link === null) return;
    const topic = `a/${this.published++}`;
    if (expires) this.expiring.add(topic);
    this.expected.set(topic, new Set([this.cohort()]));
    const userProperties = { receipt, ...(deadline ? { 'receipt-deadline': '60' } : {}) };
    const properties = { userProperties, ...(expires ? { messageExpiryInterval: 30 } : {}) };
    client.publish(this.core, { topic, qos, properties });
  }

  acknowledge(client: HistoryClient, at: number, reasonCode: number): void {
    const message = client.acknowledge(this.core, at % Math.max(1, client.inbox.length), reasonCode);
    if (message !== null) this.say(this.acks, message.topic, client, reasonCode < 0x80);
  }

  /** A recipient's application acknowledges one of the messages that came. */
  answer(client: HistoryClient, at: number, ok: boolean): void {
    const all = [...client.ids];
    const [topic, id] = all[at % Math.max(1, all.length)] ?? [];
    if (topic === undefined || id === undefined || client.link === null) return;
    const userProperties = { 'receipt-id': id, status: ok ? 'ok' : 'error' };
    client.publish(this.core, { topic: '$receipts/ack', qos: 1, properties: { userProperties } });
    this.say(this.answers, topic, client, ok);
  }

  /** Clients take what has arrived. */
  take(client: HistoryClient): boolean {
    return client.take(this.core);
  }

  /** The broker dies; so many sealed batches had reached the disk all the same. Then it starts anew. */
  crash(extra: number): void {
    this.store = this.store.crash(extra);
    this.noteDurable();
    for (const said of [this.acks, this.answers]) {
      const kept = said.filter(({ isDurable }) => isDurable);
      // What was said and lost may still have been heard: it was said all the same.
      for (const one of said) if (!one.isDurable) kept.push({ ...one, batch: Number.POSITIVE_INFINITY });
      said.splice(0, said.length, ...kept);
    }
    for (const client of this.clients) {
      if (client.link !== null) client.aliveUntilMs = this.clock.nowMs + client.expirySeconds * 1000;
      client.lose();
    }
    this.clock = new RunClock(this.clock.nowMs);
    this.core = this.startCore();
    this.settle();
  }

  /** Everybody comes back or ends, and time passes until nothing can be pending. */
  drain(ms: number): void {
    for (const client of this.publishers) if (client.link === null) this.connect(client, false);
    this.takeAll();
    this.pass(ms);
    this.takeAll();
  }

  private takeAll(): void {
    do this.settle();
    while (this.publishers.map((client) => this.take(client)).some(Boolean));
  }

  private startCore(): BrokerCore {
    const core = new BrokerCore(this.settings, this.store, this.clock, silentLog);
    core.start();
    return core;
  }

  private subscribe(client: HistoryClient, entry: string): void {
    const [topicFilter = '', qos = '0'] = entry.split(' ');
    client.subscribe(this.core, topicFilter, Number(qos) as 0 | 1 | 2);
  }

  /** How many recipients a message to a/… has now. */
  private cohort(): number {
    const alive = this.recipients.filter((client) => this.isAlive(client));
    const single = alive.filter(({ filters }) => filters.has('a/+') || filters.has('#')).length;
    return single + (alive.some(({ filters }) => filters.has(groupFilter)) ? 1 : 0);
  }

  private say(list: Said[], topic: string, { clientId }: HistoryClient, ok: boolean): void {
    list.push({ topic, clientId, ok, isDurable: false, batch: this.store.batch });
  }

  private noteDurable(): void {
    for (const list of [this.acks, this.answers]) {
      for (const said of list) if (said.batch <= this.store.durableBatch) said.isDurable = true;
    }
  }
}

function filtersOf({ clientId }: HistoryClient): string {
  return recipients.find(([id]) => id === clientId)?.[4] ?? '';
}
