import t from 'tap';
import { type Log, silentLog } from '../../lib/base/log.js';
import { Broker } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import {
  ack,
  auth,
  connect,
  disconnect,
  field,
  frame,
  pingreq,
  property,
  publish,
  rawConnect,
  subscribe,
  unsubscribe,
  variable,
} from '../helpers/packets.js';
import { parseConnack } from '../helpers/parse.js';
import { dial, dialAndSend, expectRefused, forVersions, join, lasting, type Port, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import { hex } from '../helpers/wire-client.js';

t.test('[MQTT-3.1.0-1] edge case 37: what comes before CONNECT closes in silence and has no effect', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  for (const packet of [
    publish({ topic: 'a' }),
    publish({ topic: 'a', qos: 1 }),
    subscribe({ filters: [['a', 0]] }),
    unsubscribe({ filters: ['a'] }),
    ack('puback', 1),
    ack('pubrel', 1),
    pingreq(),
    disconnect(),
    auth(0x18, [property.authenticationMethod('m')]),
    frame(0x20, hex('00 00 00')),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  ]) {
    // The CONNECT behind it comes too late.
    const client = await dialAndSend(t, broker, packet, connect());
    await client.expectClose();
  }
  await watcher.expectNothing();
});

t.test('[MQTT-3.1.0-1] what begins as no CONNECT is closed at its first byte, and told for what it is', async (t) => {
  const reasons: unknown[] = [];
  const log: Log = { ...silentLog, info: (fields) => 'reason' in fields && reasons.push(fields.reason) };
  const broker = new Broker({ memory: true, port: 0, connectTimeout: 3600, log });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  for (const [begin, told] of [
    ['P', /not CONNECT, but a header of the PROXY protocol/],
    ['GET / HTTP/1.1', /not CONNECT, but HTTP/],
    ['\r', /not CONNECT, but a header of the PROXY protocol/],
    ['SSH-2.0', /not CONNECT$/],
    ['\x30', /not CONNECT$/],
  ] as const) {
    const client = await dial(t, { port });
    client.send(Buffer.from(begin, 'latin1'));
    await client.expectClose();
    t.match(reasons.pop(), told, begin);
  }
});

forVersions(t, [4, 5], '[MQTT-3.1.0-2] edge case 37: a second CONNECT ends the connection', async (t, version) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, 'will');
  const stored = await join(t, broker, lasting(5, 'stored'));
  await subscribed(stored, { filters: [['a', 1]] });
  stored.send(disconnect());
  await stored.expectClose();
  for (const second of [connect({ version, clientId: 'c' }), connect({ version, clientId: 'stored' })]) {
    const client = await join(t, broker, { version, clientId: 'c', will: { topic: 'will' } });
    client.send(second);
    await expectDisconnect(client, 0x82, version);
    t.equal((await received(watcher)).topic, 'will');
  }
  const resumed = await join(t, broker, lasting(5, 'stored'), true);
  await published(watcher, { topic: 'a', qos: 1, payload: 'x' });
  t.equal((await received(resumed)).payload, 'x', 'the session that the second CONNECT named is untouched');
});

t.test('[MQTT-3.1.2-1] a wrong protocol name is not answered', async (t) => {
  const broker = await startBroker(t);
  for (const name of ['mqtt', 'MQTTX', 'MQT', '', 'MQTT\u0000', 'AMQP', 'MQIsdp2', 'mqisdp']) {
    for (const level of [3, 4, 5]) {
      await (await dialAndSend(t, broker, rawConnect({ name, level }))).expectClose();
    }
  }
});

t.test('[MQTT-3.1.2-1] [MQTT-3.1.2-2] a level that the broker does not have gets one refusal', async (t) => {
  const broker = await startBroker(t);
  for (const level of [6, 7, 0x7f, 0x85, 0xff]) {
    await expectRefused(await dialAndSend(t, broker, rawConnect({ level, rest: [variable(0), field('c')] })), 0x84);
  }
  const olderPairs: [string, number][] = [
    ['MQTT', 0],
    ['MQTT', 1],
    ['MQTT', 3],
    ['MQIsdp', 0],
    ['MQIsdp', 4],
    ['MQIsdp', 5],
    ['MQIsdp', 6],
  ];
  for (const [name, level] of olderPairs) {
    const client = await dialAndSend(t, broker, rawConnect({ name, level }));
    await client.expect('20 02 00 01');
    await client.expectClose();
  }
});

forVersions(t, [4, 5], '[MQTT-3.1.2-3] edge case 38: the reserved connect flag is refused', async (t, version) => {
  const broker = await startBroker(t);
  for (const flags of [0x01, 0x03]) {
    const client = await dialAndSend(t, broker, rawConnect({ level: version, flags }));
    await expectRefused(client, version === 5 ? 0x81 : 'silent', version);
  }
});

