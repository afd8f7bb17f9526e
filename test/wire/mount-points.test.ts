import t, { type Test } from 'tap';
import { Broker, type BrokerOptions } from '../../lib/index.js';
import { guard } from '../helpers/access.js';
import { startBroker } from '../helpers/broker.js';
import { expectAck } from '../helpers/client.js';
import { property, publish } from '../helpers/packets.js';
import { Peer } from '../helpers/peer.js';
import { nothingMore, takeReceipt, track } from '../helpers/receipts.js';
import { join } from '../helpers/scenes.js';

/** Listeners with and without a mount point, by name. */
const listeners: NonNullable<BrokerOptions['listeners']> = [
  { type: 'tcp', port: 0 },
  { type: 'tcp', port: 0, mountPoint: 'a/' },
  { type: 'tcp', port: 0, mountPoint: 'b/c/' },
];

interface Places {
  readonly broker: Broker;
  readonly root: { readonly port: number };
  readonly a: { readonly port: number };
  readonly bc: { readonly port: number };
}

function placesOf(broker: Broker): Places {
  const [root = 0, a = 0, bc = 0] = broker.addresses.map(({ port }) => port);
  return { broker, root: { port: root }, a: { port: a }, bc: { port: bc } };
}

async function start(t: Test): Promise<Places> {
  return placesOf((await startBroker(t, { listeners })).broker);
}

for (const version of [4, 5] as const) {
  t.test(`a client behind a mount point lives in its part of the tree only (version ${version})`, async (t) => {
    const { root, a, bc } = await start(t);
    const inside = await Peer.join(t, a, 'inside', { version });
    const neighbour = await Peer.join(t, bc, 'neighbour', { version });
    const outside = await Peer.join(t, root, 'outside', { version });
    for (const peer of [inside, neighbour, outside]) t.equal(await peer.subscribe('#', { qos: 1 }), 1);
    for (const qos of [0, 1, 2] as const) {
      await inside.publish('x', { qos, payload: 'from a' });
      t.equal((await inside.take()).topic, 'x');
      t.equal((await outside.take()).topic, 'a/x');
      await outside.publish('a/y', { qos, payload: 'from outside' });
      t.match(await inside.take(), { topic: 'y', text: 'from outside' });
      t.equal((await outside.take()).topic, 'a/y');
      await neighbour.publish('a/x', { qos });
      t.equal((await neighbour.take()).topic, 'a/x');
      t.equal((await outside.take()).topic, 'b/c/a/x');
    }
    await nothingMore(inside, outside, neighbour);
  });
}

t.test('topics whose name would be empty, or that only begin alike, are not seen', async (t) => {
  const { root, a, bc } = await start(t);
  const inside = await Peer.join(t, a, 'inside');
  for (const filter of ['#', '+', '/#', '+/#']) await inside.subscribe(filter);
  const deep = await Peer.join(t, bc, 'deep');
  await deep.subscribe('#');
  const outside = await Peer.join(t, root, 'outside');
  for (const topic of ['a', 'a/', 'aa/x', 'b', 'b/c', 'b/c/', 'b/x', 'A/x', '/a/x']) await outside.publish(topic);
  await nothingMore(inside, deep);
  await outside.publish('a//');
  t.equal((await inside.take()).topic, '/');
});

t.test('filters keep their meaning: wildcards, shares, unsubscribing', async (t) => {
  const { root, a } = await start(t);
  const outside = await Peer.join(t, root, 'outside');
  const inside = await Peer.join(t, a, 'inside');
  t.equal(await inside.subscribe('+/x', { id: 7 }), 1);
  t.equal(await inside.subscribe('$share/g/s/+'), 1);
  await outside.publish('a/1/x');
  t.match(await inside.take(), { topic: '1/x', packet: { properties: { subscriptionIdentifier: 7 } } });
  await outside.publish('a/s/1');
  t.equal((await inside.take()).topic, 's/1');
  const outsideShare = await Peer.join(t, root, 'share');
  await outsideShare.subscribe('$share/g/s/+');
  await outside.publish('s/1');
  t.equal((await outsideShare.take()).topic, 's/1', 'a share of the same name at the root is another one');
  for (const filter of ['+/x', '$share/g/s/+']) await inside.unsubscribe(filter);
  for (const topic of ['a/1/x', 'a/s/1']) await outside.publish(topic);
  await nothingMore(inside);
});

t.test('[MQTT-4.7.2-1] a wildcard at the first level inside does not match "$" there', async (t) => {
  const { root, a } = await start(t);
  const inside = await Peer.join(t, a, 'inside');
  for (const filter of ['#', '+/x', '$share/g/#', '$share/h/+/x']) await inside.subscribe(filter);
  const plain = await Peer.join(t, a, 'plain');
  await plain.subscribe('$own/#');
  const outside = await Peer.join(t, root, 'outside');
  await outside.subscribe('a/#');
  await outside.publish('a/$own/x', { retain: true });
  t.equal((await plain.take()).topic, '$own/x');
  t.equal((await outside.take()).topic, 'a/$own/x');
  const later = await Peer.join(t, a, 'later');
  for (const filter of ['#', '+/x']) await later.subscribe(filter);
  await nothingMore(inside, plain, outside, later);
});

