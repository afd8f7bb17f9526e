import t, { type Test } from 'tap';
import type { BrokerOptions } from '../../lib/config/schema.js';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  connectedToSession,
  expectDisconnect,
  payloads,
  published,
  received,
  suback,
  subscribed,
  versions,
} from '../helpers/client.js';
import {
  disconnect,
  field,
  frame,
  properties,
  property,
  publish,
  subscribe,
  uint16,
  type Version,
} from '../helpers/packets.js';

const noLocal = 0x04;
const illFormed = ['eda080', 'c0af', '61e282', 'f4908080'].map((digits) => Buffer.from(digits, 'hex'));

/** SUBSCRIBE with filters of any bytes and any first byte. */
function rawSubscribe(version: Version, filters: readonly (string | Buffer)[], firstByte = 0x82, options = 0): Buffer {
  const entries = filters.flatMap((filter) => [field(filter), Buffer.from([options])]);
  return frame(firstByte, uint16(1), properties(version), ...entries);
}

/** The bytes end the connection; the session has no subscription to `ok` afterwards. */
async function refuses(t: Test, version: Version, code: number, bytes: Buffer, options: BrokerOptions = {}) {
  const { port } = await startBroker(t, options);
  const client = await connectedToSession(t, port, 'c', { version });
  client.send(bytes);
  await expectDisconnect(client, code, version);
  const back = await connectedToSession(t, port, 'c', { version, sessionPresent: true });
  await published(await connected(t, port), { topic: 'ok', qos: 1 });
  await back.expectNothing();
}

