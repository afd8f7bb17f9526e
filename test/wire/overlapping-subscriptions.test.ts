import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  connectedToSession,
  published,
  received,
  subscribed,
  versions,
} from '../helpers/client.js';
import { property, subscribe } from '../helpers/packets.js';

const identifier = property.subscriptionIdentifier;
const hexes = (list: readonly Buffer[]) => list.map((bytes) => bytes.toString('hex')).sort();

for (const version of versions) {
  t.test(`[MQTT-3.3.4-2] edge case 3: overlapping filters: one copy at the highest QoS, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port, { version });
    const orders = [
      [['a/#', 0], ['a/b', 2], ['+/b', 1]],
      [['a/b', 2], ['+/b', 1], ['a/#', 0]],
      [['+/b', 1], ['a/#', 0], ['a/b', 2]],
    ] as const; // biome-ignore format: a table
    for (const filters of orders) {
      const subscriber = await connected(t, port, { version });
      for (const filter of filters) await subscribed(subscriber, { version, filters: [filter] });
      for (const [topic, published_, qos] of [
        ['a/b', 2, 2],
        ['a/b', 1, 1],
        ['a/x', 2, 0],
        ['x/b', 2, 1],
      ] as const) {
        await published(publisher, { version, topic, qos: published_ });
        const message = await received(subscriber, version);
        t.match(message, { topic, qos });
        await acknowledged(subscriber, message);
        await subscriber.expectNothing();
      }
      subscriber.reset();
    }
  });
}

t.test('[MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5] edge case 4: the copy has all its identifiers', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connectedToSession(t, port, 'sub');
  const other = await connected(t, port);
  await subscribed(other, { filters: [['a/b', 0]], properties: [identifier(1)] });
  await subscribed(subscriber, { filters: [['a/b', 1]], properties: [identifier(2)] });
  await subscribed(subscriber, { filters: [['a/+', 0]], properties: [identifier(300)] });
  await subscribed(subscriber, { filters: [['a/#', 0]], properties: [identifier(2)] });
  await subscribed(subscriber, { filters: [['#', 0]] });
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a/b', qos: 1, properties: [property.contentType('x')] });
  const expected = hexes([identifier(2), identifier(2), identifier(300), property.contentType('x')]);
  t.same(hexes((await received(subscriber)).properties), expected, 'repeats are kept');
  t.same(hexes((await received(other)).properties), hexes([identifier(1), property.contentType('x')]), 'its own only');
  subscriber.reset();
  await publisher.expectNothing();
  await published(publisher, { topic: 'a/b', qos: 1, properties: [property.contentType('y')] });
  const back = await connectedToSession(t, port, 'sub', { sessionPresent: true });
  for (const type of ['x', 'y']) {
    const wanted = hexes([identifier(2), identifier(2), identifier(300), property.contentType(type)]);
    t.same(hexes((await received(back)).properties), wanted, 'after a resume as well');
  }
});

t.test('[MQTT-3.8.4-3] edge case 4: another identifier, or none, replaces the one before', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  const publisher = await connected(t, port);
  for (const list of [[identifier(2)], [identifier(3)], []]) {
    subscriber.send(subscribe({ filters: [['a', 0]], properties: list }));
    await subscriber.packet();
    await published(publisher, { topic: 'a' });
    t.strictSame((await received(subscriber)).properties, list);
  }
});

t.test('[MQTT-3.3.4-5] edge case 4: a shared copy has the identifier of its member’s subscription only', async (t) => {
  const { port } = await startBroker(t);
  const [one, two] = [await connected(t, port), await connected(t, port)];
  await subscribed(one, { filters: [['$share/g/a', 0]], properties: [identifier(7)] });
  await subscribed(two, { filters: [['$share/g/a', 0]], properties: [identifier(8)] });
  await subscribed(two, { filters: [['a', 0]], properties: [identifier(9)] });
  const publisher = await connected(t, port);
  for (let time = 0; time < 4; time++) await published(publisher, { topic: 'a' });
  const seen: string[] = [];
  for (let count = 0; count < 2; count++) seen.push(...hexes((await received(one)).properties));
  t.same(seen, hexes([identifier(7), identifier(7)]));
  const seenByTwo: string[] = [];
  for (let count = 0; count < 6; count++) seenByTwo.push(...hexes((await received(two)).properties));
  const expected = [8, 8, 9, 9, 9, 9].map((value) => identifier(value).toString('hex'));
  t.same(seenByTwo.sort(), expected);
});

t.test('[MQTT-3.3.1-13] overlapping filters: RETAIN stays if any of them has Retain As Published', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, {
    filters: [
      ['a/b', 0x20],
      ['a/+', 0x28],
    ],
  });
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a/b', retain: true, payload: 'x' });
  t.equal((await received(subscriber)).retain, true);
  await subscriber.expectNothing();
});
