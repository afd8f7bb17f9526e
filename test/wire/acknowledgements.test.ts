import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  expectAck,
  expectDisconnect,
  published,
  received,
  subscribed,
  versions,
} from '../helpers/client.js';
import { ack, field, frame, property, publish, uint16, type Version } from '../helpers/packets.js';
import type { WireClient } from '../helpers/wire-client.js';

/** A subscriber with one unacknowledged delivery, whose packet identifier it gives. */
async function withDelivery(t: Test, qos: number, version: Version = 5): Promise<[WireClient, number]> {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port, { version });
  await subscribed(subscriber, { version, filters: [['a', qos]] });
  await published(await connected(t, port), { topic: 'a', qos, payload: 'x' });
  return [subscriber, (await received(subscriber, version)).packetId];
}

/** The same, with PUBREL received. */
async function withPubrel(t: Test, version: Version = 5): Promise<[WireClient, number]> {
  const [subscriber, packetId] = await withDelivery(t, 2, version);
  subscriber.send(ack('pubrec', packetId));
  await subscriber.expect(ack('pubrel', packetId));
  return [subscriber, packetId];
}

for (const version of versions) {
  t.test(
    `[MQTT-2.2.1-5] acknowledgements carry the identifier of their PUBLISH, both ways, in ${version}`,
    async (t) => {
      const { port } = await startBroker(t);
      const subscriber = await connected(t, port, { version });
      await subscribed(subscriber, { version, filters: [['a', 2]] });
      const publisher = await connected(t, port, { version });
      for (const packetId of [1, 0x00ff, 0x0100, 0xfffe, 0xffff]) {
        await published(publisher, { version, topic: 'a', qos: 1, packetId });
        await published(publisher, { version, topic: 'a', qos: 2, packetId });
      }
      for (let count = 0; count < 10; count++) {
        const message = await received(subscriber, version);
        if (message.qos === 2) subscriber.send(ack('pubrec', message.packetId));
        else await acknowledged(subscriber, message);
      }
      for (let count = 0; count < 5; count++) {
        const pubrel = await subscriber.packet();
        t.equal(pubrel.length, 4, 'PUBREL has the short form');
        t.equal(pubrel[0], 0x62, '[MQTT-3.6.1-1] and flags 0010');
        subscriber.send(ack('pubcomp', pubrel.readUInt16BE(2)));
      }
      await subscriber.expectNothing();
    },
  );

  t.test(`[MQTT-3.6.1-1] [MQTT-2.1.3-1] PUBREL with other flags ends the connection, in ${version}`, async (t) => {
    for (const flags of [0, 1, 3, 6, 10]) {
      const { port } = await startBroker(t);
      const publisher = await connected(t, port, { version });
      publisher.send(publish({ version, topic: 'a', qos: 2 }));
      await publisher.expect(ack('pubrec', 1));
      publisher.send(frame(0x60 | flags, uint16(1)));
      await expectDisconnect(publisher, 0x81, version);
    }
  });

  t.test(`[MQTT-2.1.3-1] PUBACK, PUBREC and PUBCOMP with flags end the connection, in ${version}`, async (t) => {
    for (const type of [0x40, 0x50, 0x70]) {
      for (const flags of [1, 2, 4, 8]) {
        const [subscriber, packetId] = await withDelivery(t, type === 0x40 ? 1 : 2, version);
        subscriber.send(frame(type | flags, uint16(packetId)));
        await expectDisconnect(subscriber, 0x81, version);
      }
    }
  });

  t.test(
    `acknowledgements cut off, with identifier 0 or the wrong kind end the connection, in ${version}`,
    async (t) => {
      const [cut] = await withDelivery(t, 1, version);
      cut.send('40 01 00');
      await expectDisconnect(cut, 0x81, version);
      const [zero] = await withDelivery(t, 1, version);
      zero.send('40 02 00 00');
      await expectDisconnect(zero, 0x82, version);
      const [wrong, packetId] = await withDelivery(t, 1, version);
      wrong.send(ack('pubrec', packetId));
      await expectDisconnect(wrong, 0x82, version);
    },
  );

  t.test(`a PUBACK or PUBCOMP for an unknown identifier changes nothing, in ${version}`, async (t) => {
    const [subscriber, packetId] = await withDelivery(t, 1, version);
    subscriber.send(ack('puback', 777), ack('pubcomp', 778));
    await subscriber.expectNothing();
    subscriber.send(ack('puback', packetId));
    await subscriber.expectNothing();
  });

  t.test(`[MQTT-4.3.3-11] edge case 25: PUBREL for an unknown identifier is answered, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port, { version });
    const notFound = version === 5 ? 0x92 : 0;
    for (let time = 0; time < 3; time++) {
      publisher.send(ack('pubrel', 77));
      await expectAck(publisher, 'pubcomp', 77, notFound);
    }
    await published(publisher, { version, topic: 'a', qos: 2, packetId: 77 });
    publisher.send(ack('pubrel', 77));
    await expectAck(publisher, 'pubcomp', 77, notFound);
    await publisher.expectNothing();
  });

  t.test(`[MQTT-4.3.3-4] edge case 25: PUBREC for an unknown identifier is answered, in ${version}`, async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connected(t, port, { version });
    for (let time = 0; time < 3; time++) {
      subscriber.send(ack('pubrec', 88));
      await expectAck(subscriber, 'pubrel', 88, version === 5 ? 0x92 : 0);
      subscriber.send(ack('pubcomp', 88));
      await subscriber.expectNothing();
    }
  });

  t.test(`PUBREC again before PUBCOMP is answered with PUBREL again, in ${version}`, async (t) => {
    const [subscriber, packetId] = await withPubrel(t, version);
    subscriber.send(ack('pubrec', packetId));
    await subscriber.expect(ack('pubrel', packetId));
    subscriber.send(ack('pubcomp', packetId));
    await subscriber.expectNothing();
  });
}

t.test('an acknowledgement of 3.1.1 with a reason code ends the connection', async (t) => {
  const [subscriber, packetId] = await withDelivery(t, 1, 4);
  subscriber.send(ack('puback', packetId, 0));
  await subscriber.expectClose();
});

const defined = {
  puback: [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  pubrec: [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  pubrel: [0x00, 0x92],
  pubcomp: [0x00, 0x92],
} as const;
const undefinedCodes = [0x01, 0x04, 0x11, 0x81, 0x82, 0x92, 0x93, 0x9a, 0xff];
const titles = {
  puback: '[MQTT-3.4.2-1] PUBACK',
  pubrec: '[MQTT-3.5.2-1] PUBREC',
  pubrel: '[MQTT-3.6.2-1] PUBREL',
  pubcomp: '[MQTT-3.7.2-1] PUBCOMP',
} as const;

/** A client that may send this acknowledgement now, and under which identifier. */
async function about(t: Test, type: keyof typeof defined): Promise<[WireClient, number]> {
  if (type === 'puback') return withDelivery(t, 1);
  if (type === 'pubrec') return withDelivery(t, 2);
  if (type === 'pubcomp') return withPubrel(t);
  const { port } = await startBroker(t);
  const publisher = await connected(t, port);
  publisher.send(publish({ topic: 'a', qos: 2, packetId: 5 }));
  await publisher.expect(ack('pubrec', 5));
  return [publisher, 5];
}

for (const type of ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const) {
  t.test(`${titles[type]} is taken with each reason code it has`, async (t) => {
    for (const code of defined[type]) {
      const [client, packetId] = await about(t, type);
      const reason = [property.reasonString('why'), property.userProperty('a', 'b'), property.userProperty('a', 'b')];
      client.send(ack(type, packetId, code, code === 0 ? [] : reason));
      if (type === 'pubrel') await client.expect(ack('pubcomp', packetId));
      else if (type === 'pubrec' && code < 0x80) await client.expect(ack('pubrel', packetId));
      await client.expectNothing();
    }
  });

  t.test(`${titles[type]} with any other reason code ends the connection`, async (t) => {
    for (const code of undefinedCodes.filter((code) => !(defined[type] as readonly number[]).includes(code))) {
      const [client, packetId] = await about(t, type);
      client.send(ack(type, packetId, code));
      await expectDisconnect(client, 0x82);
    }
  });

  t.test(`protocol error: Reason String twice, or a property that ${type} does not have`, async (t) => {
    const [twice, packetId] = await about(t, type);
    twice.send(ack(type, packetId, 0, [property.reasonString(''), property.reasonString('b')]));
    await expectDisconnect(twice, 0x82);
    const [foreign, otherId] = await about(t, type);
    foreign.send(ack(type, otherId, 0, [property.contentType('x')]));
    await expectDisconnect(foreign, 0x81);
    const [bad, badId] = await about(t, type);
    bad.send(
      frame({ puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 }[type], uint16(badId), Buffer.from([0, 9])),
    );
    await expectDisconnect(bad, 0x81);
  });
}

/** What a refused publish is answered with: `$SYS` is not for clients. */
async function refusal(t: Test, qos: 1 | 2, ...list: Buffer[]): Promise<Buffer> {
  const { port } = await startBroker(t);
  const publisher = await connected(t, port, { clientId: 'c', properties: list });
  publisher.send(publish({ topic: '$SYS/x', qos, packetId: 9 }));
  return expectAck(publisher, qos === 1 ? 'puback' : 'pubrec', 9, 0x87);
}

for (const [qos, ids] of [
  [1, '[MQTT-3.4.2-2] [MQTT-3.4.2-3] PUBACK'],
  [2, '[MQTT-3.5.2-2] [MQTT-3.5.2-3] PUBREC'],
] as const) {
  t.test(`${ids} explains a refusal only as far as the client's Maximum Packet Size allows`, async (t) => {
    const explained = await refusal(t, qos);
    t.ok(explained.length > 8 && explained[6] === 0x1f, 'a Reason String');
    t.equal((await refusal(t, qos, property.maximumPacketSize(explained.length))).length, explained.length);
    for (const limit of [explained.length - 1, 25, 20]) {
      t.ok((await refusal(t, qos, property.maximumPacketSize(limit))).length <= limit, `within ${limit}`);
    }
  });

  t.test(`${ids} of a tracked message has no User Properties where the client's limit forbids`, async (t) => {
    const { port } = await startBroker(t);
    const answer = async (...list: Buffer[]): Promise<Buffer> => {
      const publisher = await connected(t, port, { clientId: 'c', properties: list });
      const asked = [property.userProperty('receipt', 'delivered')];
      publisher.send(publish({ topic: 'a', qos, packetId: 9, properties: asked }));
      return expectAck(publisher, qos === 1 ? 'puback' : 'pubrec', 9, 0x10);
    };
    const whole = await answer();
    t.equal(whole[6], 0x26, 'User Properties');
    t.equal((await answer(property.maximumPacketSize(whole.length))).length, whole.length);
    t.ok((await answer(property.maximumPacketSize(whole.length - 1))).length < whole.length);
  });

  t.test(`edge case 35: ${ids} explains nothing to a client that asked for no explanations`, async (t) => {
    const bare = await refusal(t, qos, property.requestProblemInformation(0));
    t.ok(bare.length <= 6, 'a reason code at most');
  });
}