for (const version of versions) {
  const titled = (title: string, script: (t: Test) => Promise<void>) => t.test(`${title}, in ${version}`, script);
  const denied = version === 5 ? 0x87 : 0x80;

  titled('[MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-2.2.1-6] each SUBSCRIBE has a SUBACK with its identifier', async (t) => {
    const { port } = await startBroker(t);
    const client = await connected(t, port, { version });
    const ids = [1, 0xffff, 0x0100, 7];
    client.send(...ids.map((packetId) => subscribe({ version, packetId, filters: [[`a/${packetId}`, 1]] })));
    for (const packetId of ids) await client.expect(suback(packetId, [1], version));
    client.send(subscribe({ version, packetId: 9, filters: [['$receipts/other', 1]] }));
    const failed = await client.packet();
    t.same([failed[0], failed.readUInt16BE(2), failed.at(-1)], [0x90, 9, denied], 'where all filters fail too');
  });

  titled('[MQTT-3.8.4-6] [MQTT-3.9.3-1] [MQTT-3.9.3-2] edge case 6: one code for each filter, in order', async (t) => {
    const { port } = await startBroker(t, { maximumTopicLevels: 3 });
    const properties = version === 5 ? [property.requestProblemInformation(0)] : [];
    const client = await connected(t, port, { version, properties });
    const filters = [
      ['a', 0],
      ['$receipts/x', 1],
      ['b', 2],
      ['a/b/c/d', 0],
      ['c', 1],
      ['$receipts/y', 0],
    ] as const;
    client.send(subscribe({ version, filters }));
    const tooDeep = version === 5 ? 0x8f : 0x80;
    await client.expect(suback(1, [0, denied, 2, tooDeep, 1, denied], version));
  });

  titled('[MQTT-3.8.4-7] a failed filter makes no subscription and takes none away', async (t) => {
    const { port } = await startBroker(t, { maximumSubscriptionsPerSession: 1 });
    const properties = version === 5 ? [property.requestProblemInformation(0)] : [];
    const client = await connected(t, port, { version, properties });
    await subscribed(client, { version, filters: [['a', 1]] });
    client.send(
      subscribe({
        version,
        filters: [
          ['b', 1],
          ['a', 2],
        ],
      }),
    );
    await client.expect(suback(1, [version === 5 ? 0x97 : 0x80, 2], version));
    const publisher = await connected(t, port);
    for (const topic of ['b', 'a']) await published(publisher, { topic, qos: 2, payload: topic });
    t.match(await received(client, version), { topic: 'a', qos: 2 });
    await client.expectNothing();
  });

  titled('[MQTT-3.8.4-7] the granted QoS is never above the request nor Maximum QoS', async (t) => {
    const { port } = await startBroker(t, { maximumQos: 1 });
    const client = await connected(t, port, { version });
    client.send(
      subscribe({
        version,
        filters: [
          ['a', 0],
          ['b', 1],
          ['c', 2],
        ],
      }),
    );
    await client.expect(suback(1, [0, 1, 1], version));
  });

  titled('[MQTT-3.8.4-8] edge case 10: the QoS of a delivery is the lower of published and granted', async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port, { version });
    for (const granted of [0, 1, 2]) {
      const subscriber = await connected(t, port, { version });
      await subscribed(subscriber, { version, filters: [['a', granted]] });
      for (const qos of [0, 1, 2]) {
        await published(publisher, { version, topic: 'a', qos });
        const message = await received(subscriber, version);
        t.equal(message.qos, Math.min(qos, granted), `published at ${qos}, granted ${granted}`);
        await acknowledged(subscriber, message);
      }
      subscriber.reset();
    }
  });

  titled('[MQTT-3.8.4-3] subscribing to a filter again replaces the subscription', async (t) => {
    const { port } = await startBroker(t);
    const client = await connected(t, port, { version });
    const list = (id: number) => (version === 5 ? [property.subscriptionIdentifier(id)] : []);
    await subscribed(client, { version, filters: [['a/b', 2]], properties: list(5) });
    await subscribed(client, { version, filters: [['a/b', 0]], properties: list(6) });
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a/b', qos: 2 });
    t.match(await received(client, version), { qos: 0, properties: list(6) });
    await client.expectNothing();
    await subscribed(client, { version, filters: [['a/b', 1]] });
    await published(publisher, { version, topic: 'a/b', qos: 2 });
    t.match(await received(client, version), { qos: 1, properties: [] });
    await client.expectNothing();
  });

  titled('[MQTT-3.8.4-4] replacing a subscription loses no message', async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connected(t, port, { version });
    await subscribed(subscriber, { version, filters: [['a', 1]] });
    const publisher = await connected(t, port, { version });
    const sent = Array.from({ length: 200 }, (_, at) => String(at));
    for (const [at, payload] of sent.entries()) {
      publisher.send(publish({ version, topic: 'a', qos: 1, packetId: at + 1, payload }));
      subscriber.send(subscribe({ version, filters: [['a', 1]] }));
    }
    const seen: string[] = [];
    while (seen.length < sent.length) {
      const packet = await subscriber.packet();
      if (packet[0] >> 4 === 9) continue;
      subscriber.send('40 02', packet.subarray(5, 7));
      seen.push(packet.toString('utf8', version === 5 ? 8 : 7));
    }
    t.same(seen, sent);
  });

  titled('[MQTT-3.8.4-5] one SUBSCRIBE of many filters is as many SUBSCRIBEs in that order', async (t) => {
    const { port } = await startBroker(t);
    const client = await connected(t, port, { version });
    const filters = [
      ['a/b', 2],
      ['a/+', 0],
      ['a/b', 1],
      ['c', 1],
      ['c', 0],
    ] as const;
    await subscribed(client, { version, filters });
    const publisher = await connected(t, port, { version });
    for (const topic of ['a/b', 'a/x', 'c']) await published(publisher, { version, topic, qos: 2 });
    t.match(await received(client, version), { topic: 'a/b', qos: 1 });
    t.match(await received(client, version), { topic: 'a/x', qos: 0 });
    t.match(await received(client, version), { topic: 'c', qos: 0 });
    await client.expectNothing();
  });

  titled('[MQTT-3.8.1-1] [MQTT-2.1.3-1] SUBSCRIBE with other flags ends the connection', async (t) => {
    for (const flags of [0, 1, 3, 6, 10, 15])
      await refuses(t, version, 0x81, rawSubscribe(version, ['ok'], 0x80 | flags));
  });

  titled('[MQTT-3.8.3-1] [MQTT-1.5.4-1] [MQTT-4.7.3-2] an ill-formed filter undoes its whole packet', async (t) => {
    for (const bytes of [...illFormed, 'a\0b']) {
      await refuses(t, version, 0x81, rawSubscribe(version, [bytes, 'ok']));
      await refuses(t, version, 0x81, rawSubscribe(version, ['ok', bytes]));
    }
  });

  titled('[MQTT-3.8.3-2] SUBSCRIBE without a filter ends the connection', async (t) => {
    await refuses(t, version, 0x82, rawSubscribe(version, []));
  });

  titled('[MQTT-4.7.3-1] an empty filter undoes its whole packet', async (t) => {
    await refuses(t, version, 0x81, rawSubscribe(version, ['ok', '']));
  });

  titled('[MQTT-2.2.1-3] packet identifier 0 in SUBSCRIBE ends the connection', async (t) => {
    await refuses(t, version, 0x82, subscribe({ version, packetId: 0, filters: [['ok', 0]] }));
  });

  titled('a SUBSCRIBE cut off in a filter or before its options ends the connection', async (t) => {
    await refuses(t, version, 0x81, frame(0x82, uint16(1), properties(version), Buffer.from([0, 9, 0x61])));
    await refuses(t, version, 0x81, frame(0x82, uint16(1), properties(version), field('ok')));
  });

  titled('protocol error: requested QoS 3', async (t) => {
    await refuses(t, version, version === 5 ? 0x82 : 0x81, rawSubscribe(version, ['ok'], 0x82, 3));
  });

  titled('[MQTT-3.8.3-5] reserved option bits end the connection', async (t) => {
    const reserved = version === 5 ? [0x40, 0x80, 0xc0] : [0x04, 0x08, 0x10, 0x20, 0x40, 0x80];
    for (const bits of reserved) await refuses(t, version, 0x81, rawSubscribe(version, ['ok'], 0x82, bits | 1));
  });
}

