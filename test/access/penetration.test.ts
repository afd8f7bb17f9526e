import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { formatPasswordHash, hashPassword } from '../../lib/access/password-hash.js';
import { encodeSegment } from '../../lib/receipts/names.js';
import { guard } from '../helpers/access.js';
import { startBroker } from '../helpers/broker.js';
import { expectAck } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/command.js';
import { ack, connect, property, publish } from '../helpers/packets.js';
import { parseConnack } from '../helpers/parse.js';
import { Peer } from '../helpers/peer.js';
import { nothingMore, takeReceipt, track } from '../helpers/receipts.js';
import { dialAndSend, join as joinBroker } from '../helpers/scenes.js';

/** What somebody who means harm would try. Each must come to nothing. */

const refused = 0x87;
/** Names that stand for more than one level, or for somebody else's, if they are put into a filter as they are. */
const names = ['alice/private', 'alice/', '/', '+', '#', '+/+', 'alice/#', '$SYS', '$receipts', '%u', '%c', ''];

async function passwords(t: Test, ...users: readonly string[]): Promise<string> {
  const file = join(await temporaryDirectory(t), 'passwords');
  const lines = users.map(async (user) => `${user}:${formatPasswordHash(await hashPassword(Buffer.from('x'), 101))}\n`);
  await writeFile(file, (await Promise.all(lines)).join(''));
  return file;
}

t.test('a user name with /, + or #, or one that is a topic of the broker, widens no pattern', async (t) => {
  const rules = ['pattern readwrite %u/#', 'user alice', 'topic readwrite bait/#', 'user spy', 'topic read #'];
  const broker = await guard(t, rules.join('\n'));
  const spy = await Peer.join(t, broker, 'spy', { userName: 'spy' });
  await spy.subscribe('#');
  const alice = await Peer.join(t, broker, 'a', { userName: 'alice' });
  const topics = ['alice/x', 'alice/private/x', 'bob/x', 'bait/x', '/x', '$SYS/x'];
  for (const [at, userName] of names.entries()) {
    const peer = await Peer.join(t, broker, `c${at}`, { userName });
    for (const filter of ['#', '+/#', ...topics, '$share/g/alice/#', '$SYS/#']) {
      // The name itself, as one plain level, is its own: nothing else is.
      if (userName.startsWith('%') && filter.endsWith('#') && !filter.includes('alice') && !filter.startsWith('$'))
        continue;
      t.equal(await peer.subscribe(filter), refused, `${userName} subscribes to ${filter}`);
    }
    for (const topic of topics) t.equal((await peer.publish(topic)).code, refused, `${userName} publishes ${topic}`);
    await alice.publish('alice/x');
    await spy.take();
    await nothingMore(peer);
  }
  await nothingMore(spy);
});

t.test('a client identifier with /, + or # widens no pattern', async (t) => {
  const broker = await guard(t, 'pattern read to/%c/#\npattern write from/%c');
  for (const clientId of names.filter((name) => name !== '')) {
    const peer = await Peer.join(t, broker, clientId);
    for (const filter of ['to/alice/private/x', 'to/alice/x', 'to/#', 'to/+/x', '#']) {
      const isOwn = ['$SYS', '$receipts', '%u', '%c'].includes(clientId) && !filter.includes('alice');
      t.equal(await peer.subscribe(filter), isOwn ? 1 : refused, `${clientId} subscribes to ${filter}`);
    }
    for (const topic of ['from/alice', 'from/alice/private', 'from', 'from/']) {
      t.equal((await peer.publish(topic)).code, refused, `${clientId} publishes ${topic}`);
    }
  }
});

t.test('$share/… gives no access to what the filter inside does not', async (t) => {
  const broker = await guard(t, 'topic write #\ntopic read open\ntopic read $share/#');
  const peer = await Peer.join(t, broker, 'peer');
  for (const filter of ['$share/g/secret', '$share/open/secret', '$share/g/secret/#', '$share/g//secret']) {
    t.equal(await peer.subscribe(filter), refused, filter);
  }
  t.equal(await peer.subscribe('$share/g/+'), 1, 'granted for what may be read');
  await peer.publish('secret');
  await nothingMore(peer);
  await peer.publish('open');
  t.equal((await peer.take()).topic, 'open');
});

t.test('$share/… does not take a message away from a member that may read it', async (t) => {
  const broker = await guard(t, 'topic read open\nuser reader\ntopic read #\nuser writer\ntopic write #');
  const thief = await Peer.join(t, broker, 'thief');
  const reader = await Peer.join(t, broker, 'reader', { userName: 'reader' });
  for (const peer of [thief, reader]) t.equal(await peer.subscribe('$share/g/#'), 1);
  const writer = await Peer.join(t, broker, 'writer', { userName: 'writer' });
  for (let round = 0; round < 4; round++) {
    await writer.publish('secret');
    t.equal((await reader.take()).topic, 'secret');
  }
  await nothingMore(thief);
});

