import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  connectedToSession,
  expectAck,
  expectDisconnect,
  published,
  received,
  subscribed,
  versions,
} from '../helpers/client.js';
import { ack, disconnect, field, frame, property, publish, uint16, type Version } from '../helpers/packets.js';

for (const version of versions) {
  t.test(
    `[MQTT-3.3.4-1] a PUBLISH is answered as its QoS asks, with subscribers or without, to ${version}`,
    async (t) => {
      const { port } = await startBroker(t);
      const publisher = await connected(t, port, { version });
      publisher.send(publish({ version, topic: 'a', qos: 0 }));
      await publisher.expectNothing();
      publisher.send(publish({ version, topic: 'a', qos: 1, packetId: 0x1234 }));
      await publisher.expect('40 02 12 34');
      publisher.send(publish({ version, topic: 'a', qos: 2, packetId: 0x1234 }));
      await publisher.expect('50 02 12 34');
      publisher.send(ack('pubrel', 0x1234));
      await publisher.expect('70 02 12 34');
    },
  );

  t.test(`[MQTT-4.3.1-1] [MQTT-3.3.1-2] a delivery at QoS 0 has QoS bits 00 and DUP 0, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connected(t, port, { version });
    const publisher = await connected(t, port, { version });
    await subscribed(subscriber, { version, filters: [['a', 0]] });
    await published(publisher, { version, topic: 'a', payload: 'x', qos: 0 });
    await subscriber.expect(publish({ version, topic: 'a', payload: 'x' }));
    await published(publisher, { version, topic: 'a', payload: 'y', qos: 1, dup: true });
    await subscriber.expect(publish({ version, topic: 'a', payload: 'y' }));
    await published(publisher, { version, topic: 'a', payload: 'z', qos: 2, dup: true });
    await subscriber.expect(publish({ version, topic: 'a', payload: 'z' }));
  });

  t.test(`[MQTT-3.3.1-3] edge case 27: DUP of the publisher does not reach subscribers, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connected(t, port, { version });
    const publisher = await connected(t, port, { version });
    await subscribed(subscriber, { version, filters: [['a', 2]] });
    for (const qos of [1, 2]) {
      await published(publisher, { version, topic: 'a', qos, dup: true, packetId: 7 });
      const message = await received(subscriber, version);
      t.match(message, { qos, dup: false });
      await acknowledged(subscriber, message);
    }
  });

  t.test(`[MQTT-3.3.1-4] a PUBLISH with both QoS bits set ends the connection, in ${version}`, async (t) => {
    await refuses(t, version, 0x81, publish({ version, topic: 'a', qos: 3 }));
  });

  t.test(`[MQTT-3.3.1-2] a PUBLISH at QoS 0 with DUP ends the connection, in ${version}`, async (t) => {
    await refuses(t, version, 0x81, publish({ version, topic: 'a', dup: true }));
  });

  for (const topic of ['a/+', 'a/#', '#', '+', 'a#', 'a/+/b']) {
    t.test(`[MQTT-3.3.2-2] [MQTT-4.7.0-1] a PUBLISH to ${topic} ends the connection, in ${version}`, async (t) => {
      for (const qos of [0, 1, 2]) await refuses(t, version, 0x81, publish({ version, topic, qos }));
    });
  }

  const illFormed: Readonly<Record<string, Buffer>> = {
    'a surrogate': Buffer.from('61eda080', 'hex'),
    'an overlong form': Buffer.from('c0af', 'hex'),
    'a truncated sequence': Buffer.from('61e282', 'hex'),
    'a code point above U+10FFFF': Buffer.from('f4908080', 'hex'),
  };
  for (const [what, topic] of Object.entries(illFormed)) {
    t.test(`[MQTT-3.3.2-1] [MQTT-1.5.4-1] a topic name with ${what} ends the connection, in ${version}`, async (t) => {
      const rest = version === 5 ? Buffer.from([0]) : Buffer.alloc(0);
      await refuses(t, version, 0x81, frame(0x30, field(topic), rest));
    });
  }

  t.test(`[MQTT-3.3.2-1] a PUBLISH cut off in its topic name ends the connection, in ${version}`, async (t) => {
    await refuses(t, version, 0x81, frame(0x30, Buffer.from([0, 9, 0x61])));
    await refuses(t, version, 0x81, frame(0x30, Buffer.from([0])));
    await refuses(t, version, 0x81, frame(0x30));
  });

  t.test(`[MQTT-4.7.3-2] [MQTT-1.5.4-2] U+0000 in a topic name ends the connection, in ${version}`, async (t) => {
    await refuses(t, version, 0x81, publish({ version, topic: 'a\0b' }));
  });

  t.test(`[MQTT-4.7.3-1] protocol error: an empty topic name without alias, in ${version}`, async (t) => {
    await refuses(t, version, 0x82, publish({ version, topic: '' }));
    await refuses(t, version, 0x82, publish({ version, topic: '', qos: 1 }));
  });

  t.test(`[MQTT-2.2.1-3] packet identifier 0 ends the connection, in ${version}`, async (t) => {
    await refuses(t, version, 0x82, publish({ version, topic: 'a', qos: 1, packetId: 0 }));
    await refuses(t, version, 0x82, publish({ version, topic: 'a', qos: 2, packetId: 0 }));
  });
}

