import { matches, type Publication, packetBytesMax, type SubscriptionFact } from './publication.js';
import type { Verdicts } from './verdicts.js';

/** One arrival at an application. */
export interface Arrival {
  readonly topic: string;
  readonly name: string;
  readonly qos: number;
  readonly dup: boolean;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** True if the application refuses it, each time it comes. */
  readonly isRefused: boolean;
}

/** What one client's session is owed, and what it got. */
export class Account {
  readonly clientId: string;
  /** True if its present session outlives the connection for certain. */
  isDurable = false;
  /** Whether the session is surely there now; its client knows. */
  isAlive: () => boolean = () => false;
  /** True after a crash that lost committed batches: until a new session begins, only what is owed is certain. */
  isBlurred = false;
  /** Largest packet that its client takes; 0 for no bound. */
  maximumPacketSize = 0;
  /** Every subscription that the present session has had. */
  subscriptions: SubscriptionFact[] = [];
  /** Messages that it must still get, with the batch that was open when they were acknowledged. */
  readonly owed = new Map<string, number>();
  /** Messages that came by subscriptions of its own, and by each group, with the QoS of the latest copy. */
  readonly seen = new Map<string, number>();
  /** Messages that came and were refused, or came as retained ones: nothing is owed, and they may come again. */
  readonly settled = new Set<string>();
  /** Number of the latest message by stream, topic and QoS. */
  readonly latest = new Map<string, number>();

  constructor(clientId: string) {
    this.clientId = clientId;
  }

  /** A new session: nothing of the old one is owed, and nothing of it may come. */
  begin(): void {
    this.subscriptions = [];
    this.isDurable = false;
    this.isBlurred = false;
    this.owed.clear();
    this.seen.clear();
    this.settled.clear();
    this.latest.clear();
  }

  /** The session may end now, or may have ended. */
  doubt(): void {
    this.isDurable = false;
    this.owed.clear();
    for (const { topicFilter } of this.subscriptions) this.unsure(topicFilter);
  }

  /** SUBSCRIBE or UNSUBSCRIBE for a filter is sent: it may be another from now on, or none. */
  unsure(topicFilter: string): void {
    for (const subscription of this.subscriptions) {
      if (subscription.topicFilter !== topicFilter) continue;
      subscription.certainFrom = 0;
      subscription.isDoubtful = true;
    }
  }

  isSure(topicFilter: string): boolean {
    return this.subscriptions.some((known) => known.topicFilter === topicFilter && known.certainFrom > 0);
  }

  /** SUBACK came: the subscription is there, in place of former ones. */
  begun(subscription: SubscriptionFact, event: number): void {
    if (!subscription.isDoubtful) subscription.certainFrom = event;
    const { topicFilter, askedAt } = subscription;
    const former = (known: SubscriptionFact): boolean => known.topicFilter === topicFilter && known.askedAt < askedAt;
    this.gone(this.subscriptions.filter(former), event);
  }

  /** What is gone by now. */
  gone(subscriptions: readonly SubscriptionFact[], event: number): void {
    for (const subscription of subscriptions) subscription.goneAt = Math.min(subscription.goneAt, event);
  }

  /** True if the session surely had a subscription, not of a group, before the message was sent, and has it still. */
  covers(publication: Publication, minimumQos: number): boolean {
    return this.subscriptions.some(
      (subscription) =>
        subscription.group === null &&
        this.isCertain(subscription, publication) &&
        Math.min(subscription.qos, publication.qos) >= minimumQos &&
        matches(subscription, publication.topic) &&
        !(subscription.noLocal && publication.clientId === this.clientId),
    );
  }

  /** True if the message surely fits into the largest packet that its client takes. */
  takes(publication: Publication): boolean {
    return this.maximumPacketSize === 0 || packetBytesMax(publication) <= this.maximumPacketSize;
  }

  /** The groups in which the session surely was. */
  groupsFor(publication: Publication): SubscriptionFact[] {
    return this.subscriptions.filter(
      (subscription) =>
        subscription.group !== null &&
        this.isCertain(subscription, publication) &&
        matches(subscription, publication.topic),
    );
  }

  private isCertain({ certainFrom }: SubscriptionFact, { sentAt }: Publication): boolean {
    return certainFrom > 0 && certainFrom < sentAt;
  }
}

