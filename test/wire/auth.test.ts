import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import { auth, connect, frame, property, publish, subscribe } from '../helpers/packets.js';
import { dialAndSend, expectRefused, greet, join, watch } from '../helpers/scenes.js';
import { hex } from '../helpers/wire-client.js';

const method = [property.authenticationMethod('SCRAM-SHA-1')];

t.test('[MQTT-4.12.0-1] an Authentication Method that the broker does not have is refused', async (t) => {
  const broker = await startBroker(t);
  for (const properties of [method, [...method, property.authenticationData('data')]]) {
    await expectRefused(await dialAndSend(t, broker, connect({ properties })), 0x8c);
  }
});

t.test('[MQTT-3.1.2-30] [MQTT-4.12.0-4] what follows such a CONNECT is not acted on', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  const packets = [publish({ topic: 'a', retain: true }), subscribe({ filters: [['a', 0]] }), auth(0x18, method)];
  const client = await dialAndSend(t, broker, connect({ properties: method }), ...packets);
  // Refused with CONNACK, not DISCONNECT.
  await expectRefused(client, 0x8c);
  await watcher.expectNothing();
});

t.test('[MQTT-4.12.0-6] without a method there is no AUTH, and CONNACK names none', async (t) => {
  const broker = await startBroker(t);
  const [client, { properties }] = await greet(t, broker, { userName: 'user', password: 'secret' });
  t.notOk(properties.some(({ id }) => id === 0x15 || id === 0x16));
  await client.expectNothing();
});

t.test('[MQTT-4.12.0-7] edge case 37: AUTH without a method in CONNECT', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, 'will');
  for (const packet of [auth(0x18, method), auth(0x19, method), auth(0x18), auth(0x19), frame(0xf0)]) {
    const client = await join(t, broker, { will: { topic: 'will' } });
    client.send(packet);
    await expectDisconnect(client, 0x82);
    await received(watcher);
  }
});

t.test('[MQTT-3.15.1-1] AUTH with flags is malformed', async (t) => {
  const broker = await startBroker(t);
  for (let flags = 1; flags < 16; flags++) {
    const client = await join(t, broker);
    client.send(Buffer.from([0xf0 | flags]), auth(0x19, method).subarray(1));
    await expectDisconnect(client, 0x81);
  }
});

t.test('[MQTT-3.15.2-1] [MQTT-4.12.0-3] edge case 37: AUTH with a code that no client may give', async (t) => {
  const broker = await startBroker(t);
  for (const code of [0x00, 0x01, 0x17, 0x1a, 0x80, 0x87, 0xff]) {
    const client = await join(t, broker);
    client.send(auth(code, method));
    await expectDisconnect(client, 0x82);
  }
});

t.test('protocol error: AUTH with no method, or not that of CONNECT [MQTT-4.12.0-5]', async (t) => {
  const broker = await startBroker(t);
  for (const list of [[], [property.authenticationData('x')], [property.authenticationMethod('other')]]) {
    const client = await join(t, broker);
    client.send(auth(0x19, list));
    await expectDisconnect(client, 0x82);
  }
});

t.test('protocol error: Authentication Data without Authentication Method', async (t) => {
  const broker = await startBroker(t);
  const properties = [property.authenticationData('data')];
  await expectRefused(await dialAndSend(t, broker, connect({ properties })), 0x82);
});

t.test('edge case 5: properties that an AUTH may not have, or not twice', async (t) => {
  const broker = await startBroker(t);
  for (const [code, ...list] of [
    [0x82, ...method, ...method],
    [0x82, ...method, property.authenticationData(''), property.authenticationData('')],
    [0x82, ...method, property.reasonString(''), property.reasonString('')],
    [0x81, ...method, property.sessionExpiryInterval(1)],
    [0x81, ...method, hex('7f')],
  ] as [number, ...Buffer[]][]) {
    const client = await join(t, broker);
    client.send(auth(0x19, list));
    await expectDisconnect(client, code);
  }
});

t.test('edge case 37: AUTH in MQTT 3.1.1 closes', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, 'will');
  for (const packet of [frame(0xf0), auth(0x18, method)]) {
    const client = await join(t, broker, { version: 4, will: { topic: 'will' } });
    client.send(packet);
    await client.expectClose();
    await received(watcher);
  }
});

t.test('a failed AUTH lets messages before it pass and ends the connection', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  await subscribed(client, { filters: [['a', 0]] });
  const publisher = await join(t, broker);
  await published(publisher, { topic: 'a', payload: 'x' });
  t.equal((await received(client)).payload, 'x');
  client.send(auth(0x19, method));
  await expectDisconnect(client, 0x82);
});
