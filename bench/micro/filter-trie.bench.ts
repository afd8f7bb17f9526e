/**
 * Time per match and memory per subscription of FilterTrie at 100 000 subscriptions, and memory per topic of
 * RetainedIndex at a million. Each case runs in a process of its own. Prints one JSON object.
 *
 * Memory per subscription is all of it: filter string, a subscription object, and the trie's share.
 */
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { FilterTrie } from '../../lib/topic/filter-trie.js';
import { type RetainedEntry, RetainedIndex } from '../../lib/topic/retained-index.js';

const subscriptionCount = 100_000;
const retainedCount = 1_000_000;
const matchCount = 2_000_000;

interface Subscription {
  readonly session: number;
  readonly topicFilter: string;
  readonly options: number;
}

/** What each case subscribes to, and topics to match. */
const cases: Record<string, { filter: (index: number) => string; topic: (index: number) => string }> = {
  exact: {
    filter: (index) => `site/${index % 100}/device/${index}/temperature`,
    topic: (index) => `site/${index % 100}/device/${index}/temperature`,
  },
  'plus at the end': {
    filter: (index) => `site/${index % 100}/device/${index}/+`,
    topic: (index) => `site/${index % 100}/device/${index}/temperature`,
  },
  'plus inside': {
    filter: (index) => `site/+/device/${index}/temperature`,
    topic: (index) => `site/${index % 100}/device/${index}/temperature`,
  },
  'hash at the end': {
    filter: (index) => `site/${index % 100}/device/${index}/#`,
    topic: (index) => `site/${index % 100}/device/${index}/sensor/temperature`,
  },
  'exact, plus and hash mixed': {
    filter: (index) => `site/${index % 100}/device/${index}/${['temperature', '+', '#', '+/high'][index % 4]}`,
    topic: (index) => `site/${index % 100}/device/${index}/temperature`,
  },
  'wildcards, no match': {
    filter: (index) => `site/${index % 100}/device/${index}/+`,
    topic: (index) => `plant/${index % 100}/device/${index}/temperature`,
  },
};

function measureTrie(name: string): object {
  const { filter, topic } = cases[name];
  const before = memory();
  const trie = new FilterTrie<Subscription>();
  // As from packets: flat strings that share nothing.
  const flat = (text: string): string => Buffer.from(text).toString();
  for (let index = 0; index < subscriptionCount; index++) {
    const topicFilter = flat(filter(index));
    trie.add(topicFilter, { session: index, topicFilter, options: 1 });
  }
  const after = memory();
  const topics = Array.from({ length: 4096 }, (_, index) => flat(topic((index * 7919) % subscriptionCount)));
  const into: Subscription[] = [];
  let found = 0;
  const run = (): number => {
    const start = process.hrtime.bigint();
    for (let index = 0; index < matchCount; index++) {
      into.length = 0;
      trie.match(topics[index & 4095], into);
      found += into.length;
    }
    return Number(process.hrtime.bigint() - start) / matchCount;
  };
  run();
  const nanoseconds = Math.min(run(), run(), run());
  return {
    nanosecondsPerMatch: Math.round(nanoseconds),
    matchesPerTopic: found / matchCount / 4,
    heapBytesPerSubscription: Math.round((after.heap - before.heap) / subscriptionCount),
    rssBytesPerSubscription: Math.round((after.rss - before.rss) / subscriptionCount),
    subscriptions: trie.size,
  };
}

function measureRetained(): object {
  const before = memory();
  const index = new RetainedIndex();
  const order = 611_953;
  const setStart = performance.now();
  for (let number = 0; number < retainedCount; number++) {
    const device = (number * order) % retainedCount;
    index.set(Buffer.from(`site/${device % 100}/device/${device}/temperature`).toString(), 9e14 + number);
  }
  const setEnd = performance.now();
  const after = memory();
  const replay = (topicFilter: string): object => {
    const cursor = index.match(topicFilter);
    const into: RetainedEntry[] = [];
    let found = 0;
    let longest = 0;
    const start = performance.now();
    for (let more = true; more; ) {
      const callStart = performance.now();
      more = cursor.next(100, into);
      longest = Math.max(longest, performance.now() - callStart);
      found += into.length;
      into.length = 0;
    }
    return { found, milliseconds: Math.round(performance.now() - start), longestCallMilliseconds: longest };
  };
  return {
    heapBytesPerTopic: Math.round((after.heap - before.heap) / retainedCount),
    rssBytesPerTopic: Math.round((after.rss - before.rss) / retainedCount),
    nanosecondsPerSet: Math.round(((setEnd - setStart) * 1e6) / retainedCount),
    replays: Object.fromEntries(
      ['#', 'site/7/#', 'site/7/device/+/temperature', 'site/+/device/12345/#', '+/+/+/+/humidity'].map((filter) => [
        filter,
        replay(filter),
      ]),
    ),
  };
}

function memory(): { heap: number; rss: number } {
  for (let round = 0; round < 3; round++) globalThis.gc?.();
  return { heap: process.memoryUsage().heapUsed, rss: process.memoryUsage().rss };
}

const chosen = process.argv[2];
if (chosen !== undefined) {
  process.stdout.write(JSON.stringify(chosen === 'retained' ? measureRetained() : measureTrie(chosen)));
} else {
  const here = fileURLToPath(import.meta.url);
  const results: Record<string, unknown> = {
    node: process.version,
    cpu: cpus()[0]?.model,
    commit: execFileSync('git', ['describe', '--always', '--dirty', '--exclude=*'], { encoding: 'utf8' }).trim(),
  };
  for (const name of [...Object.keys(cases), 'retained']) {
    results[name] = JSON.parse(execFileSync(process.execPath, ['--expose-gc', here, name], { encoding: 'utf8' }));
  }
  process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
}
