import { crew, gang } from './cast.js';
import type { Account } from './deliveries.js';
import type { Publication } from './peer.js';
import type { World } from './world.js';

const jobsPrefix = 'jobs/';

/** One message at a group: who got it first. */
interface First {
  readonly account: Account;
  readonly qos: number;
}

/** What is known of one shared subscription. */
interface Group {
  readonly filter: string;
  /** Acknowledged messages that some member must still get. */
  readonly owed: Set<string>;
  readonly first: Map<string, First>;
  /** The same by receipt-id, which tells a message from its publisher's repeat of it. */
  readonly firstById: Map<string, Account>;
  /** Highest number that a member got, by member and topic. */
  readonly highest: Map<string, number>;
}

/** True for topics that only shared subscriptions match here. */
export function isJob(topic: string): boolean {
  return topic.startsWith(jobsPrefix);
}

/**
 * Shared subscriptions: each acknowledged message goes to a member of each group that had one, and to one only; members
 * come and go, and what one of them leaves behind at the end of its session goes to another.
 */
export class Groups {
  private readonly world: World;
  private readonly accounts: readonly Account[];
  private readonly groups: readonly Group[] = [crew, gang].map(({ topic }) => ({
    ...{ filter: topic, owed: new Set<string>(), first: new Map<string, First>() },
    ...{ firstById: new Map<string, Account>(), highest: new Map<string, number>() },
  }));

  constructor(world: World, accounts: readonly Account[]) {
    this.world = world;
    this.accounts = accounts;
  }

  /** Groups that a message must have among its recipients. */
  recipientsOf(publication: Publication): string[] {
    if (!isJob(publication.topic)) return [];
    return this.groups.filter((group) => this.isCertain(group, publication)).map(({ filter }) => filter);
  }

  onTaken(publication: Publication): void {
    const key = `${publication.topic} ${publication.n}`;
    if (!isJob(publication.topic) || publication.expires) return;
    for (const group of this.groups) {
      if (!group.first.has(key) && this.isCertain(group, publication)) group.owed.add(key);
    }
  }

  /** @param receiptId null for a message that is not tracked */
  onArrived(account: Account, topic: string, n: number, qos: number, receiptId: string | null): void {
    const group = this.groups.find(({ filter }) => account.subscriptions.has(filter) || this.isMember(account, filter));
    if (!isJob(topic) || group === undefined) return;
    const key = `${topic} ${n}`;
    const where = `${account.clientId}: ${key} for ${group.filter}`;
    const first = group.first.get(key);
    group.owed.delete(key);
    if (first === undefined) {
      group.first.set(key, { account, qos });
      this.checkOrder(group, account, topic, n, qos);
    } else if (qos === 2 && first.qos === 2) {
      this.world.violation(`${where} came at QoS 2, after it had come to ${first.account.clientId}`);
    }
    if (receiptId === null) return;
    const before = group.firstById.get(receiptId);
    // Only what a session leaves behind at its end may go to another member.
    if (before !== undefined && before !== account && before.permanent) {
      this.world.violation(`${where} came, which ${before.clientId} had already`);
    }
    if (before === undefined) group.firstById.set(receiptId, account);
  }

  get isPaid(): boolean {
    return this.groups.every(({ owed }) => owed.size === 0);
  }

  /** What acknowledged messages no member has got, in words. */
  missing(): string[] {
    return this.groups
      .filter(({ owed }) => owed.size > 0)
      .map(({ filter, owed }) => `${filter} lacks ${owed.size} acknowledged: ${[...owed].slice(0, 5).join(', ')}`);
  }

  /** Everything is settled: what comes from now on must be new. */
  settle(): void {
    for (const { first, firstById } of this.groups) {
      first.clear();
      firstById.clear();
    }
  }

  /** Order per topic holds for each member, where nothing is repeated and nothing moves. */
  private checkOrder(group: Group, account: Account, topic: string, n: number, qos: number): void {
    if (qos !== 2 || !account.permanent) return;
    const stream = `${account.clientId} ${topic}`;
    const highest = group.highest.get(stream) ?? 0;
    if (n < highest) this.world.violation(`${account.clientId}: ${topic} number ${n} came after number ${highest}`);
    group.highest.set(stream, Math.max(n, highest));
  }

  /** A member that unsubscribed still gets what was meant for it before. */
  private isMember(account: Account, filter: string): boolean {
    return account.clientId.startsWith(`${filter.split('/')[1]}-`);
  }

  /** True if the group had a member for certain when the message was sent, and one that stays. */
  private isCertain({ filter }: Group, publication: Publication): boolean {
    return this.accounts.some((account) => {
      const from = account.permanent ? account.subscriptions.get(filter)?.from : undefined;
      return from !== undefined && from !== null && from <= publication.sentAt;
    });
  }
}
