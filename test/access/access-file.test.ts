import t from 'tap';
import { parseAccessFile } from '../../lib/access/access-file.js';
import type { TopicAction } from '../../lib/broker/hooks.js';
import { Broker } from '../../lib/index.js';
import { guard } from '../helpers/access.js';
import { startBroker } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { Peer } from '../helpers/peer.js';
import { nothingMore, takeReceipt, track, untilFinal } from '../helpers/receipts.js';

const refused = 0x87;

t.test('a file is read as Mosquitto reads it', async (t) => {
  const rules = parseAccessFile(
    'f',
    [
      'topic read news/#',
      '# a comment',
      '  # and one that is indented',
      '',
      'user alice',
      'topic a',
      'topic read b/ with spaces',
      'topic \t write   c ',
      'topic deny d/secret\r',
      'topic d/#',
      'user  Bob Brown  ',
      'topic read',
      'pattern write from/%c',
      'pattern read to/%u/#',
      'receipts all',
    ].join('\n'),
  );
  const asks = (userName: string | null, action: TopicAction, topic: string): boolean =>
    rules.allows({ clientId: 'x', userName }, action, topic);
  const cases: [string | null, TopicAction, string, boolean][] = [
    [null, 'receive', 'news/today', true],
    [null, 'publish', 'news/today', false],
    [null, 'receive', 'a', false],
    [null, 'publish', 'from/x', true],
    [null, 'publish', 'from/y', false],
    ['alice', 'receive', 'news/today', false],
    ['alice', 'receive', 'a', true],
    ['alice', 'publish', 'a', true],
    ['alice', 'receive', 'b/ with spaces', true],
    ['alice', 'publish', 'b/ with spaces', false],
    ['alice', 'publish', 'c', true],
    ['alice', 'receive', 'c', false],
    ['alice', 'receive', 'd/open', true],
    ['alice', 'receive', 'd/secret', false],
    ['alice', 'receive', 'to/alice/a', true],
    ['alice', 'receive', 'to/bob', false],
    ['Bob Brown', 'publish', 'read', true],
    ['Bob Brown', 'receive', 'to/Bob Brown', true],
    ['carol', 'receive', 'to/carol', true],
    ['carol', 'receive', 'a', false],
  ];
  for (const [user, action, topic, expected] of cases) t.equal(asks(user, action, topic), expected, `${user} ${topic}`);
  t.equal(rules.receipts({ clientId: 'x', userName: 'Bob Brown' }), 'all');
  t.equal(rules.receipts({ clientId: 'x', userName: 'alice' }), null);
});

t.test('a wrong line is named, with what is allowed', async (t) => {
  const wrong: Record<string, RegExp> = {
    topic: /^f: line 1: "topic" alone says nothing/,
    'user ': /^f: line 1: "user" alone says nothing/,
    '\ntopic a b': /^f: line 2: "a" is no access: allowed are read, write, readwrite and deny/,
    'topic read a/#/b': /^f: line 1: "a\/#\/b" is no topic filter/,
    'pattern write a+': /^f: line 1: "a\+" is no topic filter/,
    'Topic read a': /^f: line 1: "Topic" is not known: a line begins with topic, user, pattern or receipts/,
    'receipts some': /^f: line 1: receipts some: allowed are none, tally, own and all/,
    'topic constructor a': /is no access/,
    'user alice\rtopic read a\r': /^f: line 1: a control character is in it: lines end with a line feed/,
    'topic read a\0b': /^f: line 1: a control character/,
  };
  for (const [text, message] of Object.entries(wrong)) {
    t.throws(() => parseAccessFile('f', text), { code: 'ERR_COUNTERSIGN_CONFIG', message }, text);
  }
});

t.test('a subscription is granted if something may come through, else refused', async (t) => {
  const file = `topic read a/+/x\ntopic deny a/secret/#\ntopic write w\ntopic read $SYS/#\npattern read dev/%c/#`;
  const peer = await Peer.join(t, await guard(t, file), 'me');
  const granted = ['a/1/x', 'a/+/x', '#', '+/+/+', 'a/#', '$share/g/a/1/x', 'dev/me', 'dev/+/on', 'dev/#', '$SYS/#'];
  const denied = ['a', 'a/1/y', 'a/secret/x', 'a/secret/#', 'w', 'b/#', '+', '$share/g/w', 'dev/you/#', '$x/#', '/a'];
  for (const filter of granted) t.equal(await peer.subscribe(filter), 1, filter);
  for (const filter of denied) t.equal(await peer.subscribe(filter), refused, filter);
  t.equal(await (await Peer.join(t, await guard(t, ''), 'me')).subscribe('#'), refused, 'an empty file denies all');
});

