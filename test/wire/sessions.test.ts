import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { acknowledged, expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import { ack, connect, disconnect, pingreq, property, publish, type Version } from '../helpers/packets.js';
import { numberOf, parseConnack } from '../helpers/parse.js';
import { dialAndSend, forVersions, greet, join, lasting, type Port, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import type { WireClient } from '../helpers/wire-client.js';

async function leave(client: WireClient, reasonCode?: number, list?: readonly Buffer[]): Promise<void> {
  client.send(disconnect(reasonCode, list));
  await client.expectClose();
}

/** A session with a subscription, a queued message, and QoS 2 flows open both ways; its client is gone. */
async function busySession(t: Test, broker: Port, version: Version): Promise<void> {
  const client = await join(t, broker, lasting(version, 'c'), false);
  await subscribed(client, { version, filters: [['a', 2]] });
  const publisher = await join(t, broker);
  await published(publisher, { topic: 'a', qos: 2, payload: 'open' });
  const { packetId } = await received(client, version);
  client.send(ack('pubrec', packetId));
  await client.expect(ack('pubrel', packetId));
  client.send(publish({ version, topic: 'b', qos: 2, packetId: 77 }));
  await client.expect('50 02 00 4d');
  await leave(client);
  await published(publisher, { topic: 'a', qos: 1, payload: 'queued' });
}

forVersions(t, [4, 5], '[MQTT-3.1.2-4] a clean start finds nothing of the session before', async (t, version) => {
  const broker = await startBroker(t);
  await busySession(t, broker, version);
  const client = await join(t, broker, { ...lasting(version, 'c'), cleanStart: true }, false);
  const watcher = await watch(t, broker, 'b');
  await published(await join(t, broker), { topic: 'a', qos: 1, payload: 'new' });
  await client.expectNothing();
  // The identifier that was open begins a new flow.
  client.send(publish({ version, topic: 'b', qos: 2, packetId: 77, payload: 'again' }));
  await client.expect('50 02 00 4d');
  t.equal((await received(watcher)).payload, 'again');
  await leave(client);
  const later = await join(t, broker, lasting(version, 'c'), version === 5);
  await later.expectNothing();
});

forVersions(t, [4, 5], '[MQTT-3.1.2-5] [MQTT-3.1.2-23] a resumed session has all of its state', async (t, version) => {
  const broker = await startBroker(t);
  await busySession(t, broker, version);
  const watcher = await watch(t, broker, 'b');
  const client = await join(t, broker, lasting(version, 'c'), true);
  t.equal((await client.packet())[0], 0x62, 'the PUBREL that was owed');
  const queued = await received(client, version);
  t.equal(queued.payload, 'queued');
  await acknowledged(client, queued);
  await published(await join(t, broker), { topic: 'a', qos: 0, payload: 'live' });
  t.equal((await received(client, version)).payload, 'live', 'the subscription');
  client.send(publish({ version, topic: 'b', qos: 2, packetId: 77, dup: true }));
  await client.expect('50 02 00 4d');
  client.send(ack('pubrel', 77));
  await client.expect('70 02 00 4d');
  await watcher.expectNothing();
});

forVersions(t, [4, 5], '[MQTT-3.1.2-6] resuming where there is no session begins one', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, lasting(version, 'new'), false);
  await leave(client);
  await join(t, broker, lasting(version, 'new'), true);
});

forVersions(t, [4, 5], '[MQTT-3.1.3-2] each client identifier has its own session', async (t, version) => {
  const broker = await startBroker(t);
  for (const clientId of ['a', 'A', 'a ', 'b']) {
    const client = await join(t, broker, { ...lasting(version, clientId), userName: 'same' }, false);
    await subscribed(client, { version, filters: [[`to/${clientId}`, 1]] });
    await leave(client);
  }
  const publisher = await join(t, broker);
  for (const clientId of ['a', 'A', 'a ', 'b']) {
    await published(publisher, { topic: `to/${clientId}`, qos: 1, payload: clientId });
    const client = await join(t, broker, { ...lasting(version, clientId), userName: 'same' }, true);
    t.equal((await received(client, version)).payload, clientId);
    await client.expectNothing();
  }
});

