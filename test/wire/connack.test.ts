import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { expectDisconnect, published, received, subscribed, unsubscribed } from '../helpers/client.js';
import {
  ack,
  connect,
  disconnect,
  field,
  property,
  publish,
  rawConnect,
  subscribe,
  variable,
} from '../helpers/packets.js';
import { numberOf, parseConnack } from '../helpers/parse.js';
import { dialAndSend, expectRefused, forVersions, greet, join, lasting, watch } from '../helpers/scenes.js';

/** What the standard lets a server put into CONNACK. */
const connackCodes = '80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f'.split(' ');

forVersions(t, [4, 5], '[MQTT-3.2.0-1] CONNACK comes before what waits in the session', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, lasting(version, 'c'));
  await subscribed(client, { version, filters: [['a', 2]] });
  const publisher = await join(t, broker);
  await published(publisher, { topic: 'a', qos: 2 });
  const { packetId } = await received(client, version);
  client.send(ack('pubrec', packetId));
  await client.expect(ack('pubrel', packetId));
  client.send(disconnect());
  await client.expectClose();
  for (const packetId of [1, 2, 3]) await published(publisher, { topic: 'a', qos: 1, packetId });
  const resumed = await dialAndSend(t, broker, connect(lasting(version, 'c')));
  const types: number[] = [];
  for (let count = 0; count < 5; count++) types.push((await resumed.packet())[0] >> 4);
  t.same(types, [2, 6, 3, 3, 3]);
});

forVersions(t, [3, 4, 5], '[MQTT-3.2.2-1] seven bits of the acknowledge flags are 0', async (t, version) => {
  const broker = await startBroker(t);
  for (let count = 0; count < 3; count++) {
    const [, { flags }] = await greet(t, broker, lasting(version, 'c'));
    t.equal(flags & 0xfe, 0);
  }
});

forVersions(t, [4, 5], '[MQTT-3.2.2-2] [MQTT-3.1.2-4] a clean start has Session Present 0', async (t, version) => {
  const broker = await startBroker(t);
  await join(t, broker, lasting(version, 'c'), false);
  await join(t, broker, { ...lasting(version, 'c'), cleanStart: true }, false);
});

forVersions(
  t,
  [4, 5],
  '[MQTT-3.2.2-3] Session Present tells of a session without subscriptions',
  async (t, version) => {
    const broker = await startBroker(t);
    const client = await join(t, broker, lasting(version, 'c'), false);
    client.send(disconnect());
    await client.expectClose();
    await join(t, broker, lasting(version, 'c'), true);
    await join(t, broker, lasting(version, 'other'), false);
  },
);

t.test('[MQTT-3.2.2-6] a refusal has Session Present 0 and leaves the session alone', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { ...lasting(5, 'c'), userName: 'mine' });
  client.send(disconnect());
  await client.expectClose();
  for (const version of [4, 5] as const) {
    const packet = connect({ ...lasting(version, 'c'), userName: 'not mine' });
    await expectRefused(await dialAndSend(t, broker, packet), version === 5 ? 0x87 : 5, version);
  }
  await join(t, broker, { ...lasting(5, 'c'), userName: 'mine' }, true);
});

t.test('[MQTT-3.2.2-7] [MQTT-3.2.2-8] each refusal has a code of CONNACK, and the broker closes', async (t) => {
  const broker = await startBroker(t, { maximumQos: 1, retainAvailable: false, maximumClientIdLength: 23 });
  const refusals = [
    connect({ clientId: 'x'.repeat(24) }),
    connect({ properties: [property.authenticationMethod('SCRAM-SHA-1')] }),
    connect({ properties: [property.receiveMaximum(0)] }),
    connect({ properties: [property.topicAlias(1)] }),
    connect({ will: { topic: 'a/#' } }),
    connect({ will: { topic: '$SYS/x' } }),
    connect({ will: { topic: 'a', qos: 2 } }),
    connect({ will: { topic: 'a', retain: true } }),
    connect({ clientId: 'c' }).subarray(0, 1),
    rawConnect({ level: 9 }),
    rawConnect({ flags: 1 }),
    rawConnect({ rest: [variable(0)] }),
  ];
  const codes = new Set<string>();
  for (const packet of refusals) {
    const client = await dialAndSend(t, broker, packet, packet.length === 1 ? '00' : '');
    const answer = await client.rest();
    if (answer.length === 0) continue;
    const { code, flags } = parseConnack(answer);
    t.equal(flags, 0);
    t.ok(connackCodes.includes(code.toString(16)), `0x${code.toString(16)}`);
    codes.add(code.toString(16));
  }
  t.ok(codes.size >= 8, `many reasons: ${[...codes].join(' ')}`);
});

t.test('[MQTT-3.2.2-7] a client that goes on sending does not keep a refused connection open', async (t) => {
  const broker = await startBroker(t);
  const client = await dialAndSend(t, broker, connect({ clientId: 'x'.repeat(2000) }));
  client.send(publish({ topic: 'a', payload: Buffer.alloc(1000) }));
  await expectRefused(client, 0x85);
});

t.test('[MQTT-3.2.2-9] Maximum QoS is announced where it is capped, and only there', async (t) => {
  const maximumOf = async (maximumQos: 0 | 1 | 2) => {
    const [, { properties }] = await greet(t, await startBroker(t, { maximumQos }));
    return numberOf(properties, 0x24);
  };
  t.equal(await maximumOf(0), 0);
  t.equal(await maximumOf(1), 1);
  t.equal(await maximumOf(2), undefined);
});