t.test('retained messages are found and sent by their names inside', async (t) => {
  const { root, a } = await start(t);
  const outside = await Peer.join(t, root, 'outside');
  await outside.publish('a/kept', { retain: true, payload: 'outside' });
  await outside.publish('kept', { retain: true, payload: 'elsewhere' });
  const inside = await Peer.join(t, a, 'inside');
  await inside.publish('own', { retain: true, payload: 'inside' });
  await inside.subscribe('#');
  const came = [await inside.take(), await inside.take()].map(
    ({ topic, text, retain }) => `${topic} ${text} ${retain}`,
  );
  t.same(came.sort(), ['kept outside true', 'own inside true']);
  await inside.publish('kept', { retain: true });
  await inside.take();
  const late = await Peer.join(t, root, 'late');
  await late.subscribe('a/kept');
  await nothingMore(late);
});

t.test('a will goes to its topic inside', async (t) => {
  const { root, a } = await start(t);
  const outside = await Peer.join(t, root, 'outside');
  await outside.subscribe('#');
  const inside = await Peer.join(t, a, 'inside', { will: { topic: 'gone', payload: Buffer.from('x') } });
  inside.cut();
  t.equal((await outside.take()).topic, 'a/gone');
});

t.test('topic aliases of either direction stand for the name inside', async (t) => {
  const { root, a } = await start(t);
  const outside = await Peer.join(t, root, 'outside');
  await outside.subscribe('#');
  const inside = await join(t, a, { clientId: 'inside' });
  const properties = [property.topicAlias(1)];
  inside.send(publish({ topic: 'x', qos: 1, packetId: 1, properties }));
  await expectAck(inside, 'puback', 1, 0);
  inside.send(publish({ topic: '', qos: 1, packetId: 2, properties }));
  await expectAck(inside, 'puback', 2, 0);
  t.equal((await outside.take()).topic, 'a/x');
  t.equal((await outside.take()).topic, 'a/x');
  const aliased = await join(t, a, { clientId: 'aliased', properties: [property.topicAliasMaximum(4)] });
  aliased.send('82 0e 00 01 00 00 08', Buffer.from('long/top'), '00');
  await aliased.expect('90 04 00 01 00 00');
  for (const length of [17, 9]) {
    await outside.publish('a/long/top', { qos: 0, payload: 'x' });
    const packet = await aliased.packet();
    t.equal(packet.length, length, 'with the name and an alias, then with the alias alone');
    t.equal(packet.includes('\0\x08long/top'), length === 17);
  }
});

t.test("the broker's own topics are the same for everybody, and as closed", async (t) => {
  const { a } = placesOf((await startBroker(t, { listeners, sysInterval: 0.1 })).broker);
  const inside = await Peer.join(t, a, 'inside');
  await inside.subscribe('$SYS/broker/version');
  t.equal((await inside.take()).topic, '$SYS/broker/version');
  for (const topic of ['$SYS/x', '$SYS', '$receipts/x']) {
    const { code } = await inside.publish(topic);
    t.equal(code, topic === '$SYS' ? 0 : 0x87, topic);
  }
  await inside.subscribe('$SYSTEM/#');
  await inside.publish('$SYSTEM/x');
  t.equal((await inside.take()).topic, '$SYSTEM/x');
});

t.test('receipts name the topic as its publisher wrote it', async (t) => {
  const { root, a } = await start(t);
  const device = await Peer.join(t, root, 'device');
  await device.subscribe('a/cmd');
  const inside = await Peer.join(t, a, 'inside');
  await inside.subscribe('$receipts/~/#');
  const { matched } = await track(inside, 'cmd');
  t.equal(matched, 1);
  t.equal((await device.take()).topic, 'a/cmd');
  for (let left = 3; left > 0; left--) t.equal((await takeReceipt(inside)).topic, 'cmd');
  const outside = await Peer.join(t, root, 'outside');
  await outside.subscribe('$receipts/~/+/+');
  await device.leave();
  await inside.subscribe('cmd');
  await track(outside, 'a/cmd');
  t.match(await takeReceipt(outside), { topic: 'a/cmd', to: 'inside', state: 'delivered' });
});

