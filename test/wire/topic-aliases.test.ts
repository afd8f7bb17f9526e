import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  connected,
  connectedToSession,
  expectDisconnect,
  payloads,
  published,
  received,
  subscribed,
} from '../helpers/client.js';
import { ack, disconnect, property, publish, type Version } from '../helpers/packets.js';
import type { WireClient } from '../helpers/wire-client.js';

const alias = property.topicAlias;

async function publisherAndSubscriber(t: Test, port: number, version: Version = 5): Promise<[WireClient, WireClient]> {
  const subscriber = await connected(t, port, { version });
  await subscribed(subscriber, { version, filters: [['#', 2]] });
  return [await connected(t, port), subscriber];
}

// ---- inbound ----

t.test('[MQTT-3.3.2-12] every alias from 1 to the maximum can be set, used and set anew', async (t) => {
  const { port } = await startBroker(t, { topicAliasMaximum: 5 });
  const [publisher, subscriber] = await publisherAndSubscriber(t, port);
  const check = async (topic: string, number: number, name: string): Promise<void> => {
    publisher.send(publish({ topic, payload: `${number}`, properties: [alias(number)] }));
    await subscriber.expect(publish({ topic: name, payload: `${number}` }));
  };
  for (let number = 1; number <= 5; number++) await check(`t/${number}`, number, `t/${number}`);
  for (let number = 5; number >= 1; number--) await check('', number, `t/${number}`);
  await check('other/2', 2, 'other/2');
  await check('t/1', 4, 't/1');
  await check('', 2, 'other/2');
  await check('', 1, 't/1');
  await check('', 4, 't/1');
  await check('', 5, 't/5');
});

t.test('[MQTT-3.3.2-12] an alias works at each QoS and in retained messages', async (t) => {
  const { port } = await startBroker(t);
  const [publisher, subscriber] = await publisherAndSubscriber(t, port);
  await published(publisher, { topic: 'a/b', qos: 1, payload: '1', properties: [alias(1)] });
  await published(publisher, { topic: '', qos: 2, payload: '2', properties: [alias(1)] });
  await published(publisher, { topic: '', qos: 0, payload: '3', retain: true, properties: [alias(1)] });
  for (const qos of [1, 2, 0]) t.match(await received(subscriber), { topic: 'a/b', qos, properties: [] });
  const late = await connected(t, port);
  await subscribed(late, { filters: [['a/b', 0]] });
  await late.expect(publish({ topic: 'a/b', payload: '3', retain: true }));
});

t.test("edge case 1: a publisher's alias reaches nobody: live, queued or retained", async (t) => {
  const { port } = await startBroker(t);
  const away = await connectedToSession(t, port, 'away');
  await subscribed(away, { filters: [['#', 1]] });
  away.send(disconnect());
  await away.expectClose();
  const [publisher, older] = await publisherAndSubscriber(t, port, 4);
  const offering = await connected(t, port, { properties: [property.topicAliasMaximum(0)] });
  await subscribed(offering, { filters: [['#', 0]] });
  const user = property.userProperty('k', 'v');
  publisher.send(publish({ topic: 'a/b', qos: 1, payload: 'x', retain: true, properties: [user, alias(7)] }));
  publisher.send(publish({ topic: '', qos: 1, packetId: 2, payload: 'y', properties: [alias(7), user] }));
  const back = await connectedToSession(t, port, 'away', { sessionPresent: true });
  const late = await connected(t, port);
  await subscribed(late, { filters: [['#', 0]] });
  for (const [client, count] of [
    [offering, 2],
    [back, 2],
    [late, 1],
  ] as const) {
    for (let at = 0; at < count; at++) t.match(await received(client), { topic: 'a/b', properties: [user] });
  }
  for (const payload of ['x', 'y']) t.match(await received(older, 4), { topic: 'a/b', payload });
});

for (const [what, list] of [
  ['[MQTT-3.3.2-8] edge case 2: alias 0', [alias(0)]],
  ['[MQTT-3.3.2-9] edge case 2: an alias above the maximum', [alias(33)]],
] as const) {
  t.test(`${what} ends the connection with 0x94`, async (t) => {
    const { port } = await startBroker(t, { topicAliasMaximum: 32 });
    const [publisher, subscriber] = await publisherAndSubscriber(t, port);
    publisher.send(publish({ topic: 'a', properties: list }));
    await expectDisconnect(publisher, 0x94);
    await subscriber.expectNothing();
  });
}

