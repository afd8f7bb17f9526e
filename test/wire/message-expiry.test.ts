import t, { type Test } from 'tap';
import {
  acknowledged,
  connected,
  connectedToSession,
  expectAck,
  payloads,
  published,
  received,
  subscribed,
} from '../helpers/client.js';
import { ack, disconnect, property, publish } from '../helpers/packets.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';
import type { WireClient } from '../helpers/wire-client.js';

const expiry = property.messageExpiryInterval;

async function leave(client: WireClient): Promise<void> {
  client.send(disconnect());
  await client.expectClose();
}

/** A session with a subscription to `a`, whose client is away, and a publisher. */
async function withAbsentSubscriber(t: Test, qos: number): Promise<[TimedBroker, WireClient]> {
  const broker = await startTimedBroker(t);
  const subscriber = await connectedToSession(t, broker.port, 'sub');
  await subscribed(subscriber, { filters: [['a', qos]] });
  await leave(subscriber);
  return [broker, await connected(t, broker.port)];
}

for (const qos of [1, 2]) {
  t.test(`[MQTT-3.3.2-5] edge case 30: a message queued at QoS ${qos} is not sent once it has expired`, async (t) => {
    const [broker, publisher] = await withAbsentSubscriber(t, qos);
    await published(publisher, { topic: 'a', qos, payload: 'gone', properties: [expiry(2)] });
    await published(publisher, { topic: 'a', qos, payload: 'none', properties: [expiry(0)] });
    await published(publisher, { topic: 'a', qos, payload: 'stays' });
    broker.clock.advance(4000);
    const subscriber = await connectedToSession(t, broker.port, 'sub', { sessionPresent: true });
    t.same(await payloads(subscriber, 1), ['stays']);
    await subscriber.expectNothing();
  });

  t.test(`[MQTT-3.3.2-6] edge case 30: QoS ${qos} goes out with what is left of its expiry`, async (t) => {
    const [broker, publisher] = await withAbsentSubscriber(t, qos);
    await published(publisher, { topic: 'a', qos, properties: [expiry(10)] });
    await published(publisher, { topic: 'a', qos });
    broker.clock.advance(3000);
    const subscriber = await connectedToSession(t, broker.port, 'sub', { sessionPresent: true });
    t.same((await received(subscriber)).properties, [expiry(7)]);
    t.same((await received(subscriber)).properties, [], 'absent stays absent');
  });
}

t.test('[MQTT-3.3.2-6] an expiry is forwarded whole to a subscriber that is there', async (t) => {
  const { port } = await startTimedBroker(t);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['a', 0]] });
  const publisher = await connected(t, port);
  for (const seconds of [1, 10, 0xffffffff]) {
    await published(publisher, { topic: 'a', properties: [expiry(seconds)] });
    t.same((await received(subscriber)).properties, [expiry(seconds)]);
  }
});

t.test('[MQTT-3.3.2-6] a retained message is replayed with what is left of its expiry', async (t) => {
  const { port, clock } = await startTimedBroker(t);
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', qos: 1, payload: 'x', retain: true, properties: [expiry(10)] });
  clock.advance(3000);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['a', 1]] });
  t.same((await received(subscriber)).properties, [expiry(7)]);
});

t.test('[MQTT-3.3.2-5] a retained message is not replayed once it has expired', async (t) => {
  const { port, clock } = await startTimedBroker(t);
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', qos: 1, payload: 'x', retain: true, properties: [expiry(2)] });
  await published(publisher, { topic: 'b', qos: 1, payload: 'y', retain: true, properties: [expiry(5)] });
  clock.advance(4000);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['#', 0]] });
  t.equal((await received(subscriber)).topic, 'b');
  await subscriber.expectNothing();
});