t.test('[MQTT-3.8.3-3] No Local keeps away what the client itself publishes, and no more', async (t) => {
  const { port } = await startBroker(t);
  let client = await connectedToSession(t, port, 'both');
  const filters = [
    ['a', noLocal | 1],
    ['b', 1],
  ] as const;
  await subscribed(client, { filters });
  const other = await connected(t, port);
  for (let time = 0; time < 2; time++) {
    await published(client, { topic: 'a', qos: 1, payload: 'own' });
    await published(other, { topic: 'a', qos: 1, payload: 'other' });
    t.same(await payloads(client, 1), ['other']);
    client.send(publish({ topic: 'b', qos: 0, payload: 'own b' }));
    t.same(await payloads(client, 1), ['own b']);
    client.send(disconnect());
    await client.expectClose();
    await published(other, { topic: 'a', qos: 1, payload: 'while away' });
    client = await connectedToSession(t, port, 'both', { sessionPresent: true });
    t.same(await payloads(client, 1), ['while away']);
  }
});

t.test('[MQTT-3.8.3-3] No Local counts for its own subscription only, among overlapping ones', async (t) => {
  const { port } = await startBroker(t);
  const client = await connected(t, port);
  const [one, two] = [property.subscriptionIdentifier(1), property.subscriptionIdentifier(2)];
  await subscribed(client, { filters: [['a/+', noLocal | 2]], properties: [one] });
  await subscribed(client, { filters: [['a/b', 1]], properties: [two] });
  client.send(publish({ topic: 'a/b', qos: 0 }));
  t.strictSame((await received(client)).properties, [two]);
  await published(client, { topic: 'a/c', qos: 0 });
});