for (const [title, send, expected] of [
  ['[MQTT-3.6.2-2] [MQTT-3.6.2-3] PUBREL', ack('pubrec', 9), 'pubrel'],
  ['[MQTT-3.7.2-2] [MQTT-3.7.2-3] PUBCOMP', ack('pubrel', 9), 'pubcomp'],
] as const) {
  t.test(`${title} stays within the smallest Maximum Packet Size`, async (t) => {
    const { port } = await startBroker(t);
    const client = await connected(t, port, { clientId: 'c', properties: [property.maximumPacketSize(17)] });
    client.send(send);
    t.ok((await expectAck(client, expected, 9, 0x92)).length <= 6);
  });
}

t.test('acknowledgements of the longest legal form are taken', async (t) => {
  const [subscriber, packetId] = await withDelivery(t, 1);
  const long = property.userProperty('k'.repeat(60_000), 'v'.repeat(60_000));
  subscriber.send(ack('puback', packetId, 0x97, [property.reasonString('r'.repeat(65_535)), long, long]));
  await subscriber.expectNothing();
});

t.test('[MQTT-1.5.4-1] an ill-formed Reason String ends the connection', async (t) => {
  const [subscriber, packetId] = await withDelivery(t, 1);
  subscriber.send(
    ack('puback', packetId, 0x80, [Buffer.concat([Buffer.from([0x1f]), field(Buffer.from('c0af', 'hex'))])]),
  );
  await expectDisconnect(subscriber, 0x81);
});
