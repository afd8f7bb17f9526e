import t from 'tap';
import {
  countLevels,
  filterMatches,
  hasWildcard,
  isTopicFilter,
  isTopicName,
  parseSharedFilter,
} from '../../../lib/topic/names.js';

t.test('[MQTT-4.7.0-1] a topic name has no wildcard in any place', async (t) => {
  for (const name of ['a', '/', 'a/b', 'a b', '$SYS/x', 'a//b', '$share/g/t']) t.ok(isTopicName(name), name);
  for (const name of ['+', '#', 'a+', '+a', 'a/+', 'a/#', 'a#/b', 'a/b+c/d']) t.notOk(isTopicName(name), name);
});

t.test('[MQTT-4.7.1-1] "#" is the last level and all of it', async (t) => {
  for (const filter of ['#', 'a/#', '/#', '+/#', 'a//#']) t.ok(isTopicFilter(filter), filter);
  for (const filter of ['a/#/b', 'a#', '#a', '##', '#/', '#/#', 'a/#b', 'a/b#', '+#', '#+', '/##']) {
    t.notOk(isTopicFilter(filter), filter);
  }
  t.ok(filterMatches('a/#', 'a'));
  t.ok(filterMatches('a/#', 'a/'));
  t.ok(filterMatches('a/#', 'a/b/c'));
  t.notOk(filterMatches('a/#', 'ab'));
  t.notOk(filterMatches('a/#', 'b'));
  t.ok(filterMatches('#', '/'));
  t.ok(filterMatches('/#', '/'));
  t.ok(filterMatches('/#', '/a'));
  t.notOk(filterMatches('/#', 'a'));
  t.ok(filterMatches('+/#', 'a'), 'the parent may be a "+"');
});

t.test('[MQTT-4.7.1-2] "+" is a whole level', async (t) => {
  for (const filter of ['+', '+/+', 'a/+/b', '+/#', '/+', '+/', '//+//']) t.ok(isTopicFilter(filter), filter);
  for (const filter of ['a+', '+a', '+a/b', 'a/b+', 'a/+b/c', 'a/b+/c', '++', '+/++'])
    t.notOk(isTopicFilter(filter), filter);
  t.notOk(filterMatches('a/+', 'a'));
  t.ok(filterMatches('a/+', 'a/'));
  t.ok(filterMatches('a/+', 'a/b'));
  t.notOk(filterMatches('a/+', 'a/b/c'));
  t.ok(filterMatches('+/+', '/a'));
  t.ok(filterMatches('/+', '/a'));
  t.notOk(filterMatches('+', '/a'));
  t.ok(filterMatches('a/+/c', 'a//c'));
  t.notOk(filterMatches('+/b', 'a'));
  t.notOk(filterMatches('+/b/#', 'a'));
});

t.test('[MQTT-4.7.2-1] a wildcard in the first level does not match a topic that begins with "$"', async (t) => {
  for (const filter of ['#', '+/x', '+/#', '+/+']) t.notOk(filterMatches(filter, '$SYS/x'), filter);
  t.notOk(filterMatches('+', '$SYS'));
  for (const filter of ['$SYS/#', '$SYS/+', '$SYS/x', '$SYS/x/#']) t.ok(filterMatches(filter, '$SYS/x'), filter);
  for (const filter of ['#', 'a/+', '+/+', 'a/#', '+/$b']) t.ok(filterMatches(filter, 'a/$b'), filter);
});

t.test('[MQTT-4.7.3-1] names and filters have at least one character', async (t) => {
  t.notOk(isTopicName(''));
  t.notOk(isTopicFilter(''));
});

t.test('[MQTT-4.7.3-2] names and filters have no U+0000', async (t) => {
  for (const text of ['\0', 'a\0', 'a/\0/b', '\0a']) {
    t.notOk(isTopicName(text));
    t.notOk(isTopicFilter(text));
    t.notOk(isTopicFilter(`$share/g/${text}`));
  }
  t.equal(parseSharedFilter('$share/g\0/t'), 'invalid');
});

t.test('[MQTT-4.7.3-3] names and filters have at most 65 535 bytes of UTF-8', async (t) => {
  for (const isValid of [isTopicName, isTopicFilter]) {
    t.ok(isValid('a'.repeat(65_535)));
    t.notOk(isValid('a'.repeat(65_536)));
    t.ok(isValid('é'.repeat(32_767)));
    t.notOk(isValid('é'.repeat(32_768)));
    t.ok(isValid('€'.repeat(21_845)));
    t.notOk(isValid('€'.repeat(21_846)));
  }
  t.ok(isTopicFilter(`$share/g/${'a'.repeat(65_535 - 9)}`));
  t.notOk(isTopicFilter(`$share/g/${'a'.repeat(65_535 - 8)}`), 'with the share name');
});

t.test('[MQTT-4.7.3-4] names are compared as they are', async (t) => {
  const names = ['é', 'e\u0301', 'A', 'a', 'a/', '/a', 'a//b', 'a/b', 'a b', ' a', '\ufeffa'];
  for (const one of names) for (const other of names) t.equal(filterMatches(one, other), one === other);
});

t.test('[MQTT-4.8.2-1] a share name has at least one character, and "$share" alone is a plain filter', async (t) => {
  for (const filter of ['$share/', '$share//t', '$share///']) t.equal(parseSharedFilter(filter), 'invalid', filter);
  for (const filter of ['$share', '$shared/g/t', '$Share/g/t', 'a/$share/g/t', '/$share/g/t', '#']) {
    t.equal(parseSharedFilter(filter), null, filter);
    t.ok(isTopicFilter(filter), filter);
  }
});

t.test('[MQTT-4.8.2-2] a share name has no wildcard and is followed by "/" and a topic filter', async (t) => {
  const invalid = ['$share/g', '$share/g/', '$share/+/t', '$share/#', '$share/g#/t', '$share/g+/t', '$share/g/a#'];
  invalid.push('$share/g/#/a', '$share/g/a+', '$share/g/$share/h/t');
  for (const filter of invalid) {
    t.equal(parseSharedFilter(filter), 'invalid', filter);
    t.notOk(isTopicFilter(filter), filter);
  }
  const valid = { t: 't', '/t': '/t', '/': '/', '#': '#', '+/a/#': '+/a/#', '$SYS/#': '$SYS/#', $share: '$share' };
  for (const [rest, topicFilter] of Object.entries(valid)) {
    t.same(parseSharedFilter(`$share/g/${rest}`), { group: 'g', topicFilter }, rest);
    t.ok(isTopicFilter(`$share/g/${rest}`), rest);
  }
});

t.test('§4.7.1: a filter has a wildcard if "+" or "#" is in it', async (t) => {
  for (const filter of ['+', '#', 'a/+', 'a/+/b', 'a/#']) t.ok(hasWildcard(filter), filter);
  for (const filter of ['a', '/', '$SYS/x']) t.notOk(hasWildcard(filter), filter);
});

t.test('§4.7.1.1: levels are what "/" separates, empty ones included', async (t) => {
  for (const [name, levels] of Object.entries({ a: 1, '/': 2, 'a/b': 2, '//': 3, '/a/': 3, 'a/b/c/d': 4 })) {
    t.equal(countLevels(name), levels, name);
  }
  t.equal(countLevels('/'.repeat(65_535)), 65_536);
});
