import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  connectedToSession,
  payloads,
  published,
  received,
  subscribed,
  unsubscribed,
  versions,
} from '../helpers/client.js';
import { connect, disconnect, property, publish, type Version } from '../helpers/packets.js';
import type { WireClient } from '../helpers/wire-client.js';

const retainAsPublished = 0x08;
const retainHandling1 = 0x10;
const retainHandling2 = 0x20;

/** What a new subscriber to everything is sent at once, by topic name. */
async function replayed(t: Test, port: number, version: Version = 5): Promise<Record<string, string>> {
  const subscriber = await connected(t, port, { version });
  await subscribed(subscriber, { version, filters: [['#', 2]] });
  await published(subscriber, { version, topic: 'end/of/test', qos: 0, payload: '' }).catch(() => undefined);
  const found: Record<string, string> = {};
  for (;;) {
    const { topic, payload, retain } = await received(subscriber, version);
    if (topic === 'end/of/test') break;
    t.equal(retain, true, 'a replay has RETAIN 1');
    found[topic] = payload;
  }
  subscriber.reset();
  return found;
}

for (const version of versions) {
  t.test(`[MQTT-3.3.1-5] a retained message takes the place of the one before, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port, { version });
    const list = (type: string) => (version === 5 ? [property.contentType(type)] : []);
    const message = { version, topic: 'a', retain: true };
    await published(publisher, { ...message, qos: 2, payload: 'A', properties: list('a') });
    await published(publisher, { ...message, qos: 1, payload: 'B', properties: list('b') });
    const subscriber = await connected(t, port, { version });
    await subscribed(subscriber, { version, filters: [['a', 2]] });
    const found = await received(subscriber, version);
    t.match(found, { payload: 'B', qos: 1, retain: true, dup: false, properties: list('b') });
    await subscriber.expectNothing();
  });

  t.test(`[MQTT-3.3.1-6] edge case 13: an empty one clears, and goes to those subscribed, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a', payload: 'x', retain: true, qos: 1 });
    const subscriber = await connected(t, port, { version });
    await subscribed(subscriber, { version, filters: [['a', 1]] });
    t.same(await payloads(subscriber, 1, version), ['x']);
    await published(publisher, { version, topic: 'a', payload: '', retain: true, qos: 1 });
    t.match(await received(subscriber, version), { payload: '', retain: false, qos: 1 });
    t.same(await replayed(t, port, version), {});
  });

  t.test(`[MQTT-3.3.1-7] edge case 13: an empty one is not stored, in ${version}`, async (t) => {
    const { port } = await startBroker(t, { maximumRetainedMessages: 1 });
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a', payload: '', retain: true, qos: 1 });
    await published(publisher, { version, topic: 'b', payload: 'x', retain: true, qos: 1 });
    t.same(await replayed(t, port, version), { b: 'x' });
  });

  t.test(`[MQTT-3.3.1-8] edge case 13: RETAIN 0 leaves what is stored alone, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a', payload: 'kept', retain: true, qos: 1 });
    await published(publisher, { version, topic: 'a', payload: 'other', qos: 1 });
    await published(publisher, { version, topic: 'a', payload: '', qos: 1 });
    t.same(await replayed(t, port, version), { a: 'kept' });
  });

  t.test(`[MQTT-3.3.1-9] edge case 11: retained messages come with every SUBSCRIBE, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a', payload: 'x', retain: true, qos: 1 });
    await published(publisher, { version, topic: 'b/c', payload: 'y', retain: true, qos: 1 });
    const subscriber = await connected(t, port, { version });
    for (let time = 0; time < 3; time++) {
      await subscribed(subscriber, { version, filters: [['#', 1]] });
      t.same((await payloads(subscriber, 2, version)).sort(), ['x', 'y']);
      await subscriber.expectNothing();
    }
  });

  t.test(`[MQTT-3.3.1-12] edge case 12: RETAIN is 0 live and 1 in a replay, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connected(t, port, { version });
    await subscribed(subscriber, { version, filters: [['a', 1]] });
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a', payload: 'x', retain: true, qos: 1 });
    t.equal((await received(subscriber, version)).retain, false);
    await subscribed(subscriber, { version, filters: [['a', 1]] });
    t.equal((await received(subscriber, version)).retain, true);
  });

  t.test(`edge case 11: resuming a session and taking it over replay nothing, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const first = await connectedToSession(t, port, 'sub', { version });
    await subscribed(first, { version, filters: [['a', 0]] });
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a', payload: 'x', retain: true, qos: 1 });
    t.equal((await received(first, version)).payload, 'x');
    const second = await connectedToSession(t, port, 'sub', { version, sessionPresent: true });
    await second.expectNothing();
    second.send(version === 5 ? disconnect() : 'e0 00');
    await second.expectClose();
    const third = await connectedToSession(t, port, 'sub', { version, sessionPresent: true });
    await third.expectNothing();
  });

  t.test(`[MQTT-3.8.4-8] edge case 10: a replay has the lower QoS, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port, { version });
    for (const qos of [0, 1, 2]) {
      await published(publisher, { version, topic: `a/${qos}`, payload: 'x', retain: true, qos });
    }
    for (const granted of [0, 1, 2]) {
      for (const filter of ['a/0', 'a/1', 'a/2', 'a/+']) {
        const subscriber = await connected(t, port, { version });
        await subscribed(subscriber, { version, filters: [[filter, granted]] });
        for (let count = filter === 'a/+' ? 3 : 1; count > 0; count--) {
          const { topic, qos } = await received(subscriber, version);
          t.equal(qos, Math.min(granted, Number(topic.slice(2))), `${topic} by ${filter} at ${granted}`);
        }
        subscriber.reset();
      }
    }
  });
}

t.test('[MQTT-3.3.1-10] edge case 11: Retain Handling 1 replays with a new subscription only', async (t) => {
  const { port } = await startBroker(t);
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', payload: 'x', retain: true, qos: 1 });
  let subscriber: WireClient = await connectedToSession(t, port, 'sub');
  const filters = [['a', retainHandling1]] as const;
  await subscribed(subscriber, { filters });
  t.equal((await received(subscriber)).payload, 'x');
  await subscribed(subscriber, { filters });
  await subscriber.expectNothing();
  subscriber.reset();
  subscriber = await connectedToSession(t, port, 'sub', { sessionPresent: true });
  await subscribed(subscriber, { filters });
  await subscriber.expectNothing();
  await subscribed(subscriber, { filters: [['+', retainHandling1]] });
  t.equal((await received(subscriber)).payload, 'x', 'another filter is new');
  await unsubscribed(subscriber, ['a']);
  await subscribed(subscriber, { filters });
  t.equal((await received(subscriber)).payload, 'x', 'after UNSUBSCRIBE it is new again');
});

t.test('[MQTT-3.3.1-11] edge case 11: Retain Handling 2 replays nothing', async (t) => {
  const { port } = await startBroker(t);
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', payload: 'x', retain: true, qos: 1 });
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['a', retainHandling2]] });
  await subscriber.expectNothing();
  await published(publisher, { topic: 'a', payload: 'live', retain: true, qos: 1 });
  await subscriber.expect(publish({ topic: 'a', payload: 'live' }));
});

t.test('[MQTT-3.3.1-13] [MQTT-3.3.1-12] edge case 12: Retain As Published, live and from the queue', async (t) => {
  const { port } = await startBroker(t);
  const publisher = await connected(t, port);
  for (const option of [0, retainAsPublished]) {
    const clientId = `sub${option}`;
    const subscriber = await connectedToSession(t, port, clientId);
    await subscribed(subscriber, { filters: [['a', 1 | option | retainHandling2]] });
    const expectBoth = async (client: WireClient): Promise<void> => {
      for (const retain of [true, false]) {
        const message = await received(client);
        t.equal(message.retain, retain && option === retainAsPublished, `option ${option}, RETAIN ${retain}`);
        client.send('40 02', message.bytes.subarray(5, 7));
      }
    };
    await published(publisher, { topic: 'a', payload: 'x', retain: true, qos: 1 });
    await published(publisher, { topic: 'a', payload: 'y', retain: false, qos: 1 });
    await expectBoth(subscriber);
    subscriber.send(disconnect());
    await subscriber.expectClose();
    await published(publisher, { topic: 'a', payload: 'x', retain: true, qos: 1 });
    await published(publisher, { topic: 'a', payload: 'y', retain: false, qos: 1 });
    await expectBoth(await connectedToSession(t, port, clientId, { sessionPresent: true }));
  }
});

t.test('[MQTT-3.8.3-3] No Local holds for the retained messages of the client itself', async (t) => {
  const { port } = await startBroker(t);
  const client = await connected(t, port, { clientId: 'both' });
  await published(client, { topic: 'a/own', payload: 'own', retain: true, qos: 1 });
  const other = await connected(t, port);
  await published(other, { topic: 'a/other', payload: 'other', retain: true, qos: 1 });
  await subscribed(client, { filters: [['a/+', 0x04]] });
  t.equal((await received(client)).payload, 'other');
  await client.expectNothing();
});

t.test('edge case 4: a replayed message has the identifier of its subscription', async (t) => {
  const { port } = await startBroker(t);
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', payload: 'x', retain: true, qos: 1 });
  const subscriber = await connected(t, port);
  const [two, three] = [property.subscriptionIdentifier(2), property.subscriptionIdentifier(300)];
  await subscribed(subscriber, { filters: [['a', 0]], properties: [two] });
  t.strictSame((await received(subscriber)).properties, [two]);
  await subscribed(subscriber, { filters: [['+', 0]], properties: [three] });
  t.strictSame((await received(subscriber)).properties, [three]);
});

t.test('edge case 14: a large retained set is sent whole to a slow client with a small window', async (t) => {
  const { port } = await startBroker(t, { maximumQueuedMessages: 10, maximumOutboxBytes: 4096 });
  const publisher = await connected(t, port);
  const count = 1000;
  const message = { retain: true, payload: 'x'.repeat(500) };
  for (let at = 0; at < count; at++) {
    publisher.send(publish({ ...message, topic: `t/${at}`, qos: at % 2, packetId: 1 }));
    if (at % 2 === 1) await publisher.expect('40 02 00 01');
  }
  for (const qos of [0, 1]) {
    const subscriber = await connected(t, port, { properties: [property.receiveMaximum(3)] });
    await subscribed(subscriber, { filters: [['t/#', qos]] });
    const topics = new Set<string>();
    while (topics.size < count) {
      const { topic, packetId } = await received(subscriber);
      topics.add(topic);
      if (packetId > 0) subscriber.send(Buffer.from([0x40, 2, packetId >> 8, packetId & 0xff]));
    }
    await subscriber.expectNothing();
  }
});

t.test('edge case 14: acknowledgements and PINGRESP flow while a replay waits for the window', async (t) => {
  const { port } = await startBroker(t);
  const publisher = await connected(t, port);
  for (let at = 0; at < 200; at++) {
    await published(publisher, { topic: `t/${at}`, payload: 'x', retain: true, qos: 1 });
  }
  const subscriber = await connected(t, port, { properties: [property.receiveMaximum(1)] });
  await subscribed(subscriber, { filters: [['t/#', 1]] });
  await received(subscriber);
  await subscriber.expectNothing();
  await published(subscriber, { topic: 'other', qos: 2, packetId: 77 });
});

/** A subscriber with a window of one message, and more retained messages than are queued for a replay at a time. */
async function slowReplay(t: Test, count: number) {
  const { port } = await startBroker(t);
  const publisher = await connected(t, port);
  for (let at = 0; at < count; at++) {
    await published(publisher, { topic: `t/${1000 + at}`, payload: 'retained', retain: true, qos: 1 });
  }
  const subscriber = await connected(t, port, { properties: [property.receiveMaximum(1)] });
  await subscribed(subscriber, { filters: [['t/#', 1]] });
  return { publisher, subscriber, first: await received(subscriber) };
}

t.test('[MQTT-3.10.4-2] UNSUBSCRIBE ends a replay: only what is queued still comes', async (t) => {
  const { publisher, subscriber, first } = await slowReplay(t, 200);
  await unsubscribed(subscriber, ['t/#']);
  await published(publisher, { topic: 't/9', payload: 'retained', retain: true, qos: 1 });
  await subscribed(subscriber, { filters: [['end', 1]] });
  await published(publisher, { topic: 'end', payload: 'end', qos: 1 });
  let last = first;
  for (; last.topic !== 'end'; last = await received(subscriber)) await acknowledged(subscriber, last);
  await acknowledged(subscriber, last);
  await subscriber.expectNothing();
});

t.test('a subscription made anew without a replay of its own: the one under way goes on as it asks now', async (t) => {
  const { subscriber, first } = await slowReplay(t, 200);
  await subscribed(subscriber, { filters: [['t/#', retainHandling1]] });
  const qos: number[] = [];
  const topics = new Set<string>();
  for (let last = first; ; last = await received(subscriber)) {
    topics.add(last.topic);
    qos.push(last.qos);
    await acknowledged(subscriber, last);
    if (topics.size === 200) break;
  }
  t.equal(qos.length, 200, 'each once');
  t.ok(qos.includes(0), 'the rest at the QoS that is granted now');
});

t.test('edge case 17: RETAIN of a will: stored for later subscribers', async (t) => {
  const { port } = await startBroker(t);
  const leaving = await connected(t, port, { will: { topic: 'w', payload: 'x', qos: 1, retain: true } });
  leaving.send(connect());
  await leaving.rest();
  t.same(await replayed(t, port), { w: 'x' });
});
