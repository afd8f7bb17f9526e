import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  connectedToSession,
  expectAck,
  payloads,
  published,
  type Received,
  received,
  subscribed,
  versions,
} from '../helpers/client.js';
import { ack, property, publish, type Version } from '../helpers/packets.js';
import type { WireClient } from '../helpers/wire-client.js';

/** A broker with a subscriber to `a` in a session of its own, and a publisher. */
async function scene(
  t: Test,
  version: Version,
): Promise<{ port: number; subscriber: WireClient; publisher: WireClient }> {
  const { port } = await startBroker(t);
  const subscriber = await connectedToSession(t, port, 'sub', { version });
  await subscribed(subscriber, { version, filters: [['a', 2]] });
  return { port, subscriber, publisher: await connected(t, port, { version }) };
}

const back = (t: Test, port: number, version: Version) =>
  connectedToSession(t, port, 'sub', { version, sessionPresent: true });

for (const version of versions) {
  const titled = (title: string, script: (t: Test) => Promise<void>) => t.test(`${title}, in ${version}`, script);

  titled('[MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-2.2.1-4] open deliveries have identifiers of their own', async (t) => {
    const { subscriber, publisher } = await scene(t, version);
    const open = new Map<number, Received>();
    for (let at = 0; at < 200; at++) {
      await published(publisher, { version, topic: 'a', qos: 1 + (at % 2), payload: String(at) });
      const message = await received(subscriber, version);
      t.ok(message.packetId > 0 && !open.has(message.packetId), `identifier ${message.packetId}`);
      open.set(message.packetId, message);
      if (at % 3 !== 0) continue;
      const [done] = open.values();
      await acknowledged(subscriber, done);
      open.delete(done.packetId);
    }
  });

  titled('[MQTT-4.3.2-2] [MQTT-4.3.3-2] a first delivery has its QoS and DUP 0, from a queue too', async (t) => {
    const { port, subscriber, publisher } = await scene(t, version);
    for (const qos of [1, 2]) {
      await published(publisher, { version, topic: 'a', qos });
      const message = await received(subscriber, version);
      t.match(message, { qos, dup: false });
      await acknowledged(subscriber, message);
    }
    subscriber.reset();
    await publisher.expectNothing();
    for (const qos of [1, 2]) await published(publisher, { version, topic: 'a', qos, dup: true });
    const resumed = await back(t, port, version);
    for (const qos of [1, 2]) t.match(await received(resumed, version), { qos, dup: false });
  });

  titled('[MQTT-4.3.2-3] [MQTT-3.3.1-1] QoS 1 comes again on resume until PUBACK, not after', async (t) => {
    const { port, subscriber, publisher } = await scene(t, version);
    await published(publisher, { version, topic: 'a', qos: 1, payload: 'x' });
    const first = await received(subscriber, version);
    subscriber.reset();
    const second = await back(t, port, version);
    const { packetId } = first;
    t.match(await received(second, version), { packetId, qos: 1, dup: true, payload: 'x', topic: 'a' });
    second.reset();
    const third = await back(t, port, version);
    t.match(await received(third, version), { packetId, dup: true, payload: 'x' });
    third.send(ack('puback', packetId));
    await third.expectNothing();
    third.reset();
    await (await back(t, port, version)).expectNothing();
  });

  titled('[MQTT-4.3.2-5] QoS 1 under an identifier used before is a new message, DUP or not', async (t) => {
    const { subscriber, publisher } = await scene(t, version);
    await published(publisher, { version, topic: 'a', qos: 1, packetId: 3, payload: 'x' });
    await published(publisher, { version, topic: 'a', qos: 1, packetId: 3, payload: 'x', dup: true });
    t.same(await payloads(subscriber, 2, version), ['x', 'x']);
  });

  titled('[MQTT-4.3.3-3] [MQTT-3.3.1-1] QoS 2 comes again on resume until PUBREC', async (t) => {
    const { port, subscriber, publisher } = await scene(t, version);
    await published(publisher, { version, topic: 'a', qos: 2, payload: 'x' });
    const { packetId } = await received(subscriber, version);
    subscriber.reset();
    const second = await back(t, port, version);
    t.match(await received(second, version), { packetId, qos: 2, dup: true, payload: 'x' });
    second.send(ack('pubrec', packetId));
    await second.expect(ack('pubrel', packetId));
    second.send(ack('pubcomp', packetId));
    await second.expectNothing();
    second.reset();
    await (await back(t, port, version)).expectNothing();
  });

  titled('[MQTT-4.3.3-5] [MQTT-4.3.3-6] edge case 26: after PUBREC only PUBREL comes on resume', async (t) => {
    const { port, subscriber, publisher } = await scene(t, version);
    await published(publisher, { version, topic: 'a', qos: 2, payload: 'x' });
    const { packetId } = await received(subscriber, version);
    subscriber.send(ack('pubrec', packetId));
    await subscriber.expect(ack('pubrel', packetId));
    subscriber.reset();
    await publisher.expectNothing();
    await published(publisher, { version, topic: 'a', qos: 1, payload: 'newer' });
    const second = await back(t, port, version);
    await second.expect(ack('pubrel', packetId));
    t.match(await received(second, version), { payload: 'newer', dup: false });
    second.reset();
    const third = await back(t, port, version);
    await third.expect(ack('pubrel', packetId));
    const newer = await received(third, version);
    third.send(ack('pubcomp', packetId), ack('puback', newer.packetId));
    await third.expectNothing();
    third.reset();
    await (await back(t, port, version)).expectNothing();
  });

  titled('[MQTT-4.3.3-4] PUBREC is answered with PUBREL and the identifier is free after PUBCOMP', async (t) => {
    const { subscriber, publisher } = await scene(t, version);
    await published(publisher, { version, topic: 'a', qos: 2 });
    const { packetId } = await received(subscriber, version);
    subscriber.send(ack('pubrec', packetId));
    await subscriber.expect(ack('pubrel', packetId));
    await published(publisher, { version, topic: 'a', qos: 1 });
    t.not((await received(subscriber, version)).packetId, packetId, 'still in use before PUBCOMP');
  });

  titled('[MQTT-4.3.3-10] edge case 24: a repeated QoS 2 PUBLISH gets PUBREC and is delivered once', async (t) => {
    const { port, subscriber } = await scene(t, version);
    let publisher = await connectedToSession(t, port, 'pub', { version });
    const message = { version, topic: 'a', qos: 2, packetId: 5, payload: 'x' };
    for (const dup of [false, true, false, true, true]) {
      publisher.send(publish({ ...message, dup }));
      await publisher.expect(ack('pubrec', 5));
    }
    publisher.reset();
    publisher = await connectedToSession(t, port, 'pub', { version, sessionPresent: true });
    publisher.send(publish({ ...message, dup: true }));
    await publisher.expect(ack('pubrec', 5));
    publisher.send(ack('pubrel', 5));
    await publisher.expect(ack('pubcomp', 5));
    t.same(await payloads(subscriber, 1, version), ['x']);
    await subscriber.expectNothing();
  });

  titled('[MQTT-4.3.3-12] [MQTT-2.2.1-3] an identifier is free after PUBCOMP, and not before', async (t) => {
    const { subscriber, publisher } = await scene(t, version);
    await published(publisher, { version, topic: 'a', qos: 2, packetId: 5, payload: '1' });
    publisher.send(publish({ version, topic: 'a', qos: 2, packetId: 5, payload: '2' }));
    await publisher.expect(ack('pubrec', 5));
    publisher.send(publish({ version, topic: 'a', qos: 2, packetId: 5, payload: 'not new' }));
    await publisher.expect(ack('pubrec', 5));
    publisher.send(ack('pubrel', 5));
    await publisher.expect(ack('pubcomp', 5));
    await published(publisher, { version, topic: 'a', qos: 2, packetId: 5, payload: '3' });
    t.same(await payloadsOpen(subscriber, 3, version), ['1', '2', '3']);
    await subscriber.expectNothing();
  });

  titled('[MQTT-4.3.3-11] PUBCOMP answers PUBREL, also after a reconnect', async (t) => {
    const { port } = await scene(t, version);
    const publisher = await connectedToSession(t, port, 'pub', { version });
    publisher.send(publish({ version, topic: 'a', qos: 2, packetId: 5 }));
    await publisher.expect(ack('pubrec', 5));
    publisher.reset();
    const again = await connectedToSession(t, port, 'pub', { version, sessionPresent: true });
    again.send(ack('pubrel', 5));
    await again.expect(ack('pubcomp', 5));
    again.send(ack('pubrel', 5));
    await expectAck(again, 'pubcomp', 5, version === 5 ? 0x92 : 0);
  });

  titled('edge case 28: both directions can have the same identifier open', async (t) => {
    const { port } = await startBroker(t);
    const client = await connected(t, port, { version });
    await subscribed(client, { version, filters: [['a', 2]] });
    client.send(publish({ version, topic: 'a', qos: 2, packetId: 1, payload: '1' }));
    const packets = [await client.packet(), await client.packet()].map((packet) => packet[0] & 0xf0).sort();
    t.same(packets, [0x30, 0x50], 'a delivery under identifier 1, and PUBREC for 1');
    client.send(ack('pubrec', 1));
    await client.expect(ack('pubrel', 1));
    client.send(ack('pubrel', 1));
    await client.expect(ack('pubcomp', 1));
    client.send(publish({ version, topic: 'b', qos: 2, packetId: 1 }));
    await client.expect(ack('pubrec', 1));
    client.send(ack('pubcomp', 1));
    client.send(ack('pubrel', 1));
    await client.expect(ack('pubcomp', 1));
    await client.expectNothing();
  });

  titled('[MQTT-4.3.2-4] [MQTT-4.3.3-8] what is acknowledged is there for a session that was away', async (t) => {
    const { port, subscriber, publisher } = await scene(t, version);
    subscriber.reset();
    await publisher.expectNothing();
    publisher.send(publish({ version, topic: 'a', qos: 1, packetId: 0x0101, payload: '1' }));
    await publisher.expect('40 02 01 01');
    publisher.send(publish({ version, topic: 'a', qos: 2, packetId: 0x0202, payload: '2' }));
    await publisher.expect('50 02 02 02');
    const resumed = await back(t, port, version);
    t.same(await payloadsOpen(resumed, 2, version), ['1', '2']);
  });

  titled('[MQTT-4.1.0-1] open flows stay as long as a connection without session expiry', async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connected(t, port, { version });
    await subscribed(subscriber, { version, filters: [['a', 2]] });
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a', qos: 2 });
    const { packetId } = await received(subscriber, version);
    for (let time = 0; time < 50; time++) await published(publisher, { version, topic: 'b', qos: 2 });
    subscriber.send(ack('pubrec', packetId));
    await subscriber.expect(ack('pubrel', packetId));
    await subscriber.expectNothing();
  });
}