for (const [title, flags] of [
  ['[MQTT-3.1.2-11] edge case 38: Will QoS without a will is refused', [0x08, 0x0a, 0x10, 0x12, 0x18]],
  ['[MQTT-3.1.2-13] edge case 38: Will Retain without a will is refused', [0x20, 0x22]],
] as const) {
  forVersions(t, [4, 5], title, async (t, version) => {
    const broker = await startBroker(t);
    for (const flag of flags) {
      const client = await dialAndSend(t, broker, rawConnect({ level: version, flags: flag }));
      await expectRefused(client, version === 5 ? 0x81 : 'silent', version);
    }
  });
}

forVersions(t, [4, 5], '[MQTT-3.1.2-12] Will QoS 0 to 2 is used, edge case 38: 3 is refused', async (t, version) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, 'will');
  for (const qos of [0, 1, 2]) {
    const client = await join(t, broker, { version, will: { topic: 'will', qos } });
    client.reset();
    t.equal((await received(watcher)).qos, qos);
  }
  const client = await dialAndSend(t, broker, connect({ version, will: { topic: 'will', qos: 3 } }));
  await expectRefused(client, version === 5 ? 0x81 : 'silent', version);
});

t.test('[MQTT-3.1.2-9] a will flag without all will fields is refused', async (t) => {
  const broker = await startBroker(t);
  const head = [variable(0), field('c')];
  for (const tail of [[], [variable(0)], [variable(0), field('t')], [variable(0), field('t'), hex('00 05 61')]]) {
    const client = await dialAndSend(t, broker, rawConnect({ flags: 0x06, rest: [...head, ...tail] }));
    await expectRefused(client, 0x81);
  }
  for (const tail of [[], [field('t')]]) {
    const packet = rawConnect({ level: 4, flags: 0x06, rest: [field('c'), ...tail] });
    await expectRefused(await dialAndSend(t, broker, packet), 'silent', 4);
  }
});

for (const [title, flags, tail] of [
  ['[MQTT-3.1.2-16] a user name without its flag is refused', 0x02, ['user']],
  ['[MQTT-3.1.2-17] a user name flag without the field is refused', 0x82, []],
  ['[MQTT-3.1.2-18] a password without its flag is refused', 0x82, ['user', 'secret']],
  ['[MQTT-3.1.2-19] a password flag without the field is refused', 0xc2, ['user']],
] as const) {
  forVersions(t, [4, 5], `${title}, edge case 38`, async (t, version) => {
    const broker = await startBroker(t);
    const head = version === 5 ? [variable(0)] : [];
    const packet = rawConnect({ level: version, flags, rest: [...head, field('c'), ...tail.map(field)] });
    await expectRefused(await dialAndSend(t, broker, packet), version === 5 ? 0x81 : 'silent', version);
  });
}

t.test('[MQTT-3.1.2-19] a password without user name is right in MQTT 5', async (t) => {
  await join(t, await startBroker(t), { clientId: 'c', password: 'secret' });
});

t.test('[MQTT-3.1.3-1] each field of the payload lands in its place', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  const will = { topic: 'will/topic', payload: 'will payload', qos: 1, properties: [property.contentType('type')] };
  const fields = { ...lasting(5, 'identifier'), will, userName: 'user', password: 'secret' };
  (await join(t, broker, fields)).reset();
  const { topic, payload, properties } = await received(watcher);
  t.same({ topic, payload, properties }, { topic: will.topic, payload: will.payload, properties: will.properties });
  await join(t, broker, { ...lasting(5, 'identifier'), userName: 'user' }, true);
});

t.test('[MQTT-3.1.3-1] fields in another order do not parse', async (t) => {
  const broker = await startBroker(t);
  // The will before the client identifier: its topic is taken for the identifier, and the rest does not fit.
  const rest = [variable(0), variable(0), field('will'), field('payload'), field('identifier')];
  await expectRefused(await dialAndSend(t, broker, rawConnect({ flags: 0x06, rest })), 0x81);
});

forVersions(t, [4, 5], '[MQTT-3.1.3-3] a CONNECT without client identifier field is refused', async (t, version) => {
  const broker = await startBroker(t);
  for (const tail of [[], [hex('00')]]) {
    const rest = version === 5 ? [variable(0), ...tail] : tail;
    const client = await dialAndSend(t, broker, rawConnect({ level: version, rest }));
    await expectRefused(client, version === 5 ? 0x81 : 'silent', version);
  }
});

t.test('[MQTT-3.1.4-1] a CONNECT cut off anywhere, or with bytes behind it, is never accepted', async (t) => {
  const broker = await startBroker(t);
  const properties = [property.receiveMaximum(5), property.userProperty('a', 'b')];
  const will = { topic: 'will', payload: 'x', properties: [property.contentType('c')] };
  const whole = connect({ clientId: 'c', properties, will, userName: 'user', password: 'p' });
  const body = whole.subarray(2);
  for (let length = 0; length < body.length; length++) {
    const client = await dialAndSend(t, broker, frame(0x10, body.subarray(0, length)));
    const answer = await client.rest();
    if (answer.length > 0) t.equal(parseConnack(answer).code, 0x81, `cut at ${length}`);
  }
  await expectRefused(await dialAndSend(t, broker, frame(0x10, body, hex('00'))), 0x81);
  const client = await dialAndSend(t, broker, whole);
  t.equal(parseConnack(await client.packet()).code, 0);
});