t.test('[MQTT-3.3.2-9] protocol error: any alias where the broker takes none', async (t) => {
  const { port } = await startBroker(t, { topicAliasMaximum: 0 });
  const publisher = await connected(t, port);
  publisher.send(publish({ topic: 'a', properties: [alias(1)] }));
  await expectDisconnect(publisher, 0x94);
});

t.test('[MQTT-3.3.2-7] edge case 2: protocol error: an alias ends with its connection, in a session too', async (t) => {
  const { port } = await startBroker(t);
  const first = await connectedToSession(t, port, 'pub');
  await published(first, { topic: 'a', properties: [alias(1)] });
  await published(first, { topic: '', properties: [alias(1)] });
  first.reset();
  const second = await connectedToSession(t, port, 'pub', { sessionPresent: true });
  second.send(publish({ topic: '', properties: [alias(1)] }));
  await expectDisconnect(second, 0x82);
});

t.test("[MQTT-3.3.2-7] an alias of another client's connection is not known", async (t) => {
  const { port } = await startBroker(t);
  await published(await connected(t, port), { topic: 'a', properties: [alias(1)] });
  const other = await connected(t, port);
  other.send(publish({ topic: '', properties: [alias(1)] }));
  await expectDisconnect(other, 0x82);
});

// ---- outbound ----

/** A subscriber that takes aliases. */
async function offering(t: Test, port: number, maximum: number, ...more: Buffer[]): Promise<WireClient> {
  const client = await connected(t, port, { properties: [property.topicAliasMaximum(maximum), ...more] });
  await subscribed(client, { filters: [['#', 2]] });
  return client;
}

t.test('[MQTT-3.1.2-26] the broker sets an alias with the topic name, then sends it alone, at each QoS', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await offering(t, port, 1);
  const publisher = await connected(t, port);
  const message = { topic: 'a/long/topic', payload: 'x', packetId: 1 };
  const list = [alias(1)];
  await published(publisher, { ...message, qos: 0 });
  await subscriber.expect(publish({ ...message, properties: list }));
  await published(publisher, { ...message, qos: 0 });
  await subscriber.expect(publish({ ...message, topic: '', properties: list }));
  await published(publisher, { ...message, qos: 1 });
  await subscriber.expect(publish({ ...message, topic: '', qos: 1, properties: list }));
  subscriber.send(ack('puback', 1));
  await published(publisher, { ...message, qos: 2, properties: [property.contentType('t')] });
  await subscriber.expect(publish({ ...message, topic: '', qos: 2, properties: [...list, property.contentType('t')] }));
});

t.test('[MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.3.2-8] aliases stay in the limit of each client', async (t) => {
  const { port } = await startBroker(t, { outboundTopicAliasMaximum: 8 });
  const limits = [1, 3, 8, 100, 65535];
  const subscribers = await Promise.all(limits.map((limit) => offering(t, port, limit)));
  const publisher = await connected(t, port);
  const topics = Array.from({ length: 600 }, (_, at) => `topic/${(at * at) % 23}`);
  for (const topic of topics) publisher.send(publish({ topic, payload: topic }));
  for (const [at, subscriber] of subscribers.entries()) {
    const names = new Map<number, string>();
    let saved = 0;
    for (const expected of topics) {
      const { topic, payload, properties } = await received(subscriber);
      t.equal(payload, expected);
      const number = properties[0]?.readUInt16BE(1) ?? 0;
      if (properties.length > 0 && topic !== '') names.set(number, topic);
      if (topic === '') saved++;
      if ((topic === '' ? names.get(number) : topic) !== expected) t.fail(`alias ${number} for ${expected}`);
      if (properties.length > 0 && (number < 1 || number > Math.min(8, limits[at]))) t.fail(`alias ${number}`);
    }
    t.ok(saved > 20, `${saved} topic names saved within ${limits[at]} aliases`);
  }
});

t.test('[MQTT-3.1.2-27] edge case 2: no alias goes to a client that offers none, or 0', async (t) => {
  const { port } = await startBroker(t);
  const [publisher, silent] = await publisherAndSubscriber(t, port);
  const none = await offering(t, port, 0);
  for (let time = 0; time < 5; time++) {
    await published(publisher, { topic: 'a/long/topic', payload: 'x' });
    await silent.expect(publish({ topic: 'a/long/topic', payload: 'x' }));
    await none.expect(publish({ topic: 'a/long/topic', payload: 'x' }));
  }
});

