import t from 'tap';
import { expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import {
  type ConnectFields,
  connect,
  disconnect,
  property,
  type Version,
  type WillFields,
} from '../helpers/packets.js';
import { dialAndSend, expectRefused, forVersions, join, lasting, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

const delayed = (seconds: number, more: Partial<WillFields> = {}): WillFields => ({
  topic: 'will',
  payload: 'w',
  ...more,
  properties: [property.willDelayInterval(seconds), ...(more.properties ?? [])],
});

/** A client with a will, whose session in version 5 ends `expiry` seconds after its connection. */
const withWill = (version: Version, will: WillFields, expiry = 0): ConnectFields =>
  version === 5 ? { ...lasting(5, 'c', expiry), will } : { version, clientId: 'c', will };

forVersions(
  t,
  [3, 4, 5],
  '[MQTT-3.1.2-7] a will goes out as it was given when the socket breaks',
  async (t, version) => {
    const broker = await startTimedBroker(t);
    const watcher = await watch(t, broker, '#');
    const properties = [property.contentType('type'), property.payloadFormatIndicator(1)];
    const will = { topic: 'will', payload: 'w', qos: 2, properties };
    (await join(t, broker, withWill(version, will))).reset();
    const message = await received(watcher);
    t.match(message, { topic: 'will', payload: 'w', qos: 2, retain: false, dup: false });
    t.same(message.properties, version === 5 ? properties : []);
  },
);

t.test('[MQTT-3.1.2-8] edge case 16: a will is due after its delay or with its session', async (t) => {
  for (const [delay, expiry, due] of [
    [5, 30, 5],
    [30, 5, 5],
    [5, 5, 5],
    [10, 0, 0],
    [0, 30, 0],
    [10, 0xffffffff, 10],
  ]) {
    const broker = await startTimedBroker(t);
    const watcher = await watch(t, broker, 'will');
    const client = await join(t, broker, withWill(5, delayed(delay), expiry));
    client.send(disconnect(0x04));
    await client.expectClose();
    if (due > 0) {
      broker.clock.advance(due * 1000 - 1);
      await watcher.expectNothing();
      broker.clock.advance(1);
    }
    t.equal((await received(watcher)).payload, 'w', `delay ${delay}, expiry ${expiry}`);
    broker.clock.advance(100_000);
    await watcher.expectNothing();
  }
});

t.test('[MQTT-3.1.2-8] edge case 16: a clean start ends the delay with the session', async (t) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  const client = await join(t, broker, withWill(5, delayed(10), 100));
  client.send(disconnect(0x04));
  await client.expectClose();
  broker.clock.advance(5_000);
  await watcher.expectNothing();
  await join(t, broker, { clientId: 'c' }, false);
  t.equal((await received(watcher)).payload, 'w');
});

t.test('[MQTT-3.1.3-9] [MQTT-3.1.2-10] a client that is back before the delay has no will sent', async (t) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  (await join(t, broker, withWill(5, delayed(5), 100))).reset();
  broker.clock.advance(2_000);
  const client = await join(t, broker, lasting(5, 'c', 100), true);
  broker.clock.advance(10_000);
  client.reset();
  broker.clock.advance(200_000);
  await watcher.expectNothing();
});

forVersions(t, [4, 5], '[MQTT-3.1.2-10] a will goes out once', async (t, version) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  (await join(t, broker, { ...lasting(version, 'c'), will: { topic: 'will' } })).reset();
  await received(watcher);
  (await join(t, broker, lasting(version, 'c'), true)).reset();
  await broker.crash();
  const later = await watch(t, broker, 'will');
  await join(t, broker, lasting(version, 'c'), true);
  await later.expectNothing();
});

forVersions(t, [3, 4, 5], '[MQTT-3.1.2-8] [MQTT-3.14.4-3] edge case 18: DISCONNECT removes the will', async (t, v) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  const forms = v === 5 ? [disconnect(), disconnect(0), disconnect(0, [])] : [disconnect()];
  for (const packet of forms) {
    const client = await join(t, broker, { ...lasting(v, 'c'), will: { topic: 'will' } });
    client.send(packet);
    await client.expectClose();
  }
  await broker.crash();
  const later = await watch(t, broker, 'will');
  broker.clock.advance(1_000);
  await later.expectNothing();
  await watcher.rest();
});

t.test('[MQTT-3.1.2-8] [MQTT-3.14.4-3] edge case 18: any other code of DISCONNECT publishes it', async (t) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  for (const code of [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]) {
    const client = await join(t, broker, withWill(5, { topic: 'will', payload: String(code) }));
    client.send(disconnect(code));
    await client.expectClose();
    t.equal((await received(watcher)).payload, String(code));
  }
});

forVersions(t, [4, 5], '[MQTT-3.1.2-8] edge case 18: every other end publishes the will', async (t, version) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  const start = () => join(t, broker, { ...withWill(version, { topic: 'will' }), keepAlive: 10 });

  (await start()).reset();
  await received(watcher);
  (await start()).end();
  await received(watcher);
  const violator = await start();
  violator.send(connect({ version, clientId: 'c' }));
  await expectDisconnect(violator, 0x82, version);
  await received(watcher);
  const garbled = await start();
  garbled.send('e1 00');
  await expectDisconnect(garbled, 0x81, version);
  await received(watcher);
  const silent = await start();
  broker.clock.advance(15_000);
  await expectDisconnect(silent, 0x8d, version);
  await received(watcher);
});