/** What every crash that lost committed batches leaves: what happened in them may be undone. */
export interface Lossy {
  /** Forgets what rests on a batch after this one. */
  forgetAfter(batch: number): void;
}

/** Who must get which message, and what came: nothing lost, nothing twice at QoS 2, in order, nothing uncalled for. */
export class Deliveries implements Lossy {
  readonly accounts = new Map<string, Account>();
  /** Names of messages whose rows have reached the disk. */
  readonly everDurable = new Set<string>();
  /** True once the broker may refuse a message whose publisher, if it does not hear of that, sends it again later. */
  mayRefuse = false;
  /** True if queues are so short that the broker may drop messages. */
  mayDrop = false;
  private readonly verdicts: Verdicts;
  private readonly publications = new Map<string, Publication>();
  /** Messages at QoS 2 that each group has had. */
  private readonly groupSeen = new Set<string>();
  private arrivals = 0;
  private acknowledged = 0;

  constructor(verdicts: Verdicts) {
    this.verdicts = verdicts;
  }

  /** Messages acknowledged, and messages that came. */
  get counts(): { acknowledged: number; arrivals: number } {
    return { acknowledged: this.acknowledged, arrivals: this.arrivals };
  }

  account(clientId: string): Account {
    const known = this.accounts.get(clientId);
    if (known !== undefined) return known;
    const account = new Account(clientId);
    this.accounts.set(clientId, account);
    return account;
  }

  find(name: string): Publication | undefined {
    return this.publications.get(name);
  }

  onSent(publication: Publication): void {
    this.publications.set(publication.name, publication);
  }

  /**
   * The broker has acknowledged a message with success: it is owed to every durable session that had subscribed.
   * @param batch the batch that is open: the message is in it or in an earlier one
   */
  onTaken(publication: Publication, event: number, batch: number, nowMs: number): void {
    if (publication.takenAt === 0) {
      publication.takenAt = event;
      publication.takenAtMs = nowMs;
      publication.recipients = this.durableRecipients(publication, 0).map(({ clientId }) => clientId);
      this.acknowledged++;
    }
    this.owe(publication, batch);
  }

  /** A message must come to every durable session that had subscribed before it was sent. */
  owe(publication: Publication, batch: number): void {
    if (publication.expiry > 0 || publication.clears) return;
    const { name } = publication;
    for (const account of this.durableRecipients(publication, 1)) {
      if (!account.seen.has(name) && !account.settled.has(name)) account.owed.set(name, batch);
    }
  }

  /** An acknowledgement leaves the broker: whoever is owed the message and has not got it, it is on the disk for. */
  onAcknowledging(publication: Publication): void {
    if (publication.expiry > 0 || publication.clears || this.mayDrop) return;
    if (this.everDurable.has(publication.name)) return;
    for (const { clientId, seen, settled } of this.durableRecipients(publication, 1)) {
      if (seen.has(publication.name) || settled.has(publication.name)) continue;
      this.verdicts.broken(
        'acknowledged after recorded',
        `${publication.name} is acknowledged, ${clientId} has not got it, and it has never been on the disk`,
      );
    }
  }

  /** Sessions that must have the message, at this QoS or above. */
  private durableRecipients(publication: Publication, minimumQos: number): Account[] {
    return [...this.accounts.values()].filter(
      (account) =>
        account.isDurable &&
        account.isAlive() &&
        account.covers(publication, minimumQos) &&
        // One that is too large is dropped, which is an end like others.
        (minimumQos === 0 || account.takes(publication)),
    );
  }

  /** @returns the group by which it came, or null */
  onArrived(account: Account, arrival: Arrival): string | null {
    this.arrivals++;
    const { name, topic, qos } = arrival;
    const publication = this.publications.get(name);
    const where = `${account.clientId}: ${name} at QoS ${qos}`;
    if (publication === undefined || publication.topic !== topic) {
      this.verdicts.broken('only what was published', `${where} on ${topic} was never sent`);
      return null;
    }
    const group = this.groupOf(account, arrival);
    if (!account.isBlurred) this.checkMay(account, publication, arrival, group);
    const key = group === null ? name : `${group} ${name}`;
    if (arrival.isRefused || arrival.retain) {
      account.owed.delete(key);
      account.settled.add(key);
      return group;
    }
    const isRepeat = account.seen.has(key);
    // A copy at QoS 1 may leave before it is recorded, and a crash have it repeated at a QoS asked for since.
    if (account.seen.get(key) === 2 && qos === 2 && !account.isBlurred)
      this.verdicts.broken('QoS 2 exactly once', `${where} came twice`);
    account.seen.set(key, qos);
    account.owed.delete(key);
    if (group !== null) this.checkGroup(account, group, publication, qos, isRepeat);
    else if (!isRepeat && !account.isBlurred) this.checkOrder(account, publication, qos, where);
    return group;
  }

