import assert from 'node:assert/strict';
import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  expectAck,
  expectDisconnect,
  payloads,
  published,
  received,
  subscribed,
} from '../helpers/client.js';
import {
  ack,
  connect,
  disconnect,
  property,
  publish,
  subscribe,
  unsubscribe,
  type Version,
} from '../helpers/packets.js';
import { numberOf, parseConnack, parseDisconnect, parseSuback } from '../helpers/parse.js';
import { dialAndSend, expectRefused, forVersions, greet, join, lasting, watch } from '../helpers/scenes.js';
import type { WireClient } from '../helpers/wire-client.js';

const reasonString = 0x1f;
const limitOf = (bytes: number) => [property.maximumPacketSize(bytes)];

/** A payload that makes the PUBLISH to `a` as large as said: up to 127 bytes of remaining length. */
const sized = (bytes: number, fields: { readonly version?: Version; readonly qos?: number } = {}): string =>
  'x'.repeat(bytes - publish({ topic: 'a', ...fields }).length);

/** The packet, which must be within the limit. */
async function within(client: WireClient, limit: number): Promise<Buffer> {
  const packet = await client.packet();
  assert.ok(packet.length <= limit, `${packet.length} bytes, limit ${limit}: ${packet.toString('hex')}`);
  return packet;
}

forVersions(t, [4, 5], '[MQTT-3.2.2-15] edge case 34: a packet as large as the limit passes', async (t, version) => {
  const broker = await startBroker(t, { maximumPacketSize: 100 });
  const watcher = await watch(t, broker, 'a');
  const [client, { properties }] = await greet(t, broker, { version });
  if (version === 5) t.equal(numberOf(properties, 0x27), 100, 'Maximum Packet Size');
  const most = publish({ version, topic: 'a', payload: sized(100, { version }) });
  t.equal(most.length, 100);
  client.send(most);
  t.equal((await received(watcher)).payload, sized(100, { version }));
  client.send(publish({ version, topic: 'a', payload: sized(101, { version }) }));
  await expectDisconnect(client, 0x95, version);
  await watcher.expectNothing();
});

t.test('[MQTT-3.2.2-15] edge case 34: a packet that is too large is refused from its header', async (t) => {
  const broker = await startBroker(t, { maximumPacketSize: 100 });
  for (const header of ['30 63', '30 ff ff ff 7f', '82 80 01']) {
    const client = await join(t, broker);
    client.send(header);
    await expectDisconnect(client, 0x95);
  }
  await (await dialAndSend(t, broker, '10 ff ff ff 7f')).expectClose();
  await (await dialAndSend(t, broker, connect({ clientId: 'x'.repeat(100) }))).expectClose();
});

t.test('[MQTT-3.1.2-24] [MQTT-3.1.2-25] edge case 34: only what fits is sent', async (t) => {
  for (const qos of [0, 1, 2]) {
    const broker = await startBroker(t);
    const properties = [...limitOf(50), property.receiveMaximum(1)];
    const client = await join(t, broker, { clientId: 'c', properties });
    await subscribed(client, { filters: [['a', 2]] });
    const publisher = await join(t, broker);
    const all = [sized(49, { qos }), sized(51, { qos }), sized(50, { qos }), sized(5000, { qos }), 'last'];
    for (const payload of all) {
      publisher.send(publish({ topic: 'a', qos, payload }));
      if (qos > 0) await publisher.packet();
      if (qos === 2) publisher.send(ack('pubrel', 1));
      if (qos === 2) await publisher.packet();
    }
    t.same(await payloads(client, 3), [all[0], all[2], 'last']);
    await client.expectNothing();
  }
});

t.test(
  '[MQTT-3.1.2-25] edge case 34: what is too large in a queue holds nothing up and does not come back',
  async (t) => {
    const broker = await startBroker(t);
    const fields = lasting(5, 'c');
    const client = await join(t, broker, fields);
    await subscribed(client, { filters: [['a', 2]] });
    client.send(disconnect());
    await client.expectClose();
    const publisher = await join(t, broker);
    const all = ['first', 'x'.repeat(100), 'second', 'y'.repeat(100), 'third'];
    for (const [at, payload] of all.entries()) await published(publisher, { topic: 'a', qos: 1 + (at % 2), payload });
    const properties = [...(fields.properties ?? []), ...limitOf(50), property.receiveMaximum(1)];
    const limited = await join(t, broker, { ...fields, properties }, true);
    t.same(await payloads(limited, 3), ['first', 'second', 'third']);
    limited.send(disconnect());
    await limited.expectClose();
    const unlimited = await join(t, broker, fields, true);
    await unlimited.expectNothing();
  },
);

t.test('[MQTT-3.1.2-25] edge case 34: a repeat that has become too large frees its slot', async (t) => {
  const broker = await startBroker(t);
  const fields = lasting(5, 'c');
  const client = await join(t, broker, fields);
  await subscribed(client, { filters: [['a', 1]] });
  const publisher = await join(t, broker);
  await published(publisher, { topic: 'a', qos: 1, payload: 'x'.repeat(100) });
  await received(client);
  client.reset();
  const properties = [...(fields.properties ?? []), ...limitOf(50), property.receiveMaximum(1)];
  const limited = await join(t, broker, { ...fields, properties }, true);
  await published(publisher, { topic: 'a', qos: 1, payload: 'small' });
  const message = await received(limited);
  t.match(message, { payload: 'small', dup: false });
  await acknowledged(limited, message);
  await limited.expectNothing();
});