t.test('edge case 18: the will of a session that lasts survives a crash of the broker', async (t) => {
  const broker = await startTimedBroker(t);
  await join(t, broker, withWill(5, delayed(20, { qos: 1 }), 100));
  await broker.crash();
  const watcher = await watch(t, broker, 'will');
  broker.clock.advance(19_999);
  await watcher.expectNothing();
  broker.clock.advance(1);
  t.equal((await received(watcher)).payload, 'w');
});

t.test('edge case 18: a delayed will that was pending at a restart goes out in time', async (t) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker, withWill(5, delayed(20), 100));
  client.send(disconnect(0x04));
  await client.expectClose();
  broker.clock.advance(5_000);
  await broker.restart();
  const watcher = await watch(t, broker, 'will');
  broker.clock.advance(14_999);
  await watcher.expectNothing();
  broker.clock.advance(1);
  await received(watcher);
});

forVersions(t, [4, 5], '[MQTT-3.1.2-14] a will without Will Retain is not retained', async (t, version) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  await published(await join(t, broker), { topic: 'will', payload: 'older', retain: true });
  t.equal((await received(watcher)).payload, 'older');
  (await join(t, broker, withWill(version, { topic: 'will', payload: 'w' }))).reset();
  t.equal((await received(watcher)).retain, false);
  t.equal((await received(await watch(t, broker, 'will'))).payload, 'older');
});

forVersions(t, [4, 5], '[MQTT-3.1.2-15] a will with Will Retain is retained', async (t, version) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  for (const payload of ['w', '']) {
    (await join(t, broker, withWill(version, { topic: 'will', payload, retain: true }))).reset();
    t.match(await received(watcher), { payload, retain: false });
    const late = await watch(t, broker, 'will');
    if (payload === 'w') t.match(await received(late), { payload, retain: true });
    await late.expectNothing();
  }
});

t.test('[MQTT-3.1.3-10] edge case 17: all properties of a will go out in order, but its delay', async (t) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  const users = [
    property.userProperty('b', '1'),
    property.userProperty('a', '2'),
    property.userProperty('b', ''),
    property.userProperty('a', '2'),
  ];
  const others = [
    property.responseTopic('answers'),
    property.correlationData('id'),
    property.contentType('type'),
    property.payloadFormatIndicator(1),
  ];
  const expiry = property.messageExpiryInterval(60);
  const properties = [users[0], others[0], users[1], expiry, users[2], ...others.slice(1), users[3]];
  const client = await join(t, broker, withWill(5, delayed(5, { properties }), 100));
  client.send(disconnect(0x04));
  await client.expectClose();
  broker.clock.advance(5_000);
  const message = await received(watcher);
  t.same(
    message.properties.filter(([id]) => id === 0x26),
    users,
  );
  const hexes = (list: readonly Buffer[]) => list.map((one) => one.toString('hex')).sort();
  // The expiry counts from the publication.
  t.same(hexes(message.properties), hexes([...users, ...others, expiry]));
});

t.test('edge case 17: the expiry of a will counts from its publication', async (t) => {
  const broker = await startTimedBroker(t);
  const sleeper = await join(t, broker, lasting(5, 'sleeper'));
  await subscribed(sleeper, { filters: [['will', 1]] });
  sleeper.send(disconnect());
  await sleeper.expectClose();
  const will = delayed(50, { qos: 1, properties: [property.messageExpiryInterval(60)] });
  const client = await join(t, broker, withWill(5, will, 100));
  client.send(disconnect(0x04));
  await client.expectClose();
  broker.clock.advance(50_000);
  broker.clock.advance(40_000);
  const message = await received(await join(t, broker, lasting(5, 'sleeper'), true));
  t.same(message.properties, [property.messageExpiryInterval(20)]);
});

t.test('[MQTT-3.1.3-11] [MQTT-4.7.0-1] a will topic that can not be published is refused', async (t) => {
  const broker = await startTimedBroker(t);
  for (const topic of ['', '#', 'a/+', 'a#']) {
    await expectRefused(await dialAndSend(t, broker, connect({ will: { topic } })), 0x90);
    await expectRefused(await dialAndSend(t, broker, connect({ version: 4, will: { topic } })), 'silent', 4);
  }
  const properties = [property.responseTopic('a/#')];
  await expectRefused(await dialAndSend(t, broker, connect({ will: { topic: 'a', properties } })), 0x82);
});

t.test('edge case 5: properties that a will may not have, or not twice', async (t) => {
  const broker = await startTimedBroker(t);
  const expectCode = async (code: number, ...properties: Buffer[]) => {
    await expectRefused(await dialAndSend(t, broker, connect({ will: { topic: 'a', properties } })), code);
  };
  const twice = [
    property.willDelayInterval(0),
    property.payloadFormatIndicator(0),
    property.messageExpiryInterval(0),
    property.contentType(''),
    property.responseTopic('a'),
    property.correlationData(''),
  ];
  for (const one of twice) await expectCode(0x82, one, one);
  await expectCode(0x82, property.payloadFormatIndicator(2));
  for (const foreign of [property.topicAlias(1), property.subscriptionIdentifier(1), property.receiveMaximum(1)]) {
    await expectCode(0x81, foreign);
  }
});