t.test('a will publishes nothing that its client may not, retained or not', async (t) => {
  const broker = await guard(t, 'topic read #\ntopic write open');
  const watcher = await Peer.join(t, broker, 'watcher');
  await watcher.subscribe('#');
  for (const [at, topic] of ['secret', 'open/x', '$x'].entries()) {
    const will = { topic, payload: Buffer.from('x'), retain: at % 2 === 0, qos: 1 as const };
    const peer = await Peer.join(t, broker, `c${at}`, { will });
    peer.cut();
  }
  for (const topic of ['$SYS/x', '$receipts/x', '$receipts/ack']) {
    const will = { topic, payload: Buffer.from('x') };
    t.equal((await Peer.greet(t, broker, 'w', { will })).connackCode, refused, topic);
  }
  while (broker.broker.metrics.connectionsOpen > 1) await new Promise((resolve) => setImmediate(resolve));
  await (await Peer.join(t, broker, 'late')).subscribe('secret');
  await nothingMore(watcher);
  t.equal(broker.broker.metrics.willsPublished, 0);
});

t.test('a delayed will goes by the rights of the moment, also of a user who was deleted meanwhile', async (t) => {
  const broker = await guard(t, 'topic read #\nuser eve\ntopic write #');
  const watcher = await Peer.join(t, broker, 'watcher');
  await watcher.subscribe('#');
  const will = { topic: 'secret', payload: Buffer.from('x'), properties: { willDelayInterval: 3600 } };
  const eve = await Peer.join(t, broker, 'eve', { userName: 'eve', expiry: 7200, will });
  eve.cut();
  while (broker.broker.metrics.connectionsOpen > 1) await new Promise((resolve) => setImmediate(resolve));
  await broker.change('topic read #');
  // The end of the session is the latest moment for its will.
  await (await Peer.join(t, broker, 'eve', { userName: 'eve', cleanStart: true })).settle();
  await nothingMore(watcher);
  t.match(broker.broker.metrics, { willsPublished: 0, publishesNotAuthorized: 1 });
});

t.test('what is retained is not read by subscribing wider, again, or to a share', async (t) => {
  const broker = await guard(t, 'topic read a/open\nuser w\ntopic write #');
  const writer = await Peer.join(t, broker, 'w', { userName: 'w' });
  for (const topic of ['a/secret', 'a/open', 'b']) await writer.publish(topic, { payload: 'x', retain: true });
  const peer = await Peer.join(t, broker, 'peer', { expiry: 600 });
  for (const filter of ['#', 'a/+', 'a/#', '#']) {
    t.equal(await peer.subscribe(filter), 1);
    t.equal((await peer.take()).topic, 'a/open');
  }
  for (const filter of ['a/secret', 'b', '$share/g/a/secret']) t.equal(await peer.subscribe(filter), refused);
  await nothingMore(peer);
});

t.test('a topic alias set before a right was lost publishes nothing after', async (t) => {
  const broker = await guard(t, 'topic #');
  const watcher = await Peer.join(t, broker, 'watcher');
  await watcher.subscribe('#');
  const client = await joinBroker(t, broker, { clientId: 'c' });
  const alias = [property.topicAlias(1)];
  client.send(publish({ topic: 'secret', qos: 1, packetId: 1, payload: 'before', properties: alias }));
  await expectAck(client, 'puback', 1, 0);
  t.equal((await watcher.take()).text, 'before');
  await broker.change('topic read #\ntopic write open');
  client.send(publish({ topic: '', qos: 1, packetId: 2, payload: 'after', properties: alias }));
  await expectAck(client, 'puback', 2, refused);
  client.send(publish({ topic: '', qos: 0, payload: 'after', properties: alias }));
  client.send(publish({ topic: '', qos: 2, packetId: 3, payload: 'after', properties: alias }));
  await expectAck(client, 'pubrec', 3, refused);
  await nothingMore(watcher);
});

t.test('a repeat of a QoS 2 publish taken before a right was lost is not published again', async (t) => {
  const broker = await guard(t, 'topic #');
  const watcher = await Peer.join(t, broker, 'watcher');
  await watcher.subscribe('#');
  const client = await joinBroker(t, broker, { clientId: 'c' });
  client.send(publish({ topic: 'secret', qos: 2, packetId: 1 }));
  await expectAck(client, 'pubrec', 1, 0);
  await watcher.take();
  await broker.change('topic read #');
  client.send(publish({ topic: 'secret', qos: 2, packetId: 1, dup: true }));
  await expectAck(client, 'pubrec', 1, 0);
  client.send(ack('pubrel', 1));
  await expectAck(client, 'pubcomp', 1, 0);
  await nothingMore(watcher);
});

