import { FilterTrie } from '../../lib/topic/filter-trie.js';

/** What one point of a curve found. */
export interface MatchResult {
  readonly nanoseconds: number;
  readonly bytesEach: number;
}

const topicsMatched = 4096;
const measuredMs = 150;

function flat(text: string): string {
  return Buffer.from(text).toString();
}

function heapBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

/** Time of one match, and heap for each filter: `filter` and `topic` give the filters, and a topic for each. */
export function measureMatch(
  count: number,
  filter: (index: number) => string,
  topic: (index: number) => string,
): MatchResult {
  const before = heapBytes();
  const trie = new FilterTrie<object>();
  const value = {};
  for (let index = 0; index < count; index++) trie.add(flat(filter(index)), value);
  const bytesEach = (heapBytes() - before) / count;
  const topics = Array.from({ length: topicsMatched }, (_, index) => flat(topic((index * 7919) % count)));
  const into: object[] = [];
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 3; round++) {
    const startedAtMs = performance.now();
    let matches = 0;
    while (performance.now() - startedAtMs < measuredMs) {
      for (const name of topics) {
        into.length = 0;
        trie.match(name, into);
      }
      matches += topics.length;
    }
    least = Math.min(least, ((performance.now() - startedAtMs) * 1e6) / matches);
  }
  if (into.length === 0) throw new Error(`${topics[0]} matches no filter`);
  return { nanoseconds: least, bytesEach };
}

/** A topic of this many levels that ends in a number. */
export function deepTopic(levels: number, index: number): string {
  return [...Array.from({ length: levels - 1 }, (_, level) => `level${level}`), String(index)].join('/');
}
