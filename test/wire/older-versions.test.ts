import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { acknowledged, published, received, suback, subscribed, unsubscribed } from '../helpers/client.js';
import {
  ack,
  connect,
  disconnect,
  field,
  frame,
  property,
  publish,
  rawConnect,
  subscribe,
  uint16,
  unsubscribe,
} from '../helpers/packets.js';
import { dialAndSend, forVersions, join, lasting, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import { hex } from '../helpers/wire-client.js';

forVersions(t, [3, 4], '3.1.1 test point 1: CONNACK is exactly 20 02 xx 00', async (t, version) => {
  const broker = await startBroker(t);
  for (const fields of [{ version, clientId: 'c' }, lasting(version, 'd'), lasting(version, 'd')]) {
    const client = await dialAndSend(t, broker, connect(fields));
    const connack = await client.packet();
    t.match(connack.toString('hex'), /^20020[01]00$/);
    if (version === 3) t.equal(connack[2], 0, 'no Session Present in 3.1');
    await client.expectNothing();
  }
});

forVersions(
  t,
  [3, 4],
  '3.1.1 test point 2: a refusal is a code of 1 to 5 or silence, then the close',
  async (t, version) => {
    const options = { maximumClientIdLength: 23, maximumQos: 1, retainAvailable: false, maximumSessions: 2 } as const;
    const broker = await startBroker(t, options);
    await join(t, broker, { ...lasting(version, 'mine'), userName: 'me' });
    const name = version === 3 ? 'MQIsdp' : 'MQTT';
    for (const [packet, code] of [
      [connect({ version, clientId: 'x'.repeat(24) }), 2],
      [connect({ version, cleanStart: false }), 2],
      [connect({ ...lasting(version, 'mine'), userName: 'not me' }), 5],
      [connect({ version, clientId: 'c', will: { topic: '$SYS/x' } }), 5],
      [connect({ version, clientId: 'c', will: { topic: '#' } }), 0],
      [connect({ version, clientId: 'c', will: { topic: 'a', qos: 2 } }), 0],
      [connect({ version, clientId: 'c', will: { topic: 'a', retain: true } }), 0],
      [connect({ version, clientId: 'c', password: 'p' }), 0],
      [rawConnect({ name, level: version, flags: 0x1e, rest: [field('c')] }), 0],
      [rawConnect({ name, level: version === 3 ? 6 : 3, rest: [field('c')] }), 1],
      [rawConnect({ name, level: version, rest: [] }), 0],
      [connect({ version, clientId: 'a\u0000b' }), 0],
    ] as [Buffer, number][]) {
      const client = await dialAndSend(t, broker, packet);
      const answer = await client.rest();
      t.equal(answer.toString('hex'), code === 0 ? '' : `2002000${code}`, packet.toString('hex'));
    }
    await join(t, broker, { version, clientId: 'second' });
    await (await dialAndSend(t, broker, connect({ version, clientId: 'third' }))).expect('20 02 00 03');
  },
);

forVersions(
  t,
  [3, 4],
  '3.1.1 test point 3: SUBACK has one code of 0, 1, 2 or 0x80 for each filter',
  async (t, version) => {
    const broker = await startBroker(t, { maximumTopicLevels: 3, maximumSubscriptionsPerSession: 4 });
    const client = await join(t, broker, { version, clientId: 'c' });
    const filters = [
      ['a', 0],
      ['a/b/c/d', 1],
      ['b', 2],
      ['$receipts/#', 1],
      ['c', 1],
      ['d', 0],
      ['e', 0],
    ] as const;
    client.send(subscribe({ version, packetId: 0x1234, filters }));
    await client.expect('90 09 12 34 00 80 02 80 01 00 80');
  },
);

forVersions(t, [3, 4], '3.1.1 test point 4: UNSUBACK is exactly B0 02 id id', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version, clientId: 'c' });
  await subscribed(client, { version, filters: [['a', 0]] });
  client.send(unsubscribe({ version, packetId: 0x1234, filters: ['a', 'unknown', 'b'] }));
  await client.expect('b0 02 12 34');
  await client.expectNothing();
});

