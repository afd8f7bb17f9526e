import { residentMemory } from './resident-memory.js';

/** Numbers in one block: so few that making room among them takes no time that anybody would notice. */
const blockNumbers = 1024;
/** What the first block of an index has room for: there are many that never hold more than a number or two. */
const firstCapacity = 4;

/** What `NumberIndex` returns for a number that it does not have. */
export const noLocation = -1;

function numbersOf(capacity: number): Float64Array {
  if (capacity < blockNumbers) return new Float64Array(capacity);
  return new Float64Array(residentMemory(capacity * Float64Array.BYTES_PER_ELEMENT));
}

function locationsOf(capacity: number): Int32Array {
  if (capacity < blockNumbers) return new Int32Array(capacity);
  return new Int32Array(residentMemory(capacity * Int32Array.BYTES_PER_ELEMENT));
}

/** Numbers from the highest to the lowest, `numbers[head, tail)`, and what is known of each under the same place. */
class Block {
  numbers: Float64Array;
  locations: Int32Array;
  head = 0;
  tail = 0;

  constructor(capacity: number) {
    this.numbers = numbersOf(capacity);
    this.locations = locationsOf(capacity);
  }

  get count(): number {
    return this.tail - this.head;
  }

  /** Place of the first number that is not above `number`. */
  placeOf(number: number): number {
    const { numbers } = this;
    let low = this.head;
    let high = this.tail;
    // The two ends are asked for most.
    if (low < high && numbers[high - 1] > number) return high;
    if (low < high && numbers[low] <= number) return low;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (numbers[middle] > number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Makes room for one more behind the others. */
  reserve(): void {
    const { length } = this.numbers;
    if (this.tail < length) return;
    // Moved to the front only if many may follow before that is done again.
    this.rebuild(this.count <= length / 2 ? length : Math.min(blockNumbers, 2 * length));
  }

  insert(place: number, number: number, location: number): void {
    const { numbers, locations, tail } = this;
    if (place < tail) {
      numbers.copyWithin(place + 1, place, tail);
      locations.copyWithin(place + 1, place, tail);
    }
    numbers[place] = number;
    locations[place] = location;
    this.tail++;
  }

  remove(place: number): void {
    if (place === this.head) {
      this.head++;
    } else {
      this.numbers.copyWithin(place, place + 1, this.tail);
      this.locations.copyWithin(place, place + 1, this.tail);
      this.tail--;
    }
    const { length } = this.numbers;
    if (length > firstCapacity && 4 * this.count <= length) this.rebuild(length >>> 1);
  }

  /** Appends what another block has from a place on; there is room for it. */
  append(other: Block, from: number): void {
    this.numbers.set(other.numbers.subarray(from, other.tail), this.tail);
    this.locations.set(other.locations.subarray(from, other.tail), this.tail);
    this.tail += other.tail - from;
  }

  /** Moves everything to the front of memory of another size, or of the same. */
  rebuild(capacity: number): void {
    const { head, tail } = this;
    const numbers = capacity === this.numbers.length ? this.numbers : numbersOf(capacity);
    const locations = capacity === this.numbers.length ? this.locations : locationsOf(capacity);
    numbers.set(this.numbers.subarray(head, tail));
    locations.set(this.locations.subarray(head, tail));
    this.numbers = numbers;
    this.locations = locations;
    this.head = 0;
    this.tail = tail - head;
  }
}

/**
 * An ordered map from whole numbers to signed integers of 32 bits, where the next number is most likely below all
 * others, and the first to go is the highest. A number takes 12 bytes, most of them outside the heap:
 * ```
 *   blocks[0]             blocks[1]            blocks[2]
 *   [99 98 97 95 94 ...]  [71 70 69 68 ...]    [52 51 50 <- the next]
 *    ^ first to go
 * ```
 */
export class NumberIndex {
  /** From the highest numbers to the lowest; none is empty. */
  private readonly blocks: Block[] = [];

  /** True if there is no number. */
  get isEmpty(): boolean {
    return this.blocks.length === 0;
  }

  /** What is known of a number, or `noLocation`. */
  get(number: number): number {
    const { blocks } = this;
    if (blocks.length === 0) return noLocation;
    const block = blocks[this.blockOf(number)];
    const place = block.placeOf(number);
    return place < block.tail && block.numbers[place] === number ? block.locations[place] : noLocation;
  }

  /** @returns what was known of the number before, or `noLocation` */
  set(number: number, location: number): number {
    const { blocks } = this;
    if (blocks.length === 0) return this.addBlock(number, location);
    const at = this.blockOf(number);
    const block = blocks[at];
    const place = block.placeOf(number);
    if (place < block.tail && block.numbers[place] === number) {
      const before = block.locations[place];
      block.locations[place] = location;
      return before;
    }
    if (place === blockNumbers && at === blocks.length - 1) return this.addBlock(number, location);
    if (block.count === blockNumbers) {
      this.split(at);
      return this.set(number, location);
    }
    const fromHead = place - block.head;
    block.reserve();
    block.insert(block.head + fromHead, number, location);
    return noLocation;
  }

  /** @returns what was known of the number, or `noLocation` */
  delete(number: number): number {
    const { blocks } = this;
    if (blocks.length === 0) return noLocation;
    const at = this.blockOf(number);
    const block = blocks[at];
    const place = block.placeOf(number);
    if (place === block.tail || block.numbers[place] !== number) return noLocation;
    const before = block.locations[place];
    block.remove(place);
    if (block.count === 0) blocks.splice(at, 1);
    else if (block.count <= blockNumbers / 4) this.merge(at);
    return before;
  }

  /** Calls back for each with from <= number < end, in order or the highest first, until `visit` returns false. */
  forEach(from: number, end: number, isReverse: boolean, visit: (number: number, location: number) => boolean): void {
    if (this.blocks.length === 0 || from >= end) return;
    if (isReverse) this.forEachDown(from, end, visit);
    else this.forEachUp(from, end, visit);
  }

  private forEachUp(from: number, end: number, visit: (number: number, location: number) => boolean): void {
    const { blocks } = this;
    const first = this.blockOf(from);
    for (let at = first; at >= 0; at--) {
      const { numbers, locations, head, tail } = blocks[at];
      let place = tail - 1;
      if (at === first) {
        const found = blocks[at].placeOf(from);
        place = found < tail && numbers[found] === from ? found : found - 1;
      }
      for (; place >= head; place--) {
        if (numbers[place] >= end || !visit(numbers[place], locations[place])) return;
      }
    }
  }

  private forEachDown(from: number, end: number, visit: (number: number, location: number) => boolean): void {
    const { blocks } = this;
    const first = this.blockOf(end);
    for (let at = first; at < blocks.length; at++) {
      const { numbers, locations, head, tail } = blocks[at];
      let place = head;
      if (at === first) {
        place = blocks[at].placeOf(end);
        if (place < tail && numbers[place] === end) place++;
      }
      for (; place < tail; place++) {
        if (numbers[place] < from || !visit(numbers[place], locations[place])) return;
      }
    }
  }

  /** The block that a number is in, or belongs to: the last that begins at or above it. */
  private blockOf(number: number): number {
    const { blocks } = this;
    let low = 0;
    let high = blocks.length - 1;
    if (high === 0) return 0;
    const last = blocks[high];
    if (last.numbers[last.head] >= number) return high;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const { numbers, head } = blocks[middle];
      if (numbers[head] >= number) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Begins a block behind the others. */
  private addBlock(number: number, location: number): number {
    // Who has filled a block fills another.
    const block = new Block(this.blocks.length === 0 ? firstCapacity : blockNumbers);
    block.insert(0, number, location);
    this.blocks.push(block);
    return noLocation;
  }

  /** Makes two blocks of a full one. */
  private split(at: number): void {
    const block = this.blocks[at];
    const behind = new Block(blockNumbers);
    const middle = block.head + blockNumbers / 2;
    behind.append(block, middle);
    block.tail = middle;
    this.blocks.splice(at + 1, 0, behind);
  }

  /** Joins a block with its neighbour if the two would fill no more than half of one. */
  private merge(at: number): void {
    const { blocks } = this;
    const first = at === blocks.length - 1 ? at - 1 : at;
    if (first < 0 || blocks[first].count + blocks[first + 1].count > blockNumbers / 2) return;
    blocks[first].rebuild(blockNumbers);
    blocks[first].append(blocks[first + 1], blocks[first + 1].head);
    blocks.splice(first + 1, 1);
  }
}