/** Payloads in the order they come, nothing acknowledged. */
async function payloadsOpen(client: WireClient, count: number, version: Version): Promise<string[]> {
  const all: string[] = [];
  while (all.length < count) all.push((await received(client, version)).payload);
  return all;
}

t.test('[MQTT-4.3.3-4] PUBREC of 0x80 or above gets no PUBREL and frees the identifier', async (t) => {
  const { subscriber, publisher } = await scene(t, 5);
  await published(publisher, { topic: 'a', qos: 2 });
  const { packetId } = await received(subscriber);
  subscriber.send(ack('pubrec', packetId, 0x97));
  await subscriber.expectNothing();
  subscriber.send(ack('pubrec', packetId));
  await expectAck(subscriber, 'pubrel', packetId, 0x92);
});

t.test('[MQTT-4.4.0-2] a delivery refused by its receiver is not repeated on resume', async (t) => {
  const { port, subscriber, publisher } = await scene(t, 5);
  await published(publisher, { topic: 'a', qos: 1 });
  await published(publisher, { topic: 'a', qos: 2 });
  const [first, second] = [await received(subscriber), await received(subscriber)];
  subscriber.send(ack('puback', first.packetId, 0x80), ack('pubrec', second.packetId, 0x80));
  await subscriber.expectNothing();
  subscriber.reset();
  await (await back(t, port, 5)).expectNothing();
});