t.test('[MQTT-2.2.1-2] a delivery at QoS 0 has no packet identifier', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  const publisher = await connected(t, port);
  await subscribed(subscriber, { filters: [['a', 0]] });
  await published(publisher, { topic: 'a', payload: 'x', qos: 2, packetId: 5 });
  await subscriber.expect('30 05 00 01 61 00 78');
});

t.test(
  '[MQTT-2.2.1-2] [MQTT-2.2.2-1] a packet identifier at QoS 0 is read as properties and fails as such',
  async (t) => {
    await refuses(t, 5, 0x81, frame(0x30, field('a'), uint16(0x0505), Buffer.from([0])));
  },
);

t.test('[MQTT-2.2.2-1] a PUBLISH without property length ends the connection', async (t) => {
  await refuses(t, 5, 0x81, frame(0x30, field('a')));
});

t.test('[MQTT-3.3.4-6] edge case 5: a Subscription Identifier from a client ends its connection, unsent', async (t) => {
  const list = [property.subscriptionIdentifier(3)];
  await refuses(t, 5, 0x82, publish({ topic: 'a', properties: list }));
  await refuses(t, 5, 0x82, publish({ topic: 'a', qos: 2, properties: list }));
});

const singles: Readonly<Record<string, readonly [first: Buffer, second: Buffer]>> = {
  'Payload Format Indicator': [property.payloadFormatIndicator(0), property.payloadFormatIndicator(1)],
  'Message Expiry Interval': [property.messageExpiryInterval(0), property.messageExpiryInterval(9)],
  'Topic Alias': [property.topicAlias(1), property.topicAlias(1)],
  'Content Type': [property.contentType(''), property.contentType('x')],
  'Response Topic': [property.responseTopic('a'), property.responseTopic('a')],
  'Correlation Data': [property.correlationData(''), property.correlationData('x')],
};
for (const [name, pair] of Object.entries(singles)) {
  t.test(`protocol error: ${name} twice in PUBLISH (edge case 5: also where the first is 0)`, async (t) => {
    await refuses(t, 5, 0x82, publish({ topic: 'a', properties: pair }));
  });
}

t.test('protocol error: Payload Format Indicator other than 0 or 1', async (t) => {
  await refuses(t, 5, 0x82, publish({ topic: 'a', properties: [property.payloadFormatIndicator(2)] }));
});

t.test('protocol error: properties that PUBLISH does not have, or of the wrong length', async (t) => {
  const foreign = [
    property.sessionExpiryInterval(1),
    property.reasonString('x'),
    property.receiveMaximum(1),
    property.willDelayInterval(1),
    property.assignedClientIdentifier('x'),
    Buffer.from([0x7f, 1]),
    Buffer.from([0x02, 0, 0, 1]),
    Buffer.from([0x03, 0, 9, 0x61]),
  ];
  for (const bytes of foreign) await refuses(t, 5, 0x81, publish({ topic: 'a', properties: [bytes] }));
});

