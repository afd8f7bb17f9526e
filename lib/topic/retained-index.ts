import sortedTree from 'sorted-btree';
import { hasWildcard } from './names.js';

/** A retained message, by its topic and number. */
export interface RetainedEntry {
  readonly topicName: string;
  readonly sequence: number;
}

/** The number of a topic's message, found by name or in order, and replaced without a look at the order. */
interface Retained {
  sequence: number;
}

/** Topic names in string order. */
type Tree = sortedTree.default<string, Retained>;

const slash = 0x2f;
const plus = 0x2b;
/** The character after '/': no name that goes on with it or a later one is under the level before. */
const afterSlash = '0';
/** The character after '$'. */
const afterDollar = '%';

/** Topics that one call of `RetainedCursor.next` may look at for each that it may find. */
const looksPerFound = 8;
/** This many characters of a topic count as one look. */
const charactersPerLook = 1024;

/**
 * Which topics have a retained message, and its number, by name; and the names in a sorted tree, because order is what
 * makes a replay resumable: a cursor only remembers how far it is, whatever has come and gone since. A message that
 * takes the place of another leaves the tree alone.
 * @see MQTT 5 §3.3.1.3
 */
export class RetainedIndex {
  private readonly byName = new Map<string, Retained>();
  private readonly tree: Tree = new sortedTree.default<string, Retained>(undefined, compareNames);
  private topicCharacters = 0;

  /** Number of topics. */
  get size(): number {
    return this.byName.size;
  }

  /** Characters of all topics. */
  get characters(): number {
    return this.topicCharacters;
  }

  set(topicName: string, sequence: number): void {
    const known = this.byName.get(topicName);
    if (known !== undefined) {
      known.sequence = sequence;
      return;
    }
    const retained = { sequence };
    this.byName.set(topicName, retained);
    this.tree.set(topicName, retained);
    this.topicCharacters += topicName.length;
  }

  /** False if the topic was not there. */
  delete(topicName: string): boolean {
    if (!this.byName.delete(topicName)) return false;
    this.tree.delete(topicName);
    this.topicCharacters -= topicName.length;
    return true;
  }

  get(topicName: string): number | undefined {
    return this.byName.get(topicName)?.sequence;
  }

  /** A cursor over the topics that a valid filter (without `$share/group/`) matches. @see MQTT 5 §3.3.1.3, §4.7 */
  match(topicFilter: string): RetainedCursor {
    return new RetainedCursor(this.tree, topicFilter);
  }
}

/**
 * Finds the topics that a filter matches, a few at a time, in string order: what is under a level comes together.
 * The index may change between calls. What is in it all the time is found exactly once; what is added or removed
 * meanwhile may be found or not, but not twice.
 *
 * From a topic that does not match, the cursor jumps to the first one that can: for `site/+/temp` at `site/7/door` to
 * `site/7/temp`, and from there past all of `site/7/`. So it looks at no more than about twice as many topics as there
 * are ways to fill in the `+`.
 */
export class RetainedCursor {
  private readonly tree: Tree;
  private readonly topicFilter: string;
  /** The filter cut at its wildcards: `a/+/b/#` has the parts `a/` and `/b`. */
  private readonly parts: readonly string[];
  /** Whether the filter ends in `#`, and so matches what its last part goes on with. */
  private readonly open: boolean;
  /** Where to look next: all before it has been dealt with. Null when finished. */
  private from: string | null;
  /** Whether `from` itself has been dealt with as well. */
  private passed: boolean;

  /** @internal Made by `RetainedIndex.match`. */
  constructor(tree: Tree, topicFilter: string) {
    this.tree = tree;
    this.topicFilter = topicFilter;
    this.open = topicFilter.endsWith('#');
    this.parts = (this.open ? topicFilter.slice(0, -2) : topicFilter).split('+');
    this.from = this.parts[0];
    this.passed = false;
  }

  /**
   * Appends the next matching topics to `into`: at most `limit`, and fewer or none where many topics had to be looked
   * at in vain, so that a call takes bounded time.
   * @returns false when there are no more
   */
  next(limit: number, into: RetainedEntry[]): boolean {
    if (!hasWildcard(this.topicFilter)) return this.nextExact(into);
    const pair: [string, Retained] = ['', { sequence: 0 }];
    let found = 0;
    let looks = limit * looksPerFound;
    while (looks > 0 && found < limit && this.from !== null) {
      const at = this.passed
        ? this.tree.nextHigherPair(this.from, pair)
        : this.tree.getPairOrNextHigher(this.from, pair);
      if (at === undefined) {
        this.from = null;
      } else {
        looks -= 1 + at[0].length / charactersPerLook;
        if (this.examine(at[0])) {
          into.push({ topicName: at[0], sequence: at[1].sequence });
          found++;
        }
      }
    }
    return this.from !== null;
  }

  private nextExact(into: RetainedEntry[]): boolean {
    const retained = this.tree.get(this.topicFilter);
    if (this.from !== null && retained !== undefined) {
      into.push({ topicName: this.topicFilter, sequence: retained.sequence });
    }
    this.from = null;
    return false;
  }

  /** Says whether a topic matches, and sets `from` to where the next one that does can be. */
  private examine(topicName: string): boolean {
    // [MQTT-4.7.2-1]
    if (topicName.startsWith('$') && this.beginsWithWildcard()) {
      this.moveTo(afterDollar);
      return false;
    }
    let start = 0;
    const last = this.parts.length - 1;
    for (let index = 0; index < last; index++) {
      const part = this.parts[index];
      if (!topicName.startsWith(part, start)) {
        this.jump(topicName, start, part, index > 0);
        return false;
      }
      // [MQTT-4.7.1-2]
      const end = topicName.indexOf('/', start + part.length);
      start = end === -1 ? topicName.length : end;
    }
    return this.examineLast(topicName, start, this.parts[last], last > 0);
  }

  private examineLast(topicName: string, start: number, part: string, afterPlus: boolean): boolean {
    const end = start + part.length;
    if (topicName.startsWith(part, start)) {
      const ended = topicName.length === end;
      // [MQTT-4.7.1-1] the parent of "#" is included
      if (ended || (this.open && (topicName.charCodeAt(end) === slash || this.topicFilter === '#'))) {
        this.moveBeyond(topicName);
        return true;
      }
    }
    this.jump(topicName, start, part, afterPlus);
    return false;
  }

  /** Goes on from a topic whose first `start` characters match, but which does not go on with `part`. */
  private jump(topicName: string, start: number, part: string, afterPlus: boolean): void {
    if (afterPlus && start === topicName.length) {
      // Names such as "a-b/c" are between "a" and "a/c", and the "+" may stand for "a-b".
      this.moveBeyond(topicName);
      return;
    }
    const base = topicName.slice(0, start);
    const exact = base + part;
    if (exact > topicName) {
      this.moveTo(exact);
      return;
    }
    // Names such as "part-x" are between "part" and "part/".
    if (this.open && `${exact}/` > topicName) this.moveTo(`${exact}/`);
    else if (afterPlus) this.moveTo(base + afterSlash);
    else this.from = null;
  }

  private moveTo(name: string): void {
    this.from = name;
    this.passed = false;
  }

  private moveBeyond(name: string): void {
    this.from = name;
    this.passed = true;
  }

  private beginsWithWildcard(): boolean {
    return this.topicFilter === '#' || this.topicFilter.charCodeAt(0) === plus;
  }
}

function compareNames(one: string, other: string): number {
  if (one < other) return -1;
  return one > other ? 1 : 0;
}
