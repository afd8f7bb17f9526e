import type { ClientIdentity, TopicAction } from '../broker/hooks.js';
import type { ReceiptAccess } from '../broker/receipt-access.js';
import { filterCovers, filtersOverlap } from '../topic/filter-relations.js';
import { filterMatches, hasWildcard } from '../topic/names.js';

/** What a rule says of its topics. */
export type RuleAccess = 'read' | 'write' | 'readwrite' | 'deny';

/** One line of an access file, with the user it is about; null for anonymous clients. */
export type AccessEntry =
  | {
      readonly keyword: 'topic' | 'pattern';
      readonly user: string | null;
      readonly access: RuleAccess;
      readonly filter: string;
    }
  | { readonly keyword: 'receipts'; readonly user: string | null; readonly access: ReceiptAccess };

/** Topic filters, of which most are plain topic names. */
class Filters {
  private readonly names = new Set<string>();
  private readonly wild: string[] = [];

  add(filter: string): void {
    if (hasWildcard(filter)) this.wild.push(filter);
    else this.names.add(filter);
  }

  match(topicName: string): boolean {
    return this.names.has(topicName) || this.wild.some((filter) => filterMatches(filter, topicName));
  }

  overlap(topicFilter: string): boolean {
    if (!hasWildcard(topicFilter)) return this.match(topicFilter);
    return [...this.names, ...this.wild].some((filter) => filtersOverlap(filter, topicFilter));
  }

  cover(topicFilter: string): boolean {
    return this.names.has(topicFilter) || this.wild.some((filter) => filterCovers(filter, topicFilter));
  }
}

/** The rules of one user. */
class UserRules {
  readonly read = new Filters();
  readonly write = new Filters();
  readonly deny = new Filters();
  receipts: ReceiptAccess | null = null;

  add(access: RuleAccess, filter: string): void {
    for (const list of listsOf(access)) this[list].add(filter);
  }
}

/** A filter with `%u` and `%c` in it, taken apart: texts and the two. */
type Template = readonly string[];

const noTemplates = (): Record<'read' | 'write' | 'deny', Template[]> => ({ read: [], write: [], deny: [] });

function listsOf(access: RuleAccess): readonly ('read' | 'write' | 'deny')[] {
  return access === 'readwrite' ? ['read', 'write'] : [access];
}

/**
 * Who may read and write which topics. Decides as Mosquitto 2.0 does: what a rule of the user denies is denied, what
 * one allows is allowed; then the same with the patterns; everything else is denied. Two things are stricter: an empty
 * name, one with `/`, or one that begins with `$` where the pattern begins with it, gets nothing by a pattern that
 * names it; and a subscription that no message could come through is refused at once.
 */
export class AccessRules {
  private readonly anonymous = new UserRules();
  private readonly users = new Map<string, UserRules>();
  private readonly patterns = noTemplates();
  private readonly hasPatterns: boolean;

  constructor(entries: readonly AccessEntry[]) {
    for (const entry of entries) {
      if (entry.keyword === 'receipts') this.rulesToFill(entry.user).receipts = entry.access;
      else if (entry.keyword === 'topic') this.rulesToFill(entry.user).add(entry.access, entry.filter);
      else for (const list of listsOf(entry.access)) this.patterns[list].push(entry.filter.split(/(%[cu])/));
    }
    this.hasPatterns = entries.some(({ keyword }) => keyword === 'pattern');
  }

  /** What the client may see of receipts; null if the file does not say. */
  receipts({ userName }: ClientIdentity): ReceiptAccess | null {
    return this.rulesOf(userName)?.receipts ?? null;
  }

  /** @param topic a topic name, or to subscribe a filter without `$share/group/` */
  allows(client: ClientIdentity, action: TopicAction, topic: string): boolean {
    if (action === 'subscribe') return this.mayComeThrough(client, topic);
    const list = action === 'publish' ? 'write' : 'read';
    const own = this.rulesOf(client.userName);
    if (own?.deny.match(topic)) return false;
    if (own?.[list].match(topic)) return true;
    if (!this.hasPatterns || isDangerous(client)) return false;
    const matches = (template: Template, isAllowing: boolean): boolean => {
      const filter = fill(template, client, isAllowing);
      return filter !== null && filterMatches(filter, topic);
    };
    if (this.patterns.deny.some((template) => matches(template, false))) return false;
    return this.patterns[list].some((template) => matches(template, true));
  }

  /** False if nothing that the filter matches may be read: then the subscription is refused. */
  private mayComeThrough(client: ClientIdentity, topicFilter: string): boolean {
    const own = this.rulesOf(client.userName);
    if (own?.deny.cover(topicFilter)) return false;
    if (own?.read.overlap(topicFilter)) return true;
    if (!this.hasPatterns || isDangerous(client)) return false;
    const filled = (templates: readonly Template[], isAllowing: boolean): string[] =>
      templates.flatMap((template) => fill(template, client, isAllowing) ?? []);
    if (filled(this.patterns.deny, false).some((filter) => filterCovers(filter, topicFilter))) return false;
    return filled(this.patterns.read, true).some((filter) => filtersOverlap(filter, topicFilter));
  }

  private rulesOf(userName: string | null): UserRules | undefined {
    return userName === null ? this.anonymous : this.users.get(userName);
  }

  private rulesToFill(user: string | null): UserRules {
    if (user === null) return this.anonymous;
    const known = this.users.get(user) ?? new UserRules();
    this.users.set(user, known);
    return known;
  }
}

/** A name with a wildcard would make a pattern match what is others'. */
function isDangerous({ clientId, userName }: ClientIdentity): boolean {
  return hasWildcard(clientId) || (userName !== null && hasWildcard(userName));
}

/** @returns null if the pattern says nothing about this client, or must not */
function fill(template: Template, { clientId, userName }: ClientIdentity, isAllowing: boolean): string | null {
  let filled = '';
  for (const part of template) {
    const name = part === '%c' ? clientId : part === '%u' ? userName : part;
    if (name === null) return null;
    const isInserted = part === '%c' || part === '%u';
    if (isAllowing && isInserted && widens(name, filled === '')) return null;
    filled += name;
  }
  return filled;
}

/** True if a name in the place of `%u` or `%c` would reach beyond the one level, or the name, that is meant. */
function widens(name: string, isFirst: boolean): boolean {
  return name === '' || name.includes('/') || (isFirst && name.startsWith('$'));
}