t.test('an MQTT 3.1.1 client gets 0x80 for a filter, and PUBACK for what goes nowhere', async (t) => {
  const broker = await guard(t, 'topic write open\ntopic read #');
  const old = await Peer.join(t, broker, 'old', { version: 4 });
  const all = await Peer.join(t, broker, 'all');
  await all.subscribe('#');
  t.equal(await old.subscribe('$x'), 0x80);
  for (const qos of [0, 1, 2] as const) {
    t.equal((await old.publish('shut', { qos })).code, 0);
    await old.publish('open', { qos });
    t.equal((await all.take()).topic, 'open');
  }
  await nothingMore(all);
  t.equal(broker.broker.metrics.publishesNotAuthorized, 3);
});

t.test('a publish without the right is refused with 0x87, at QoS 0 dropped and counted', async (t) => {
  const { broker, port } = await guard(t, 'topic read #\ntopic write open/#');
  const [pub, all] = [await Peer.join(t, { port }, 'pub'), await Peer.join(t, { port }, 'all')];
  await all.subscribe('#');
  for (const qos of [1, 2] as const) {
    const { code, reason } = await pub.publish('shut', { qos, payload: 'x', retain: true });
    t.same([code, reason], [refused, 'this client may not publish to this topic']);
    t.equal((await pub.publish('open/x', { qos })).code, 0, 'and its packet identifier is free again');
    t.equal((await all.take()).topic, 'open/x');
  }
  await pub.publish('shut', { qos: 0, payload: 'x', retain: true });
  t.match(broker.metrics, { publishesNotAuthorized: 3, publishesRefused: 3 });
  await (await Peer.join(t, { port }, 'late')).subscribe('shut');
  await nothingMore(all);
});

t.test('who may not read a topic is no recipient: neither live, nor shared, nor in the cohort', async (t) => {
  const file = ['user reader', 'topic #', 'user writer', 'topic write #', 'topic read other'].join('\n');
  const broker = await guard(t, file);
  const pub = await Peer.join(t, broker, 'pub', { userName: 'writer' });
  const reader = await Peer.join(t, broker, 'reader', { userName: 'reader' });
  const blind = await Peer.join(t, broker, 'blind', { userName: 'writer' });
  for (const peer of [reader, blind]) t.equal(await peer.subscribe('#'), 1);
  for (const peer of [reader, blind]) t.equal(await peer.subscribe('$share/g/+'), 1);
  t.equal(await blind.subscribe('$share/h/+'), 1);
  const { matched } = await track(pub, 'x');
  t.equal(matched, 2, 'the reader and group g, but not h, which has no member that may read it');
  for (let round = 0; round < 3; round++) await pub.publish('x');
  await nothingMore(blind, pub);
  await reader.settle();
  t.equal(reader.inbox.length, 8, 'twice each of four messages');
});

t.test('what is retained goes to those who may read it', async (t) => {
  const broker = await guard(t, 'user w\ntopic write #\nuser r\ntopic read a/#\ntopic deny a/secret');
  const pub = await Peer.join(t, broker, 'pub', { userName: 'w' });
  for (const topic of ['a/secret', 'a/open', 'b']) await pub.publish(topic, { payload: 'x', retain: true });
  const reader = await Peer.join(t, broker, 'r', { userName: 'r' });
  t.equal(await reader.subscribe('#'), 1);
  t.equal((await reader.take()).topic, 'a/open');
  await nothingMore(reader);
});

t.test('a will goes out if its client may publish there then', async (t) => {
  const broker = await guard(t, 'topic read #\ntopic write shut\ntopic write open');
  const watcher = await Peer.join(t, broker, 'watcher');
  await watcher.subscribe('#');
  const left = ['open', 'shut', 'never'].map(async (topic) => {
    const will = { topic, payload: Buffer.from('gone') };
    return Peer.join(t, broker, topic, { will });
  });
  const peers = await Promise.all(left);
  await broker.change('topic read #\ntopic write open');
  for (const peer of peers) peer.cut();
  t.equal((await watcher.take()).topic, 'open');
  while (broker.broker.metrics.connectionsOpen > 1) await new Promise((resolve) => setImmediate(resolve));
  await nothingMore(watcher);
  t.match(broker.broker.metrics, { willsPublished: 1, publishesNotAuthorized: 2 });
});

