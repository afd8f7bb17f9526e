import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { connected, expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import {
  ack,
  auth,
  connect,
  disconnect,
  field,
  frame,
  property,
  publish,
  rawConnect,
  subscribe,
  unsubscribe,
  type Version,
  variable,
} from '../helpers/packets.js';
import { dialAndSend, expectRefused, forVersions, join, watch } from '../helpers/scenes.js';
import { hex } from '../helpers/wire-client.js';

/** Stands in packets where a bad string of the same length is put. */
const mark = '@@@@';

const illFormed = {
  'a lone surrogate': 'ed a0 80 61',
  'an overlong form': 'c0 af 61 61',
  'a truncated sequence': '61 61 e2 82',
  'a code point above U+10FFFF': 'f4 90 80 80',
  'a stray continuation byte': '61 80 61 61',
} as const;
const nullCharacters = { 'U+0000 in the middle': '61 00 61 61', 'U+0000 at the end': '61 61 61 00' } as const;

function put(packet: Buffer, bad: string): Buffer {
  const at = packet.indexOf(mark);
  return Buffer.concat([packet.subarray(0, at), hex(bad), packet.subarray(at + mark.length)]);
}

const connects = (version: Version): readonly Buffer[] => [
  connect({ version, clientId: mark }),
  connect({ version, clientId: 'c', will: { topic: mark } }),
  connect({ version, clientId: 'c', userName: mark, password: 'p' }),
];

const connectsOf5 = [
  connect({ properties: [property.userProperty(mark, 'b')] }),
  connect({ properties: [property.userProperty('a', mark)] }),
  connect({ properties: [property.authenticationMethod(mark)] }),
  connect({ will: { topic: 'a', properties: [property.userProperty(mark, 'b')] } }),
  connect({ will: { topic: 'a', properties: [property.userProperty('a', mark)] } }),
  connect({ will: { topic: 'a', properties: [property.contentType(mark)] } }),
  connect({ will: { topic: 'a', properties: [property.responseTopic(mark)] } }),
];

const others = (version: Version): readonly Buffer[] => [
  publish({ version, topic: mark }),
  publish({ version, topic: mark, qos: 1 }),
  subscribe({ version, filters: [[mark, 0]] }),
  unsubscribe({ version, filters: [mark] }),
];

const othersOf5 = [
  publish({ topic: 'a', properties: [property.userProperty(mark, 'b')] }),
  publish({ topic: 'a', properties: [property.userProperty('a', mark)] }),
  publish({ topic: 'a', properties: [property.contentType(mark)] }),
  publish({ topic: 'a', properties: [property.responseTopic(mark)] }),
  subscribe({ filters: [['a', 0]], properties: [property.userProperty(mark, 'b')] }),
  unsubscribe({ filters: ['a'], properties: [property.userProperty('a', mark)] }),
  ack('puback', 1, 0, [property.reasonString(mark)]),
  ack('pubrel', 1, 0, [property.userProperty('a', mark)]),
  disconnect(0, [property.reasonString(mark)]),
  auth(0x18, [property.authenticationMethod(mark)]),
];

const kinds = [
  ['[MQTT-1.5.4-1] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12]', '[MQTT-1.5.4-1] [MQTT-1.5.7-1]', illFormed],
  ['[MQTT-1.5.4-2]', '[MQTT-1.5.4-2] [MQTT-4.7.3-2]', nullCharacters],
] as const;
for (const [inConnect, elsewhere, bad] of kinds) {
  for (const [name, bytes] of Object.entries(bad)) {
    forVersions(t, [4, 5], `${inConnect} edge case 39: ${name} in CONNECT`, async (t, version) => {
      const broker = await startBroker(t);
      for (const packet of [...connects(version), ...(version === 5 ? connectsOf5 : [])]) {
        const client = await dialAndSend(t, broker, put(packet, bytes));
        await expectRefused(client, version === 5 ? 0x81 : 'silent', version);
      }
    });
    forVersions(t, [4, 5], `${elsewhere} edge case 39: ${name} after CONNECT`, async (t, version) => {
      const broker = await startBroker(t);
      const watcher = await watch(t, broker, '#');
      for (const packet of [...others(version), ...(version === 5 ? othersOf5 : [])]) {
        const client = await join(t, broker, { version });
        client.send(put(packet, bytes));
        await expectDisconnect(client, 0x81, version);
      }
      await watcher.expectNothing();
    });
  }
}

forVersions(t, [4, 5], '[MQTT-1.5.4-1] characters of one to four bytes come back as sent', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version, clientId: 'é€😀', userName: '日本' });
  const topic = 'a/é/€/😀';
  await subscribed(client, { version, filters: [[topic, 0]] });
  const properties = [property.userProperty('😀', '€'), property.contentType('é')];
  const packet = publish({ version, topic, payload: 'x', properties });
  client.send(packet);
  await client.expect(packet);
});

