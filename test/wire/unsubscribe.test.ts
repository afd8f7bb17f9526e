import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  connectedToSession,
  expectDisconnect,
  payloads,
  published,
  received,
  subscribed,
  unsuback,
  unsubscribed,
  versions,
} from '../helpers/client.js';
import { ack, field, frame, properties, property, uint16, unsubscribe, type Version } from '../helpers/packets.js';

/** UNSUBSCRIBE of any bytes. */
function raw(version: Version, filters: readonly (string | Buffer)[], firstByte = 0xa2): Buffer {
  return frame(firstByte, uint16(1), properties(version), ...filters.map(field));
}

/** The bytes end the connection, and the subscription to `ok` stays. */
async function refuses(t: Test, version: Version, code: number, bytes: Buffer): Promise<void> {
  const { port } = await startBroker(t);
  const client = await connectedToSession(t, port, 'c', { version });
  await subscribed(client, { version, filters: [['ok', 1]] });
  client.send(bytes);
  await expectDisconnect(client, code, version);
  const back = await connectedToSession(t, port, 'c', { version, sessionPresent: true });
  await published(await connected(t, port), { topic: 'ok', qos: 1, payload: 'x' });
  t.same(await payloads(back, 1, version), ['x']);
}

for (const version of versions) {
  const titled = (title: string, script: (t: Test) => Promise<void>) => t.test(`${title}, in ${version}`, script);

  titled('[MQTT-3.10.4-2] [MQTT-3.10.4-4] nothing new comes after UNSUBACK', async (t) => {
    const { port } = await startBroker(t);
    const client = await connected(t, port, { version });
    await subscribed(client, { version, filters: [['a', 2]] });
    await unsubscribed(client, ['a'], version);
    const publisher = await connected(t, port, { version });
    for (const qos of [0, 1, 2]) await published(publisher, { version, topic: 'a', qos });
    await client.expectNothing();
  });

  titled(
    '[MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-2.2.1-6] edge case 6: each has one UNSUBACK, also in vain',
    async (t) => {
      const { port } = await startBroker(t);
      const client = await connected(t, port, { version });
      await subscribed(client, { version, filters: [['a', 2]] });
      client.send(unsubscribe({ version, packetId: 0xfffe, filters: ['unknown'] }));
      client.send(unsubscribe({ version, packetId: 0x0102, filters: ['a'] }));
      client.send(unsubscribe({ version, packetId: 3, filters: ['a'] }));
      await client.expect(unsuback(0xfffe, [0x11], version));
      await client.expect(unsuback(0x0102, [0x00], version));
      await client.expect(unsuback(3, [0x11], version));
      await client.expectNothing();
    },
  );

  titled(
    '[MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] many filters have one UNSUBACK, codes in order',
    async (t) => {
      const { port } = await startBroker(t);
      const client = await connected(t, port, { version });
      await subscribed(client, { version, filters: ['a', 'b', 'c/+'].map((filter) => [filter, 0] as const) });
      client.send(unsubscribe({ version, packetId: 9, filters: ['x', 'a', 'y', 'c/+', 'a', 'b'] }));
      await client.expect(unsuback(9, [0x11, 0, 0x11, 0, 0x11, 0], version));
      const publisher = await connected(t, port, { version });
      for (const topic of ['a', 'b', 'c/d']) await published(publisher, { version, topic });
      await client.expectNothing();
    },
  );

  titled('[MQTT-3.10.4-1] filters are compared character by character, not matched', async (t) => {
    const { port } = await startBroker(t);
    const client = await connected(t, port, { version });
    await subscribed(client, {
      version,
      filters: ['a/+', 'a/b', '$share/g/a/b'].map((filter) => [filter, 0] as const),
    });
    const others = ['a/#', 'A/b', 'a/b/', '/a/b', 'a/c', '#', '+/+', '$share/h/a/b', '$share/g/a/+'];
    client.send(unsubscribe({ version, filters: others }));
    await client.expect(
      unsuback(
        1,
        others.map(() => 0x11),
        version,
      ),
    );
    await unsubscribed(client, ['a/b'], version);
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a/b' });
    for (const _ of ['by a/+', 'by $share/g/a/b']) t.equal((await received(client, version)).topic, 'a/b');
    await unsubscribed(client, ['$share/g/a/b'], version);
    await published(publisher, { version, topic: 'a/b' });
    t.equal((await received(client, version)).topic, 'a/b');
    await client.expectNothing();
  });

  titled('[MQTT-3.10.4-3] flows that have begun are completed after UNSUBSCRIBE, and repeated on resume', async (t) => {
    const { port } = await startBroker(t);
    const client = await connectedToSession(t, port, 'c', { version });
    await subscribed(client, { version, filters: [['a', 2]] });
    const publisher = await connected(t, port, { version });
    for (const qos of [2, 1, 2]) await published(publisher, { version, topic: 'a', qos });
    const [first, second, third] = [
      await received(client, version),
      await received(client, version),
      await received(client, version),
    ];
    await unsubscribed(client, ['a'], version);
    client.send(ack('pubrec', first.packetId));
    await client.expect(ack('pubrel', first.packetId));
    client.send(ack('pubcomp', first.packetId));
    await client.expectNothing();
    client.reset();
    const back = await connectedToSession(t, port, 'c', { version, sessionPresent: true });
    const repeats = [await received(back, version), await received(back, version)];
    t.match(repeats, [
      { packetId: second.packetId, dup: true },
      { packetId: third.packetId, dup: true },
    ]);
    for (const repeat of repeats) await acknowledged(back, repeat);
    await back.expectNothing();
  });

  titled('[MQTT-3.10.1-1] [MQTT-2.1.3-1] UNSUBSCRIBE with other flags ends the connection', async (t) => {
    for (const flags of [0, 1, 3, 6, 10]) await refuses(t, version, 0x81, raw(version, ['ok'], 0xa0 | flags));
  });

  titled('[MQTT-3.10.3-1] [MQTT-1.5.4-2] an ill-formed filter undoes the whole UNSUBSCRIBE', async (t) => {
    for (const digits of ['eda080', 'c0af', '61e282', '610062']) {
      await refuses(t, version, 0x81, raw(version, ['ok', Buffer.from(digits, 'hex')]));
    }
  });

  titled('[MQTT-3.10.3-2] UNSUBSCRIBE without a filter ends the connection', async (t) => {
    await refuses(t, version, 0x82, raw(version, []));
  });

  titled('[MQTT-4.7.3-1] an empty filter in UNSUBSCRIBE ends the connection', async (t) => {
    await refuses(t, version, 0x81, raw(version, ['ok', '']));
  });

  titled('[MQTT-2.2.1-3] packet identifier 0 in UNSUBSCRIBE ends the connection', async (t) => {
    await refuses(t, version, 0x82, unsubscribe({ version, packetId: 0, filters: ['ok'] }));
  });

  titled('an unsubscribed filter stays so after a resume', async (t) => {
    const { port } = await startBroker(t);
    const client = await connectedToSession(t, port, 'c', { version });
    await subscribed(client, { version, filters: [['a', 1]] });
    await unsubscribed(client, ['a'], version);
    client.reset();
    const back = await connectedToSession(t, port, 'c', { version, sessionPresent: true });
    await published(await connected(t, port), { topic: 'a', qos: 1 });
    await back.expectNothing();
  });
}

t.test('[MQTT-3.11.2-1] [MQTT-3.11.2-2] UNSUBACK stays within Maximum Packet Size', async (t) => {
  const { port } = await startBroker(t);
  const client = await connected(t, port, { clientId: 'c', properties: [property.maximumPacketSize(20)] });
  const list = [property.userProperty('a', 'b'.repeat(100))];
  client.send(unsubscribe({ filters: ['unknown'], properties: list }));
  await client.expect(unsuback(1, [0x11]));
});

t.test('protocol error: a property that UNSUBSCRIBE does not have', async (t) => {
  for (const bytes of [property.subscriptionIdentifier(1), property.reasonString('x')]) {
    await refuses(t, 5, 0x81, unsubscribe({ filters: ['ok'], properties: [bytes] }));
  }
});