t.test('edge case 34: the size is that of each subscriber', async (t) => {
  const broker = await startBroker(t);
  const plain = await join(t, broker, { clientId: 'plain', properties: limitOf(50) });
  await subscribed(plain, { filters: [['a', 0]] });
  const withIdentifier = await join(t, broker, { clientId: 'identifier', properties: limitOf(50) });
  const identifier = property.subscriptionIdentifier(1);
  await subscribed(withIdentifier, { filters: [['a', 0]], properties: [identifier] });
  const older = await join(t, broker, { version: 4 });
  await subscribed(older, { version: 4, filters: [['a', 0]] });
  await published(await join(t, broker), { topic: 'a', payload: sized(50) });
  t.equal((await received(plain)).payload, sized(50));
  t.equal((await received(older, 4)).payload, sized(50));
  await withIdentifier.expectNothing();
});

t.test('[MQTT-3.1.2-24] a client that can not take a CONNACK is refused, not left without one', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, 'will');
  const [, whole] = await greet(t, broker);
  t.equal(whole.code, 0);
  for (const limit of [1, 4])
    await expectRefused(await dialAndSend(t, broker, connect({ properties: limitOf(limit) })), 'silent');
  // Room for a bare CONNACK, not for one with an Assigned Client Identifier.
  for (const limit of [5, 20, 40]) {
    const packet = connect({ properties: limitOf(limit), will: { topic: 'will' } });
    await expectRefused(await dialAndSend(t, broker, packet), 0x95);
  }
  await watcher.expectNothing();
});

t.test('[MQTT-3.2.2-19] [MQTT-3.2.2-20] a refusal leaves out the text that does not fit', async (t) => {
  const broker = await startBroker(t, { maximumClientIdLength: 23 });
  const refusals: [number, (limit: Buffer[]) => Buffer][] = [
    [0x85, (properties) => connect({ clientId: 'x'.repeat(24), properties })],
    [0x8c, (properties) => connect({ properties: [...properties, property.authenticationMethod('m')] })],
    [0x90, (properties) => connect({ properties, will: { topic: 'a/#' } })],
    [0x81, (properties) => Buffer.concat([connect({ properties }).subarray(0, -2), Buffer.from([0, 9])])],
  ];
  for (const [code, packet] of refusals) {
    const explained = parseConnack(await (await dialAndSend(t, broker, packet([]))).packet());
    t.ok(
      explained.properties.some(({ id }) => id === reasonString),
      'a Reason String where there is room',
    );
    const client = await dialAndSend(t, broker, packet(limitOf(12)));
    const bare = parseConnack(await within(client, 12));
    t.same(bare, { flags: 0, code, properties: [] });
    await client.expectClose();
  }
});

t.test(
  '[MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] PUBACK and PUBREC without room for text',
  async (t) => {
    const broker = await startBroker(t);
    for (const limit of [undefined, 25]) {
      const client = await join(t, broker, { clientId: 'c', properties: limit === undefined ? [] : limitOf(limit) });
      for (const [qos, type] of [
        [1, 'puback'],
        [2, 'pubrec'],
      ] as const) {
        client.send(publish({ topic: '$SYS/x', qos, packetId: 9 }));
        const packet = await expectAck(client, type, 9, 0x87);
        t.equal(packet.length > 25, limit === undefined, 'Reason String only where there is room');
      }
    }
  },
);

t.test(
  '[MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] SUBACK and UNSUBACK within the limit',
  async (t) => {
    const broker = await startBroker(t, { maximumTopicLevels: 2 });
    const free = await join(t, broker);
    free.send(subscribe({ filters: [['a/b/c', 0]] }));
    t.ok(parseSuback(await free.packet()).properties.some(({ id }) => id === reasonString));
    const client = await join(t, broker, { clientId: 'c', properties: limitOf(25) });
    client.send(subscribe({ filters: [['a/b/c', 0]] }), unsubscribe({ filters: ['a/b/c'] }));
    t.match(parseSuback(await within(client, 25)), { codes: [0x8f], properties: [] });
    t.match(parseSuback(await within(client, 25)), { codes: [0x11], properties: [] });
  },
);

t.test('[MQTT-3.1.2-24] an answer that can not be made small enough ends the connection', async (t) => {
  const broker = await startBroker(t);
  await published(await join(t, broker), { topic: 'a', payload: 'x', retain: true });
  const filters = Array.from({ length: 30 }, (_, at) => [`${at % 2 === 0 ? 'a' : at}`, 1] as const);
  for (const packet of [subscribe({ filters }), unsubscribe({ filters: filters.map(([filter]) => filter) })]) {
    const client = await join(t, broker, {
      ...lasting(5, 'c'),
      properties: [...limitOf(25), property.sessionExpiryInterval(9)],
    });
    client.send(packet);
    t.equal(parseDisconnect(await within(client, 25)).code, 0x95);
    await client.expectClose();
  }
});

t.test('[MQTT-3.14.2-3] [MQTT-3.14.2-4] a DISCONNECT without room for its text', async (t) => {
  const broker = await startBroker(t);
  for (const [limit, hasText] of [
    [25, false],
    [1000, true],
  ] as const) {
    const client = await join(t, broker, { clientId: 'c', properties: limitOf(limit) });
    client.send('00 00');
    const { code, properties } = parseDisconnect(await within(client, limit));
    t.equal(code, 0x81);
    t.equal(
      properties.some(({ id }) => id === reasonString),
      hasText,
    );
    await client.expectClose();
  }
});
