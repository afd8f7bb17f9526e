import { hasWildcard } from './names.js';
import { commonLevels, joinOnlyBranch, splitBranch, TrieNode, trimmed } from './trie-node.js';
import { appendValues, noValues, type Values, withoutValue, withValue } from './value-list.js';

const dollar = 0x24;
const plus = 0x2b;
const slash = 0x2f;

/**
 * Topic filters, each with any number of values, and the values of all filters that match a topic name.
 *
 * Filters without wildcard are in a map. The others are in a radix tree over topic levels: a node stands for one level
 * or several, and a branch is only where filters differ, so that there are at most two nodes per filter, however many
 * levels it has.
 *
 *     site/+/temp     root ── "site" ┬─ "+" ┬─ "temp"
 *     site/+/door/#                  │      └─ "door" (with #)
 *     site/7/#                       └─ "7" (with #)
 *
 * A match walks down all branches that fit, with a stack of its own; it visits a node at most once, so it costs at
 * most one look at every character of the tree. A `#` is not a node but a second set of values at its parent's node.
 * Filters given are valid ones without `$share/group/`.
 * @see MQTT 5 §4.7
 */
export class FilterTrie<T> {
  private readonly exact: Map<string, Values<T>>;
  private readonly root: TrieNode<T>;
  private valueCount: number;
  // What follows is room for one match, kept so that a match allocates nothing but the level names it looks up.
  private readonly nodes: TrieNode<T>[];
  private readonly nodeLevels: number[];
  private stacked: number;
  /** Where each level of the topic name begins; one past the end of the name after the last. */
  private readonly starts: number[];
  private levelCount: number;
  /** Names of levels that were looked up; '' for the others. */
  private readonly names: string[];
  private namedLevels: number;
  private matchedFilters: number;

  constructor() {
    this.exact = new Map();
    this.root = new TrieNode('');
    this.valueCount = 0;
    this.nodes = [];
    this.nodeLevels = [];
    this.stacked = 0;
    this.starts = [];
    this.levelCount = 0;
    this.names = [];
    this.namedLevels = 0;
    this.matchedFilters = 0;
  }

  /** Number of values over all filters. */
  get size(): number {
    return this.valueCount;
  }

  /** Adds a value that the filter does not have. */
  add(topicFilter: string, value: T): void {
    if (!hasWildcard(topicFilter)) {
      this.exact.set(topicFilter, withValue(this.exact.get(topicFilter) ?? noValues, value));
    } else {
      const node = this.reach(topicFilter);
      if (endsInMany(topicFilter)) node.below = withValue(node.below, value);
      else node.here = withValue(node.here, value);
    }
    this.valueCount++;
  }

  /** Removes a value, and all that only served it. False if the filter did not have it. */
  remove(topicFilter: string, value: T): boolean {
    const removed = hasWildcard(topicFilter)
      ? this.removeWildcard(topicFilter, value)
      : this.removeExact(topicFilter, value);
    if (removed) this.valueCount--;
    return removed;
  }

  /**
   * Appends the values of all filters that match to `into`; a value under several of them comes several times.
   * @returns how many filters match
   */
  match(topicName: string, into: T[]): number {
    this.matchedFilters = 0;
    const exact = this.exact.get(topicName);
    if (exact !== undefined) this.take(exact, into);
    if (this.root.isBare) return this.matchedFilters;
    this.findLevels(topicName);
    this.pushNamed(this.root, topicName, 0);
    // [MQTT-4.7.2-1]
    if (topicName.charCodeAt(0) !== dollar) {
      this.take(this.root.below, into);
      this.pushPlus(this.root, 0);
    }
    while (this.stacked > 0) {
      const top = --this.stacked;
      const node = this.nodes[top];
      this.nodes[top] = this.root;
      const level = this.follow(node.label, topicName, this.nodeLevels[top]);
      if (level === -1) continue;
      // [MQTT-4.7.1-1] the parent of "#" is included
      this.take(node.below, into);
      if (level === this.levelCount) {
        this.take(node.here, into);
        continue;
      }
      this.pushNamed(node, topicName, level);
      this.pushPlus(node, level);
    }
    this.forgetNames();
    return this.matchedFilters;
  }

  private take(values: Values<T>, into: T[]): void {
    if (values === noValues) return;
    this.matchedFilters++;
    appendValues(values, into);
  }

