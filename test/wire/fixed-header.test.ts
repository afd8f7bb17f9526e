import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { connected, expectDisconnect, received, subscribed } from '../helpers/client.js';
import {
  ack,
  connect,
  disconnect,
  field,
  frame,
  pingreq,
  property,
  publish,
  rawConnect,
  subscribe,
  uint16,
  unsubscribe,
} from '../helpers/packets.js';
import { dialAndSend, expectRefused, forVersions, join, watch } from '../helpers/scenes.js';
import { hex } from '../helpers/wire-client.js';

forVersions(t, [4, 5], '[MQTT-2.1.3-1] reserved flags that are set end the connection', async (t, version) => {
  const broker = await startBroker(t);
  const packets = [
    ack('puback', 1),
    ack('pubrec', 1),
    ack('pubrel', 1),
    ack('pubcomp', 1),
    subscribe({ version, filters: [['a', 0]] }),
    unsubscribe({ version, filters: ['a'] }),
    pingreq(),
    disconnect(),
  ];
  for (const packet of packets) {
    for (let flags = 0; flags < 16; flags++) {
      if (flags === (packet[0] & 15)) continue;
      const client = await join(t, broker, { version });
      client.send(Buffer.from([(packet[0] & 0xf0) | flags]), packet.subarray(1));
      await expectDisconnect(client, 0x81, version);
    }
  }
});

forVersions(t, [4, 5], '[MQTT-2.1.3-1] CONNECT with flags in its fixed header is refused', async (t, version) => {
  const broker = await startBroker(t);
  for (let flags = 1; flags < 16; flags++) {
    const client = await dialAndSend(t, broker, Buffer.from([0x10 | flags]), connect({ version }).subarray(1));
    await expectRefused(client, version === 5 ? 0x81 : 'silent', version);
  }
});

forVersions(t, [4, 5], '[MQTT-2.1.3-1] [MQTT-2.2.2-1] packets from the broker, byte by byte', async (t, version) => {
  const none = version === 5 ? '00' : '';
  const { port } = await startBroker(t, { topicAliasMaximum: 0, receiveMaximum: 65_535 });
  const client = await connected(t, port, { version, clientId: 'c' });
  client.send(subscribe({ version, packetId: 0x1234, filters: [['a', 2]] }));
  await client.expect(version === 5 ? '90 04 12 34 00 02' : '90 03 12 34 02');
  client.send(publish({ version, topic: 'a', payload: '!', qos: 1, packetId: 0x0102 }));
  const delivery = version === 5 ? '32 07 00 01 61 00 01 00 21' : '32 06 00 01 61 00 01 21';
  await client.expect(delivery, '40 02 01 02');
  client.send(ack('puback', 1), publish({ version, topic: 'a', qos: 2, packetId: 0x0304 }));
  const [first, second] = [await client.packet(), await client.packet()].sort((a, b) => b[0] - a[0]);
  t.same(first, hex('50 02 03 04'));
  t.match(second.toString('hex'), new RegExp(`^340${version === 5 ? 6 : 5}000161....${none}$`));
  const id = second.subarray(5, 7);
  client.send('50 02', id, '62 02 03 04');
  const answers = [await client.packet(), await client.packet()].sort((a, b) => a[0] - b[0]);
  t.same(answers, [Buffer.concat([hex('62 02'), id]), hex('70 02 03 04')]);
  client.send('70 02', id, pingreq(), unsubscribe({ version, packetId: 7, filters: ['a'] }));
  await client.expect('d0 00', version === 5 ? 'b0 04 00 07 00 00' : 'b0 02 00 07');
});

t.test('[MQTT-2.2.2-1] CONNACK has its property length, and packets cut short of theirs are refused', async (t) => {
  const broker = await startBroker(t);
  const client = await dialAndSend(t, broker, connect({ clientId: 'c' }));
  const connack = await client.packet();
  t.equal(connack[4], connack.length - 5, 'property length');
  const cut = [
    frame(0x30, field('a')),
    frame(0x82, uint16(1)),
    frame(0xa2, uint16(1)),
    frame(0xe0, hex('00 01')),
    frame(0xf0, hex('18')),
  ];
  for (const packet of cut) {
    const other = await join(t, broker);
    other.send(packet);
    await expectDisconnect(other, 0x81);
  }
  await expectRefused(await dialAndSend(t, broker, rawConnect({ rest: [] })), 0x81);
  await client.expectNothing();
});