t.test("nobody takes over another user's session, connected or not, with or without a user name", async (t) => {
  const passwordFile = await passwords(t, 'alice', 'mallory');
  const broker = await startBroker(t, { passwordFile, allowAnonymous: true });
  const alice = await Peer.join(t, broker, 'console', { userName: 'alice', expiry: 600 });
  await alice.subscribe('secret');
  const attempts = [
    { userName: 'mallory' },
    { userName: 'mallory', cleanStart: false, expiry: 600 },
    {},
    { cleanStart: false, expiry: 600 },
    { version: 4 as const },
  ];
  const tryAll = async (): Promise<void> => {
    for (const options of attempts) {
      const code = (await Peer.greet(t, broker, 'console', options)).connackCode;
      t.equal(code, 'version' in options ? 5 : refused, JSON.stringify(options));
    }
  };
  await tryAll();
  await alice.settle();
  await alice.leave(600);
  await tryAll();
  await (await Peer.join(t, broker, 'other')).publish('secret');
  const again = await Peer.join(t, broker, 'console', { userName: 'alice', cleanStart: false, expiry: 600 });
  t.ok(again.sessionPresent);
  t.equal((await again.take()).topic, 'secret');
});

t.test('an identifier that was left behind gives nothing of its former user', async (t) => {
  const broker = await startBroker(t);
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('x');
  const alice = await Peer.join(t, broker, 'console', { userName: 'alice' });
  const { id } = await track(alice, 'x');
  await alice.leave();
  const mallory = await Peer.join(t, broker, 'console', { userName: 'mallory' });
  for (const filter of ['$receipts/~/#', `$receipts/~/${id}`, `$receipts/~/${id}/sub`, '$receipts/~/+/sub']) {
    t.equal(await mallory.subscribe(filter), 1);
  }
  await nothingMore(mallory);
});

