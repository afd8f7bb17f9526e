import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  connected,
  connectedToSession,
  expectDisconnect,
  published,
  received,
  suback,
  subscribed,
  unsuback,
  versions,
} from '../helpers/client.js';
import { ack, property, publish, subscribe, unsubscribe } from '../helpers/packets.js';
import type { WireClient } from '../helpers/wire-client.js';

const window = (size: number) => [property.receiveMaximum(size)];

async function publishMany(publisher: WireClient, count: number, qos = 2): Promise<void> {
  for (let at = 0; at < count; at++) await published(publisher, { topic: 'a', qos, payload: String(at) });
}

/** A subscriber to `a` at QoS 2 with a window, behind which `count` messages are waiting. */
async function scene(t: Test, size: number, count: number) {
  const { port } = await startBroker(t);
  const subscriber = await connectedToSession(t, port, 'sub', { properties: window(size) });
  await subscribed(subscriber, {
    filters: [
      ['a', 2],
      ['z', 0],
    ],
  });
  const publisher = await connected(t, port);
  await publishMany(publisher, count);
  return { port, subscriber, publisher };
}

// ---- towards the client ----

t.test('[MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] a window of N has N messages open, never more', async (t) => {
  for (const size of [1, 3]) {
    const { subscriber } = await scene(t, size, 10);
    for (let at = 0; at < size; at++) t.equal((await received(subscriber)).payload, String(at));
    await subscriber.expectNothing();
  }
});

t.test('[MQTT-4.9.0-1] a window of 65535 is as large as the broker lets it be', async (t) => {
  const { port } = await startBroker(t, { maximumInflightMessages: 65_535 });
  const subscriber = await connected(t, port, { properties: window(65_535) });
  await subscribed(subscriber, { filters: [['a', 1]] });
  const publisher = await connected(t, port);
  const count = 3000;
  for (let at = 0; at < count; at += 500) {
    const batch = Array.from({ length: 500 }, (_, index) => publish({ topic: 'a', qos: 1, packetId: index + 1 }));
    publisher.send(...batch);
    for (const _ of batch) await publisher.packet();
  }
  const ids = new Set<number>();
  while (ids.size < count) ids.add((await received(subscriber)).packetId);
  await subscriber.expectNothing();
});

t.test('[MQTT-3.3.4-9] edge case 33: PUBREC frees no slot, PUBCOMP does', async (t) => {
  const { subscriber } = await scene(t, 1, 3);
  const { packetId } = await received(subscriber);
  subscriber.send(ack('pubrec', packetId));
  await subscriber.expect(ack('pubrel', packetId));
  await subscriber.expectNothing();
  subscriber.send(ack('pubcomp', packetId));
  t.equal((await received(subscriber)).payload, '1');
  await subscriber.expectNothing();
});

t.test('[MQTT-3.3.4-9] [MQTT-4.4.0-2] edge case 33: PUBREC and PUBACK of 0x80 or above free a slot', async (t) => {
  const { subscriber, publisher } = await scene(t, 1, 2);
  for (const payload of ['0', '1']) {
    const message = await received(subscriber);
    t.equal(message.payload, payload);
    subscriber.send(ack('pubrec', message.packetId, 0x97));
  }
  await publishMany(publisher, 2, 1);
  for (const payload of ['0', '1']) {
    const message = await received(subscriber);
    t.equal(message.payload, payload);
    subscriber.send(ack('puback', message.packetId, 0x80));
  }
  await subscriber.expectNothing();
});

t.test('[MQTT-3.3.4-9] edge case 33: QoS 1 and QoS 2 share one window', async (t) => {
  const { subscriber, publisher } = await scene(t, 2, 1);
  await publishMany(publisher, 2, 1);
  const open = [await received(subscriber), await received(subscriber)];
  t.same(
    open.map(({ qos }) => qos),
    [2, 1],
  );
  await subscriber.expectNothing();
  subscriber.send(ack('puback', open[1].packetId));
  t.equal((await received(subscriber)).qos, 1);
});