t.test('a held publish that is sent again is known by the name that its publisher wrote', async (t) => {
  const { a } = await start(t);
  const device = await Peer.join(t, a, 'device', { acknowledges: false });
  await device.subscribe('cmd');
  const ask = { receipt: 'delivered', 'receipt-hold': 'true' };
  const first = await Peer.join(t, a, 'pub', { expiry: 600 });
  first.send1('cmd', { qos: 1, packetId: 9, ask });
  const message = await device.take();
  first.cut();
  const again = await Peer.join(t, a, 'pub', { expiry: 600, cleanStart: false });
  again.send1('cmd', { qos: 1, packetId: 9, ask, dup: true });
  await again.settle();
  device.acknowledge(message);
  t.match(await again.answer(9), { code: 0, matched: 1, id: message.pairs['receipt-id'] as string });
  await nothingMore(device);
});

t.test('access rules see the whole topic', async (t) => {
  const rules = 'topic write a/open\ntopic read a/#\npattern readwrite a/%c/#\ntopic read $SYS/#';
  const { a, root } = placesOf((await guard(t, rules, { listeners })).broker);
  const inside = await Peer.join(t, a, 'inside');
  t.equal((await inside.publish('open')).code, 0);
  for (const topic of ['closed', 'a/open', 'other/x']) t.equal((await inside.publish(topic)).code, 0x87, topic);
  t.equal((await inside.publish('inside/x')).code, 0);
  t.equal(await inside.subscribe('#'), 1);
  t.equal(await inside.subscribe('$share/g/x'), 1);
  const outside = await Peer.join(t, root, 'outside');
  t.equal(await outside.subscribe('b/#'), 0x87);
  t.equal((await outside.publish('open')).code, 0x87);
});

t.test('a session that comes back by another listener is sent its part of the tree only', async (t) => {
  const { broker, root, a, bc } = await start(t);
  const options = { expiry: 600, cleanStart: false } as const;
  const outside = await Peer.join(t, root, 'outside');
  const first = await Peer.join(t, a, 'mover', options);
  await first.subscribe('x', { qos: 1 });
  await first.subscribe('$receipts/~/#');
  await first.leave();
  await outside.publish('a/x', { payload: 'one' });
  const elsewhere = await Peer.join(t, bc, 'mover', options);
  await nothingMore(elsewhere);
  t.equal(broker.metrics.droppedNotAuthorized, 1, 'what waited is dropped and counted');
  t.equal((await track(outside, 'a/x')).matched, 0, 'and is no recipient now');
  await elsewhere.leave();
  const atRoot = await Peer.join(t, root, 'mover', options);
  t.equal((await track(outside, 'a/x')).matched, 1);
  t.equal((await atRoot.take()).topic, 'a/x', 'at the root the whole name is seen');
  await atRoot.leave();
  const home = await Peer.join(t, a, 'mover', options);
  await outside.publish('a/x', { payload: 'two' });
  t.match(await home.take(), { topic: 'x', text: 'two' });
});

t.test('the size of a packet counts with the name that it carries', async (t) => {
  const { root, bc } = await start(t);
  const outside = await Peer.join(t, root, 'outside');
  // PUBLISH at QoS 0: 2 bytes of header, 3 of topic, 1 of properties, 94 of payload.
  const inside = await Peer.join(t, bc, 'inside', { maximumPacketSize: 100 });
  await inside.subscribe('x', { qos: 0 });
  await outside.publish('b/c/x', { qos: 0, payload: Buffer.alloc(94) });
  t.equal((await inside.take()).text.length, 94);
  await outside.publish('b/c/x', { qos: 0, payload: Buffer.alloc(95) });
  await nothingMore(inside, outside);
});

t.test('a topic too long for its place ends the connection, or refuses the will, without harm', async (t) => {
  const { bc } = await start(t);
  const longest = 'x'.repeat(65_535 - 4);
  const inside = await Peer.join(t, bc, 'inside');
  await inside.subscribe('#');
  t.equal((await inside.publish(longest)).code, 0);
  t.equal((await inside.take()).topic.length, longest.length);
  inside.send1(`${longest}y`, { qos: 1, packetId: 9 });
  await inside.closed();
  t.equal(inside.disconnectCode, 0x90);
  const will = { topic: `${longest}y`, payload: Buffer.from('') };
  t.equal((await Peer.greet(t, bc, 'w', { will })).connackCode, 0x90);
});

t.test('a mount point with a wildcard, a $ or no slash at its end is refused', (t) => {
  for (const mountPoint of ['', '/x', 'a', 'a/+/', '#/', '$SYS/', '$x/', 'a\0/', '\ud800/', `${'x'.repeat(1024)}/`]) {
    const options = { memory: true, listeners: [{ type: 'tcp', port: 0, mountPoint } as const] };
    const message = /^listeners\[0\]\.mountPoint: .* is not allowed: .* ends with \/$/;
    t.throws(() => new Broker(options), { code: 'ERR_COUNTERSIGN_CONFIG', message }, JSON.stringify(mountPoint));
  }
  t.doesNotThrow(() => new Broker({ listeners: [{ type: 'tcp', port: 0, mountPoint: '/' }] }));
  t.end();
});