t.test('protocol error: QoS above the announced Maximum QoS', async (t) => {
  const { port } = await startBroker(t, { maximumQos: 1 });
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', qos: 1 });
  publisher.send(publish({ topic: 'a', qos: 2 }));
  await expectDisconnect(publisher, 0x9b);
});

t.test('protocol error: RETAIN 1 while Retain Available is 0', async (t) => {
  const { port } = await startBroker(t, { retainAvailable: false });
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', qos: 1 });
  publisher.send(publish({ topic: 'a', retain: true }));
  await expectDisconnect(publisher, 0x9a);
});

t.test('[MQTT-3.3.4-1] edge case 40: a refused PUBLISH is answered by its QoS and goes to nobody', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['$SYS/x', 2]] });
  const publisher = await connected(t, port);
  publisher.send(publish({ topic: '$SYS/x', qos: 0 }));
  await publisher.expectNothing();
  publisher.send(publish({ topic: '$SYS/x', qos: 1, packetId: 3 }));
  await expectAck(publisher, 'puback', 3, 0x87);
  publisher.send(publish({ topic: '$SYS/x', qos: 2, packetId: 4 }));
  await expectAck(publisher, 'pubrec', 4, 0x87);
  await publisher.expectNothing();
  await subscriber.expectNothing();
  const older = await connected(t, port, { version: 4 });
  await published(older, { version: 4, topic: '$SYS/x', qos: 1, packetId: 3 });
  await published(older, { version: 4, topic: '$SYS/x', qos: 2, packetId: 4 });
  await subscriber.expectNothing();
});

t.test('[MQTT-3.3.2-3] a delivered topic name matches a filter of its receiver', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  const publisher = await connected(t, port);
  await subscribed(subscriber, {
    filters: [
      ['a/+', 0],
      ['b/#', 0],
      ['c', 0],
    ],
  });
  for (const topic of ['a', 'a/x', 'a/x/y', 'b', 'b/x/y', 'c', 'c/x', 'd']) await published(publisher, { topic });
  for (const topic of ['a/x', 'b', 'b/x/y', 'c']) t.equal((await received(subscriber)).topic, topic);
  await subscriber.expectNothing();
});

t.test('[MQTT-1.5.4-1] [MQTT-1.5.4-3] a topic name of four-byte characters and BOM arrives as it was', async (t) => {
  const { port } = await startBroker(t);
  const [with_, without] = [await connected(t, port), await connected(t, port)];
  const publisher = await connected(t, port);
  await subscribed(with_, { filters: [['\ufeffa\u{1f600}', 0]] });
  await subscribed(without, { filters: [['a\u{1f600}', 0]] });
  await published(publisher, { topic: '\ufeffa\u{1f600}' });
  await with_.expect(publish({ topic: '\ufeffa\u{1f600}' }));
  await without.expectNothing();
});

t.test('[MQTT-4.13.1-1] an error ends its own connection and no other', async (t) => {
  const { port } = await startBroker(t);
  const other = await connectedToSession(t, port, 'other');
  const publisher = await connected(t, port);
  publisher.send(publish({ topic: 'a', qos: 3 }));
  await expectDisconnect(publisher, 0x81);
  await other.expectNothing();
  other.send(disconnect());
  await other.expectClose();
});

/** The bytes end the connection with the reason code, and a subscriber to everything gets nothing. */
async function refuses(t: Test, version: Version, reasonCode: number, bytes: Buffer): Promise<void> {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port, { version });
  await subscribed(subscriber, { version, filters: [['#', 2]] });
  const publisher = await connected(t, port, { version });
  publisher.send(bytes);
  await expectDisconnect(publisher, reasonCode, version);
  await subscriber.expectNothing();
}