t.test('[MQTT-4.3.3-9] [MQTT-4.3.3-8] a QoS 2 publish that was refused leaves its identifier free', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['#', 2]] });
  const publisher = await connected(t, port, { properties: [property.requestProblemInformation(0)] });
  publisher.send(publish({ topic: '$SYS/x', qos: 2, packetId: 6 }));
  await expectAck(publisher, 'pubrec', 6, 0x87);
  await published(publisher, { topic: 'a', qos: 2, packetId: 6, payload: 'new' });
  t.same(await payloads(subscriber, 1), ['new']);
  publisher.send(ack('pubrel', 6));
  await expectAck(publisher, 'pubcomp', 6, 0x92);
});

t.test('[MQTT-2.2.1-4] identifiers wrap around without one that is 0 or in use', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['a', 1]] });
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', qos: 1, payload: 'held' });
  const held = (await received(subscriber)).packetId;
  await subscribed(subscriber, { filters: [['b', 1]] });
  for (let round = 0; round < 14; round++) {
    publisher.send(
      Buffer.concat(Array.from({ length: 5000 }, (_, at) => publish({ topic: 'b', qos: 1, packetId: at + 1 }))),
    );
    for (let at = 0; at < 5000; at++) {
      const { packetId } = await received(subscriber);
      if (packetId === 0 || packetId === held) t.fail(`identifier ${packetId}`);
      subscriber.send(ack('puback', packetId));
    }
    for (let at = 0; at < 5000; at++) await publisher.packet();
  }
});
