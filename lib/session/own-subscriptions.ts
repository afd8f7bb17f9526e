import type { Subscription } from './subscription.js';

/** From this many on they are found by a map, which for a few takes more room than they do. */
const searchMax = 8;

/**
 * The subscriptions of one session, by topic filter as subscribed. A few are a list: there may be a million sessions.
 */
export class OwnSubscriptions {
  private few: readonly Subscription[] = [];
  private many: Map<string, Subscription> | null = null;

  private characters = 0;

  /** Characters of all topic filters. */
  get filterCharacters(): number {
    return this.characters;
  }

  get size(): number {
    return this.many === null ? this.few.length : this.many.size;
  }

  get(topicFilter: string): Subscription | undefined {
    if (this.many !== null) return this.many.get(topicFilter);
    return this.few.find((subscription) => subscription.topicFilter === topicFilter);
  }

  has(topicFilter: string): boolean {
    return this.get(topicFilter) !== undefined;
  }

  values(): Iterable<Subscription> {
    return this.many === null ? this.few : this.many.values();
  }

  /** Adds a subscription in place of one with the same filter. */
  put(subscription: Subscription): void {
    const { topicFilter } = subscription;
    if (!this.has(topicFilter)) this.characters += topicFilter.length;
    if (this.many !== null) {
      this.many.set(topicFilter, subscription);
      return;
    }
    const others = this.few.filter((known) => known.topicFilter !== topicFilter);
    if (others.length < searchMax) {
      // `concat` leaves no room for more, as `push` would.
      this.few = others.concat(subscription);
      return;
    }
    this.many = new Map(others.concat(subscription).map((each) => [each.topicFilter, each]));
    this.few = [];
  }

  remove(topicFilter: string): void {
    if (this.has(topicFilter)) this.characters -= topicFilter.length;
    if (this.many !== null) this.many.delete(topicFilter);
    else this.few = this.few.filter((known) => known.topicFilter !== topicFilter);
  }
}
