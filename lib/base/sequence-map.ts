/** Numbers that share a page, as a power of two: a few neighbours, so that one that stays alone costs little. */
const pageBits = 5;
const pageSize = 1 << pageBits;

/** No number at all. */
const none = -1;

class Page<V> {
  readonly number: number;
  readonly values: (V | undefined)[] = new Array(pageSize);
  count = 0;

  constructor(number: number) {
    this.number = number;
  }
}

/**
 * A map from whole numbers that are given out in order and used in about that order: quicker than a `Map`, since the
 * next number is most likely on the page of the last one, and in order without sorting. A single number needs no page:
 * many maps never hold more.
 */
export class SequenceMap<V> {
  /** Null until there is a second number; until then the first is here. */
  private pages: Map<number, Page<V>> | null = null;
  private single = none;
  private singleValue: V | undefined = undefined;
  /** Numbers of pages, made when order first matters and kept while they come in order; some may be gone. */
  private ordered: number[] | null = null;
  private last: Page<V> | null = null;
  private length = 0;

  get size(): number {
    return this.length;
  }

  get(sequence: number): V | undefined {
    if (this.pages === null) return sequence === this.single ? this.singleValue : undefined;
    return this.page(Math.floor(sequence / pageSize))?.values[sequence % pageSize];
  }

  set(sequence: number, value: V): void {
    if (this.pages === null && (this.single === none || this.single === sequence)) {
      this.single = sequence;
      this.singleValue = value;
      this.length = 1;
      return;
    }
    const pages = this.pages ?? this.beginPages();
    const number = Math.floor(sequence / pageSize);
    const page = this.page(number) ?? this.addPage(pages, number);
    const at = sequence % pageSize;
    if (page.values[at] === undefined) {
      page.count++;
      this.length++;
    }
    page.values[at] = value;
  }

  /** @returns false if it was not there */
  delete(sequence: number): boolean {
    if (this.pages === null) {
      if (sequence !== this.single) return false;
      this.single = none;
      this.singleValue = undefined;
      this.length = 0;
      return true;
    }
    const page = this.page(Math.floor(sequence / pageSize));
    const at = sequence % pageSize;
    if (page === undefined || page.values[at] === undefined) return false;
    page.values[at] = undefined;
    page.count--;
    this.length--;
    if (page.count === 0) this.removePage(page);
    return true;
  }

  /** Calls back for each with from <= sequence < end, in order, until `visit` returns false. */
  forEach(from: number, end: number, visit: (sequence: number, value: V) => boolean): void {
    const { pages } = this;
    if (pages === null) {
      this.visitSingle(from, end, visit);
      return;
    }
    const ordered = this.inOrder(pages);
    for (let index = lowerBound(ordered, Math.floor(from / pageSize)); index < ordered.length; index++) {
      const page = pages.get(ordered[index] as number);
      if (page === undefined) continue;
      const first = page.number * pageSize;
      if (first >= end) return;
      for (let at = Math.max(0, from - first); at < pageSize && first + at < end; at++) {
        const value = page.values[at];
        if (value !== undefined && !visit(first + at, value)) return;
      }
    }
  }

  /** The same from the last to the first. */
  forEachReverse(from: number, end: number, visit: (sequence: number, value: V) => boolean): void {
    const { pages } = this;
    if (pages === null) {
      this.visitSingle(from, end, visit);
      return;
    }
    const ordered = this.inOrder(pages);
    for (let index = lowerBound(ordered, Math.ceil(end / pageSize)) - 1; index >= 0; index--) {
      const page = pages.get(ordered[index] as number);
      if (page === undefined) continue;
      const first = page.number * pageSize;
      if (first + pageSize <= from) return;
      for (let at = Math.min(pageSize, end - first) - 1; at >= 0 && first + at >= from; at--) {
        const value = page.values[at];
        if (value !== undefined && !visit(first + at, value)) return;
      }
    }
  }

  private visitSingle(from: number, end: number, visit: (sequence: number, value: V) => boolean): void {
    const { single, singleValue } = this;
    if (single >= from && single < end && singleValue !== undefined) visit(single, singleValue);
  }

  /** A second number comes: the first moves to a page. */
  private beginPages(): Map<number, Page<V>> {
    const { single, singleValue } = this;
    const pages = new Map<number, Page<V>>();
    this.pages = pages;
    this.length = 0;
    this.set(single, singleValue as V);
    this.single = none;
    this.singleValue = undefined;
    return pages;
  }

  private page(number: number): Page<V> | undefined {
    const { last } = this;
    if (last !== null && last.number === number) return last;
    const page = this.pages?.get(number);
    if (page !== undefined) this.last = page;
    return page;
  }

  private addPage(pages: Map<number, Page<V>>, number: number): Page<V> {
    const page = new Page<V>(number);
    pages.set(number, page);
    this.last = page;
    const { ordered } = this;
    if (ordered === null) return page;
    const place = lowerBound(ordered, number);
    if (place === ordered.length) ordered.push(number);
    // One that was there before still has its place.
    else if (ordered[place] !== number) this.ordered = null;
    return page;
  }

  private removePage(page: Page<V>): void {
    this.pages?.delete(page.number);
    if (this.last === page) this.last = null;
  }

  private inOrder(pages: ReadonlyMap<number, Page<V>>): number[] {
    if (this.ordered === null || this.ordered.length > 2 * pages.size + 64) {
      this.ordered = [...pages.keys()].sort((a, b) => a - b);
    }
    return this.ordered;
  }
}

/** Place of the first number at or above `wanted`. */
function lowerBound(ordered: readonly number[], wanted: number): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ordered[middle] as number) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