t.test('[MQTT-4.1.0-1] state stays as long as the connection, whatever the expiry', async (t) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker);
  await subscribed(client, { filters: [['a', 1]] });
  client.send(publish({ topic: 'b', qos: 2, packetId: 5 }));
  await client.expect('50 02 00 05');
  broker.clock.leap(366 * 86_400_000);
  client.send(publish({ topic: 'b', qos: 2, packetId: 5, dup: true }));
  await client.expect('50 02 00 05');
  client.send(ack('pubrel', 5));
  await client.expect('70 02 00 05');
  await published(await join(t, broker), { topic: 'a', payload: 'x' });
  t.equal((await received(client)).payload, 'x');
});

t.test('[MQTT-4.1.0-2] [MQTT-3.2.2-3] a session ends when its expiry has passed, and not before', async (t) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker, lasting(5, 'c', 2));
  await subscribed(client, { filters: [['a', 1]] });
  broker.clock.advance(10_000);
  await client.expectNothing();
  await leave(client);
  broker.clock.advance(1_999);
  const again = await join(t, broker, lasting(5, 'c', 2), true);
  await leave(again);
  await published(await join(t, broker), { topic: 'a', qos: 1 });
  broker.clock.advance(2_000);
  const late = await join(t, broker, lasting(5, 'c', 2), false);
  await published(await join(t, broker), { topic: 'a', qos: 1 });
  await late.expectNothing();
});

t.test('[MQTT-4.1.0-2] expiry 0 ends with the connection, 0xFFFFFFFF never', async (t) => {
  const broker = await startTimedBroker(t);
  await leave(await join(t, broker, lasting(5, 'short', 0)));
  await join(t, broker, lasting(5, 'short', 0), false);
  const client = await join(t, broker, lasting(5, 'long'));
  client.reset();
  broker.clock.leap(150 * 366 * 86_400_000);
  await join(t, broker, lasting(5, 'long'), true);
});

t.test('[MQTT-4.1.0-2] edge case 22: expiry runs on from the disconnect over a restart', async (t) => {
  const broker = await startTimedBroker(t);
  for (const clientId of ['early', 'late']) await leave(await join(t, broker, lasting(5, clientId, 10)));
  const connected = await join(t, broker, lasting(5, 'connected', 10));
  broker.clock.advance(6_000);
  await broker.restart();
  await connected.rest();
  broker.clock.advance(3_999);
  await join(t, broker, lasting(5, 'early', 10), true);
  broker.clock.advance(1);
  await join(t, broker, lasting(5, 'late', 10), false);
  broker.clock.advance(5_999);
  await join(t, broker, lasting(5, 'connected', 10), true);
});

t.test('edge case 22: queued messages, properties and options come back after a restart', async (t) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker, lasting(5, 'c'));
  const identifier = [property.subscriptionIdentifier(300)];
  // No Local and Retain As Published
  await subscribed(client, { filters: [['a/+', 1 | 4 | 8]], properties: identifier });
  await leave(client);
  const list = [
    property.userProperty('b', '2'),
    property.userProperty('a', '1'),
    property.contentType('text'),
    property.userProperty('b', '3'),
    property.correlationData('x'),
  ];
  const publisher = await join(t, broker);
  const expiry = property.messageExpiryInterval(100);
  await published(publisher, { topic: 'a/1', qos: 1, retain: true, payload: 'x', properties: [expiry, ...list] });
  broker.clock.advance(30_000);
  await broker.crash();
  broker.clock.advance(20_000);
  const resumed = await join(t, broker, lasting(5, 'c'), true);
  const message = await received(resumed);
  t.equal(message.retain, true, 'Retain As Published');
  t.equal(message.dup, false);
  const users = (from: readonly Buffer[]) => from.filter(([id]) => id === 0x26);
  t.same(users(message.properties), users(list), 'User Properties in order');
  for (const one of [property.contentType('text'), property.correlationData('x'), property.messageExpiryInterval(50)]) {
    t.ok(
      message.properties.some((each) => each.equals(one)),
      one.toString('hex'),
    );
  }
  t.ok(
    message.properties.some((each) => each.equals(identifier[0])),
    'Subscription Identifier',
  );
  resumed.send(publish({ topic: 'a/2' }));
  await resumed.expectNothing();
  broker.clock.advance(50_000);
  await broker.crash();
  await watch(t, broker, 'a/+').then((watcher) => watcher.expectNothing());
});

t.test('edge case 20: a DISCONNECT may not give an expiry where CONNECT had none', async (t) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  for (const properties of [[], [property.sessionExpiryInterval(0)]]) {
    const client = await join(t, broker, { clientId: 'c', properties, will: { topic: 'will' } });
    client.send(disconnect(0, [property.sessionExpiryInterval(100)]));
    await expectDisconnect(client, 0x82);
    t.equal((await received(watcher)).topic, 'will');
    await leave(await join(t, broker, { ...lasting(5, 'c', 0) }, false));
  }
});