forVersions(
  t,
  [4, 5],
  '[MQTT-3.2.2-10] a subscription above Maximum QoS is granted the maximum',
  async (t, version) => {
    for (const maximumQos of [0, 1] as const) {
      const broker = await startBroker(t, { maximumQos });
      const client = await join(t, broker, { version });
      client.send(
        subscribe({
          version,
          filters: [
            ['a', 2],
            ['b', 1],
            ['c', 0],
          ],
        }),
      );
      const suback = await client.packet();
      t.same([...suback.subarray(-3)], [maximumQos, Math.min(1, maximumQos), 0]);
      await client.expectNothing();
    }
  },
);

t.test('[MQTT-3.2.2-11] a PUBLISH above Maximum QoS ends the connection', async (t) => {
  for (const maximumQos of [0, 1] as const) {
    const broker = await startBroker(t, { maximumQos });
    const watcher = await join(t, broker);
    await subscribed(watcher, { filters: [['#', 0]] });
    for (let qos = maximumQos + 1; qos <= 2; qos++) {
      const client = await join(t, broker);
      client.send(publish({ topic: 'a', qos }));
      await expectDisconnect(client, 0x9b);
    }
    await watcher.expectNothing();
  }
});

t.test('[MQTT-3.2.2-12] a will above Maximum QoS is refused', async (t) => {
  const broker = await startBroker(t, { maximumQos: 1 });
  await expectRefused(await dialAndSend(t, broker, connect({ will: { topic: 'a', qos: 2 } })), 0x9b);
  await expectRefused(await dialAndSend(t, broker, connect({ version: 4, will: { topic: 'a', qos: 2 } })), 'silent', 4);
  await join(t, broker, { will: { topic: 'a', qos: 1 } });
});

t.test('[MQTT-3.2.2-13] a retained will is refused where retain is not available', async (t) => {
  const broker = await startBroker(t, { retainAvailable: false });
  await expectRefused(await dialAndSend(t, broker, connect({ will: { topic: 'a', retain: true } })), 0x9a);
  await join(t, broker, { will: { topic: 'a' } });
});

t.test('[MQTT-3.2.2-14] RETAIN ends the connection where retain is not available', async (t) => {
  const broker = await startBroker(t, { retainAvailable: false });
  const watcher = await watch(t, broker, '#');
  const [client, { properties }] = await greet(t, broker);
  t.equal(numberOf(properties, 0x25), 0, 'Retain Available');
  client.send(publish({ topic: 'a', payload: 'x', retain: true }));
  await expectDisconnect(client, 0x9a);
  await watcher.expectNothing();
  await unsubscribed(watcher, ['#']);
  await subscribed(watcher, { filters: [['#', 0]] });
  await watcher.expectNothing();
});

t.test(
  '[MQTT-3.2.2-17] [MQTT-3.2.2-18] topic aliases up to the announced maximum, and none where none are',
  async (t) => {
    for (const topicAliasMaximum of [0, 3]) {
      const broker = await startBroker(t, { topicAliasMaximum });
      const [client, { properties }] = await greet(t, broker);
      t.equal(numberOf(properties, 0x22), topicAliasMaximum === 0 ? undefined : 3);
      await subscribed(client, { filters: [['a', 0]] });
      for (let alias = 1; alias <= topicAliasMaximum; alias++) {
        client.send(publish({ topic: 'a', payload: 'x', properties: [property.topicAlias(alias)] }));
        t.equal((await received(client)).payload, 'x');
      }
      client.send(publish({ topic: 'a', properties: [property.topicAlias(topicAliasMaximum + 1)] }));
      await expectDisconnect(client, 0x94);
    }
  },
);

t.test('[MQTT-3.1.2-28] there is no Response Information unless it is asked for', async (t) => {
  const broker = await startBroker(t);
  for (const properties of [[], [property.requestResponseInformation(0)]]) {
    const [, connack] = await greet(t, broker, { properties });
    t.notOk(connack.properties.some(({ id }) => id === 0x1a));
  }
  await join(t, broker, { properties: [property.requestResponseInformation(1)] });
});

t.test('what is not available is announced, and what is usual is not', async (t) => {
  const off = {
    wildcardSubscriptionAvailable: false,
    sharedSubscriptionAvailable: false,
    subscriptionIdentifiersAvailable: false,
  };
  const [, limited] = await greet(t, await startBroker(t, off));
  for (const id of [0x28, 0x29, 0x2a]) t.equal(numberOf(limited.properties, id), 0);
  const [, usual] = await greet(t, await startBroker(t), { clientId: 'c' });
  for (const id of [0x11, 0x12, 0x13, 0x15, 0x16, 0x24, 0x25, 0x28, 0x29, 0x2a]) {
    t.notOk(
      usual.properties.some((property) => property.id === id),
      `no property ${id}`,
    );
  }
});

t.test('[MQTT-3.2.2-8] a CONNECT with a user name the broker knows nothing of gets no code of MQTT 3', async (t) => {
  const broker = await startBroker(t);
  const rest = [variable(0), field('c'), field('user'), field('secret')];
  const client = await dialAndSend(t, broker, rawConnect({ flags: 0xc2, rest }));
  const { code } = parseConnack(await client.packet());
  t.ok(code === 0 || connackCodes.includes(code.toString(16)));
});
