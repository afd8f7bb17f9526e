/** Checks what one subscriber receives; each message names its publisher and counts up from 0. */
export interface Verifier {
  readonly doubled: number;
  readonly reordered: number;
  readonly misrouted: number;
  /** Takes a receipt; false when the message does not count as delivered (doubled or misrouted). */
  accept(publisher: number, sequence: number): boolean;
  /** Messages that never came, when each publisher has sent `sentOf(publisher)`. */
  countLost(sentOf: (publisher: number) => number): number;
}

const missingMax = 1_000_000;

/** Expects the messages of each publisher in order. */
export class SequenceVerifier implements Verifier {
  doubled = 0;
  reordered = 0;
  misrouted = 0;
  private readonly firstPublisher: number;
  private readonly next: Uint32Array;
  private readonly missing: Set<number>[];
  private missingCount = 0;

  /** For the publishers `firstPublisher` up to `firstPublisher + publisherCount - 1`. */
  constructor(firstPublisher: number, publisherCount: number) {
    this.firstPublisher = firstPublisher;
    this.next = new Uint32Array(publisherCount);
    this.missing = Array.from({ length: publisherCount }, () => new Set<number>());
  }

  accept(publisher: number, sequence: number): boolean {
    const index = publisher - this.firstPublisher;
    if (index >= 0 && index < this.next.length && this.next[index] === sequence) {
      this.next[index] = sequence + 1;
      return true;
    }
    return this.acceptUnexpected(index, sequence);
  }

  countLost(sentOf: (publisher: number) => number): number {
    let lost = this.missingCount;
    this.next.forEach((next, index) => {
      lost += sentOf(this.firstPublisher + index) - next;
    });
    return lost;
  }

  private acceptUnexpected(index: number, sequence: number): boolean {
    if (index < 0 || index >= this.next.length) {
      this.misrouted++;
      return false;
    }
    const missing = this.missing[index];
    const expected = this.next[index];
    if (sequence > expected) {
      this.missingCount += sequence - expected;
      for (let gap = expected; gap < sequence && missing.size < missingMax; gap++) missing.add(gap);
      this.next[index] = sequence + 1;
      return true;
    }
    if (missing.delete(sequence)) {
      this.missingCount--;
      this.reordered++;
      return true;
    }
    this.doubled++;
    return false;
  }
}

/** Expects each message once, in any order: for messages on topics of their own. */
export class SetVerifier implements Verifier {
  doubled = 0;
  readonly reordered = 0;
  misrouted = 0;
  private readonly perPublisher: number;
  private readonly seen: Uint8Array;
  private received = 0;

  constructor(publisherCount: number, perPublisher: number) {
    this.perPublisher = perPublisher;
    this.seen = new Uint8Array(publisherCount * perPublisher);
  }

  accept(publisher: number, sequence: number): boolean {
    const index = publisher * this.perPublisher + sequence;
    if (sequence >= this.perPublisher || index >= this.seen.length) {
      this.misrouted++;
      return false;
    }
    if (this.seen[index] === 1) {
      this.doubled++;
      return false;
    }
    this.seen[index] = 1;
    this.received++;
    return true;
  }

  countLost(sentOf: (publisher: number) => number): number {
    let sent = 0;
    for (let publisher = 0; publisher * this.perPublisher < this.seen.length; publisher++) sent += sentOf(publisher);
    return sent - this.received;
  }
}