t.test('[MQTT-2.2.2-1] DISCONNECT and acknowledgements may leave their property length out', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  client.send(publish({ topic: 'a', qos: 2, packetId: 9 }));
  await client.expect('50 02 00 09');
  client.send('62 03 00 09 00');
  await client.expect('70 02 00 09');
  client.send('e0 01 00');
  await client.expectClose();
});

forVersions(t, [4, 5], '[MQTT-1.5.5-1] lengths around each limit are written and read', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version });
  await subscribed(client, { version, filters: [['a', 0]] });
  const overhead = version === 5 ? 4 : 3;
  for (const remaining of [127, 128, 16_383, 16_384]) {
    const packet = publish({ version, topic: 'a', payload: Buffer.alloc(remaining - overhead, 'x') });
    t.equal(packet.length - remaining, remaining < 128 ? 2 : remaining < 16_384 ? 3 : 4, 'size of the fixed header');
    client.send(packet);
    await client.expect(packet);
  }
});

forVersions(t, [4, 5], '[MQTT-1.5.5-1] a remaining length of five bytes or with padding is malformed', async (t, v) => {
  const broker = await startBroker(t);
  for (const packet of ['c0 80 80 80 80 01', 'c0 80 00', '30 ff ff ff ff 7f', '30 80 80 00']) {
    const client = await join(t, broker, { version: v });
    client.send(packet);
    await expectDisconnect(client, 0x81, v);
    await (await dialAndSend(t, broker, packet)).expectClose();
  }
});

t.test('[MQTT-1.5.5-1] a property length or Subscription Identifier that is no integer is malformed', async (t) => {
  const broker = await startBroker(t);
  const lengths = ['80 00', '80 80 80 80 01', 'ff ff ff ff 7f'];
  const filter = Buffer.concat([field('a'), hex('00')]);
  const identifier = (bytes: string) => {
    const value = hex(bytes);
    return frame(0x82, uint16(1), Buffer.from([1 + value.length, 0x0b]), value, filter);
  };
  for (const packet of [
    ...lengths.map((length) => frame(0x30, field('a'), hex(length))),
    ...lengths.map((length) => frame(0x82, uint16(1), hex(length), filter)),
    ...['81 00', '80 80 80 80 01'].map(identifier),
  ]) {
    const client = await join(t, broker);
    client.send(packet);
    await expectDisconnect(client, 0x81);
  }
});

t.test('protocol error: packet type 0 is malformed, first or later', async (t) => {
  const broker = await startBroker(t);
  await (await dialAndSend(t, broker, '00 00')).expectClose();
  for (const version of [4, 5] as const) {
    const client = await join(t, broker, { version });
    client.send('00 00');
    await expectDisconnect(client, 0x81, version);
  }
});

t.test('protocol error: lengths in a packet that do not add up are malformed', async (t) => {
  const broker = await startBroker(t);
  const packets = [
    frame(0x30),
    frame(0x30, hex('00')),
    frame(0x30, hex('00 05 61')),
    frame(0x32, field('a'), hex('00')),
    frame(0x30, field('a'), hex('05 01')),
    frame(0x82, uint16(1), hex('00'), field('a')),
    frame(0x82, uint16(1), hex('00 00 09 61')),
    frame(0xa2, uint16(1), hex('00 00 09 61')),
    frame(0x40),
    frame(0x40, hex('01')),
    frame(0x40, hex('00 01 00 00 00')),
    frame(0xc0, hex('00')),
    frame(0xe0, hex('00 00 00')),
  ];
  for (const packet of packets) {
    const client = await join(t, broker);
    client.send(packet);
    await expectDisconnect(client, 0x81);
  }
});

forVersions(t, [4, 5], '[MQTT-2.2.1-3] packet identifier 0 ends the connection', async (t, version) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  for (const packet of [
    publish({ version, topic: 'a', qos: 1, packetId: 0 }),
    publish({ version, topic: 'a', qos: 2, packetId: 0 }),
    subscribe({ version, packetId: 0, filters: [['a', 0]] }),
    unsubscribe({ version, packetId: 0, filters: ['a'] }),
  ]) {
    const client = await join(t, broker, { version });
    client.send(packet);
    await expectDisconnect(client, 0x82, version);
  }
  await watcher.expectNothing();
});

t.test('[MQTT-2.2.1-3] an identifier that is open in a QoS 2 flow makes no second delivery', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  const client = await join(t, broker);
  for (const payload of ['first', 'second']) {
    client.send(publish({ topic: 'a', payload, qos: 2, packetId: 3 }));
    await client.expect('50 02 00 03');
  }
  t.equal((await received(watcher)).payload, 'first');
  await watcher.expectNothing();
});

