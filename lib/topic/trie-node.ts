import { noValues, type Values } from './value-list.js';

const plus = 0x2b;
const slash = 0x2f;

/** Slices of strings shorter than this are copies anyway. */
const sliceMin = 13;

/**
 * A node of the filter trie: one level or several that filters have in common. Every node but the root has values or
 * at least two branches.
 */
export class TrieNode<T> {
  /** The levels between the parent and here, such as `site/+/door`; never with `#`. One empty level is ''. */
  label: string;
  /** Values of the filter that ends here. */
  here: Values<T>;
  /** Values of the filter that goes on with `#`. */
  below: Values<T>;
  /** The branch whose label begins with `+`. */
  plus: TrieNode<T> | null;
  /** The other branches by the first level of their labels; without a map while there is only one. */
  named: Map<string, TrieNode<T>> | TrieNode<T> | null;

  constructor(label: string) {
    this.label = label;
    this.here = noValues;
    this.below = noValues;
    this.plus = null;
    this.named = null;
  }

  get hasValues(): boolean {
    return this.here !== noValues || this.below !== noValues;
  }

  /** True without values and branches. */
  get isBare(): boolean {
    return !this.hasValues && this.plus === null && this.named === null;
  }

  /** The branch that has the first level of `path`, or null. */
  branchFor(path: string): TrieNode<T> | null {
    if (path.charCodeAt(0) === plus) return this.plus;
    if (this.named === null) return null;
    if (!(this.named instanceof TrieNode)) return this.named.get(firstLevel(path)) ?? null;
    return firstLevel(this.named.label) === firstLevel(path) ? this.named : null;
  }

  /** The branch if there is only one, or null. */
  onlyBranch(): TrieNode<T> | null {
    if (this.named === null) return this.plus;
    return this.plus === null && this.named instanceof TrieNode ? this.named : null;
  }

  /** Adds a branch, or takes it for the one that has the same first level. */
  attach(branch: TrieNode<T>): void {
    if (branch.label.charCodeAt(0) === plus) {
      this.plus = branch;
      return;
    }
    const name = firstLevel(branch.label);
    if (this.named === null) {
      this.named = branch;
    } else if (!(this.named instanceof TrieNode)) {
      this.named.set(trimmed(name, branch.label), branch);
    } else if (firstLevel(this.named.label) === name) {
      this.named = branch;
    } else {
      const other = this.named;
      this.named = new Map();
      this.named.set(trimmed(firstLevel(other.label), other.label), other);
      this.named.set(trimmed(name, branch.label), branch);
    }
  }

  /** Removes a branch. */
  detach(branch: TrieNode<T>): void {
    if (branch === this.plus) {
      this.plus = null;
    } else if (branch === this.named) {
      this.named = null;
    } else if (this.named instanceof Map) {
      this.named.delete(firstLevel(branch.label));
      if (this.named.size === 1) for (const last of this.named.values()) this.named = last;
    }
  }
}

/** Puts a node between `parent` and `branch`, for the first `length` characters of the branch's label. */
export function splitBranch<T>(parent: TrieNode<T>, branch: TrieNode<T>, length: number): TrieNode<T> {
  const between = new TrieNode<T>(copyOf(branch.label.slice(0, length)));
  parent.attach(between);
  branch.label = copyOf(branch.label.slice(length + 1));
  between.attach(branch);
  return between;
}

/** Undoes a split: lets the only branch of a node without values take its place. Leaves other nodes as they are. */
export function joinOnlyBranch<T>(parent: TrieNode<T>, node: TrieNode<T>): void {
  const branch = node.onlyBranch();
  if (branch === null) return;
  branch.label = copyOf(`${node.label}/${branch.label}`);
  parent.attach(branch);
}

/** How many characters of whole levels two paths begin with, when the first level is the same. */
export function commonLevels(one: string, other: string): number {
  const length = Math.min(one.length, other.length);
  let whole = 0;
  let at = 0;
  for (; at < length && one.charCodeAt(at) === other.charCodeAt(at); at++) {
    if (one.charCodeAt(at) === slash) whole = at;
  }
  return endsLevel(one, at) && endsLevel(other, at) ? at : whole;
}

/**
 * `part` of `whole`, copied if it would keep much more alive than itself: a slice of a string holds on to all of it,
 * and a filter may have 65 535 bytes.
 */
export function trimmed(part: string, whole: string): string {
  return part.length * 2 < whole.length ? copyOf(part) : part;
}

function endsLevel(path: string, at: number): boolean {
  return at === path.length || path.charCodeAt(at) === slash;
}

function firstLevel(path: string): string {
  const end = path.indexOf('/');
  return end === -1 ? path : path.slice(0, end);
}

function copyOf(text: string): string {
  if (text.length < sliceMin) return text;
  const copy = Buffer.from(text).toString();
  // Ill-formed UTF-16 does not survive, but is no harm as it is.
  return copy === text ? copy : text;
}