  /** The group that a copy came by: its subscription has an identifier of its own. */
  private groupOf(account: Account, { subscriptionIds, topic }: Arrival): string | null {
    const [only] = subscriptionIds;
    if (only === undefined || subscriptionIds.length > 1) return null;
    const subscription = account.subscriptions.find(
      (known) => known.group !== null && known.subscriptionId === only && matches(known, topic),
    );
    return subscription?.group ?? null;
  }

  private checkMay(account: Account, publication: Publication, arrival: Arrival, group: string | null): void {
    const { sentAt, takenAt, retain } = publication;
    const may = account.subscriptions.some(
      (subscription) =>
        subscription.group === group &&
        matches(subscription, publication.topic) &&
        subscription.goneAt > sentAt &&
        subscription.qos >= Math.min(arrival.qos, publication.qos) &&
        arrival.qos <= publication.qos &&
        // What a member of a group left behind may go to one that came later.
        (retain || group !== null || takenAt === 0 || takenAt >= subscription.askedAt) &&
        !(subscription.noLocal && publication.clientId === account.clientId),
    );
    if (may) return;
    const filters = account.subscriptions.map(
      ({ topicFilter, askedAt, goneAt, noLocal, qos }) =>
        `${topicFilter} at QoS ${qos}${noLocal ? ' not local' : ''} from ${askedAt} to ${goneAt}`,
    );
    this.verdicts.broken(
      'only what was subscribed to',
      `${account.clientId}: ${publication.name} on ${publication.topic} at QoS ${arrival.qos}, sent at ${sentAt}, ` +
        `acknowledged at ${takenAt}, by ${group ?? 'itself'}: subscribed to ${filters.join(', ')}`,
    );
  }

  private checkOrder(account: Account, publication: Publication, qos: number, where: string): void {
    const { stream, topic, n, expiry } = publication;
    const key = `${stream} ${topic} ${qos}`;
    const latest = account.latest.get(key) ?? 0;
    account.latest.set(key, Math.max(latest, n));
    if (n > latest || expiry > 0 || this.mayRefuse || this.mayDrop) return;
    // What was repeated by its publisher may be new to a session that could go without the first copy.
    if (account.covers(publication, Math.min(publication.qos, 1)) && qos === publication.qos) {
      this.verdicts.broken('order per topic and publisher', `${where} came for the first time after number ${latest}`);
    }
  }

  private checkGroup(account: Account, group: string, { name }: Publication, qos: number, isRepeat: boolean): void {
    // What a session without expiry has got, a crash forgets.
    if (qos !== 2 || isRepeat || !account.isDurable) return;
    const key = `${group} ${name}`;
    if (this.groupSeen.has(key)) {
      this.verdicts.broken(
        'QoS 2 exactly once',
        `${account.clientId}: ${name} came to another member of ${group} before`,
      );
    }
    this.groupSeen.add(key);
  }

  forgetAfter(batch: number): void {
    this.groupSeen.clear();
    for (const account of this.accounts.values()) {
      for (const [name, owedSince] of account.owed) if (owedSince > batch) account.owed.delete(name);
      for (const { topicFilter } of account.subscriptions) account.unsure(topicFilter);
      account.isBlurred = true;
    }
  }

  /** What acknowledged messages are missing. @param dropped how many the broker says that it had no room for */
  checkPaid(dropped: number): void {
    if (this.isPaid(dropped)) return;
    for (const { clientId, owed } of this.accounts.values()) {
      if (owed.size === 0) continue;
      const names = [...owed.keys()].slice(0, 5).join(', ');
      const more = dropped === 0 ? '' : ` (${dropped} dropped for all)`;
      this.verdicts.broken('no acknowledged message lost', `${clientId} lacks ${owed.size}: ${names}${more}`);
    }
  }

  isPaid(dropped: number): boolean {
    let missing = 0;
    for (const { owed } of this.accounts.values()) missing += owed.size;
    return missing <= dropped;
  }
}