forVersions(t, [3, 4], '3.1.1 test point 5: acknowledgements have a remaining length of 2', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version, clientId: 'c' });
  await subscribed(client, { version, filters: [['a', 2]] });
  const publisher = await join(t, broker);
  client.send(
    publish({ version, topic: 'b', qos: 1, packetId: 7 }),
    publish({ version, topic: 'b', qos: 2, packetId: 8 }),
  );
  await client.expect('40 02 00 07 50 02 00 08');
  client.send(ack('pubrel', 8), ack('pubrel', 8), ack('pubrel', 99));
  await client.expect('70 02 00 08 70 02 00 08 70 02 00 63');
  await published(publisher, { topic: 'a', qos: 2 });
  const { packetId } = await received(client, version);
  client.send(ack('pubrec', packetId));
  await client.expect('62 02', uint16(packetId));
  client.send(ack('pubcomp', packetId), ack('pubrec', 99));
  await client.expect('62 02 00 63');
  await client.expectNothing();
});

forVersions(t, [3, 4], '3.1.1 test point 5: acknowledgements may not be longer than 2', async (t, version) => {
  const broker = await startBroker(t);
  for (const packet of ['40 03 00 01 00', '62 03 00 01 00', '40 04 00 01 00 00']) {
    const client = await join(t, broker, { version, clientId: 'c' });
    client.send(packet);
    await client.expectClose();
  }
});

forVersions(t, [3, 4], '3.1.1 test point 6: the last bytes from the broker are no DISCONNECT', async (t, version) => {
  const broker = await startTimedBroker(t);
  const taken = await join(t, broker, lasting(version, 'c'));
  await join(t, broker, lasting(version, 'c'));
  t.same(await taken.rest(), Buffer.alloc(0), 'takeover');
  const silent = await join(t, broker, { version, clientId: 'd', keepAlive: 10 });
  broker.clock.advance(15_000);
  t.same(await silent.rest(), Buffer.alloc(0), 'keep alive');
  const wrong = await join(t, broker, { version, clientId: 'd' });
  wrong.send('00 00');
  t.same(await wrong.rest(), Buffer.alloc(0), 'error');
  const last = await join(t, broker, { version, clientId: 'd' });
  const rest = last.rest();
  await broker.restart();
  t.same(await rest, Buffer.alloc(0), 'shutdown');
});

forVersions(t, [3, 4], '3.1.1 test point 7: messages between the versions, with every property', async (t, version) => {
  const broker = await startBroker(t);
  const [older, newer] = [await join(t, broker, { version, clientId: 'c' }), await join(t, broker)];
  await subscribed(older, { version, filters: [['to/older', 2]] });
  await subscribed(newer, { filters: [['to/newer', 2]] });
  const properties = [
    property.payloadFormatIndicator(1),
    property.messageExpiryInterval(100),
    property.topicAlias(1),
    property.responseTopic('r'),
    property.correlationData('c'),
    property.userProperty('a', 'b'),
    property.contentType('t'),
  ];
  for (const qos of [0, 1, 2]) {
    await published(newer, { topic: 'to/older', payload: 'x', qos, properties });
    const there = await received(older, version);
    t.same(there.bytes, publish({ version, topic: 'to/older', payload: 'x', qos, packetId: there.packetId }));
    await acknowledged(older, there);
    await published(older, { version, topic: 'to/newer', payload: 'y', qos });
    const back = await received(newer);
    t.same(back.bytes, publish({ topic: 'to/newer', payload: 'y', qos, packetId: back.packetId }));
    await acknowledged(newer, back);
  }
  // The alias was resolved on arrival.
  newer.send(publish({ topic: '', payload: 'z', properties: [property.topicAlias(1)] }));
  t.match(await received(older, version), { topic: 'to/older', payload: 'z' });
});

