import type { Session } from '../session/session.js';
import { DerivedTarget, type Subscription, type Target } from '../session/subscription.js';
import type { QoS } from '../spec/packet-types.js';
import { FilterTrie } from '../topic/filter-trie.js';
import { parseSharedFilter } from '../topic/names.js';
import { type SharedGroup, SharedGroups } from '../topic/shared-groups.js';

/** Everyone a topic name goes to. */
export interface Route {
  readonly generation: number;
  readonly targets: readonly Target[];
  readonly groups: readonly SharedGroup<Subscription>[];
  /** What it takes of the cache: about as many characters, targets and subscription identifiers. */
  readonly weight: number;
}

const cachedRoutesMax = 10_000;
/** Characters of topic names, targets and subscription identifiers in the cache. */
const cachedWeightMax = 4_000_000;
/** Lookups after which it is seen whether the cache pays: as many as fill it, and as many to find what it has. */
const triedLookups = 2 * cachedRoutesMax;
/** The least share of them that must have found a way: a topic that is not published to again is cached for nothing. */
const leastHits = triedLookups / 8;
/** Lookups that do without the cache before it is tried again. */
const uncachedLookups = 10 * triedLookups;
const noGroups: readonly SharedGroup<Subscription>[] = [];

function merge(session: Session, subscriptions: readonly Subscription[], own: Target | null | 'self'): Target {
  let qos: QoS = 0;
  let retainAsPublished = false;
  let subscriptionIds: number[] | null = null;
  for (const subscription of subscriptions) {
    if (subscription.qos > qos) qos = subscription.qos;
    if (subscription.retainAsPublished) retainAsPublished = true;
    if (subscription.subscriptionId === 0) continue;
    subscriptionIds ??= [];
    subscriptionIds.push(subscription.subscriptionId);
  }
  const target = new DerivedTarget(session, qos, retainAsPublished, subscriptionIds);
  target.own = own === 'self' ? target : own;
  return target;
}

/** The target that a set of matching subscriptions of one session makes: almost always there is one. */
export function targetOf(session: Session, subscriptions: readonly Subscription[]): Target {
  const [only] = subscriptions;
  if (only !== undefined && subscriptions.length === 1) return only;
  const notLocal = subscriptions.filter((subscription) => !subscription.noLocal);
  if (notLocal.length === subscriptions.length) return merge(session, subscriptions, 'self');
  return merge(session, subscriptions, notLocal.length === 0 ? null : merge(session, notLocal, 'self'));
}

/** A route's targets as the publisher reaches them; the route's own list where that is the same. [MQTT-3.8.3-3] */
export function grantedTargets({ targets }: Route, publisher: Session | null): readonly Target[] {
  const excludes = publisher !== null && [...publisher.subscriptions.values()].some(({ noLocal }) => noLocal);
  if (!excludes) return targets;
  const at = targets.findIndex(({ session }) => session === publisher);
  const own = targets[at]?.own;
  if (own === undefined || own === targets[at]) return targets;
  const others = targets.filter(({ session }) => session !== publisher);
  return own === null ? others : [...others, own];
}

/** True if nobody gets the message: then its only match, if any, is its publisher's own. */
export function isEmpty(route: Route, publisher: Session | null): boolean {
  const { targets, groups } = route;
  return groups.length === 0 && targets.length <= 1 && grantedTargets(route, publisher).length === 0;
}

/**
 * All subscriptions of all sessions, and who a topic name goes to: cached until any subscription changes, where topics
 * come again before the cache is full of others.
 */
export class Routes {
  private readonly filters = new FilterTrie<Subscription>();
  private readonly groups = new SharedGroups<Subscription>();
  private readonly cache = new Map<string, Route>();
  private cachedWeight = 0;
  /** Lookups until it is decided anew whether to cache, and those of them that found a way in the cache. */
  private lookupsLeft = triedLookups;
  private hits = 0;
  private isCaching = true;
  private generation = 0;
  private stamp = 0;
  private readonly matched: Subscription[] = [];
  private readonly mayFollow: ((subscription: Subscription, topicName: string) => boolean) | null;
  private readonly onWork: (found: number) => void;

  /**
   * @param mayFollow which subscriptions are left out of the way of a topic; null if none is
   * @param onWork told of work done to find a way: the subscriptions found
   */
  constructor(
    mayFollow: ((subscription: Subscription, topicName: string) => boolean) | null = null,
    onWork: (found: number) => void = () => undefined,
  ) {
    this.mayFollow = mayFollow;
    this.onWork = onWork;
  }

  /** Rights have changed: every topic's way is found anew. */
  forget(): void {
    this.generation++;
  }

  /** Number of subscriptions. */
  get size(): number {
    return this.filters.size + this.groups.size;
  }

