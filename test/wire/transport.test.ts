import t, { type Test } from 'tap';
import { received, suback, subscribed, versions } from '../helpers/client.js';
import { ack, connect, property, publish, subscribe, type Version } from '../helpers/packets.js';
import { dialOver, startBrokerOn, type Transport, transports } from '../helpers/transports.js';
import type { WireClient } from '../helpers/wire-client.js';

/** A whole conversation in one stream, PUBACK and PUBCOMP of the client included. */
function conversation(version: Version): Buffer {
  const list = version === 5 ? [property.userProperty('k', 'v'), property.topicAlias(1)] : [];
  return Buffer.concat([
    connect({ version, clientId: 'c' }),
    subscribe({ version, packetId: 1, filters: [['a/b', 0]] }),
    publish({ version, topic: 'a/b', payload: 'x'.repeat(200), properties: list }),
    publish({ version, topic: 'q', qos: 1, packetId: 2, payload: 'y' }),
    publish({ version, topic: 'q', qos: 2, packetId: 3, payload: 'z' }),
    ack('pubrel', 3),
    Buffer.from('c000', 'hex'),
  ]);
}

async function answers(t: Test, client: WireClient, version: Version): Promise<void> {
  t.equal((await client.packet())[0], 0x20, 'CONNACK');
  await client.expect(suback(1, [0], version));
  t.match(await received(client, version), { topic: 'a/b', payload: 'x'.repeat(200) });
  await client.expect('40 02 00 02', '50 02 00 03', '70 02 00 03', 'd0 00');
}

for (const version of versions) {
  for (const transport of transports) {
    t.test(`[MQTT-4.2.0-1] a conversation is the same in one write, over ${transport} in ${version}`, async (t) => {
      const { port } = await startBrokerOn(t, transport);
      const client = await dialOver(t, transport, port);
      client.send(conversation(version));
      await answers(t, client, version);
    });

    t.test(`[MQTT-4.2.0-1] a conversation is the same byte by byte, over ${transport} in ${version}`, async (t) => {
      const { port } = await startBrokerOn(t, transport);
      // A PINGREQ of another client between the bytes keeps each of them a read of its own.
      const other = await joinOver(t, transport, port, version);
      const client = await dialOver(t, transport, port);
      for (const byte of conversation(version)) {
        client.send(Buffer.from([byte]));
        await other.expectNothing();
      }
      await answers(t, client, version);
    });

    t.test(`[MQTT-4.2.0-1] no byte is lost to a late reader, over ${transport} in ${version}`, async (t) => {
      const { port } = await startBrokerOn(t, transport);
      const subscriber = await joinOver(t, transport, port, version);
      await subscribed(subscriber, { version, filters: [['a', 1]] });
      subscriber.pause();
      const publisher = await joinOver(t, transport, port, version);
      const payload = 'x'.repeat(50_000);
      for (let at = 0; at < 200; at++) {
        publisher.send(publish({ version, topic: 'a', qos: 1, packetId: at + 1, payload: `${at} ${payload}` }));
        await publisher.expect(ack('puback', at + 1));
      }
      subscriber.resume();
      for (let at = 0; at < 200; at++) {
        const message = await received(subscriber, version);
        if (message.payload !== `${at} ${payload}`) t.fail(`message ${at} is not as it was sent`);
      }
      t.pass('all came, in order and whole');
    });
  }
}

async function joinOver(t: Test, type: Transport, port: number, version: Version): Promise<WireClient> {
  const client = await dialOver(t, type, port);
  client.send(connect({ version }));
  t.equal((await client.packet())[0], 0x20, 'CONNACK');
  return client;
}