t.test('after a reload, rights hold from the next message on, both ways', async (t) => {
  const broker = await guard(t, 'topic #');
  const peer = await Peer.join(t, broker, 'peer');
  await peer.subscribe('a/#');
  await peer.publish('a/1');
  t.equal((await peer.take()).topic, 'a/1');
  await broker.change('topic read b\ntopic write a/#');
  await peer.publish('a/1');
  await nothingMore(peer);
  t.equal((await peer.publish('b')).code, refused);
  await broker.change('topic read a/#\ntopic write #');
  await peer.publish('a/1');
  t.equal((await peer.take()).topic, 'a/1', 'the subscription is there still');
});

t.test('what waits for a client that lost the right to it is dropped, which a receipt tells', async (t) => {
  const broker = await guard(t, 'topic #');
  const sub = await Peer.join(t, broker, 'sub', { expiry: 600, receiveMaximum: 1, acknowledges: false });
  await sub.subscribe('a/#', { qos: 2 });
  const pub = await Peer.join(t, broker, 'pub');
  await pub.subscribe('$receipts/~/+/+');
  await track(pub, 'a/sent');
  await track(pub, 'a/waiting');
  await track(pub, 'a/open');
  t.equal((await sub.take()).topic, 'a/sent');
  await broker.change('topic write #\ntopic read a/open');
  await sub.leave(600);
  const again = await Peer.join(t, broker, 'sub', { expiry: 600, cleanStart: false });
  t.equal((await again.take()).topic, 'a/open');
  const receipts = [await takeReceipt(pub), await takeReceipt(pub), await takeReceipt(pub)];
  const told = receipts.map(({ topic, state, cause, reason, sentAt }) => [
    topic,
    state,
    cause,
    reason,
    sentAt !== undefined,
  ]);
  t.same(told.sort(), [
    ['a/open', 'delivered', undefined, 0, true],
    ['a/sent', 'dropped', 'not-authorized', refused, true],
    ['a/waiting', 'dropped', 'not-authorized', refused, false],
  ]);
  t.equal(broker.broker.metrics.droppedNotAuthorized, 2);
  await nothingMore(again);
});

t.test('rights are asked anew after a restart: what is in the store grants nothing', async (t) => {
  const data = await temporaryDirectory(t);
  const first = await guard(t, 'topic #', { data });
  const sub = await Peer.join(t, first, 'sub', { expiry: 600 });
  await sub.subscribe('a');
  await sub.leave(600);
  const pub = await Peer.join(t, first, 'pub');
  await pub.publish('a');
  await first.broker.close();
  const second = await guard(t, 'topic write #', { data });
  const again = await Peer.join(t, second, 'sub', { expiry: 600, cleanStart: false });
  await (await Peer.join(t, second, 'pub')).publish('a');
  await nothingMore(again);
});

t.test(
  'receipts none, tally, own and all are granted by the file; receipts.access is for everybody else',
  async (t) => {
    const file = ['topic #', 'user nobody', 'topic #', 'receipts none', 'user audit', 'receipts all'].join('\n');
    const broker = await guard(t, file, { receipts: { access: 'tally' } });
    const filters = ['$receipts/~/+', '$receipts/~/+/+', '$receipts/+/+'];
    const codesOf = async (clientId: string, userName?: string): Promise<number[]> => {
      const peer = await Peer.join(t, broker, clientId, userName === undefined ? {} : { userName });
      const codes: number[] = [];
      for (const filter of filters) codes.push(await peer.subscribe(filter));
      return codes;
    };
    t.same(await codesOf('a'), [1, refused, refused]);
    t.same(await codesOf('b', 'nobody'), [refused, refused, refused]);
    t.same(await codesOf('c', 'audit'), [1, 1, 1], 'whatever topics it may read');
    const nobody = await Peer.join(t, broker, 'd', { userName: 'nobody' });
    t.equal((await nobody.publish('x', { ask: { receipt: 'delivered' } })).code, refused);
  },
);

