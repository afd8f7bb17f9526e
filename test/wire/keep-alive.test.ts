import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import { ack, connect, pingreq, property, publish, subscribe, unsubscribe } from '../helpers/packets.js';
import { numberOf } from '../helpers/parse.js';
import { dialAndSend, forVersions, greet, join, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

forVersions(t, [3, 4, 5], '[MQTT-3.1.2-22] edge case 36: silence ends after 1.5 times the keep alive', async (t, v) => {
  for (const keepAlive of [1, 2, 60, 65_535]) {
    const broker = await startTimedBroker(t);
    const watcher = await watch(t, broker, 'will');
    const client = await join(t, broker, { version: v, clientId: 'c', keepAlive, will: { topic: 'will' } });
    await subscribed(client, { version: v, filters: [['a', 0]] });
    broker.clock.advance(keepAlive * 1500 - 1);
    // What the broker sends shows that the connection stands, and does not make it live longer.
    await published(watcher, { topic: 'a', payload: 'x' });
    t.equal((await received(client, v)).payload, 'x');
    broker.clock.advance(1);
    await expectDisconnect(client, 0x8d, v);
    t.equal((await received(watcher)).topic, 'will');
  }
});

forVersions(t, [4, 5], '[MQTT-3.1.2-22] every packet of the client resets the time', async (t, version) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker, { version, keepAlive: 10 });
  for (const packet of [
    pingreq(),
    publish({ version, topic: 'b' }),
    publish({ version, topic: 'b', qos: 1 }),
    publish({ version, topic: 'b', qos: 2 }),
    ack('pubrel', 1),
    subscribe({ version, filters: [['c', 0]] }),
    unsubscribe({ version, filters: ['c'] }),
    ack('puback', 77),
  ]) {
    broker.clock.advance(14_999);
    client.send(packet);
    // An answer, or that of a new client, shows that the packet has been taken.
    if (packet[0] === 0x30 || packet[0] === 0x40) await join(t, broker).then((other) => other.expectNothing());
    else await client.packet();
  }
  await client.expectNothing();
  broker.clock.advance(15_000);
  await expectDisconnect(client, 0x8d, version);
});

forVersions(t, [4, 5], 'edge case 36: a part of a packet is no packet', async (t, version) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker, { version, keepAlive: 10 });
  const packet = publish({ version, topic: 'a', payload: 'xxxxxxxxxx' });
  for (let at = 0; at < 3; at++) {
    broker.clock.advance(5_000 - (at === 2 ? 1 : 0));
    client.assertOpen();
    client.send(packet.subarray(at, at + 1));
    await join(t, broker);
  }
  broker.clock.advance(1);
  await expectDisconnect(client, 0x8d, version);
});

forVersions(t, [3, 4, 5], '[MQTT-3.1.2-22] edge case 36: a keep alive of 0 never times out', async (t, version) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker, { version, clientId: 'c', keepAlive: 0 });
  broker.clock.leap(10 * 366 * 86_400_000);
  await client.expectNothing();
});

t.test('edge case 36: reconnects do not add to the time', async (t) => {
  const broker = await startTimedBroker(t);
  for (let count = 0; count < 20; count++) await join(t, broker, { clientId: 'c', keepAlive: 10 });
  const client = await join(t, broker, { clientId: 'c', keepAlive: 10 });
  broker.clock.advance(15_000);
  await expectDisconnect(client, 0x8d);
});

t.test('[MQTT-3.1.2-21] [MQTT-3.2.2-21] edge case 36: a keep alive of the broker is announced and kept', async (t) => {
  for (const keepAlive of [0, 11, 65_535]) {
    const broker = await startTimedBroker(t, { maximumKeepAlive: 10 });
    const [client, { properties }] = await greet(t, broker, { keepAlive });
    t.equal(numberOf(properties, 0x13), 10, 'Server Keep Alive');
    broker.clock.advance(14_999);
    await join(t, broker);
    client.assertOpen();
    broker.clock.advance(1);
    await expectDisconnect(client, 0x8d);
  }
});

t.test("[MQTT-3.2.2-22] the client's keep alive holds where none is announced", async (t) => {
  const broker = await startTimedBroker(t, { maximumKeepAlive: 10 });
  for (const keepAlive of [1, 10]) {
    const [client, { properties }] = await greet(t, broker, { keepAlive });
    t.equal(numberOf(properties, 0x13), undefined);
    broker.clock.advance(keepAlive * 1500 - 1);
    await join(t, broker);
    client.assertOpen();
    broker.clock.advance(1);
    await expectDisconnect(client, 0x8d);
  }
});

t.test('[MQTT-3.2.2-22] edge case 36: MQTT 3.1.1 can not be told another value, and keeps its own', async (t) => {
  const broker = await startTimedBroker(t, { maximumKeepAlive: 10 });
  const patient = await join(t, broker, { version: 4, keepAlive: 0 });
  const client = await join(t, broker, { version: 4, keepAlive: 100 });
  broker.clock.advance(149_999);
  await join(t, broker);
  client.assertOpen();
  broker.clock.advance(1);
  await client.expectClose();
  broker.clock.leap(1_000_000_000);
  await patient.expectNothing();
});

forVersions(t, [3, 4, 5], '[MQTT-3.12.4-1] [MQTT-3.1.2-20] each PINGREQ gets a PINGRESP', async (t, version) => {
  const broker = await startBroker(t);
  const client = await dialAndSend(t, broker, connect({ version, clientId: 'c', keepAlive: 0 }));
  await client.packet();
  client.send(pingreq());
  await client.expect('d0 00');
  client.send(...Array.from({ length: 1000 }, pingreq));
  await client.expect('d0 00'.repeat(1000));
});

forVersions(t, [4, 5], '[MQTT-3.12.4-1] PINGREQ is answered under load and with a full window', async (t, version) => {
  const broker = await startBroker(t, { maximumInflightMessages: 2 });
  const client = await join(t, broker, {
    version,
    clientId: 'c',
    properties: [property.receiveMaximum(2)],
  });
  await subscribed(client, { version, filters: [['a', 1]] });
  const publisher = await join(t, broker);
  for (let count = 0; count < 50; count++) await published(publisher, { topic: 'a', qos: 1, payload: `${count}` });
  await received(client, version);
  await received(client, version);
  await client.expectNothing();
  client.send(pingreq(), publish({ version, topic: 'b', payload: Buffer.alloc(100_000) }), pingreq());
  await client.expect('d0 00 d0 00');
});
