import t from 'tap';
import { FilterTrie } from '../../../lib/topic/filter-trie.js';
import type { TrieNode } from '../../../lib/topic/trie-node.js';

function trieOf(...filters: string[]): FilterTrie<string> {
  const trie = new FilterTrie<string>();
  for (const filter of filters) trie.add(filter, filter);
  return trie;
}

function matches<T>(trie: FilterTrie<T>, topicName: string): T[] {
  const into: T[] = [];
  trie.match(topicName, into);
  return into.sort();
}

/** A seconds-long run where milliseconds are expected means that work grows faster than input. */
function milliseconds(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

t.test('[MQTT-4.7.1-1] "#" matches its parent and everything under it', async (t) => {
  const trie = trieOf('#', 'a/#', 'a/b/#', '/#', 'a//#', '+/#', '+/b/#');
  t.same(matches(trie, 'a'), ['#', '+/#', 'a/#']);
  t.same(matches(trie, 'a/b'), ['#', '+/#', '+/b/#', 'a/#', 'a/b/#']);
  t.same(matches(trie, 'a/b/c/d'), ['#', '+/#', '+/b/#', 'a/#', 'a/b/#']);
  t.same(matches(trie, 'a/'), ['#', '+/#', 'a/#', 'a//#']);
  t.same(matches(trie, '/'), ['#', '+/#', '/#']);
  t.same(matches(trie, 'ab'), ['#', '+/#']);
});

t.test('[MQTT-4.7.1-2] "+" matches exactly one level, which may be empty', async (t) => {
  const trie = trieOf('+', '+/+', 'a/+', 'a/+/c', '/+', '+/', '+/+/c');
  t.same(matches(trie, 'a'), ['+']);
  t.same(matches(trie, 'a/'), ['+/', '+/+', 'a/+']);
  t.same(matches(trie, '/a'), ['+/+', '/+']);
  t.same(matches(trie, 'a//c'), ['+/+/c', 'a/+/c']);
  t.same(matches(trie, 'a/b/c/d'), []);
});

t.test('[MQTT-4.7.2-1] topics that begin with "$" are not matched by a wildcard in the first level', async (t) => {
  const trie = trieOf('#', '+', '+/x', '+/#', '+/+', '$SYS/#', '$SYS/+', '$SYS/x', '$SYS');
  t.same(matches(trie, '$SYS/x'), ['$SYS/#', '$SYS/+', '$SYS/x']);
  t.same(matches(trie, '$SYS'), ['$SYS', '$SYS/#']);
  t.same(matches(trie, '$other/x'), []);
  t.same(matches(trie, 'a/$SYS'), ['#', '+/#', '+/+']);
  t.same(matches(trieOf('+/x'), '$SYS/x'), []);
});

t.test('[MQTT-4.7.3-4] levels are compared as they are', async (t) => {
  const filters = ['é/#', 'e\u0301/#', 'A/#', 'a/#', ' a/#', '/a/#', 'a//#'];
  const trie = trieOf(...filters);
  t.same(matches(trie, 'é'), ['é/#']);
  t.same(matches(trie, 'e\u0301'), ['e\u0301/#']);
  t.same(matches(trie, 'A'), ['A/#']);
  t.same(matches(trie, 'a'), ['a/#']);
  t.same(matches(trie, '/a'), ['/a/#']);
});

t.test('[MQTT-3.3.4-2] every value of every filter that matches is given', async (t) => {
  const trie = new FilterTrie<number>();
  for (let value = 0; value < 5; value++) for (const filter of ['a/b', 'a/+', 'a/#']) trie.add(filter, value);
  t.same(matches(trie, 'a/b'), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
  t.equal(trie.size, 15);
  const into = [7];
  trie.match('a', into);
  t.same(into.sort(), [0, 1, 2, 3, 4, 7], 'appended to what was there');
});

t.test('[MQTT-3.10.4-2] a removed value is no longer given, and only that one', async (t) => {
  for (const filter of ['a/b', 'a/+', 'a/#', '#', '+']) {
    const trie = new FilterTrie<number>();
    const topicName = filter === '+' ? 'a' : 'a/b';
    for (let value = 0; value < 40; value++) trie.add(filter, value);
    t.notOk(trie.remove(filter, 40), 'never added');
    for (let value = 0; value < 40; value += 2) t.ok(trie.remove(filter, value));
    t.notOk(trie.remove(filter, 0), 'removed before');
    t.same(new Set(matches(trie, topicName)), new Set(Array.from({ length: 20 }, (_, index) => index * 2 + 1)));
    for (let value = 39; value > 0; value -= 2) {
      t.ok(trie.remove(filter, value));
      t.notOk(matches(trie, topicName).includes(value));
    }
    t.equal(trie.size, 0);
    t.same(matches(trie, topicName), []);
  }
});

t.test('[MQTT-3.10.4-1] filters are removed by their exact text', async (t) => {
  const trie = trieOf('a/+/c', 'a/b/#', 'a/#', '+/b');
  for (const filter of ['a/+', 'a/+/c/#', 'a/+/+', 'a/b', 'a', '#', '+', '+/#', 'a/+/c/d', 'a/b/c/#', 'a/b/+', '']) {
    t.notOk(trie.remove(filter, filter), filter);
    for (const value of ['a/+/c', 'a/b/#', 'a/#', '+/b']) t.notOk(trie.remove(filter, value), `${value} of ${filter}`);
  }
  t.equal(trie.size, 4);
});

t.test('removing everything leaves nothing behind', async (t) => {
  const filters = [
    '#',
    '+',
    '/#',
    '/+',
    'a/b/+/c',
    'a/b/+/d',
    'a/b/+/d/e/f',
    'a/b/#',
    'a/x/+',
    'a/x/+/#',
    '//+//',
    'q',
  ];
  const trie = trieOf(...filters);
  for (const filter of filters) t.ok(trie.remove(filter, filter));
  const { exact, root } = trie as unknown as { exact: Map<string, string>; root: TrieNode<string> };
  t.equal(exact.size, 0);
  t.ok(root.isBare);
});

t.test('a match keeps no node or name alive', async (t) => {
  const trie = trieOf('a/+/c', 'b/+/c', 'c/+/c', 'a/+/d');
  trie.match('a/a-name-that-is-long/c', []);
  trie.match('$SYS/a-name-that-is-long/c', []);
  const { nodes, root, names, stacked } = trie as unknown as Record<'nodes' | 'root' | 'names' | 'stacked', unknown[]>;
  t.ok(nodes.every((node) => node === (root as unknown)));
  t.ok(names.every((name) => name === ''));
  t.equal(stacked, 0);
});

t.test('adding a value twice to a filter is a bug of the caller', async (t) => {
  for (const filter of ['a', 'a/+']) {
    const trie = new FilterTrie<number>();
    trie.add(filter, 0);
    t.throws(() => trie.add(filter, 0), /at most once/);
    for (let value = 1; value < 30; value++) trie.add(filter, value);
    t.throws(() => trie.add(filter, 29), /at most once/);
    t.equal(trie.size, 30, 'not counted');
  }
});

t.test('[MQTT-4.7.3-3] a topic name of 65 535 bytes and 30 000 levels is matched in linear time', async (t) => {
  const deep = Array.from({ length: 30_000 }, () => 'a').join('/');
  const trie = trieOf(`${deep}/#`, deep.replaceAll('a', '+'), `+/${deep}`, `${deep.slice(0, -1)}+`, deep, '#');
  t.equal(matches(trie, deep).length, 5);
  t.equal(matches(trie, '/'.repeat(65_535)).length, 1);
  t.equal(matches(trie, 'a'.repeat(65_535)).length, 1);
  t.ok(milliseconds(() => matches(trie, deep)) < 500);
  for (const filter of [`${deep}/#`, deep.replaceAll('a', '+'), `+/${deep}`, `${deep.slice(0, -1)}+`, deep, '#']) {
    t.ok(trie.remove(filter, filter));
  }
  t.equal(trie.size, 0);
});

t.test('a "#" at each of 1000 levels costs one step each', async (t) => {
  const levels = Array.from({ length: 1000 }, (_, index) => (index % 2 ? 'a' : '+'));
  const trie = new FilterTrie<string>();
  for (let length = 1; length <= levels.length; length++) {
    trie.add(`${levels.slice(0, length).join('/')}/#`, 'odd');
    trie.add(`${levels.slice(0, length).fill('+').join('/')}/#`, 'plus');
  }
  const topicName = Array.from({ length: 30_000 }, () => 'a').join('/');
  t.equal(matches(trie, topicName).length, 2000);
  t.ok(milliseconds(() => matches(trie, topicName)) < 500);
});

t.test('all mixes of "+" and names, with a long last level, cost one step per node', async (t) => {
  const trie = new FilterTrie<number>();
  const depth = 14;
  for (let mix = 0; mix < 2 ** depth; mix++) {
    const levels = Array.from({ length: depth }, (_, level) => ((mix >> level) & 1 ? '+' : 'a'));
    for (const end of ['x/y', 'z/+']) trie.add(`${levels.join('/')}/+/${end}`, mix);
  }
  const topicName = `${'a/'.repeat(depth)}b/${'c'.repeat(60_000)}`;
  t.same(matches(trie, topicName), []);
  t.ok(milliseconds(() => matches(trie, topicName)) < 1000);
  t.equal(matches(trie, `${'a/'.repeat(depth)}b/z/q`).length, 2 ** depth);
});

t.test('100 000 values leave one filter in about linear time', async (t) => {
  for (const filter of ['a', 'a/+', '#']) {
    const trie = new FilterTrie<number>();
    const spent = milliseconds(() => {
      for (let value = 0; value < 100_000; value++) trie.add(filter, value);
      for (let value = 0; value < 100_000; value++) trie.remove(filter, value);
    });
    t.equal(trie.size, 0);
    t.ok(spent < 3000, `${spent} ms`);
  }
});

t.test('[MQTT-3.10.4-2] a filter keeps its values when one that goes on from it is removed', async (t) => {
  const trie = trieOf('a/+', 'a/+/b', 'a/+/c', 'a/+/d');
  for (const [filter, left] of [
    ['a/+/d', ['a/+']],
    ['a/+/b', ['a/+']],
    ['a/+/c', ['a/+']],
    ['a/+', []],
  ] as const) {
    t.ok(trie.remove(filter, filter));
    t.same(matches(trie, 'a/x'), left);
  }
});