t.test('[MQTT-4.9.0-2] QoS 0 goes on while the window is full', async (t) => {
  const { subscriber, publisher } = await scene(t, 1, 3);
  await received(subscriber);
  await published(publisher, { topic: 'z', payload: 'free' });
  t.match(await received(subscriber), { qos: 0, payload: 'free' });
});

t.test('[MQTT-3.3.4-10] [MQTT-4.9.0-3] edge case 33: a full window delays no other packet', async (t) => {
  const { subscriber } = await scene(t, 1, 3);
  const { packetId } = await received(subscriber);
  await subscriber.expectNothing();
  subscriber.send(subscribe({ packetId: 7, filters: [['b', 1]] }));
  await subscriber.expect(suback(7, [1]));
  subscriber.send(unsubscribe({ packetId: 8, filters: ['b'] }));
  await subscriber.expect(unsuback(8, [0]));
  await published(subscriber, { topic: 'c', qos: 1, packetId: 9 });
  await published(subscriber, { topic: 'c', qos: 2, packetId: 10 });
  subscriber.send(ack('pubrec', packetId));
  await subscriber.expect(ack('pubrel', packetId));
});

t.test('[MQTT-4.9.0-2] edge case 33: the window is the new connection’s, and repeats count in it', async (t) => {
  const { port, subscriber } = await scene(t, 5, 10);
  for (let at = 0; at < 5; at++) await received(subscriber);
  subscriber.reset();
  const back = (size: number) => connectedToSession(t, port, 'sub', { properties: window(size), sessionPresent: true });
  const smaller = await back(2);
  for (const payload of ['0', '1']) t.match(await received(smaller), { payload, dup: true });
  await smaller.expectNothing();
  smaller.reset();
  const larger = await back(7);
  const ids: number[] = [];
  for (let at = 0; at < 7; at++) {
    const message = await received(larger);
    t.match(message, { payload: String(at), dup: at < 5 });
    ids.push(message.packetId);
  }
  await larger.expectNothing();
  larger.send(ack('pubrec', ids[0], 0x80));
  t.match(await received(larger), { payload: '7', dup: false });
  await larger.expectNothing();
});

t.test(
  '[MQTT-3.3.4-9] [MQTT-4.9.0-2] repeats beyond a smaller window come as it frees, before the backlog',
  async (t) => {
    const { port, subscriber } = await scene(t, 4, 6);
    for (let at = 0; at < 4; at++) await received(subscriber);
    subscriber.reset();
    const resumed = await connectedToSession(t, port, 'sub', { properties: window(1), sessionPresent: true });
    for (let at = 0; at < 6; at++) {
      const { payload, dup, packetId } = await received(resumed);
      t.same([payload, dup], [String(at), at < 4]);
      await resumed.expectNothing();
      resumed.send(ack('pubrec', packetId));
      await resumed.expect(ack('pubrel', packetId));
      await resumed.expectNothing();
      resumed.send(ack('pubcomp', packetId));
    }
    await resumed.expectNothing();
  },
);

t.test('[MQTT-3.3.4-9] [MQTT-4.9.0-2] PUBCOMP for a flow of an earlier connection makes no room', async (t) => {
  const { port, subscriber } = await scene(t, 2, 6);
  const ids = [(await received(subscriber)).packetId, (await received(subscriber)).packetId];
  for (const packetId of ids) {
    subscriber.send(ack('pubrec', packetId));
    await subscriber.expect(ack('pubrel', packetId));
  }
  subscriber.reset();
  const resumed = await connectedToSession(t, port, 'sub', { properties: window(1), sessionPresent: true });
  for (const packetId of ids) await resumed.expect(ack('pubrel', packetId));
  const { packetId } = await received(resumed);
  await resumed.expectNothing();
  for (const earlier of ids) resumed.send(ack('pubcomp', earlier));
  await resumed.expectNothing();
  resumed.send(ack('pubrec', packetId, 0x80));
  t.equal((await received(resumed)).payload, '3');
  await resumed.expectNothing();
});

t.test('[MQTT-4.9.0-2] acknowledgements nobody asked for make no room', async (t) => {
  const { subscriber } = await scene(t, 1, 3);
  const { packetId } = await received(subscriber);
  for (const other of [packetId + 1, packetId + 2, 999]) subscriber.send(ack('puback', other), ack('pubcomp', other));
  await subscriber.expectNothing();
  subscriber.send(ack('pubrec', 999));
  await subscriber.expect(ack('pubrel', 999, 0x92));
  await subscriber.expectNothing();
});

