import t from 'tap';
import { type RetainedEntry, RetainedIndex } from '../../../lib/topic/retained-index.js';

function indexOf(...topicNames: string[]): RetainedIndex {
  const index = new RetainedIndex();
  for (const [sequence, topicName] of topicNames.entries()) index.set(topicName, sequence);
  return index;
}

function replay(index: RetainedIndex, topicFilter: string, limit = 3): string[] {
  const cursor = index.match(topicFilter);
  const into: RetainedEntry[] = [];
  while (cursor.next(limit, into));
  for (const entry of into) t.equal(index.get(entry.topicName), entry.sequence);
  return into.map((entry) => entry.topicName).sort();
}

t.test('[MQTT-3.3.1-5] the number of a topic is replaced', async (t) => {
  const index = indexOf('a', 'b');
  t.equal(index.set('a', 8_000_000_000_000_000), 0);
  t.equal(index.size, 2);
  t.equal(index.get('a'), 8_000_000_000_000_000);
  t.equal(index.get('c'), undefined);
});

t.test('[MQTT-3.3.1-6] a deleted topic is gone', async (t) => {
  const index = indexOf('a', 'b');
  t.equal(index.delete('a'), 0);
  t.equal(index.delete('a'), undefined);
  t.equal(index.get('a'), undefined);
  t.equal(index.size, 1);
  t.same(replay(index, '#'), ['b']);
});

t.test('[MQTT-3.3.1-9] all topics that match are found', async (t) => {
  const names = [
    '/',
    '/a',
    'a',
    'a/',
    'a/b',
    'a/b/c',
    'a//c',
    'a-b',
    'a-b/b',
    'ab',
    'ab/b',
    'b',
    'b/b',
    'b/c',
    '$SYS/b',
  ];
  const index = indexOf(...names);
  const expected: Record<string, string[]> = {
    '#': ['/', '/a', 'a', 'a-b', 'a-b/b', 'a/', 'a//c', 'a/b', 'a/b/c', 'ab', 'ab/b', 'b', 'b/b', 'b/c'],
    'a/#': ['a', 'a/', 'a//c', 'a/b', 'a/b/c'],
    '/#': ['/', '/a'],
    '+': ['a', 'a-b', 'ab', 'b'],
    '+/b': ['a-b/b', 'a/b', 'ab/b', 'b/b'],
    '+/b/#': ['a-b/b', 'a/b', 'a/b/c', 'ab/b', 'b/b'],
    '+/+': ['/', '/a', 'a-b/b', 'a/', 'a/b', 'ab/b', 'b/b', 'b/c'],
    'a/+': ['a/', 'a/b'],
    'a/+/c': ['a//c', 'a/b/c'],
    '/+': ['/', '/a'],
    '+/': ['/', 'a/'],
    'a/b': ['a/b'],
    'a/c': [],
    'c/#': [],
    '$SYS/#': ['$SYS/b'],
    '$SYS/+': ['$SYS/b'],
    '+/+/+/+': [],
  };
  for (const [topicFilter, topics] of Object.entries(expected)) {
    for (const limit of [1, 2, 1000]) t.same(replay(index, topicFilter, limit), topics, topicFilter);
  }
});

t.test('[MQTT-4.7.1-1] "a/#" finds "a" although other names are between it and what is under it', async (t) => {
  const between = Array.from({ length: 100 }, (_, number) => `a-${number}`);
  t.same(replay(indexOf('a', ...between, 'a/b', 'a0'), 'a/#'), ['a', 'a/b']);
  t.same(replay(indexOf('x/a', ...between.map((name) => `x/${name}`), 'x/a/b', 'x/a0'), '+/a/#'), ['x/a', 'x/a/b']);
});

t.test('[MQTT-4.7.2-1] "$" topics are not found by a wildcard in the first level', async (t) => {
  const index = indexOf('$SYS', '$SYS/x', '$x/x', 'a/$x', '!/x', '%/x', '#x'.slice(1));
  t.same(replay(index, '#'), ['!/x', '%/x', 'a/$x', 'x']);
  t.same(replay(index, '+/x'), ['!/x', '%/x']);
  t.same(replay(index, '+/#'), ['!/x', '%/x', 'a/$x', 'x']);
  t.same(replay(index, '$SYS/#'), ['$SYS', '$SYS/x']);
});

t.test('a call finds at most its limit, and says when nothing is left', async (t) => {
  const index = indexOf('a', 'b', 'c');
  const cursor = index.match('#');
  const into: RetainedEntry[] = [];
  t.ok(cursor.next(2, into));
  t.equal(into.length, 2);
  t.notOk(cursor.next(2, into));
  t.equal(into.length, 3);
  t.notOk(cursor.next(2, into));
  t.equal(into.length, 3);
  const exact = index.match('b');
  t.notOk(exact.next(1, into));
  t.notOk(exact.next(1, into));
  t.equal(into.length, 4, 'once');
});

t.test('a call that finds nothing still ends soon', async (t) => {
  const index = new RetainedIndex();
  for (let number = 0; number < 10_000; number++) index.set(`${number}/a`, number);
  const cursor = index.match('+/b');
  const into: RetainedEntry[] = [];
  let calls = 1;
  while (cursor.next(100, into)) calls++;
  t.equal(into.length, 0);
  t.ok(calls > 10 && calls < 100, `${calls} calls`);
});

t.test('a filter looks only where matches can be', async (t) => {
  const index = new RetainedIndex();
  for (let site = 0; site < 10; site++) {
    for (let number = 0; number < 10_000; number++) index.set(`site/${site}/door/${number}`, number);
    index.set(`site/${site}/temp`, site);
  }
  const cursor = index.match('site/+/temp');
  const into: RetainedEntry[] = [];
  for (let calls = 0; calls < 4; calls++) cursor.next(10, into);
  t.equal(into.length, 10);
});

t.test('[MQTT-4.7.3-3] names of 65 535 bytes and 30 000 levels are found by deep filters', async (t) => {
  const deep = Array.from({ length: 30_000 }, () => 'a').join('/');
  const slashes = '/'.repeat(65_535);
  const index = indexOf(deep, slashes, 'a'.repeat(65_535), `${deep}/b`, `${deep}/c`);
  const start = performance.now();
  t.same(replay(index, `${deep}/#`), [deep, `${deep}/b`, `${deep}/c`]);
  t.same(replay(index, deep.replaceAll('a', '+')), [deep]);
  t.same(replay(index, `${deep}/+`), [`${deep}/b`, `${deep}/c`]);
  t.same(replay(index, slashes), [slashes]);
  t.ok(performance.now() - start < 1000);
});
