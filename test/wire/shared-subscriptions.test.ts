import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  acknowledged,
  connected,
  connectedToSession,
  expectDisconnect,
  published,
  type Received,
  received,
  subscribed,
  unsuback,
  versions,
} from '../helpers/client.js';
import { ack, disconnect, property, subscribe, unsubscribe, type Version } from '../helpers/packets.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import type { WireClient } from '../helpers/wire-client.js';

async function refuses(t: Test, version: Version, filter: string): Promise<void> {
  const { port } = await startBroker(t);
  const client = await connected(t, port, { version });
  client.send(subscribe({ version, filters: [[filter, 0]] }));
  await expectDisconnect(client, 0x81, version);
}

async function member(t: Test, port: number, clientId: string, qos = 2): Promise<WireClient> {
  const client = await connectedToSession(t, port, clientId);
  await subscribed(client, { filters: [['$share/g/a/+', qos]] });
  return client;
}

async function leave(client: WireClient): Promise<void> {
  client.send(disconnect());
  await client.expectClose();
}

/** Ends the client's session for good. */
async function endSession(t: Test, port: number, clientId: string): Promise<void> {
  const client = await connected(t, port, { clientId, cleanStart: true });
  await leave(client);
}

for (const version of versions) {
  const titled = (title: string, script: (t: Test) => Promise<void>) => t.test(`${title}, in ${version}`, script);

  titled('[MQTT-4.8.2-1] edge case 8: an empty share name is refused', async (t) => {
    for (const filter of ['$share/', '$share//', '$share//t', '$share//#']) await refuses(t, version, filter);
  });

  titled('[MQTT-4.8.2-2] edge case 8: a share name with a wildcard, or no filter behind it, is refused', async (t) => {
    const filters = ['$share/g', '$share/g/', '$share/+/t', '$share/g#/t', '$share/#/t', '$share/#', '$share/g+/t'];
    for (const filter of [...filters, '$share/g/a#', '$share/g/$share/h/t']) await refuses(t, version, filter);
  });

  titled('[MQTT-4.8.2-1] $share alone is a plain filter', async (t) => {
    const { port } = await startBroker(t);
    const [one, two] = [await connected(t, port, { version }), await connected(t, port, { version })];
    for (const client of [one, two]) await subscribed(client, { version, filters: [['$share', 0]] });
    await published(await connected(t, port), { topic: '$share', payload: 'x' });
    for (const client of [one, two]) t.equal((await received(client, version)).topic, '$share');
  });

  titled('[MQTT-4.8.2-2] edge case 8: $share/g//t is right and means /t', async (t) => {
    const { port } = await startBroker(t);
    const client = await connected(t, port, { version });
    await subscribed(client, { version, filters: [['$share/g//t', 0]] });
    const publisher = await connected(t, port);
    for (const topic of ['t', '/t', 'g//t', '$share/g//t']) await published(publisher, { topic });
    t.equal((await received(client, version)).topic, '/t');
    await client.expectNothing();
  });

  titled('each message goes to one member of each group, and to plain subscribers', async (t) => {
    const { port } = await startBroker(t);
    const filters = ['$share/g/a', '$share/g/a', '$share/h/a', '$share/g/+', 'a'];
    const clients: WireClient[] = [];
    for (const filter of filters) {
      const client = await connected(t, port, { version });
      await subscribed(client, { version, filters: [[filter, 0]] });
      clients.push(client);
    }
    const publisher = await connected(t, port);
    for (let at = 0; at < 10; at++) await published(publisher, { topic: 'a', payload: String(at) });
    const counts: number[] = [];
    for (const client of clients) counts.push(await countMessages(client));
    t.equal(counts[0] + counts[1], 10, 'g on a, between its two members');
    t.ok(counts[0] > 0 && counts[1] > 0, 'each of which has its part');
    t.same(counts.slice(2), [10, 10, 10]);
  });

  titled('edge case 8: no retained messages come at subscribe, and UNSUBSCRIBE needs the full filter', async (t) => {
    const { port } = await startBroker(t);
    const publisher = await connected(t, port);
    await published(publisher, { topic: 'a', payload: 'x', retain: true, qos: 1 });
    const client = await connected(t, port, { version });
    await subscribed(client, { version, filters: [['$share/g/a', 0]] });
    await client.expectNothing();
    client.send(unsubscribe({ version, filters: ['a', '$share/h/a', '$share/g/a'] }));
    await client.expect(unsuback(1, [0x11, 0x11, 0], version));
    await published(publisher, { topic: 'a' });
    await client.expectNothing();
  });
}

async function countMessages(client: WireClient): Promise<number> {
  client.send('c0 00');
  for (let count = 0; ; count++) if ((await client.packet())[0] === 0xd0) return count;
}

t.test('[MQTT-4.8.2-3] each member gets its messages at its own granted QoS', async (t) => {
  const { port } = await startBroker(t);
  const members = await Promise.all([0, 1, 2].map((qos) => member(t, port, `m${qos}`, qos)));
  const publisher = await connected(t, port);
  for (const qos of [2, 1]) {
    for (let at = 0; at < 9; at++) await published(publisher, { topic: 'a/b', qos });
    for (const [granted, client] of members.entries()) {
      for (let at = 0; at < 3; at++) {
        const message = await received(client);
        t.equal(message.qos, Math.min(qos, granted));
        if (message.qos === 1) await acknowledged(client, message);
        else if (message.qos === 2) client.send(ack('pubrec', message.packetId, 0x80));
      }
      await client.expectNothing();
    }
  }
});