forVersions(
  t,
  [3, 4],
  '3.1.1 test point 8: CleanSession 0 keeps messages for ever, 1 keeps nothing',
  async (t, version) => {
    const broker = await startTimedBroker(t);
    for (const cleanStart of [false, true]) {
      const fields = { version, clientId: 'c', cleanStart };
      const client = await join(t, broker, fields, false);
      await subscribed(client, { version, filters: [['a', 1]] });
      client.send(disconnect());
      await client.expectClose();
      await published(await join(t, broker), { topic: 'a', qos: 1, payload: 'x' });
      broker.clock.advance(5 * 3_600_000);
      const again = await join(t, broker, { ...fields, cleanStart: false }, !cleanStart && version === 4);
      if (!cleanStart) {
        const message = await received(again, version);
        t.equal(message.payload, 'x');
        await acknowledged(again, message);
      }
      await again.expectNothing();
      again.send(disconnect());
      await again.expectClose();
      await join(t, broker, { version, clientId: 'c' }, false).then((last) => last.send(disconnect()));
    }
  },
);

forVersions(t, [3, 4], '3.1.1 test point 9: RETAIN is 1 on each replay and 0 live', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version, clientId: 'c' });
  await published(client, { version, topic: 'a', payload: 'x', retain: true });
  for (let count = 0; count < 3; count++) {
    await subscribed(client, { version, filters: [['a', 0]] });
    t.match(await received(client, version), { payload: 'x', retain: true });
  }
  client.send(publish({ version, topic: 'a', payload: 'y', retain: true }));
  t.match(await received(client, version), { payload: 'y', retain: false });
});

forVersions(
  t,
  [3, 4],
  '3.1.1 test point 10: a publish that is not authorised is acknowledged and dropped',
  async (t, version) => {
    const broker = await startBroker(t);
    const watcher = await watch(t, broker, '$SYS/x');
    const client = await join(t, broker, { version, clientId: 'c' });
    await published(client, { version, topic: '$SYS/x', qos: 1, packetId: 5 });
    await published(client, { version, topic: '$SYS/x', qos: 2, packetId: 6 });
    client.send(publish({ version, topic: '$SYS/x' }));
    await client.expectNothing();
    await watcher.expectNothing();
  },
);

t.test('edge case 40: a publish that is not authorised gets 0x87 in MQTT 5, and the connection stays', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '$SYS/x');
  const client = await join(t, broker);
  client.send(publish({ topic: '$SYS/x' }), publish({ topic: '$SYS/x', qos: 1, packetId: 5 }));
  t.match((await client.packet()).toString('hex'), /^40..000587/);
  // PUBREC, not PUBACK; its identifier is free at once.
  for (let count = 0; count < 2; count++) {
    client.send(publish({ topic: '$SYS/x', qos: 2, packetId: 6 }));
    t.match((await client.packet()).toString('hex'), /^50..000687/);
  }
  await client.expectNothing();
  await watcher.expectNothing();
});

forVersions(t, [3, 4], 'edge case 40: a refused publish of QoS 2 runs its whole flow', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version, clientId: 'c' });
  for (let count = 0; count < 2; count++) {
    client.send(publish({ version, topic: '$SYS/x', qos: 2, packetId: 6 }));
    await client.expect('50 02 00 06');
  }
  client.send(ack('pubrel', 6));
  await client.expect('70 02 00 06');
});

t.test('MQTT 3.1: the reserved connect flag and fixed header flags are not looked at', async (t) => {
  const broker = await startBroker(t);
  const packet = rawConnect({ name: 'MQIsdp', level: 3, flags: 0x03 });
  const client = await dialAndSend(t, broker, Buffer.from([0x1f]), packet.subarray(1));
  await client.expect('20 02 00 00');
  client.send('c5 00');
  await client.expect('d0 00');
  // SUBSCRIBE, UNSUBSCRIBE and PUBREL count as QoS 1 and may have DUP.
  client.send(Buffer.from([0x8a]), subscribe({ version: 3, filters: [['a', 0]] }).subarray(1));
  await client.expect('90 03 00 01 00');
  client.send(Buffer.from([0xaa]), unsubscribe({ version: 3, filters: ['a'] }).subarray(1));
  await client.expect('b0 02 00 01');
  client.send('6a 02 00 09');
  await client.expect('70 02 00 09');
  client.send('ef 00');
  await client.expectClose();
});

