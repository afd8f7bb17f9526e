import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import { auth, connect, disconnect, frame, pingreq, property, publish, subscribe } from '../helpers/packets.js';
import { parseDisconnect } from '../helpers/parse.js';
import { dialAndSend, forVersions, join, lasting, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import { hex } from '../helpers/wire-client.js';

/** What the standard lets a server put into DISCONNECT. */
const serverCodes = new Set(
  '00 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2'.split(' '),
);

t.test('[MQTT-3.14.0-1] a CONNECT that fails in whatever way gets no DISCONNECT', async (t) => {
  const broker = await startBroker(t, { maximumClientIdLength: 23, maximumPacketSize: 100 });
  for (const packet of [
    connect({ clientId: 'x'.repeat(24) }),
    connect({ clientId: 'x'.repeat(200) }),
    connect({ properties: [property.authenticationMethod('m')] }),
    connect({ properties: [property.receiveMaximum(0)] }),
    connect({ will: { topic: '#' } }),
    connect({ clientId: 'c' }).subarray(0, 5),
    auth(0x18, [property.authenticationMethod('m')]),
    disconnect(),
    hex('00 00'),
    hex('10 ff ff ff ff 7f'),
  ]) {
    const client = await dialAndSend(t, broker, packet);
    if (packet.length === 5) client.end();
    const answer = await client.rest();
    t.not(answer[0], 0xe0);
    if (answer.length > 0) t.equal(answer[0], 0x20);
  }
});

t.test('[MQTT-3.14.0-1] an error right behind CONNECT gets no DISCONNECT before CONNACK', async (t) => {
  const broker = await startBroker(t);
  for (const fields of [{ clientId: 'a' }, lasting(5, 'b')]) {
    const client = await dialAndSend(t, broker, connect(fields), '00 00');
    const answer = await client.rest();
    if (answer.length > 0) t.equal(answer[0], 0x20);
  }
});

forVersions(t, [4, 5], '[MQTT-3.14.1-1] edge case 18: a DISCONNECT with flags is malformed', async (t, version) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, 'will');
  for (let flags = 1; flags < 16; flags++) {
    const client = await join(t, broker, { version, will: { topic: 'will' } });
    client.send(Buffer.from([0xe0 | flags, 0]));
    await expectDisconnect(client, 0x81, version);
    await received(watcher);
  }
});

t.test('[MQTT-3.14.2-1] a code that a client may not give is an error, and the will goes out', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, 'will');
  const allowed = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
  for (let code = 0; code < 256; code++) {
    if (allowed.includes(code)) continue;
    const client = await join(t, broker, { will: { topic: 'will' } });
    client.send(disconnect(code));
    await expectDisconnect(client, 0x82);
    await received(watcher);
  }
});

t.test(
  '[MQTT-3.14.2-1] [MQTT-3.14.2-2] each DISCONNECT of the broker has a code of a server, and no expiry',
  async (t) => {
    const broker = await startTimedBroker(t, { receiveMaximum: 1, maximumPacketSize: 100, maximumQos: 2 });
    const violations = [
      hex('00 00'),
      connect(),
      publish({ topic: 'a', payload: 'x'.repeat(100) }),
      publish({ topic: 'a', properties: [property.topicAlias(9999)] }),
      Buffer.concat([1, 2].map((packetId) => publish({ topic: 'a', qos: 2, packetId }))),
      subscribe({ filters: [['a#', 0]] }),
      disconnect(0x8e),
      auth(0x19, [property.authenticationMethod('m')]),
    ];
    for (const packet of violations) {
      const client = await join(t, broker, lasting(5, 'c'));
      client.send(packet);
      let answer = await client.packet();
      while (answer[0] !== 0xe0) answer = await client.packet();
      const { code, properties } = parseDisconnect(answer);
      t.ok(serverCodes.has(code.toString(16)) && code >= 0x80, `0x${code.toString(16)}`);
      t.notOk(properties.some(({ id }) => id === 0x11));
      await client.expectClose();
    }
  },
);