  /** The level after `label` if the topic name has it from `level` on, or -1. */
  private follow(label: string, topicName: string, level: number): number {
    let at = this.starts[level];
    for (let index = 0; index < label.length; index++) {
      const character = label.charCodeAt(index);
      if (character === plus) {
        // [MQTT-4.7.1-2]
        at = this.starts[level + 1] - 1;
        continue;
      }
      if (at >= topicName.length || topicName.charCodeAt(at) !== character) return -1;
      if (character === slash) level++;
      at++;
    }
    return at === this.starts[level + 1] - 1 ? level + 1 : -1;
  }

  private pushNamed(node: TrieNode<T>, topicName: string, level: number): void {
    const named = node.named;
    if (named === null) return;
    const next = named instanceof TrieNode ? named : named.get(this.nameOf(topicName, level));
    if (next !== undefined) this.push(next, level);
  }

  private pushPlus(node: TrieNode<T>, level: number): void {
    if (node.plus !== null) this.push(node.plus, level);
  }

  private push(node: TrieNode<T>, level: number): void {
    this.nodes[this.stacked] = node;
    this.nodeLevels[this.stacked] = level;
    this.stacked++;
  }

  private findLevels(topicName: string): void {
    let levels = 0;
    this.starts[0] = 0;
    for (let at = 0; at < topicName.length; at++) {
      if (topicName.charCodeAt(at) === slash) this.starts[++levels] = at + 1;
    }
    this.starts[++levels] = topicName.length + 1;
    this.levelCount = levels;
  }

  /** The name of a level, cut out and hashed once per match however many nodes ask for it. */
  private nameOf(topicName: string, level: number): string {
    while (this.namedLevels <= level) this.names[this.namedLevels++] = '';
    if (this.names[level] === '') this.names[level] = topicName.slice(this.starts[level], this.starts[level + 1] - 1);
    return this.names[level];
  }

  private forgetNames(): void {
    while (this.namedLevels > 0) this.names[--this.namedLevels] = '';
  }

  /** The node of a filter with wildcard, made if there is none. */
  private reach(topicFilter: string): TrieNode<T> {
    let node = this.root;
    let rest = pathOf(topicFilter);
    while (rest !== null) {
      const child = node.branchFor(rest);
      if (child === null) {
        const leaf = new TrieNode<T>(trimmed(rest, topicFilter));
        node.attach(leaf);
        return leaf;
      }
      const common = commonLevels(child.label, rest);
      node = common === child.label.length ? child : splitBranch(node, child, common);
      rest = after(rest, common);
    }
    return node;
  }

  private removeWildcard(topicFilter: string, value: T): boolean {
    let above = this.root;
    let parent = this.root;
    let node = this.root;
    let rest = pathOf(topicFilter);
    while (rest !== null) {
      const child = node.branchFor(rest);
      if (child === null || commonLevels(child.label, rest) !== child.label.length) return false;
      above = parent;
      parent = node;
      node = child;
      rest = after(rest, child.label.length);
    }
    const many = endsInMany(topicFilter);
    const left = withoutValue(many ? node.below : node.here, value);
    if (left === null) return false;
    if (many) node.below = left;
    else node.here = left;
    if (node !== this.root) this.prune(above, parent, node);
    return true;
  }

  /** Restores that every node but the root has values or two branches. Only the node and its parent can lack them. */
  private prune(above: TrieNode<T>, parent: TrieNode<T>, node: TrieNode<T>): void {
    if (node.hasValues) return;
    if (!node.isBare) {
      joinOnlyBranch(parent, node);
      return;
    }
    parent.detach(node);
    if (parent !== this.root && !parent.hasValues) joinOnlyBranch(above, parent);
  }

  private removeExact(topicFilter: string, value: T): boolean {
    const values = this.exact.get(topicFilter);
    const left = values === undefined ? null : withoutValue(values, value);
    if (left === null) return false;
    if (left === noValues) this.exact.delete(topicFilter);
    else this.exact.set(topicFilter, left);
    return true;
  }
}

function endsInMany(topicFilter: string): boolean {
  return topicFilter.endsWith('#');
}

/** The levels of a filter without a last `#`; null if there are none. */
function pathOf(topicFilter: string): string | null {
  if (!endsInMany(topicFilter)) return topicFilter;
  return topicFilter === '#' ? null : topicFilter.slice(0, -2);
}

/** The levels after the first `length` characters, null if there are none. */
function after(path: string, length: number): string | null {
  return length === path.length ? null : path.slice(length + 1);
}