t.test('receipts end at once with the right to them, waiting ones too', async (t) => {
  const broker = await guard(t, 'topic #\nreceipts all');
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('x');
  const pub = await Peer.join(t, broker, 'pub');
  const audit = await Peer.join(t, broker, 'audit', { expiry: 600 });
  await audit.subscribe('$receipts/pub/+/+');
  await audit.subscribe('$receipts/~/+/+');
  await track(pub, 'x');
  t.equal((await takeReceipt(audit)).state, 'delivered');
  await audit.leave(600);
  await track(pub, 'x');
  await sub.settle();
  await broker.change('topic #\nreceipts own');
  const again = await Peer.join(t, broker, 'audit', { expiry: 600, cleanStart: false });
  await track(pub, 'x');
  await sub.settle();
  await nothingMore(again);
  await track(again, 'x');
  t.equal((await takeReceipt(again)).state, 'delivered', 'its own it still gets');
  await broker.change('topic #\nreceipts none');
  await nothingMore(again);
});

t.test('a tally that waits loses its list of failures with the right to it', async (t) => {
  const broker = await guard(t, 'topic #');
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
  await sub.subscribe('x');
  const pub = await Peer.join(t, broker, 'pub', { expiry: 600 });
  await pub.subscribe('$receipts/~/+');
  await track(pub, 'x');
  await pub.leave(600);
  sub.acknowledge(await sub.take(), 0x80);
  await sub.settle();
  await broker.change('topic #\nreceipts tally');
  const again = await Peer.join(t, broker, 'pub', { expiry: 600, cleanStart: false });
  const receipts = await untilFinal(again);
  t.match(receipts.at(-1), { final: true, failed: 1, failures: undefined });
});

t.test(
  'an embedding program decides by a hook, asked once for a topic until it says that rights changed',
  async (t) => {
    const asked: string[] = [];
    let isOpen = true;
    const hooks = {
      authorize({ clientId }: { clientId: string }, action: TopicAction, topic: string): boolean {
        asked.push(`${clientId} ${action} ${topic}`);
        if (topic === 'throws') throw new Error('broken');
        return isOpen;
      },
    };
    const broker = new Broker({ port: 0, memory: true, hooks });
    t.teardown(() => broker.close());
    const peer = await Peer.join(t, await broker.listen(), 'peer');
    await peer.subscribe('$share/g/a');
    for (let round = 0; round < 3; round++) t.equal((await peer.publish('a')).code, 0);
    t.same(asked, ['peer subscribe a', 'peer publish a', 'peer receive a']);
    t.equal((await peer.publish('throws')).code, refused);
    isOpen = false;
    t.equal((await peer.publish('a')).code, 0, 'remembered');
    broker.rightsChanged();
    t.equal((await peer.publish('a')).code, refused);
    const both = new Broker({ port: 0, memory: true, hooks, accessFile: 'x' });
    await t.rejects(both.listen(), { code: 'ERR_COUNTERSIGN_CONFIG', message: /both decide about topics/ });
  },
);

t.test('decisions are remembered in bounded memory', async (t) => {
  const { broker, port } = await guard(t, 'topic a/#');
  const peer = await Peer.join(t, { port }, 'peer');
  for (let topic = 0; topic < 200; topic++) t.equal((await peer.publish(`a/${topic}`)).code < 0x80, true);
  t.equal((await peer.publish(`a/${'x'.repeat(300)}`)).code < 0x80, true);
  const remembered = [...sessionsOf(broker)].map(({ rights }) => rights?.size ?? 0);
  t.ok(
    remembered.every((size) => size <= 64),
    `${remembered}`,
  );
  t.ok([...sessionsOf(broker)].every(({ rights }) => [...(rights?.keys() ?? [])].every((key) => key.length <= 256)));
});

/** The sessions that a broker knows. */
function sessionsOf(broker: Broker): Iterable<{ rights: Map<string, number> | null }> {
  return (broker as unknown as { core: { context: { sessions: Map<string, never> } } }).core.context.sessions.values();
}

t.test('a reload with a wrong file changes nothing; without a file everybody may everything', async (t) => {
  const broker = await guard(t, 'topic a');
  const peer = await Peer.join(t, broker, 'peer');
  await t.rejects(broker.change('topic b\ntopik c'), { message: /access: line 2: "topik" is not known/ });
  t.notOk((await peer.publish('a')).code >= 0x80);
  t.equal((await peer.publish('b')).code, refused);
  const open = await Peer.join(t, await startBroker(t), 'peer');
  t.equal(await open.subscribe('#'), 1);
});