t.test('[MQTT-3.14.2-1] [MQTT-3.14.4-1] a shutdown says 0x8B to MQTT 5 clients, and nothing after it', async (t) => {
  const broker = await startTimedBroker(t);
  const client = await join(t, broker);
  const older = await join(t, broker, { version: 4 });
  const [newRest, olderRest] = [client.rest(), older.rest()];
  await broker.restart();
  t.equal(parseDisconnect(await newRest).code, 0x8b);
  t.equal((await olderRest).length, 0);
});

forVersions(t, [4, 5], '[MQTT-3.14.4-1] what a client sends after its DISCONNECT has no effect', async (t, version) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  const client = await join(t, broker, lasting(version, 'c'));
  const late = [publish({ version, topic: 'a', retain: true }), subscribe({ version, filters: [['a', 1]] })];
  client.send(disconnect(), ...late, connect({ version, clientId: 'c' }), pingreq());
  await client.expectClose();
  await watcher.expectNothing();
  const resumed = await join(t, broker, lasting(version, 'c'), true);
  await published(await join(t, broker), { topic: 'a', qos: 0 });
  await resumed.expectNothing();
});

forVersions(t, [4, 5], '[MQTT-3.14.4-1] nothing follows an error, not even what came before it', async (t, version) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  const client = await join(t, broker, { version });
  await subscribed(client, { version, filters: [['a', 0]] });
  client.send('00 00', publish({ version, topic: 'a', qos: 1 }), pingreq());
  await expectDisconnect(client, 0x81, version);
  await watcher.expectNothing();
});

forVersions(
  t,
  [3, 4, 5],
  '[MQTT-3.14.4-2] the broker closes after a DISCONNECT, if the client does not',
  async (t, v) => {
    const broker = await startBroker(t);
    const client = await join(t, broker, { version: v, clientId: 'c' });
    client.send(disconnect());
    await client.expectClose();
  },
);

t.test('[MQTT-3.14.4-2] [MQTT-4.13.2-1] a client that reads nothing is cut off all the same', async (t) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  const client = await join(t, broker, { clientId: 'c', will: { topic: 'will' } });
  client.pause();
  client.send('00 00');
  await received(watcher);
  broker.clock.advance(2_000);
  // The identifier is free, and the broker stops although the client has not closed.
  await join(t, broker, { clientId: 'c' }, false);
});

t.test('protocol error: Server Reference in a DISCONNECT of a client', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  client.send(disconnect(0, [property.serverReference('other')]));
  await expectDisconnect(client, 0x82);
});

t.test('protocol error: a session expiry in DISCONNECT where CONNECT had none', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  client.send(disconnect(0, [property.sessionExpiryInterval(1)]));
  await expectDisconnect(client, 0x82);
});

t.test('edge case 5: properties that a DISCONNECT may not have, or not twice', async (t) => {
  const broker = await startBroker(t);
  for (const [code, ...properties] of [
    [0x82, property.sessionExpiryInterval(0), property.sessionExpiryInterval(0)],
    [0x82, property.reasonString(''), property.reasonString('')],
    [0x81, property.receiveMaximum(1)],
    [0x81, property.authenticationMethod('m')],
    [0x81, hex('7f 00')],
    [0x81, hex('11 00 00')],
  ] as [number, ...Buffer[]][]) {
    const client = await join(t, broker, lasting(5, 'c'));
    client.send(disconnect(0, properties));
    await expectDisconnect(client, code);
  }
  const client = await join(t, broker);
  const users = [property.userProperty('a', 'b'), property.userProperty('a', 'b')];
  client.send(disconnect(0, [property.reasonString('done'), ...users]));
  await client.expectClose();
});

t.test('[MQTT-3.14.4-2] DISCONNECT of MQTT 3.1.1 has no body', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, 'will');
  const client = await join(t, broker, { version: 4, will: { topic: 'will' } });
  client.send(frame(0xe0, hex('00')));
  await client.expectClose();
  await received(watcher);
});