forVersions(t, [4, 5], '[MQTT-1.5.4-3] edge case 39: a byte order mark belongs to the name', async (t, version) => {
  const broker = await startBroker(t);
  const [without, withMark] = [await join(t, broker, { version }), await join(t, broker, { version })];
  await subscribed(without, { version, filters: [['a', 0]] });
  await subscribed(withMark, { version, filters: [['\ufeffa', 0]] });
  const packet = publish({ version, topic: '\ufeffa', payload: 'x' });
  t.ok(packet.includes(hex('ef bb bf 61')));
  withMark.send(packet);
  await withMark.expect(packet);
  await without.expectNothing();
});

t.test('[MQTT-1.5.7-1] a User Property with an empty name or value is forwarded', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  await subscribed(client, { filters: [['a', 0]] });
  const list = [property.userProperty('', 'b'), property.userProperty('a', ''), property.userProperty('', '')];
  const packet = publish({ topic: 'a', properties: list });
  client.send(packet);
  await client.expect(packet);
});

forVersions(t, [4, 5], 'edge case 39: control and non-characters are ordinary ones', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version, clientId: 'a\u0001b' });
  const topic = 'a\u0001\u001f\u007f\u0085\ufffe\uffff\u{10ffff}';
  await subscribed(client, { version, filters: [[topic, 0]] });
  const packet = publish({ version, topic, payload: 'x' });
  client.send(packet);
  await client.expect(packet);
});

t.test('[MQTT-4.7.3-1] edge case 39: an empty topic, filter or will topic is refused', async (t) => {
  const { port } = await startBroker(t);
  const client = await connected(t, port);
  client.send(publish({ topic: '' }));
  await expectDisconnect(client, 0x82);
  for (const packet of [subscribe({ filters: [['', 0]] }), unsubscribe({ filters: [''] })]) {
    const other = await connected(t, port);
    other.send(packet);
    await expectDisconnect(other, 0x81);
  }
  await expectRefused(await dialAndSend(t, { port }, connect({ will: { topic: '' } })), 0x90);
});

t.test('[MQTT-4.7.3-3] edge case 39: names of 65535 bytes and of very many levels harm nothing', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  const long = 'x'.repeat(65_535);
  await subscribed(client, { filters: [[long, 0]] });
  await published(client, { topic: 'other' });
  client.send(publish({ topic: long, payload: 'long' }));
  t.equal((await received(client)).topic.length, 65_535);

  const deep = 'a/'.repeat(199).concat('a');
  await subscribed(client, { filters: [[deep, 0]] });
  client.send(publish({ topic: deep, payload: 'deep' }));
  t.equal((await received(client)).topic, deep);

  const bottomless = '/'.repeat(65_535);
  client.send(subscribe({ packetId: 2, filters: [[bottomless, 0]] }));
  const suback = await client.packet();
  t.equal(suback[suback.length - 1], 0x8f, 'a filter beyond the stated limit');
  client.send(publish({ topic: bottomless, qos: 1, packetId: 5 }));
  const puback = await client.packet();
  t.equal(puback[4], 0x90, 'a topic beyond the stated limit');
});

t.test('[MQTT-1.5.4-1] a string whose length runs past its packet is refused', async (t) => {
  const broker = await startBroker(t);
  const packet = rawConnect({ rest: [variable(0), hex('00 09 61')] });
  await expectRefused(await dialAndSend(t, broker, packet), 0x81);
  const client = await join(t, broker);
  client.send(frame(0x82, hex('00 01 00'), field('a'), hex('00 00 09 61')));
  await expectDisconnect(client, 0x81);
});