t.test('MQTT 3.1: a user name or password that its flag announced may be missing', async (t) => {
  const broker = await startBroker(t);
  for (const rest of [[field('c')], [field('c'), field('user')]]) {
    const client = await dialAndSend(t, broker, rawConnect({ name: 'MQIsdp', level: 3, flags: 0xc2, rest }));
    await client.expect('20 02 00 00');
    client.send(disconnect());
    await client.expectClose();
  }
});

t.test('MQTT 3.1: SUBSCRIBE and UNSUBSCRIBE without filter are tolerated, 3.1.1 closes', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version: 3, clientId: 'c' });
  client.send('82 02 00 01 a2 02 00 02');
  await client.expect('90 02 00 01 b0 02 00 02');
  for (const packet of ['82 02 00 01', 'a2 02 00 02']) {
    const newer = await join(t, broker, { version: 4 });
    newer.send(packet);
    await newer.expectClose();
  }
});

t.test('MQTT 3.1.1: a requested QoS above 2 or with other bits set closes', async (t) => {
  const broker = await startBroker(t);
  for (const options of [3, 4, 0x0c, 0x10, 0x81]) {
    const client = await join(t, broker, { version: 4 });
    client.send(subscribe({ version: 4, filters: [['a', options]] }));
    await client.expectClose();
  }
});

forVersions(t, [3, 4], 'a password without user name is refused before MQTT 5', async (t, version) => {
  const broker = await startBroker(t);
  await (await dialAndSend(t, broker, connect({ version, clientId: 'c', password: 'p' }))).expectClose();
});

forVersions(t, [3, 4], 'an empty topic is illegal before MQTT 5, and properties are payload', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version, clientId: 'c' });
  await subscribed(client, { version, filters: [['a', 0]] });
  const packet = frame(0x30, field('a'), hex('03 23 00 01'));
  client.send(packet);
  await client.expect(packet);
  client.send(publish({ version, topic: '' }));
  await client.expectClose();
});

forVersions(t, [3, 4], 'the limits of MQTT 5 are not held against older clients', async (t, version) => {
  const broker = await startBroker(t, { receiveMaximum: 2, maximumQos: 1 });
  const client = await join(t, broker, { version, clientId: 'c' });
  for (let packetId = 1; packetId <= 50; packetId++) client.send(publish({ version, topic: 'a', qos: 1, packetId }));
  for (let packetId = 1; packetId <= 50; packetId++) await client.expect('40 02', uint16(packetId));
  client.send(publish({ version, topic: 'a', qos: 2 }));
  await client.expectClose();
});

t.test('the bridge bit: an MQTT 3.1.1 level of 0x84 is served as 3.1.1', async (t) => {
  const broker = await startBroker(t);
  const client = await dialAndSend(t, broker, rawConnect({ level: 0x84 }));
  await client.expect('20 02 00 00');
  const older = await dialAndSend(t, broker, rawConnect({ name: 'MQIsdp', level: 0x83, rest: [field('d')] }));
  await older.expect('20 02 00 00');
});

forVersions(t, [3, 4], 'shared subscriptions are open to older clients', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version, clientId: 'c' });
  client.send(subscribe({ version, filters: [['$share/g/a', 1]] }));
  await client.expect(suback(1, [1], version));
  await published(await join(t, broker), { topic: 'a', payload: 'x' });
  t.equal((await received(client, version)).payload, 'x');
  await unsubscribed(client, ['$share/g/a'], version);
});
