import t, { type Test } from 'tap';
import type { BrokerOptions } from '../../lib/config/schema.js';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  connectedToSession,
  expectAck,
  payloads,
  published,
  received,
  subscribed,
  versions,
} from '../helpers/client.js';
import { connect, publish, subscribe, unsubscribe } from '../helpers/packets.js';
import { WireClient } from '../helpers/wire-client.js';

const quotaExceeded = 0x97;

async function scene(t: Test, options: BrokerOptions, qos = 1) {
  const { port, broker } = await startBroker(t, options);
  const subscriber = await connectedToSession(t, port, 'sub');
  await subscribed(subscriber, { filters: [['a', qos]] });
  const publisher = await connected(t, port);
  return { port, broker, subscriber, publisher };
}

/** Says goodbye; the session stays. */
async function left(client: WireClient): Promise<void> {
  client.send('e0 00');
  await client.expectClose();
}

// ---- maximumInflightBytes ----

for (const qos of [1, 2]) {
  t.test(
    `maximumInflightBytes: at QoS ${qos} no more bytes are in flight, and the rest follows in order`,
    async (t) => {
      const { subscriber, publisher } = await scene(t, { maximumInflightBytes: 10 }, qos);
      const sent = ['aaaa', 'bbbb', 'cccc', 'ddd', 'eeee'];
      for (const payload of sent) await published(publisher, { topic: 'a', qos, payload });
      const first = await received(subscriber);
      const second = await received(subscriber);
      await subscriber.expectNothing();
      await acknowledged(subscriber, first);
      const third = await received(subscriber);
      t.same([first.payload, second.payload, third.payload], sent.slice(0, 3));
      await subscriber.expectNothing();
      await acknowledged(subscriber, second);
      t.equal((await received(subscriber)).payload, 'ddd');
      await subscriber.expectNothing();
      await acknowledged(subscriber, third);
      t.equal((await received(subscriber)).payload, 'eeee');
    },
  );
}

t.test('maximumInflightBytes: a message above it goes out alone', async (t) => {
  const { subscriber, publisher } = await scene(t, { maximumInflightBytes: 3 });
  await published(publisher, { topic: 'a', qos: 1, payload: 'large message' });
  await published(publisher, { topic: 'a', qos: 1, payload: 'b' });
  const large = await received(subscriber);
  t.equal(large.payload, 'large message');
  await subscriber.expectNothing();
  await acknowledged(subscriber, large);
  t.equal((await received(subscriber)).payload, 'b');
});

t.test('maximumInflightBytes: what is repeated on a new connection counts', async (t) => {
  const { port, subscriber, publisher } = await scene(t, { maximumInflightBytes: 4 });
  for (const payload of ['aaaa', 'bbbb']) await published(publisher, { topic: 'a', qos: 1, payload });
  await received(subscriber);
  subscriber.reset();
  const again = await connectedToSession(t, port, 'sub', { sessionPresent: true });
  const repeated = await received(again);
  t.match(repeated, { payload: 'aaaa', dup: true });
  await again.expectNothing();
  await acknowledged(again, repeated);
  t.match(await received(again), { payload: 'bbbb', dup: false });
});

// ---- maximumMessageSize ----

t.test('maximumMessageSize: a larger payload is refused at QoS 1 and 2 and dropped at QoS 0', async (t) => {
  const { broker, subscriber, publisher } = await scene(t, { maximumMessageSize: 4 });
  await published(publisher, { topic: 'a', qos: 1, payload: '1234' });
  publisher.send(publish({ topic: 'a', qos: 1, packetId: 2, payload: '12345' }));
  await expectAck(publisher, 'puback', 2, quotaExceeded);
  publisher.send(publish({ topic: 'a', qos: 2, packetId: 3, payload: '12345' }));
  await expectAck(publisher, 'pubrec', 3, quotaExceeded);
  await published(publisher, { topic: 'a', payload: '12345' });
  t.equal(broker.metrics.publishesRefused, 3);
  await published(publisher, { topic: 'a', qos: 1, payload: 'end' });
  t.same(await payloads(subscriber, 2), ['1234', 'end']);
});

t.test('maximumMessageSize: a client with a larger will is refused', async (t) => {
  const { port } = await startBroker(t, { maximumMessageSize: 4 });
  const client = await WireClient.connect(port);
  t.teardown(() => client.reset());
  client.send(connect({ will: { topic: 'w', payload: '12345' } }));
  const connack = await client.packet();
  t.equal(connack[3], quotaExceeded);
});

// ---- maximumQueuedMessages, maximumQueuedBytes, queueQos0Messages ----

t.test('maximumQueuedMessages: more are dropped; 0 is no bound', async (t) => {
  for (const [maximumQueuedMessages, kept] of [
    [2, 2],
    [0, 5],
  ] as const) {
    // biome-ignore format: one line
    const { port, broker, subscriber, publisher } = await scene(t, { maximumQueuedMessages });
    await left(subscriber);
    for (const payload of ['1', '2', '3', '4', '5']) await published(publisher, { topic: 'a', qos: 1, payload });
    t.equal(broker.metrics.droppedQueueFull, 5 - kept);
    const again = await connectedToSession(t, port, 'sub', { sessionPresent: true });
    t.same(await payloads(again, kept), ['1', '2', '3', '4', '5'].slice(0, kept));
    await again.expectNothing();
  }
});

