import t from 'tap';
import { TopicCache } from '../../../lib/codec/topic-cache.js';
import { badStrings, bytes } from './bytes.js';
import { withReason } from './with-reason.js';

function lookup(cache: TopicCache, name: string): string {
  const raw = bytes('ffff', Buffer.from(name), 'ff');
  return cache.lookup(raw, 2, raw.length - 1);
}

t.test('names come back as they are, however many share few places', async (t) => {
  const cache = new TopicCache(8);
  const names = Array.from({ length: 500 }, (_, index) => `plant/${index % 7}/sensor-${index}/ä😀`);
  for (let round = 0; round < 3; round++) {
    for (const name of names) {
      if (lookup(cache, name) !== name || lookup(cache, name) !== name) t.fail(name);
    }
  }
});

t.test('names with the same hash are different names', async (t) => {
  const cache = new TopicCache(4);
  // FNV-1a gives each pair one hash
  for (const pair of [
    ['declinate', 'macallums'],
    ['costarring', 'liquid'],
    ['altarage', 'zinke'],
  ]) {
    for (const name of [...pair, ...pair]) t.equal(lookup(cache, name), name);
  }
});

t.test('[MQTT-4.7.3-4] near names are different names', async (t) => {
  const cache = new TopicCache(2);
  for (const name of ['a', 'A', 'a/', '/a', 'a//', 'a ', '\ufeffa', 'é', 'e\u0301', '']) {
    t.equal(lookup(cache, name), name);
    t.equal(lookup(cache, name), name);
  }
});

t.test('what is kept does not change with the buffer it came from', async (t) => {
  const cache = new TopicCache(4);
  const raw = Buffer.from('one');
  t.equal(cache.lookup(raw, 0, 3), 'one');
  t.equal(cache.lookup(raw, 0, 3), 'one');
  raw.write('two');
  t.equal(cache.lookup(raw, 0, 3), 'two');
  t.equal(cache.lookup(Buffer.from('one'), 0, 3), 'one');
});

t.test('a name that comes again is decoded twice at most; those that come once drive nothing out', async (t) => {
  const decoded: string[] = [];
  const cache = new TopicCache(2, (name) => {
    decoded.push(name);
    return name;
  });
  for (let time = 0; time < 5; time++) t.equal(lookup(cache, 'kept'), 'kept');
  t.same(decoded, ['kept', 'kept']);
  for (let at = 0; at < 100; at++) lookup(cache, `once/${at}`);
  decoded.length = 0;
  t.equal(lookup(cache, 'kept'), 'kept');
  t.same(decoded, []);
});

t.test('a name kept is one string, and a long name is right without being kept', async (t) => {
  const cache = new TopicCache(1);
  const long = 'x/'.repeat(32_000);
  t.equal(lookup(cache, long), long);
  t.equal(lookup(cache, long), long);
});

t.test('[MQTT-3.3.2-2] [MQTT-4.7.0-1] wildcards are refused, every time', async (t) => {
  const cache = new TopicCache(4);
  for (const name of ['+', '#', 'a/+', 'a/#', 'a+b', '#a', `${'x'.repeat(1000)}#`]) {
    t.throws(() => lookup(cache, name), withReason(0x81));
    t.throws(() => lookup(cache, name), withReason(0x81));
  }
});

t.test('[MQTT-3.3.2-1] [MQTT-4.7.3-2] ill-formed names are refused, every time', async (t) => {
  const cache = new TopicCache(4);
  for (const bad of Object.values(badStrings)) {
    t.throws(() => cache.lookup(bad, 0, bad.length), withReason(0x81));
    t.throws(() => cache.lookup(bad, 0, bad.length), withReason(0x81));
  }
});