t.test('[MQTT-3.3.2-5] a message behind a full window is not sent once it has expired', async (t) => {
  const { port, clock } = await startTimedBroker(t);
  for (const clientId of ['stored', 'passing']) {
    const properties = [property.receiveMaximum(1)];
    const connect = clientId === 'stored' ? connectedToSession(t, port, clientId, { properties }) : null;
    const subscriber = await (connect ?? connected(t, port, { clientId, properties }));
    await subscribed(subscriber, { filters: [['a', 1]] });
    const publisher = await connected(t, port);
    await published(publisher, { topic: 'a', qos: 1, payload: 'open' });
    await published(publisher, { topic: 'a', qos: 1, payload: 'gone', properties: [expiry(2)] });
    await published(publisher, { topic: 'a', qos: 1, payload: 'stays', properties: [expiry(9)] });
    clock.advance(4000);
    t.same(await payloads(subscriber, 2), ['open', 'stays'], clientId);
    await subscriber.expectNothing();
    await leave(subscriber);
  }
});

t.test('[MQTT-4.3.3-7] edge case 29: what was sent is sent again on resume though it has expired since', async (t) => {
  for (const qos of [1, 2]) {
    const { port, clock } = await startTimedBroker(t);
    const subscriber = await connectedToSession(t, port, 'sub');
    await subscribed(subscriber, { filters: [['a', qos]] });
    const publisher = await connected(t, port);
    await published(publisher, { topic: 'a', qos, payload: 'x', properties: [expiry(2)] });
    const first = await received(subscriber);
    subscriber.reset();
    clock.advance(4000);
    const back = await connectedToSession(t, port, 'sub', { sessionPresent: true });
    const repeat = await received(back);
    t.match(repeat, { qos, dup: true, packetId: first.packetId, payload: 'x' });
    await acknowledged(back, repeat);
    await back.expectNothing();
  }
});

t.test('[MQTT-4.3.3-7] edge case 29: PUBREL is sent on resume though the message has expired since', async (t) => {
  const { port, clock } = await startTimedBroker(t);
  const subscriber = await connectedToSession(t, port, 'sub');
  await subscribed(subscriber, { filters: [['a', 2]] });
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', qos: 2, payload: 'x', properties: [expiry(2)] });
  const { packetId } = await received(subscriber);
  subscriber.send(ack('pubrec', packetId));
  await subscriber.expect(ack('pubrel', packetId));
  subscriber.reset();
  clock.advance(4000);
  const back = await connectedToSession(t, port, 'sub', { sessionPresent: true });
  await back.expect(ack('pubrel', packetId));
  back.send(ack('pubcomp', packetId));
  await back.expectNothing();
});

t.test('[MQTT-4.3.3-13] edge case 29: an expired QoS 2 publish is completed', async (t) => {
  const { port, clock } = await startTimedBroker(t);
  const publisher = await connectedToSession(t, port, 'pub');
  publisher.send(publish({ topic: 'a', qos: 2, packetId: 9, properties: [expiry(1)] }));
  await publisher.expect(ack('pubrec', 9));
  clock.advance(3000);
  publisher.send(publish({ topic: 'a', qos: 2, packetId: 9, dup: true, properties: [expiry(1)] }));
  await publisher.expect(ack('pubrec', 9));
  publisher.send(ack('pubrel', 9));
  await expectAck(publisher, 'pubcomp', 9, 0x00);
});

t.test('[MQTT-3.3.2-5] expiry goes on over a restart', async (t) => {
  const broker = await startTimedBroker(t);
  const subscriber = await connectedToSession(t, broker.port, 'sub');
  await subscribed(subscriber, { filters: [['a', 1]] });
  await leave(subscriber);
  const publisher = await connected(t, broker.port);
  await published(publisher, { topic: 'a', qos: 1, payload: 'gone', properties: [expiry(2)] });
  await published(publisher, { topic: 'a', qos: 1, payload: 'stays', retain: true, properties: [expiry(10)] });
  await published(publisher, { topic: 'b', qos: 1, payload: 'gone', retain: true, properties: [expiry(3)] });
  publisher.end();
  await broker.restart();
  broker.clock.advance(4000);
  const back = await connectedToSession(t, broker.port, 'sub', { sessionPresent: true });
  const message = await received(back);
  t.match(message, { payload: 'stays', properties: [expiry(6)] });
  back.send(ack('puback', message.packetId));
  await subscribed(back, { filters: [['#', 0]] });
  t.match(await received(back), { payload: 'stays', retain: true, properties: [expiry(6)] });
  await back.expectNothing();
});
