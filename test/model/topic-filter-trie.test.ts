import fc from 'fast-check';
import t from 'tap';
import { FilterTrie } from '../../lib/topic/filter-trie.js';
import { isTopicFilter, isTopicName } from '../../lib/topic/names.js';
import { TrieNode } from '../../lib/topic/trie-node.js';
import { naiveMatches, topicFilters, topicNames } from './topic-naive.js';

const operation = fc.record({
  kind: fc.constantFrom('add', 'add', 'remove', 'match'),
  filter: fc.nat(),
  topicName: topicNames,
  value: fc.nat({ max: 3 }),
});

/** Filters of which several have levels in common, so that the tree splits and joins. */
const nearFilters = fc
  .array(fc.constantFrom('', 'a', '+'), { minLength: 2, maxLength: 4, size: 'max' })
  .map((levels) => levels.join('/'));
const filterPools = fc.array(fc.oneof(topicFilters, nearFilters, nearFilters), {
  minLength: 1,
  maxLength: 15,
  size: 'max',
});

function sortedMatches(trie: FilterTrie<number>, topicName: string): number[] {
  const into: number[] = [];
  trie.match(topicName, into);
  return into.sort();
}

/** What every node of the tree must be like, so that there are at most two nodes for a filter. */
function assertLean(trie: FilterTrie<number>): void {
  const { root } = trie as unknown as { root: TrieNode<number> };
  const open = [root];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    const { named, plus } = node;
    const branches = named === null ? [] : named instanceof TrieNode ? [named] : [...named.values()];
    if (named instanceof Map) {
      if (named.size < 2) throw new Error('a map for one branch');
      for (const [name, branch] of named) {
        if (branch.label.split('/')[0] !== name) throw new Error(`${branch.label} under ${name}`);
      }
    }
    if (plus !== null) branches.push(plus);
    if (node !== root && !node.hasValues && branches.length < 2) throw new Error(`useless node ${node.label}`);
    open.push(...branches);
  }
}

t.test('[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] the trie matches what a naive list of filters does', async () => {
  fc.assert(
    fc.property(filterPools, fc.array(operation, { maxLength: 60, size: 'max' }), (filters, operations) => {
      const trie = new FilterTrie<number>();
      const model: { filter: string; value: number }[] = [];
      const check = (topicName: string): void => {
        const expected = model.filter((entry) => naiveMatches(entry.filter, topicName)).map((entry) => entry.value);
        const actual = sortedMatches(trie, topicName);
        if (actual.join() !== expected.sort().join()) throw new Error(`${topicName}: ${actual} for ${expected}`);
      };
      for (const { kind, filter: chosen, topicName, value } of operations) {
        const filter = filters[chosen % filters.length];
        const place = model.findIndex((entry) => entry.filter === filter && entry.value === value);
        if (kind === 'add' && place === -1) {
          trie.add(filter, value);
          model.push({ filter, value });
        } else if (kind === 'remove') {
          if (trie.remove(filter, value) !== place >= 0) throw new Error(`remove ${filter}`);
          if (place >= 0) model.splice(place, 1);
        } else {
          check(topicName);
        }
        // A topic that only this filter and few others match.
        check(filter.replaceAll('+', 'x').replace('#', 'y'));
        if (trie.size !== model.length) throw new Error('size');
        assertLean(trie);
      }
      for (const filter of filters) check(filter.replaceAll('+', 'x').replace('#', 'y'));
      for (const { filter, value } of model) trie.remove(filter, value);
      const { exact, root } = trie as unknown as { exact: Map<string, number>; root: TrieNode<number> };
      if (exact.size > 0 || !root.isBare) throw new Error('not empty');
    }),
    { numRuns: 800 },
  );
});

t.test('[MQTT-3.10.4-2] a filter with many values behaves as a set', async () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat({ max: 40 })), { maxLength: 300, size: 'max' });
  fc.assert(
    fc.property(fc.constantFrom('a', 'a/+', '#'), steps, (filter, changes) => {
      const trie = new FilterTrie<number>();
      const model = new Set<number>();
      for (const [adds, value] of changes) {
        if (adds && !model.has(value)) trie.add(filter, value);
        if (!adds && trie.remove(filter, value) !== model.has(value)) throw new Error(`remove ${value}`);
        if (adds) model.add(value);
        else model.delete(value);
        const actual = sortedMatches(trie, filter === 'a' ? 'a' : 'a/b');
        if (actual.join() !== [...model].sort().join()) throw new Error(`${actual} for ${[...model]}`);
      }
    }),
    { numRuns: 300 },
  );
});

t.test('the generators make valid names and filters', async () => {
  fc.assert(fc.property(topicNames, isTopicName));
  fc.assert(fc.property(topicFilters, isTopicFilter));
});