t.test('receipts of others are not read by wildcards, encodings or other spellings', async (t) => {
  const broker = await guard(t, 'topic #\ntopic $receipts/#\npattern read $receipts/%c/#\npattern read %c/#');
  const filters = [
    '$receipts/#',
    '$receipts/+/#',
    '$receipts/+/+',
    '$receipts/+/+/+',
    '$receipts/pub/#',
    '$receipts/pub/+',
    '$receipts/%70ub/+',
    '$receipts/%7E/+',
    '$receipts/~%2Fpub/+',
    '$receipts//+',
    '$receipts/$server/#',
    '$receipts/%24server/#',
    '$receipts',
    '$receipts/',
    '$receipts/~',
    '$share/g/$receipts/#',
    '$share/g/$receipts/~/#',
    '$share/g/$receipts/pub/+',
    '$receipts/ack',
    '$receipts/ack/#',
    '$receipts/ack/pub',
  ];
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('x');
  const pub = await Peer.join(t, broker, 'pub');
  for (const clientId of ['eve', '~', 'pub/', '$receipts', '$server', '+', '%7E']) {
    const eve = await Peer.join(t, broker, clientId);
    for (const filter of filters) t.equal(await eve.subscribe(filter), refused, `${clientId}: ${filter}`);
    // What is granted is granted for what is one's own, or can match no receipt.
    for (const filter of ['$receipts/~/#', '#', '+/+/+', '$Receipts/#', '$receipts\u200b/#', '$receipt/#']) {
      t.equal(await eve.subscribe(filter), /^\$[Rr]eceipts?[^s/]*\/#$/.test(filter) ? refused : 1, filter);
    }
    await track(pub, 'x');
    await sub.settle();
    await pub.settle();
    await eve.settle();
    t.same([...new Set(eve.inbox.map(({ topic }) => topic))], ['x']);
  }
});

t.test('nobody publishes a receipt, or a message with the id of one', async (t) => {
  const broker = await guard(t, 'topic #\ntopic $receipts/#');
  const pub = await Peer.join(t, broker, 'pub');
  await pub.subscribe('$receipts/~/#');
  const eve = await Peer.join(t, broker, 'eve');
  for (const topic of ['$receipts/~/x', '$receipts/pub/0T3Z1F1JC0000', '$receipts', '$receipts/acknowledge']) {
    for (const qos of [1, 2] as const) t.equal((await eve.publish(topic, { qos })).code, refused, topic);
    await eve.publish(topic, { qos: 0 });
  }
  t.equal((await eve.publish('x', { ask: { 'receipt-id': '0T3Z1F1JC0000' } })).code, 0x83);
  await nothingMore(pub, eve);
});

t.test('$receipts/ack for what somebody else received changes nothing, and tells nothing', async (t) => {
  const broker = await guard(t, 'pattern readwrite #');
  const [sub, other] = [await Peer.join(t, broker, 'sub', { userName: 'u' }), await Peer.join(t, broker, 'other')];
  await sub.subscribe('x');
  const pub = await Peer.join(t, broker, 'pub');
  await pub.subscribe('$receipts/~/+/+');
  const correlationData = Buffer.from('c');
  const options = { ask: { receipt: 'processed' }, properties: { correlationData } };
  const { id } = await track(pub, 'x', options);
  t.equal((await takeReceipt(pub)).state, 'delivered');
  const thief = await Peer.join(t, broker, encodeSegment('sub/'), { userName: 'u' });
  for (const peer of [other, thief, pub]) {
    const codes = [
      (await peer.publish('$receipts/ack', { ask: { 'receipt-id': id } })).code,
      (await peer.publish('$receipts/ack/pub', { properties: { correlationData } })).code,
      (await peer.publish('$receipts/ack', { ask: { 'receipt-id': '0000000000000' } })).code,
      (await peer.publish('$receipts/ack/nobody', { properties: { correlationData } })).code,
      (await peer.publish('$receipts/ack/../pub', { properties: { correlationData } })).code,
    ];
    t.same(codes, [0x10, 0x10, 0x10, 0x10, 0x10], 'all look the same');
  }
  await nothingMore(pub);
  // The same client under another user is somebody else.
  await sub.leave();
  const impostor = await Peer.join(t, broker, 'sub', { userName: 'v' });
  t.equal((await impostor.publish('$receipts/ack', { ask: { 'receipt-id': id } })).code, 0x10);
  await impostor.leave();
  const again = await Peer.join(t, broker, 'sub', { userName: 'u' });
  t.equal((await again.publish('$receipts/ack', { ask: { 'receipt-id': id } })).code, 0, 'the recipient itself may');
  t.equal((await takeReceipt(pub)).state, 'processed');
});

t.test('acknowledging is permitted whatever the topic rules, and opens no other way', async (t) => {
  const broker = await guard(t, 'topic read x\nuser pub\ntopic write x');
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('x');
  const pub = await Peer.join(t, broker, 'pub', { userName: 'pub' });
  const { id } = await track(pub, 'x', { ask: { receipt: 'processed' } });
  await sub.take();
  t.equal((await sub.publish('$receipts/ack', { ask: { 'receipt-id': id }, retain: true, payload: 'y' })).code, 0);
  t.equal((await sub.publish('x')).code, refused);
  t.equal((await sub.publish('$receipts/ackx', { ask: { 'receipt-id': id } })).code, refused);
});

t.test('a response topic can not have others acknowledge in the name of another publisher', async (t) => {
  const broker = await guard(t, 'topic #');
  const eve = await Peer.join(t, broker, 'eve');
  for (const responseTopic of ['$receipts/ack/pub', '$receipts/ack/%65ve', '$receipts/ack/', '$receipts/ack/eve/']) {
    const properties = { responseTopic, correlationData: Buffer.from('c') };
    t.equal((await eve.publish('x', { properties })).code, refused, responseTopic);
    const will = { topic: 'x', payload: Buffer.from(''), properties: { responseTopic } };
    t.equal((await Peer.greet(t, broker, 'eve2', { will })).connackCode, refused, responseTopic);
  }
});

t.test('a flood of CONNECTs with wrong passwords is refused in bounded memory; others still come in', async (t) => {
  const passwordFile = await passwords(t, 'alice');
  const { broker, port } = await startBroker(t, { passwordFile });
  const before = await joinBroker(t, { port }, { userName: 'alice', password: 'x' });
  const codes = await Promise.all(
    Array.from({ length: 300 }, async (_, at) => {
      const fields = { clientId: `c${at}`, userName: at % 2 === 0 ? 'alice' : `u${at}`, password: `guess ${at}` };
      const client = await dialAndSend(t, { port }, connect(fields));
      const { code } = parseConnack(await client.packet());
      await client.expectClose();
      return code;
    }),
  );
  const count = (wanted: number): number => codes.filter((code) => code === wanted).length;
  t.equal(count(0x86) + count(0x89), 300, 'each is refused');
  t.ok(count(0x89) > 0 && broker.metrics.authenticationsNotChecked === count(0x89), `${count(0x89)} of them unseen`);
  t.equal(broker.metrics.authenticationsFailed, 300);
  await before.expectNothing();
  await joinBroker(t, { port }, { userName: 'alice', password: 'x' });
});