t.test('the window of a 3.1.1 client is the broker’s own setting', async (t) => {
  const { port } = await startBroker(t, { maximumInflightMessages: 3 });
  const subscriber = await connected(t, port, { version: 4 });
  await subscribed(subscriber, { version: 4, filters: [['a', 1]] });
  await publishMany(await connected(t, port), 6, 1);
  for (let at = 0; at < 3; at++) await received(subscriber, 4);
  await subscriber.expectNothing();
});

// ---- towards the broker ----

t.test('[MQTT-3.3.4-7] [MQTT-4.9.0-2] edge case 32: one publish more than Receive Maximum ends it all', async (t) => {
  const { port } = await startBroker(t, { receiveMaximum: 3 });
  const publisher = await connected(t, port);
  for (const packetId of [1, 2, 3]) {
    publisher.send(publish({ topic: 'a', qos: 2, packetId }));
    await publisher.expect(ack('pubrec', packetId));
  }
  publisher.send(publish({ topic: 'a', qos: 2, packetId: 2, dup: true }));
  await publisher.expect(ack('pubrec', 2));
  publisher.send(publish({ topic: 'a', qos: 0 }));
  await publisher.expectNothing();
  publisher.send(publish({ topic: 'a', qos: 2, packetId: 4 }));
  await expectDisconnect(publisher, 0x93);
});

t.test('[MQTT-3.3.4-7] edge case 32: QoS 1 beside a full window of QoS 2 is too much as well', async (t) => {
  const { port } = await startBroker(t, { receiveMaximum: 1 });
  const publisher = await connected(t, port);
  publisher.send(publish({ topic: 'a', qos: 2, packetId: 1 }));
  await publisher.expect(ack('pubrec', 1));
  publisher.send(publish({ topic: 'a', qos: 1, packetId: 2 }));
  await expectDisconnect(publisher, 0x93);
});

t.test('[MQTT-3.3.4-7] edge case 32: what is completed or refused does not count', async (t) => {
  const { port } = await startBroker(t, { receiveMaximum: 1 });
  const publisher = await connected(t, port);
  for (let packetId = 1; packetId <= 20; packetId++) {
    await published(publisher, { topic: 'a', qos: 2, packetId });
    await published(publisher, { topic: 'a', qos: 1, packetId });
    publisher.send(publish({ topic: '$SYS/x', qos: 2, packetId }));
    t.equal((await publisher.packet())[4], 0x87);
  }
});

t.test('[MQTT-3.3.4-7] edge case 32: what an earlier connection left open counts, and is announced', async (t) => {
  const { port } = await startBroker(t, { receiveMaximum: 2 });
  const first = await connectedToSession(t, port, 'pub');
  first.send(publish({ topic: 'a', qos: 2, packetId: 1 }));
  await first.expect(ack('pubrec', 1));
  first.reset();
  const second = await connectedToSession(t, port, 'pub', { sessionPresent: true });
  second.send(publish({ topic: 'a', qos: 2, packetId: 1, dup: true }));
  await second.expect(ack('pubrec', 1));
  second.send(publish({ topic: 'a', qos: 2, packetId: 2 }));
  await second.expect(ack('pubrec', 2));
  second.send(publish({ topic: 'a', qos: 2, packetId: 3 }));
  await expectDisconnect(second, 0x93);
});

for (const version of versions) {
  t.test(`edge case 32: as much as the broker announces is taken at once, in ${version}`, async (t) => {
    const { port } = await startBroker(t, { receiveMaximum: 50 });
    const publisher = await connected(t, port, { version });
    const ids = Array.from({ length: version === 5 ? 50 : 200 }, (_, at) => at + 1);
    publisher.send(...ids.map((packetId) => publish({ version, topic: 'a', qos: 2, packetId })));
    for (const packetId of ids) await publisher.expect(ack('pubrec', packetId));
    await publisher.expectNothing();
  });
}