t.test('[MQTT-3.1.2-27] no alias goes out where the setting is 0', async (t) => {
  const { port } = await startBroker(t, { outboundTopicAliasMaximum: 0 });
  const subscriber = await offering(t, port, 10);
  const publisher = await connected(t, port);
  for (let time = 0; time < 3; time++) {
    await published(publisher, { topic: 'a/long/topic' });
    await subscriber.expect(publish({ topic: 'a/long/topic' }));
  }
});

t.test('[MQTT-3.3.2-7] edge case 2: after a resume the broker sends topic names in full again', async (t) => {
  const { port } = await startBroker(t);
  const properties = [property.topicAliasMaximum(10)];
  const first = await connectedToSession(t, port, 'sub', { properties });
  await subscribed(first, { filters: [['#', 1]] });
  const publisher = await connected(t, port);
  for (const payload of ['1', '2']) await published(publisher, { topic: 'a/long/topic', qos: 1, payload });
  const numbers = [(await received(first)).topic, (await received(first)).topic];
  t.same(numbers, ['a/long/topic', '']);
  first.reset();
  const plain = await connectedToSession(t, port, 'sub', { sessionPresent: true });
  for (const payload of ['1', '2']) {
    t.match(await received(plain), { topic: 'a/long/topic', payload, dup: true, properties: [] });
  }
  plain.reset();
  const again = await connectedToSession(t, port, 'sub', { properties, sessionPresent: true });
  t.match(await received(again), { topic: 'a/long/topic', payload: '1', dup: true });
  t.match(await received(again), { topic: '', payload: '2', dup: true });
});

t.test('[MQTT-3.1.2-24] an alias never makes a packet larger than its client takes', async (t) => {
  const { port } = await startBroker(t);
  const publisher = await connected(t, port);
  const limit = 300;
  const subscriber = await offering(t, port, 10, property.maximumPacketSize(limit));
  const topic = 'a/long/topic';
  const sizes = Array.from({ length: 60 }, (_, at) => limit - 40 - topic.length + at);
  for (const size of sizes) publisher.send(publish({ topic: `${topic}/${size}`, payload: 'x'.repeat(size) }));
  publisher.send(publish({ topic: 'last' }));
  let largest = 0;
  for (;;) {
    const { topic, bytes } = await received(subscriber);
    if (topic === 'last') break;
    largest = Math.max(largest, bytes.length);
  }
  t.equal(largest, limit, 'up to the limit, not above');
});

t.test('[MQTT-3.1.2-26] large messages and those with subscription identifiers have aliases too', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port, { properties: [property.topicAliasMaximum(4)] });
  const identifier = property.subscriptionIdentifier(200);
  await subscribed(subscriber, { filters: [['#', 1]], properties: [identifier] });
  const publisher = await connected(t, port);
  const payload = Array.from({ length: 20_000 }, (_, at) => String.fromCharCode(97 + (at % 26))).join('');
  const pairs = [property.userProperty('k', 'v'.repeat(121))];
  for (const qos of [0, 1]) {
    for (const properties of [[], pairs]) {
      await published(publisher, { topic: 'a/long/topic', qos, payload, properties });
      const message = await received(subscriber);
      const first = qos === 0 && properties.length === 0;
      t.equal(message.topic, first ? 'a/long/topic' : '');
      t.equal(message.payload, payload);
      t.strictSame(message.properties, [alias(message.properties[0].readUInt16BE(1)), identifier, ...properties]);
    }
  }
});

t.test('[MQTT-3.1.2-26] topics in steady use keep their aliases among many others', async (t) => {
  const { port } = await startBroker(t, { outboundTopicAliasMaximum: 4 });
  const subscriber = await offering(t, port, 4);
  const publisher = await connected(t, port);
  const hot = 'the/hot/topic';
  for (let at = 0; at < 10; at++) publisher.send(publish({ topic: hot, payload: 'hot' }));
  for (let at = 0; at < 200; at++) {
    publisher.send(publish({ topic: `cold/${at}`, payload: 'cold' }), publish({ topic: hot, payload: 'hot' }));
  }
  publisher.send(publish({ topic: 'end', payload: 'end' }));
  let full = 0;
  for (;;) {
    const { topic, payload } = await received(subscriber);
    if (payload === 'end') break;
    if (topic === hot) full++;
  }
  t.equal(full, 1, 'the topic name went out once');
  t.same(await payloads(subscriber, 0), []);
});
