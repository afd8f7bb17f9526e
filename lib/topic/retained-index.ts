import { filterMatches, hasWildcard } from './names.js';
import { type Place, RetainedBranch, RetainedGroup, RetainedTopic, RetainedTree } from './retained-tree.js';

/** A retained message, by its topic and number. */
export interface RetainedEntry {
  readonly topicName: string;
  readonly sequence: number;
}

const dollar = 0x24;

/** Topics that one call of `RetainedCursor.next` may look at for each that it may find. */
const looksPerFound = 8;
/** This many characters of a topic count as one look. */
const charactersPerLook = 1024;

/**
 * Which topics have a retained message, and its number: by name, and in a tree for filters with wildcards. A message
 * that takes the place of another leaves the tree alone.
 * @see MQTT 5 §3.3.1.3
 */
export class RetainedIndex {
  private readonly tree = new RetainedTree();
  private topicCharacters = 0;

  /** Number of topics. */
  get size(): number {
    return this.tree.byName.size;
  }

  /** Characters of all topics. */
  get characters(): number {
    return this.topicCharacters;
  }

  /** @returns the number that the topic had until now */
  set(topicName: string, sequence: number): number | undefined {
    const known = this.tree.byName.get(topicName);
    if (known !== undefined) {
      const before = known.sequence;
      known.sequence = sequence;
      return before;
    }
    this.tree.add(topicName, sequence);
    this.topicCharacters += topicName.length;
    return undefined;
  }

  /** @returns the number that the topic had */
  delete(topicName: string): number | undefined {
    const topic = this.tree.byName.get(topicName);
    if (topic === undefined) return undefined;
    this.tree.remove(topic);
    this.topicCharacters -= topicName.length;
    return topic.sequence;
  }

  get(topicName: string): number | undefined {
    return this.tree.byName.get(topicName)?.sequence;
  }

  /** A cursor over the topics that a valid filter (without `$share/group/`) matches. @see MQTT 5 §3.3.1.3, §4.7 */
  match(topicFilter: string): RetainedCursor {
    return new RetainedCursor(this.tree, topicFilter);
  }
}

/** A branch that a cursor is in. */
interface Visit {
  readonly branch: RetainedBranch;
  /** True if all that is in it matches. */
  readonly isAll: boolean;
  /** Where it is among the branch's topics; null when they are done, or where they can not match. */
  topics: Place | null;
  /** Where it is among what is below; null when that is done, or can not match. */
  below: Place | null;
}

/**
 * Finds the topics that a filter matches, a few at a time. The index may change between calls. What is in it all the
 * time is found exactly once; what is removed meanwhile may be found or not, but not twice; what is added is not found.
 *
 * It goes down the tree where the filter does, and keeps a place in each branch on its way. So it looks at little more
 * than there are ways to fill in the `+`, and at topics that are in a group with those.
 */
export class RetainedCursor {
  private readonly tree: RetainedTree;
  private readonly topicFilter: string;
  private readonly levels: readonly string[];
  /** How many topics had been added when it began: later ones are not found. */
  private readonly additions: number;
  private readonly way: Visit[] = [];
  /** Topics to look at before it goes on, and how many of them were. */
  private readonly few: RetainedTopic[] = [];
  private fewDone = 0;
  private looks = 0;

  /** @internal Made by `RetainedIndex.match`. */
  constructor(tree: RetainedTree, topicFilter: string) {
    this.tree = tree;
    this.topicFilter = topicFilter;
    this.additions = tree.additions;
    this.levels = topicFilter.split('/');
    if (hasWildcard(topicFilter)) this.enter(tree.root, false);
    else this.lookUp(topicFilter);
  }

  /**
   * Appends the next matching topics to `into`: at most `limit`, and fewer or none where many topics had to be looked
   * at in vain, so that a call takes bounded time.
   * @returns false when there are no more
   */
  next(limit: number, into: RetainedEntry[]): boolean {
    const full = into.length + limit;
    this.looks = limit * looksPerFound;
    while (this.looks > 0 && into.length < full) {
      if (this.fewDone < this.few.length) {
        this.examine(this.few[this.fewDone++], false, into);
        continue;
      }
      if (this.fewDone > 0) this.few.length = this.fewDone = 0;
      const visit = this.way.at(-1);
      if (visit === undefined) return false;
      if (visit.topics !== null) this.goOnTopics(visit, visit.topics, into);
      else if (visit.below !== null) this.goOnBelow(visit, visit.below, into);
      else this.way.pop();
    }
    return this.fewDone < this.few.length || this.way.length > 0;
  }

  /** Moves on among the topics of a branch. */
  private goOnTopics(visit: Visit, at: Place, into: RetainedEntry[]): void {
    const next = this.after(at);
    visit.topics = next;
    if (!at.isGone && next instanceof RetainedTopic) this.examine(next, visit.isAll, into);
  }

  /** Moves on among what is below a branch. */
  private goOnBelow(visit: Visit, at: Place, into: RetainedEntry[]): void {
    const next = this.after(at);
    visit.below = next;
    if (at.isGone || next === null) return;
    if (next instanceof RetainedTopic) {
      this.examine(next, visit.isAll, into);
    } else if (next instanceof RetainedGroup) {
      this.few.push(...next.topics);
    } else if (next instanceof RetainedBranch) {
      const { depth } = visit.branch;
      // [MQTT-4.7.2-1] no wildcard in the first level stands for a "$"
      if (depth > 0 || next.level.charCodeAt(0) !== dollar) {
        this.enter(next, visit.isAll || this.levels[depth] === '#');
      }
    }
  }

  /** Where to go on from a place: after it, or if it is gone, where its way back leads; null at the end. */
  private after(at: Place): Place | null {
    this.looks--;
    if (at.isGone) return at.previous;
    const { next } = at;
    // What comes later was added later.
    return next.added === 0 || next.added > this.additions ? null : next;
  }

  /** Begins with a branch whose levels match. */
  private enter(branch: RetainedBranch, isAll: boolean): void {
    this.looks--;
    const visit: Visit = { branch, isAll, topics: null, below: null };
    this.way.push(visit);
    const level = this.levels[branch.depth];
    // [MQTT-4.7.1-1] the parent of "#" is included
    const rest = this.levels.length - branch.depth - 1;
    const isLast = rest === 0 || (rest === 1 && this.levels.at(-1) === '#');
    if (isAll || level === '#' || branch.isDeepest) {
      visit.topics = branch.topics;
      visit.below = branch.below;
    } else if (level === '+') {
      if (isLast) visit.topics = branch.topics;
      if (rest > 0) visit.below = branch.below;
    } else {
      if (isLast) this.lookUp([...this.way.slice(1).map((each) => each.branch.level), level].join('/'));
      const known = rest > 0 ? branch.levels.get(level) : undefined;
      if (known instanceof RetainedBranch) this.enter(known, false);
      else if (known instanceof RetainedGroup) this.few.push(...known.topics);
      else if (known !== undefined) this.few.push(known);
    }
  }

  private lookUp(topicName: string): void {
    const topic = this.tree.byName.get(topicName);
    if (topic !== undefined) this.few.push(topic);
  }

  private examine(topic: RetainedTopic, isMatch: boolean, into: RetainedEntry[]): void {
    this.looks -= 1 + topic.topicName.length / charactersPerLook;
    // One that is gone may be there still, in another place.
    const present = topic.isGone ? this.tree.byName.get(topic.topicName) : topic;
    if (present === undefined || present.added > this.additions) return;
    if (isMatch || filterMatches(this.topicFilter, present.topicName)) into.push(present);
  }
}