  add(subscription: Subscription): void {
    this.generation++;
    const shared = parseSharedFilter(subscription.topicFilter);
    if (shared === null || shared === 'invalid') this.filters.add(subscription.topicFilter, subscription);
    else this.groups.join(shared, subscription);
  }

  remove(subscription: Subscription): void {
    this.generation++;
    const shared = parseSharedFilter(subscription.topicFilter);
    if (shared === null || shared === 'invalid') this.filters.remove(subscription.topicFilter, subscription);
    else this.groups.leave(shared, subscription);
  }

  /** The member of a shared group whose turn it is among those that `accepts` takes; null if there is none. */
  choose(group: SharedGroup<Subscription>, accepts: (member: Subscription) => boolean): Subscription | null {
    return this.groups.choose(group, accepts);
  }

  /** The group of this name while it has members. */
  group(name: string): SharedGroup<Subscription> | null {
    const shared = parseSharedFilter(name);
    return shared === null || shared === 'invalid' ? null : this.groups.get(shared);
  }

  route(topicName: string): Route {
    if (--this.lookupsLeft === 0) this.decideCaching();
    if (!this.isCaching) return this.build(topicName);
    const cached = this.cache.get(topicName);
    if (cached !== undefined && cached.generation === this.generation) {
      this.hits++;
      return cached;
    }
    const route = this.build(topicName);
    // A full cache is emptied: cheaper than order of use, and rare.
    if (cached !== undefined) this.cachedWeight -= cached.weight;
    this.cachedWeight += route.weight;
    if ((cached === undefined && this.cache.size >= cachedRoutesMax) || this.cachedWeight > cachedWeightMax) {
      this.cache.clear();
      this.cachedWeight = route.weight;
    }
    this.cache.set(topicName, route);
    return route;
  }

  private decideCaching(): void {
    this.isCaching = !this.isCaching || this.hits >= leastHits;
    this.lookupsLeft = this.isCaching ? triedLookups : uncachedLookups;
    this.hits = 0;
    if (this.isCaching) return;
    this.cache.clear();
    this.cachedWeight = 0;
  }

  private build(topicName: string): Route {
    const matched = this.matched;
    matched.length = 0;
    const filters = this.filters.match(topicName, matched);
    const { mayFollow } = this;
    const groups = this.groups.size === 0 ? noGroups : this.matchingGroups(topicName);
    // A session has a filter once: under a single one, nobody can be named twice.
    const targets = filters === 1 && mayFollow === null ? matched.slice() : this.oncePerSession(topicName, matched);
    // Each match may have an identifier; to look at all of them would take longer than the rest.
    const weight = topicName.length + 2 * matched.length + groups.length;
    this.onWork(matched.length);
    matched.length = 0;
    return { generation: this.generation, targets, groups, weight };
  }

  private matchingGroups(topicName: string): SharedGroup<Subscription>[] {
    const matching: SharedGroup<Subscription>[] = [];
    this.groups.match(topicName, matching);
    const { mayFollow } = this;
    if (mayFollow === null) return matching;
    return matching.filter(({ members }) => members.some((member) => mayFollow(member, topicName)));
  }

  /** Those who may receive the message, each session once. */
  private oncePerSession(topicName: string, matched: readonly Subscription[]): Target[] {
    const { mayFollow } = this;
    const targets: Target[] = [];
    let overlapping: Map<Session, Subscription[]> | null = null;
    const stamp = ++this.stamp;
    for (const subscription of matched) {
      const { session } = subscription;
      if (mayFollow !== null && !mayFollow(subscription, topicName)) continue;
      if (session.routeStamp !== stamp) {
        session.routeStamp = stamp;
        session.routeIndex = targets.length;
        targets.push(subscription);
        continue;
      }
      overlapping ??= new Map();
      const more = overlapping.get(session);
      if (more === undefined) overlapping.set(session, [subscription]);
      else more.push(subscription);
    }
    for (const [session, more] of overlapping ?? []) {
      const first = matched.find((subscription) => subscription.session === session);
      targets[session.routeIndex] = targetOf(session, first === undefined ? more : [first, ...more]);
    }
    return targets;
  }

  /** Matching subscriptions by session, and matching groups; not cached: for topics that are used once. */
  match(topicName: string): {
    targets: { session: Session; subscriptions: Subscription[] }[];
    groups: SharedGroup<Subscription>[];
  } {
    const matched = this.matched;
    matched.length = 0;
    this.filters.match(topicName, matched);
    const groups: SharedGroup<Subscription>[] = [];
    this.groups.match(topicName, groups);
    const bySession = new Map<Session, Subscription[]>();
    for (const subscription of matched) {
      const known = bySession.get(subscription.session);
      if (known === undefined) bySession.set(subscription.session, [subscription]);
      else known.push(subscription);
    }
    matched.length = 0;
    const targets = [...bySession].map(([session, subscriptions]) => ({ session, subscriptions }));
    return { targets, groups };
  }
}