t.test('[MQTT-3.8.3-4] edge case 8: No Local on a shared subscription undoes the whole packet', async (t) => {
  const filters = [
    ['ok', 1],
    ['$share/g/t', noLocal],
  ] as const;
  await refuses(t, 5, 0x82, subscribe({ filters }));
});

t.test('protocol error: Subscription Identifier 0, or twice', async (t) => {
  const zero = property.subscriptionIdentifier(0);
  const one = property.subscriptionIdentifier(1);
  await refuses(t, 5, 0x82, subscribe({ filters: [['ok', 1]], properties: [zero] }));
  await refuses(t, 5, 0x82, subscribe({ filters: [['ok', 1]], properties: [one, one] }));
});

t.test('a Subscription Identifier of the largest value comes back', async (t) => {
  const { port } = await startBroker(t);
  const client = await connected(t, port);
  const list = [property.subscriptionIdentifier(268_435_455)];
  await subscribed(client, { filters: [['a', 0]], properties: list });
  await published(await connected(t, port), { topic: 'a' });
  await client.expect(publish({ topic: 'a', properties: list }));
});

t.test('protocol error: Retain Handling 3', async (t) => {
  await refuses(t, 5, 0x82, rawSubscribe(5, ['ok'], 0x82, 0x30));
});

t.test('protocol error: a property that SUBSCRIBE does not have', async (t) => {
  for (const bytes of [property.contentType('x'), property.reasonString('x'), property.topicAlias(1)]) {
    await refuses(t, 5, 0x81, subscribe({ filters: [['ok', 0]], properties: [bytes] }));
  }
});

t.test('[MQTT-2.2.2-1] a SUBSCRIBE without property length ends the connection', async (t) => {
  await refuses(t, 5, 0x81, frame(0x82, uint16(1)));
});

for (const [what, code, option, packet] of [
  ['a wildcard', 0xa2, { wildcardSubscriptionAvailable: false }, subscribe({ filters: [['ok/#', 0]] })],
  ['a shared filter', 0x9e, { sharedSubscriptionAvailable: false }, subscribe({ filters: [['$share/g/ok', 0]] })],
  [
    'a Subscription Identifier',
    0xa1,
    { subscriptionIdentifiersAvailable: false },
    subscribe({ filters: [['ok', 0]], properties: [property.subscriptionIdentifier(1)] }),
  ],
] as const) {
  t.test(`protocol error: ${what} where that is announced as unavailable`, async (t) => {
    await refuses(t, 5, code, packet, option);
  });
}

t.test('[MQTT-3.9.2-1] [MQTT-3.9.2-2] SUBACK explains a refusal only within Maximum Packet Size', async (t) => {
  const { port } = await startBroker(t);
  const answer = async (...list: Buffer[]): Promise<Buffer> => {
    const client = await connected(t, port, { clientId: 'c', properties: list });
    client.send(subscribe({ filters: [['$receipts/x', 0]], properties: [property.userProperty('a', 'b')] }));
    return client.packet();
  };
  const explained = await answer();
  t.equal(explained[5], 0x1f, 'a Reason String');
  t.equal((await answer(property.maximumPacketSize(explained.length))).length, explained.length);
  t.strictSame(await answer(property.maximumPacketSize(explained.length - 1)), suback(1, [0x87]));
  t.strictSame(await answer(property.requestProblemInformation(0)), suback(1, [0x87]), 'edge case 35');
});

t.test('[MQTT-4.1.0-1] subscriptions stay as long as a connection without session expiry', async (t) => {
  const { port } = await startBroker(t);
  const client = await connected(t, port);
  await subscribed(client, { filters: [['a', 0]] });
  const publisher = await connected(t, port);
  for (let time = 0; time < 100; time++) {
    await published(publisher, { topic: 'a' });
    await client.expect(publish({ topic: 'a' }));
  }
});
