/** A place in a ring, in the order of additions. The ring's own, its beginning and end, is number 0. */
export class Place {
  /** How many topics had been added when this was. */
  readonly added: number;
  /** Where the ring goes on from; of a place that is gone, the one before it, or the one in its stead. */
  previous: Place = this;
  next: Place = this;
  isGone = false;

  constructor(added: number) {
    this.added = added;
  }
}

/** A topic that has a retained message, while it has one: who gets a message again is another. */
export class RetainedTopic extends Place {
  readonly topicName: string;
  /** Number of the message. */
  sequence: number;

  constructor(added: number, topicName: string, sequence: number) {
    super(added);
    this.topicName = topicName;
    this.sequence = sequence;
  }
}

/** A few topics that have a level in common, and further ones. The list is replaced, never changed. */
export class RetainedGroup extends Place {
  topics: readonly RetainedTopic[];

  constructor(added: number, topics: readonly RetainedTopic[]) {
    super(added);
    this.topics = topics;
  }
}

/** Many topics that begin with the same levels. */
export class RetainedBranch extends Place {
  /** The last of these levels. */
  readonly level: string;
  /** How many there are. */
  readonly depth: number;
  /** Ring of the topics with one level more. */
  readonly topics = new Place(0);
  /** Ring of those with two levels more, or a higher number of them: by the first of these, a place each. */
  readonly below = new Place(0);
  /** The same by level. */
  readonly levels = new Map<string, RetainedTopic | RetainedGroup | RetainedBranch>();

  constructor(added: number, level: string, depth: number) {
    super(added);
    this.level = level;
    this.depth = depth;
  }

  /** True if it has topics of any number of levels, and nothing below. */
  get isDeepest(): boolean {
    return this.depth === depthMax;
  }

  get isEmpty(): boolean {
    return this.topics.next === this.topics && this.levels.size === 0;
  }
}

/** As many topics need no branch of their own: it may take one for each level that they have in common. */
const groupMax = 8;
/** There are no deeper branches: the last ring has all topics that begin with so many levels. */
const depthMax = 10;

/**
 * Topics by name, and in a tree of their levels:
 * ```
 *   site/7/temp         root ── "site" ┬─ "7" ┬─ temp, door, …
 *   site/7/door                        │      └─ "engine": a group of two
 *   site/7/engine/oil                  └─ "8": one topic
 *   site/7/engine/rpm
 *   site/8/temp         with some more under "7", which would be a group as well
 * ```
 * Searches go on while topics come and go, and keep places. So a place that is taken away leaves a way back, and what
 * stays in the tree never moves to where a search may come again: a group becomes a branch in its place.
 */
export class RetainedTree {
  readonly root = new RetainedBranch(0, '', 0);
  readonly byName = new Map<string, RetainedTopic>();
  /** Topics ever added. */
  additions = 0;

  /** Adds a topic that is not there. */
  add(topicName: string, sequence: number): void {
    const topic = new RetainedTopic(++this.additions, topicName, sequence);
    this.byName.set(topicName, topic);
    this.addBelow(this.root, topic, 0);
  }

  /** @param start where the name goes on after the levels of the branch */
  private addBelow(branch: RetainedBranch, topic: RetainedTopic, start: number): void {
    const { topicName } = topic;
    const end = endOfLevel(branch, topicName, start);
    if (end === -1) {
      append(branch.topics, topic);
      return;
    }
    const level = topicName.slice(start, end);
    const known = branch.levels.get(level);
    if (known === undefined) {
      branch.levels.set(level, topic);
      append(branch.below, topic);
    } else if (known instanceof RetainedBranch) {
      this.addBelow(known, topic, end + 1);
    } else if (known instanceof RetainedTopic) {
      // A search may have its place at the one known: that is left as it is, and another stands in the group.
      const same = new RetainedTopic(known.added, known.topicName, known.sequence);
      this.byName.set(same.topicName, same);
      const group = new RetainedGroup(known.added, [same, topic]);
      branch.levels.set(level, group);
      replace(known, group);
    } else if (known.topics.length < groupMax) {
      known.topics = [...known.topics, topic];
    } else {
      const deeper = new RetainedBranch(known.added, level, branch.depth + 1);
      branch.levels.set(level, deeper);
      replace(known, deeper);
      for (const each of known.topics) this.addBelow(deeper, each, end + 1);
      this.addBelow(deeper, topic, end + 1);
    }
  }

  /** Removes a topic that is there. */
  remove(topic: RetainedTopic): void {
    const { topicName } = topic;
    this.byName.delete(topicName);
    const way: RetainedBranch[] = [];
    let branch = this.root;
    for (let start = 0; ; ) {
      const end = endOfLevel(branch, topicName, start);
      if (end === -1) {
        unlink(topic);
        break;
      }
      const level = topicName.slice(start, end);
      const known = branch.levels.get(level);
      if (!(known instanceof RetainedBranch)) {
        removeFrom(branch, level, known, topic);
        break;
      }
      way.push(branch);
      branch = known;
      start = end + 1;
    }
    for (let above = way.pop(); above !== undefined && branch.isEmpty; above = way.pop()) {
      above.levels.delete(branch.level);
      unlink(branch);
      branch = above;
    }
  }
}

function removeFrom(
  branch: RetainedBranch,
  level: string,
  known: RetainedTopic | RetainedGroup | undefined,
  topic: RetainedTopic,
): void {
  topic.isGone = true;
  if (known instanceof RetainedGroup) {
    known.topics = known.topics.filter((each) => each !== topic);
    if (known.topics.length > 0) return;
  }
  if (known !== undefined) unlink(known);
  branch.levels.delete(level);
}

/** Where the level at `start` ends; -1 if the topic is one of the branch's own. */
function endOfLevel(branch: RetainedBranch, topicName: string, start: number): number {
  return branch.isDeepest ? -1 : topicName.indexOf('/', start);
}

function append(ring: Place, place: Place): void {
  const last = ring.previous;
  place.previous = last;
  place.next = ring;
  last.next = place;
  ring.previous = place;
}

function unlink(place: Place): void {
  place.isGone = true;
  place.previous.next = place.next;
  place.next.previous = place.previous;
}

/** Puts another in the place of one, whose way back it is. */
function replace(place: Place, other: Place): void {
  place.isGone = true;
  other.previous = place.previous;
  other.next = place.next;
  place.previous.next = other;
  place.next.previous = other;
  place.previous = other;
}