t.test('edge case 20: a DISCONNECT changes the expiry, or leaves it', async (t) => {
  const broker = await startTimedBroker(t);
  const expiry = (seconds: number) => [property.sessionExpiryInterval(seconds)];
  await leave(await join(t, broker, lasting(5, 'ended', 100)), 0, expiry(0));
  await join(t, broker, lasting(5, 'ended', 0), false);
  await leave(await join(t, broker, lasting(5, 'longer', 10)), 0, expiry(1000));
  await leave(await join(t, broker, lasting(5, 'shorter', 1000)), 0, expiry(10));
  await leave(await join(t, broker, lasting(5, 'as it was', 1000)), 0, []);
  await leave(await join(t, broker, lasting(5, 'short form', 1000)));
  await leave(await join(t, broker, lasting(5, 'for ever', 10)), 0, expiry(0xffffffff));
  broker.clock.advance(999_999);
  await join(t, broker, lasting(5, 'shorter'), false);
  for (const clientId of ['longer', 'as it was', 'short form', 'for ever']) {
    await join(t, broker, lasting(5, clientId), true);
  }
});

t.test('edge case 20: what CONNECT carried counts, not what the broker made of it', async (t) => {
  const broker = await startTimedBroker(t, { maximumSessionExpiry: 10 });
  const [client, { properties }] = await greet(t, broker, lasting(5, 'c', 100));
  t.equal(numberOf(properties, 0x11), 10, 'the cap is told');
  client.send(disconnect(0, [property.sessionExpiryInterval(50)]));
  await client.expectClose();
  broker.clock.advance(9_999);
  await leave(await join(t, broker, lasting(5, 'c', 5), true));
  broker.clock.advance(5_000);
  await join(t, broker, lasting(5, 'c', 5), false);

  const none = await startTimedBroker(t, { maximumSessionExpiry: 0 });
  const [capped, connack] = await greet(t, none, lasting(5, 'c', 100));
  t.equal(numberOf(connack.properties, 0x11), 0);
  // Not an error: CONNECT had an expiry.
  await leave(capped, 0, [property.sessionExpiryInterval(50)]);
  await join(t, none, lasting(5, 'c', 100), false);
});

t.test('edge case 21: Clean Start 0 without expiry resumes, and ends with the connection', async (t) => {
  const broker = await startTimedBroker(t);
  await leave(await join(t, broker, lasting(5, 'c', 100)));
  const client = await join(t, broker, { clientId: 'c', cleanStart: false }, true);
  await leave(client);
  await join(t, broker, lasting(5, 'c', 100), false);
});

t.test('edge case 21: CleanSession 0 of MQTT 3.1.1 has no end of its own', async (t) => {
  const broker = await startTimedBroker(t);
  await leave(await join(t, broker, lasting(4, 'c')));
  broker.clock.leap(100 * 366 * 86_400_000);
  await join(t, broker, lasting(4, 'c'), true);
});

forVersions(t, [4, 5], '[MQTT-3.1.2-4] a clean start ends the session also over a restart', async (t, version) => {
  const broker = await startTimedBroker(t);
  await busySession(t, broker, version);
  await leave(await join(t, broker, { version, clientId: 'c' }, false));
  await broker.crash();
  const client = await join(t, broker, lasting(version, 'c'), false);
  await published(await join(t, broker), { topic: 'a', qos: 1 });
  await client.expectNothing();
});

t.test('[MQTT-3.1.2-5] a session moves between versions', async (t) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker, lasting(5, 'c'));
  await subscribed(client, { filters: [['a', 1]], properties: [property.subscriptionIdentifier(3)] });
  await leave(client);
  const publisher = await join(t, broker);
  await published(publisher, { topic: 'a', qos: 1, payload: 'x', properties: [property.userProperty('a', 'b')] });
  const older = await dialAndSend(t, broker, connect(lasting(4, 'c')));
  await older.expect('20 02 01 00', publish({ version: 4, topic: 'a', qos: 1, payload: 'x' }));
  older.send(ack('puback', 1), pingreq());
  await older.expect('d0 00');
  await leave(older);
  const newer = await dialAndSend(t, broker, connect(lasting(5, 'c')));
  t.equal(parseConnack(await newer.packet()).flags, 1);
  await newer.expectNothing();
});