t.test('maximumQueuedBytes: more are dropped; 0 is no bound', async (t) => {
  for (const [maximumQueuedBytes, kept] of [
    [8, 2],
    [0, 4],
  ] as const) {
    // biome-ignore format: one line
    const { port, broker, subscriber, publisher } = await scene(t, { maximumQueuedBytes });
    await left(subscriber);
    for (const payload of ['aaaa', 'bbbb', 'cccc', 'dddd']) await published(publisher, { topic: 'a', qos: 1, payload });
    t.equal(broker.metrics.droppedQueueFull, 4 - kept);
    const again = await connectedToSession(t, port, 'sub', { sessionPresent: true });
    t.same(await payloads(again, kept), ['aaaa', 'bbbb', 'cccc', 'dddd'].slice(0, kept));
    await again.expectNothing();
  }
});

t.test('queueQos0Messages: QoS 0 messages wait for a session that is not connected', async (t) => {
  for (const queueQos0Messages of [true, false]) {
    const { port, subscriber, publisher } = await scene(t, { queueQos0Messages });
    await left(subscriber);
    await published(publisher, { topic: 'a', payload: 'zero' });
    const again = await connectedToSession(t, port, 'sub', { sessionPresent: true });
    if (queueQos0Messages) t.match(await received(again), { payload: 'zero', qos: 0 });
    else await again.expectNothing();
  }
});

// ---- upgradeOutgoingQos ----

t.test('upgradeOutgoingQos: messages go out at the QoS of the subscription, and wait for its session', async (t) => {
  for (const version of versions) {
    const { port } = await startBroker(t, { upgradeOutgoingQos: true });
    const subscriber = await connectedToSession(t, port, 'sub', { version });
    await subscribed(subscriber, { filters: [['a', 2]], version });
    const publisher = await connected(t, port);
    for (const qos of [0, 1]) await published(publisher, { topic: 'a', qos, payload: `at ${qos}` });
    const both = [await received(subscriber, version), await received(subscriber, version)];
    t.match(both, [
      { payload: 'at 0', qos: 2, dup: false },
      { payload: 'at 1', qos: 2, dup: false },
    ]);
    for (const message of both) await acknowledged(subscriber, message);
    await left(subscriber);
    await published(publisher, { topic: 'a', payload: 'queued' });
    const again = await connectedToSession(t, port, 'sub', { version, sessionPresent: true });
    t.match(await received(again, version), { payload: 'queued', qos: 2 });
  }
});

t.test('upgradeOutgoingQos: members of a shared subscription get their QoS too', async (t) => {
  const { port } = await startBroker(t, { upgradeOutgoingQos: true });
  const member = await connectedToSession(t, port, 'sub');
  await subscribed(member, { filters: [['$share/g/a', 1]] });
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', payload: 'live' });
  const live = await received(member);
  t.match(live, { payload: 'live', qos: 1 });
  await acknowledged(member, live);
  await left(member);
  await published(publisher, { topic: 'a', payload: 'queued' });
  const again = await connectedToSession(t, port, 'sub', { sessionPresent: true });
  t.match(await received(again), { payload: 'queued', qos: 1 });
});

// ---- bytes of filters and retained topics, retained messages not taken ----

t.test(
  'maximumSubscriptionBytesPerSession: filters above it get 0x97, and those that are there may be renewed',
  async (t) => {
    const { port, broker } = await startBroker(t, { maximumSubscriptionBytesPerSession: 10 });
    const client = await connected(t, port);
    const ask = async (packetId: number, filters: readonly string[], codes: readonly number[]): Promise<void> => {
      client.send(subscribe({ packetId, filters: filters.map((filter) => [filter, 1] as const) }));
      const suback = await client.packet();
      t.same([...suback.subarray(-codes.length)], codes);
    };
    await ask(1, ['12345', '67890', 'x'], [1, 1, quotaExceeded]);
    await ask(2, ['12345'], [1]);
    client.send(unsubscribe({ packetId: 3, filters: ['12345'] }));
    await client.packet();
    await ask(4, ['x/y'], [1]);
    t.equal(broker.metrics.subscriptionsRefused, 1);
  },
);

t.test('maximumRetainedTopicBytes: a retained message with a new topic above it is refused', async (t) => {
  const { port } = await startBroker(t, { maximumRetainedTopicBytes: 10 });
  const client = await connected(t, port);
  const keep = async (packetId: number, topic: string, payload: string, code: number): Promise<void> => {
    client.send(publish({ topic, qos: 1, packetId, retain: true, payload }));
    const puback = await client.packet();
    t.equal(puback.length > 4 ? puback[4] : 0, code, topic);
  };
  const noSubscribers = 0;
  await keep(1, '1234567', 'a', noSubscribers);
  await keep(2, '1234', 'a', quotaExceeded);
  await keep(3, '1234567', 'b', noSubscribers);
  await keep(4, '1234567', '', noSubscribers);
  await keep(5, '1234', 'a', noSubscribers);
});

t.test('a client that subscribes again and again without reading has one replay under way', async (t) => {
  const { port } = await startBroker(t, { maximumInflightMessages: 1 });
  const publisher = await connected(t, port);
  for (let at = 0; at < 200; at++) {
    await published(publisher, { topic: `kept/${at}`, qos: 1, retain: true, payload: 'k' });
  }
  const client = await connected(t, port);
  const first = [];
  for (let packetId = 1; packetId <= 20; packetId++) {
    client.send(subscribe({ packetId, filters: [['kept/#', 1]] }));
    for (;;) {
      const packet = await client.packet();
      if (packet[0] === 0x90) break;
      first.push(packet);
    }
  }
  t.equal(first.length, 1, 'the window is full');
  client.send(Buffer.from('40020001', 'hex'));
  const topics = new Set<string>();
  let count = 1;
  for (; topics.size < 200; count++) {
    const message = await received(client);
    topics.add(message.topic);
    await acknowledged(client, message);
  }
  await client.expectNothing();
  t.ok(count < 400, `what one replay has queued, and all once more: ${count}`);
});