t.test('[MQTT-3.1.4-2] what the policy forbids is refused and closed', async (t) => {
  const broker = await startBroker(t, { maximumSessions: 2 });
  const holder = await join(t, broker, { ...lasting(5, 'c'), userName: 'first' });
  await expectRefused(await dialAndSend(t, broker, connect({ clientId: 'c', userName: 'second' })), 0x87);
  await join(t, broker, { clientId: 'd' });
  await expectRefused(await dialAndSend(t, broker, connect({ clientId: 'e' })), 0x97);
  const older = await dialAndSend(t, broker, connect({ version: 4, clientId: 'e' }));
  await older.expect('20 02 00 03');
  await older.expectClose();
  await holder.expectNothing();
});

t.test('[MQTT-3.1.4-2] connections above the limit are closed at once', async (t) => {
  const broker = await startBroker(t, { maximumConnections: 1 });
  const client = await join(t, broker);
  await (await dial(t, broker)).expectClose();
  await client.expectNothing();
});

t.test(
  'each listener has its own limit, which ended connections make room under, and the log says whose',
  async (t) => {
    const lines: object[] = [];
    const log: Log = { ...silentLog, warn: (fields, message) => lines.push({ ...fields, message }) };
    const port = 0;
    const limited = { type: 'ws', port, maximumConnections: 2 } as const;
    const broker = new Broker({ memory: true, log, listeners: [{ type: 'tcp', port }, limited] });
    t.teardown(() => broker.close());
    await broker.listen();
    const [open, full] = broker.addresses.map((address) => ({ port: address.port })) as [Port, Port];
    // Sockets count from their first moment, whatever stage they are in.
    const first = await dial(t, full);
    const second = await dial(t, full);
    await (await dial(t, full)).expectClose();
    await (await dial(t, full)).expectClose();
    t.equal(broker.metrics.connectionsRefused, 2);
    t.match(lines, [
      {
        message: 'connection refused',
        address: /^127\.0\.0\.1:\d+$/,
        reason: `there are 2 connections already: maximumConnections of the listener at 127.0.0.1:${full.port}`,
      },
    ]);
    for (let others = 3; others > 0; others--) await join(t, open);
    first.end();
    await first.expectClose();
    second.assertOpen();
    const third = await dialAndSend(t, full, Buffer.from('GET /elsewhere HTTP/1.1\r\n\r\n'));
    t.match(String(await third.rest()), /^HTTP\/1\.1 4/, 'there is room for one more');
  },
);

forVersions(t, [3, 4, 5], '[MQTT-3.1.4-5] [MQTT-3.2.0-2] each CONNECT gets one CONNACK', async (t, version) => {
  const broker = await startBroker(t);
  for (const fields of [{ version, clientId: 'a' }, lasting(version, 'b'), lasting(version, 'b')]) {
    const client = await dialAndSend(t, broker, connect(fields));
    t.equal(parseConnack(await client.packet(), version).code, 0);
    client.send(disconnect());
    t.same(await client.rest(), Buffer.alloc(0));
  }
});

forVersions(
  t,
  [4, 5],
  '[MQTT-3.1.4-5] [MQTT-3.2.0-1] packets sent with CONNECT are answered after it',
  async (t, v) => {
    const broker = await startBroker(t);
    const watcher = await watch(t, broker, 'a');
    const packets = [pingreq(), publish({ version: v, topic: 'a', qos: 1, packetId: 7 }), disconnect()];
    for (const fields of [{ version: v, clientId: 'short' }, lasting(v, 'long')]) {
      const client = await dialAndSend(t, broker, connect(fields), ...packets);
      t.equal(parseConnack(await client.packet(), v).code, 0);
      await client.expect('d0 00 40 02 00 07');
      await client.expectClose();
      await received(watcher);
    }
  },
);

forVersions(t, [4, 5], '[MQTT-3.1.4-6] what follows a refused CONNECT has no effect', async (t, version) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  const bad = connect({ version, clientId: 'x'.repeat(2000) });
  const publishes = [publish({ version, topic: 'a', retain: true }), publish({ version, topic: 'a', qos: 1 })];
  const client = await dialAndSend(t, broker, bad, ...publishes, subscribe({ version, filters: [['a', 0]] }));
  await expectRefused(client, version === 5 ? 0x85 : 2, version);
  await watcher.expectNothing();
  const late = await join(t, broker);
  await subscribed(late, { filters: [['#', 0]] });
  await late.expectNothing();
});

t.test('protocol error: no CONNECT within a reasonable time closes the connection', async (t) => {
  const broker = await startTimedBroker(t, { connectTimeout: 10 });
  const silent = await dial(t, broker);
  const slow = await dialAndSend(t, broker, connect({ clientId: 'c' }).subarray(0, -1));
  // Once a later connection is served, the broker has those two.
  const client = await join(t, broker);
  broker.clock.advance(9_999);
  await client.expectNothing();
  silent.assertOpen();
  slow.assertOpen();
  broker.clock.advance(1);
  await silent.expectClose();
  await slow.expectClose();
  await client.expectNothing();
});