forVersions(t, [4, 5], '[MQTT-2.2.1-2] a delivery at QoS 0 has no packet identifier', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version });
  await subscribed(client, { version, filters: [['a', 0]] });
  for (const qos of [0, 1, 2]) {
    client.send(publish({ version, topic: 'a', payload: 'x', qos, packetId: 5 }));
    await client.expect(version === 5 ? '30 05 00 01 61 00 78' : '30 04 00 01 61 78');
    if (qos > 0) await client.expect(qos === 1 ? '40 02 00 05' : '50 02 00 05');
  }
});

t.test('[MQTT-2.2.1-2] an identifier in a PUBLISH at QoS 0 is read as its properties', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  client.send(frame(0x30, field('a'), uint16(0x0102), hex('00')));
  await expectDisconnect(client, 0x81);
});

t.test('[MQTT-2.2.1-5] acknowledgements carry the identifier of their PUBLISH', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  for (const packetId of [1, 0x00ff, 0x0100, 0xfffe, 0xffff]) {
    client.send(publish({ topic: 'a', qos: 1, packetId }));
    await client.expect('40 02', uint16(packetId));
    client.send(publish({ topic: 'a', qos: 2, packetId }));
    await client.expect('50 02', uint16(packetId));
    client.send(ack('pubrel', packetId));
    await client.expect('70 02', uint16(packetId));
  }
});

forVersions(t, [4, 5], '[MQTT-2.2.1-6] each SUBACK and UNSUBACK has the identifier it answers', async (t, version) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { version });
  const ids = [9, 0xffff, 1, 0x0100];
  const requests = ids.flatMap((packetId) => [
    subscribe({ version, packetId, filters: [['a', 0]] }),
    unsubscribe({ version, packetId, filters: ['a'] }),
  ]);
  client.send(...requests);
  for (const packetId of ids) {
    await client.expect(version === 5 ? '90 04' : '90 03', uint16(packetId), version === 5 ? '00 00' : '00');
    await client.expect(version === 5 ? 'b0 04' : 'b0 02', uint16(packetId), version === 5 ? '00 00' : '');
  }
});

t.test('[MQTT-2.2.1-4] identifiers of deliveries are never 0 nor open, past 65535 as well', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { properties: [property.receiveMaximum(600)] });
  await subscribed(client, { filters: [['a', 1]] });
  const publisher = await join(t, broker);
  const batch = 500;
  const publishes = Buffer.concat(
    Array.from({ length: batch }, (_, at) => publish({ topic: 'a', qos: 1, packetId: at + 1 })),
  );
  const held = new Set<number>();
  for (let count = 0; count < 66_000; count += batch) {
    publisher.send(publishes);
    const acks: Buffer[] = [];
    for (let at = 0; at < batch; at++) {
      const id = (await client.packet()).readUInt16BE(5);
      if (id === 0 || held.has(id)) t.fail(`identifier ${id} is not free`);
      if (held.size < 50 && at % 7 === 0) held.add(id);
      else acks.push(ack('puback', id));
      await publisher.packet();
    }
    client.send(...acks);
  }
  t.equal(held.size, 50, 'held all along');
});

t.test('[MQTT-4.13.1-1] a malformed packet ends its connection, and no other session notices', async (t) => {
  const broker = await startBroker(t);
  const watcher = await watch(t, broker, '#');
  for (const type of [2, 9, 11, 13]) {
    const client = await join(t, broker);
    // A packet that only a server sends, and behind it one that would be right.
    client.send(frame(type << 4, hex('00 01 00')), publish({ topic: 'a' }));
    await expectDisconnect(client, 0x81);
  }
  await watcher.expectNothing();
});

t.test('[MQTT-4.13.2-1] the broker itself closes after a DISCONNECT of 0x80 or above', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker);
  client.send('00 00');
  t.equal((await client.packet())[2], 0x81);
  await client.expectClose();
});

forVersions(
  t,
  [4, 5],
  '[MQTT-4.2.0-1] a stream over TCP may be cut at every byte, or come at once',
  async (t, version) => {
    const broker = await startBroker(t);
    const stream = Buffer.concat([
      connect({ version, clientId: 'c' }),
      subscribe({ version, packetId: 7, filters: [['a', 0]] }),
      publish({ version, topic: 'a', payload: 'x' }),
      pingreq(),
      disconnect(),
    ]);
    const whole = await (await dialAndSend(t, broker, stream)).rest();
    t.equal(whole.subarray(-2).toString('hex'), 'd000');
    const client = await dialAndSend(t, broker);
    for (const byte of stream) {
      client.send(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.same(await client.rest(), whole);
  },
);