t.test('edge case 9: members that are connected come before those that are not', async (t) => {
  const { port } = await startBroker(t);
  const [here, away] = [await member(t, port, 'here'), await member(t, port, 'away')];
  await leave(away);
  const publisher = await connected(t, port);
  for (let at = 0; at < 10; at++) await published(publisher, { topic: 'a/b', qos: 1, payload: String(at) });
  for (let at = 0; at < 10; at++) {
    const message = await received(here);
    t.equal(message.payload, String(at));
    await acknowledged(here, message);
  }
  const back = await connectedToSession(t, port, 'away', { sessionPresent: true });
  await back.expectNothing();
});

t.test('edge case 9: with nobody connected a member that keeps its session gets the message', async (t) => {
  const { port } = await startBroker(t);
  await leave(await member(t, port, 'away'));
  await published(await connected(t, port), { topic: 'a/b', qos: 1, payload: 'x' });
  const back = await connectedToSession(t, port, 'away', { sessionPresent: true });
  t.equal((await received(back)).payload, 'x');
});

/** Two members, of which the first got the message; the other has had none. */
async function oneGot(t: Test, port: number, qos: number): Promise<[WireClient, Received, WireClient]> {
  const first = await member(t, port, 'first');
  await published(await connected(t, port), { topic: 'a/b', qos, payload: 'x' });
  const message = await received(first);
  return [first, message, await member(t, port, 'second')];
}

t.test('edge case 9: QoS 1 that was not acknowledged goes to another member when the session ends', async (t) => {
  const { port } = await startBroker(t);
  const [first, , second] = await oneGot(t, port, 1);
  await leave(first);
  await second.expectNothing();
  await endSession(t, port, 'first');
  t.match(await received(second), { topic: 'a/b', payload: 'x', qos: 1, dup: false });
});

t.test('edge case 9: what waits for a member goes to another when the session expires', async (t) => {
  const { port, clock } = await startTimedBroker(t);
  await leave(await member(t, port, 'first'));
  const publisher = await connected(t, port);
  for (const qos of [1, 2]) await published(publisher, { topic: 'a/b', qos, payload: String(qos) });
  const second = await member(t, port, 'second');
  await second.expectNothing();
  clock.advance(3601_000);
  for (const qos of [1, 2]) t.match(await received(second), { payload: String(qos), qos, dup: false });
});

t.test('[MQTT-4.8.2-4] edge case 9: QoS 2 that has begun is finished with its member', async (t) => {
  for (const withPubrec of [false, true]) {
    const { port } = await startBroker(t);
    const [first, { packetId }, second] = await oneGot(t, port, 2);
    if (withPubrec) {
      first.send(ack('pubrec', packetId));
      await first.expect(ack('pubrel', packetId));
    }
    first.reset();
    await second.expectNothing();
    const back = await connectedToSession(t, port, 'first', { sessionPresent: true });
    if (withPubrec) await back.expect(ack('pubrel', packetId));
    else {
      const repeat = await received(back);
      t.match(repeat, { packetId, dup: true, qos: 2 });
      back.send(ack('pubrec', packetId));
      await back.expect(ack('pubrel', packetId));
    }
    back.send(ack('pubcomp', packetId));
    await back.expectNothing();
    await second.expectNothing();
  }
});

t.test('[MQTT-4.8.2-5] edge case 9: QoS 2 that has begun dies with the session of its member', async (t) => {
  for (const withPubrec of [false, true]) {
    const { port } = await startBroker(t);
    const [first, { packetId }, second] = await oneGot(t, port, 2);
    if (withPubrec) {
      first.send(ack('pubrec', packetId));
      await first.expect(ack('pubrel', packetId));
    }
    await leave(first);
    await endSession(t, port, 'first');
    await second.expectNothing();
  }
});

t.test('[MQTT-4.8.2-6] edge case 9: a message its member refused goes to nobody else', async (t) => {
  for (const qos of [1, 2]) {
    const { port } = await startBroker(t);
    const [first, { packetId }, second] = await oneGot(t, port, qos);
    first.send(ack(qos === 1 ? 'puback' : 'pubrec', packetId, 0x83));
    await first.expectNothing();
    await second.expectNothing();
    await leave(first);
    await endSession(t, port, 'first');
    await second.expectNothing();
  }
});

t.test('a member whose window is full leaves its turn to one that has room', async (t) => {
  const { port } = await startBroker(t);
  const narrow = await connected(t, port, { properties: [property.receiveMaximum(1)] });
  await subscribed(narrow, { filters: [['$share/g/a/+', 1]] });
  const wide = await member(t, port, 'wide', 1);
  const publisher = await connected(t, port);
  for (let at = 0; at < 10; at++) await published(publisher, { topic: 'a/b', qos: 1 });
  await received(narrow);
  await narrow.expectNothing();
  for (let at = 0; at < 9; at++) await received(wide);
  await wide.expectNothing();
});

t.test('[MQTT-4.6.0-6] a member that is alone gets the messages in order', async (t) => {
  const { port } = await startBroker(t);
  const only = await member(t, port, 'only', 1);
  const publisher = await connected(t, port);
  for (let at = 0; at < 50; at++) await published(publisher, { topic: 'a/b', qos: 1, payload: String(at) });
  for (let at = 0; at < 50; at++) {
    const message = await received(only);
    t.equal(message.payload, String(at));
    await acknowledged(only, message);
  }
});
