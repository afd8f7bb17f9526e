import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { connected, connectedToSession, published, received, subscribed, versions } from '../helpers/client.js';
import { ack, property, publish, type Version } from '../helpers/packets.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import type { WireClient } from '../helpers/wire-client.js';

/** CONNECT fields of a client with a session and a window of `size`; before version 5 the broker's own window. */
function window(version: Version, size: number) {
  return { version, properties: version === 5 ? [property.receiveMaximum(size)] : [] };
}

function back(t: Test, port: number, version: Version, size: number): Promise<WireClient> {
  return connectedToSession(t, port, 'sub', { ...window(version, size), sessionPresent: true });
}

/** Reads messages, acknowledged at QoS 1, until the payload is `last`. */
async function until(client: WireClient, last: string, version: Version): Promise<string[]> {
  const all: string[] = [];
  for (;;) {
    const { payload, qos, packetId } = await received(client, version);
    if (qos === 1) client.send(ack('puback', packetId));
    all.push(payload);
    if (payload === last) return all;
  }
}

/** Numbers as payloads, from `start` up to `end`. */
const numbers = (start: number, end: number) => Array.from({ length: end - start }, (_, at) => String(start + at));

for (const version of versions) {
  const titled = (title: string, script: (t: Test) => Promise<void>) => t.test(`${title}, in ${version}`, script);

  titled('[MQTT-4.4.0-1] edge case 27: a live link gets no repeat, whatever the time', async (t) => {
    const { port, clock } = await startTimedBroker(t);
    const subscriber = await connected(t, port, { version });
    await subscribed(subscriber, { version, filters: [['a', 2]] });
    const publisher = await connected(t, port, { version });
    for (const qos of [1, 2]) await published(publisher, { version, topic: 'a', qos });
    await received(subscriber, version);
    const { packetId } = await received(subscriber, version);
    clock.advance(3600_000);
    await subscriber.expectNothing();
    subscriber.send(ack('pubrec', packetId));
    await subscriber.expect(ack('pubrel', packetId));
    clock.advance(3600_000);
    await subscriber.expectNothing();
  });

  titled('[MQTT-4.4.0-1] [MQTT-4.6.0-5] edge case 31: what is open, then the backlog, then new ones', async (t) => {
    const { port } = await startBroker(t, { maximumInflightMessages: 5 });
    const subscriber = await connectedToSession(t, port, 'sub', window(version, 5));
    await subscribed(subscriber, { version, filters: [['a', 1]] });
    const publisher = await connected(t, port, { version });
    for (const payload of numbers(0, 300)) await published(publisher, { version, topic: 'a', qos: 1, payload });
    const first: string[] = [];
    for (let at = 0; at < 5; at++) first.push((await received(subscriber, version)).payload);
    t.same(first, numbers(0, 5));
    subscriber.reset();
    for (const payload of numbers(300, 320)) await published(publisher, { version, topic: 'a', qos: 1, payload });
    const resumed = await back(t, port, version, 5);
    for (const payload of numbers(0, 5)) {
      const message = await received(resumed, version);
      t.match(message, { payload, dup: true });
      resumed.send(ack('puback', message.packetId));
    }
    for (const payload of numbers(320, 340)) {
      publisher.send(publish({ version, topic: 'a', qos: 1, payload, packetId: Number(payload) }));
    }
    t.same(await until(resumed, '339', version), numbers(5, 340));
  });

  titled('[MQTT-4.6.0-5] [MQTT-4.6.0-6] order is kept over reconnects with a small window', async (t) => {
    const { port } = await startBroker(t, { maximumInflightMessages: 3 });
    let subscriber = await connectedToSession(t, port, 'sub', window(version, 3));
    await subscribed(subscriber, { version, filters: [['a', 1]] });
    const publisher = await connected(t, port, { version });
    const seen: string[] = [];
    let sent = 0;
    for (let round = 0; round < 20; round++) {
      const batch = numbers(sent, sent + 7);
      sent += 7;
      for (const payload of batch) await published(publisher, { version, topic: 'a', qos: 1, payload });
      for (let at = 0; at < 5; at++) {
        const { payload, dup, packetId } = await received(subscriber, version);
        if (!seen.includes(payload)) seen.push(payload);
        else t.ok(dup, 'what was seen before is a repeat');
        if (at < 4) subscriber.send(ack('puback', packetId));
      }
      await subscriber.packet(); // the last one that was acknowledged made room for another
      subscriber.reset();
      await publisher.expectNothing();
      subscriber = await back(t, port, version, 3);
    }
    const rest = await until(subscriber, String(sent - 1), version);
    const all = [...seen, ...rest.filter((payload) => !seen.includes(payload))];
    t.same(
      all,
      [...all].sort((a, b) => Number(a) - Number(b)),
      'rising at first sight',
    );
    t.same(new Set(all), new Set(numbers(0, sent)), 'and none is missing');
  });

  titled('[MQTT-4.6.0-6] [MQTT-4.5.0-1] each session gets all: online, away and window-full', async (t) => {
    const { port } = await startBroker(t, { maximumInflightMessages: 2 });
    const sessions = new Map<string, WireClient>();
    for (const clientId of ['online', 'away', 'full']) {
      const client = await connectedToSession(t, port, clientId, { version });
      await subscribed(client, { version, filters: [['a', 2]] });
      sessions.set(clientId, client);
    }
    sessions.get('away')?.reset();
    const online = sessions.get('online') as WireClient;
    const publisher = await connected(t, port, { version });
    const collected = (async () => {
      const all: string[] = [];
      while (all.length < 50) {
        const { payload, packetId } = await received(online, version);
        online.send(ack('puback', packetId));
        all.push(payload);
      }
      return all;
    })();
    for (const payload of numbers(0, 50)) await published(publisher, { version, topic: 'a', qos: 1, payload });
    t.same(await collected, numbers(0, 50));
    t.same(await until(sessions.get('full') as WireClient, '49', version), numbers(0, 50));
    const away = await connectedToSession(t, port, 'away', { version, sessionPresent: true });
    t.same(await until(away, '49', version), numbers(0, 50));
  });

  titled('[MQTT-4.6.0-5] edge case 31: PUBREL and repeats come in the order of the messages', async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connectedToSession(t, port, 'sub', { version });
    await subscribed(subscriber, { version, filters: [['a', 2]] });
    const publisher = await connected(t, port, { version });
    const ids: number[] = [];
    for (const payload of numbers(0, 6)) {
      await published(publisher, { version, topic: 'a', qos: 2, payload });
      ids.push((await received(subscriber, version)).packetId);
    }
    for (const at of [0, 2, 4]) {
      subscriber.send(ack('pubrec', ids[at]));
      await subscriber.expect(ack('pubrel', ids[at]));
    }
    subscriber.reset();
    const resumed = await connectedToSession(t, port, 'sub', { version, sessionPresent: true });
    for (const [at, packetId] of ids.entries()) {
      if (at % 2 === 0) await resumed.expect(ack('pubrel', packetId));
      else t.match(await received(resumed, version), { packetId, dup: true, payload: String(at) });
    }
  });

  titled('[MQTT-4.4.0-1] a takeover of the connection repeats what is open as a resume does', async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connectedToSession(t, port, 'sub', { version });
    await subscribed(subscriber, { version, filters: [['a', 1]] });
    const publisher = await connected(t, port, { version });
    await published(publisher, { version, topic: 'a', qos: 1, payload: 'x' });
    const { packetId } = await received(subscriber, version);
    const second = await connectedToSession(t, port, 'sub', { version, sessionPresent: true });
    t.match(await received(second, version), { packetId, dup: true, payload: 'x' });
  });

  titled('[MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-5] open flows go on after a restart of the broker', async (t) => {
    const broker = await startTimedBroker(t);
    const subscriber = await connectedToSession(t, broker.port, 'sub', { version });
    await subscribed(subscriber, { version, filters: [['a', 2]] });
    const publisher = await connectedToSession(t, broker.port, 'pub', { version });
    for (const [payload, qos] of [
      ['1', 1],
      ['2', 2],
      ['3', 2],
    ] as const) {
      await published(publisher, { version, topic: 'a', qos, payload });
    }
    const ids: number[] = [];
    for (let count = 0; count < 3; count++) ids.push((await received(subscriber, version)).packetId);
    subscriber.send(ack('pubrec', ids[2]));
    await subscriber.expect(ack('pubrel', ids[2]));
    publisher.send(publish({ version, topic: 'a', qos: 2, packetId: 9, payload: '4' }));
    await publisher.expect(ack('pubrec', 9));
    await broker.crash();
    const resumed = await connectedToSession(t, broker.port, 'sub', { version, sessionPresent: true });
    t.match(await received(resumed, version), { packetId: ids[0], dup: true, payload: '1', qos: 1 });
    t.match(await received(resumed, version), { packetId: ids[1], dup: true, payload: '2', qos: 2 });
    await resumed.expect(ack('pubrel', ids[2]));
    t.match(await received(resumed, version), { payload: '4', qos: 2 });
    const again = await connectedToSession(t, broker.port, 'pub', { version, sessionPresent: true });
    again.send(publish({ version, topic: 'a', qos: 2, packetId: 9, payload: '4', dup: true }));
    await again.expect(ack('pubrec', 9));
    again.send(ack('pubrel', 9));
    await again.expect(ack('pubcomp', 9));
    await resumed.expectNothing();
  });
}

t.test('[MQTT-4.6.0-5] messages of one topic and QoS keep their order among others', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['#', 2]] });
  const publisher = await connected(t, port);
  const sent = numbers(0, 300);
  publisher.send(
    ...sent.map((payload, at) => publish({ topic: `t/${at % 3}`, qos: at % 2, payload, packetId: at + 1 })),
  );
  const seen: string[] = [];
  for (const _ of sent) {
    const { topic, qos, payload, packetId } = await received(subscriber);
    if (qos === 1) subscriber.send(ack('puback', packetId));
    seen.push(`${topic} ${qos} ${payload}`);
  }
  for (const stream of ['t/0 0', 't/0 1', 't/1 0', 't/1 1', 't/2 0', 't/2 1']) {
    const payloads = seen.filter((line) => line.startsWith(stream)).map((line) => Number(line.slice(stream.length)));
    t.same(
      payloads,
      [...payloads].sort((a, b) => a - b),
      stream,
    );
  }
});

t.test('[MQTT-4.6.0-2] [MQTT-4.6.0-3] PUBACK and PUBREC come in the order of the publishes', async (t) => {
  const { port } = await startBroker(t);
  const publisher = await connectedToSession(t, port, 'pub');
  const packets = numbers(1, 101).map((payload) => Number(payload));
  publisher.send(...packets.map((packetId) => publish({ topic: 'a', qos: 1 + (packetId % 2), packetId })));
  for (const packetId of packets) await publisher.expect(ack(packetId % 2 === 1 ? 'pubrec' : 'puback', packetId));
});

t.test('[MQTT-4.6.0-4] PUBREL comes in the order of PUBREC', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connectedToSession(t, port, 'sub');
  await subscribed(subscriber, { filters: [['a', 2]] });
  const publisher = await connected(t, port);
  const ids: number[] = [];
  for (const payload of numbers(0, 30)) {
    await published(publisher, { topic: 'a', qos: 2, payload });
    ids.push((await received(subscriber)).packetId);
  }
  const shuffled = ids.map((_, at) => ids[(at * 7) % 30]);
  subscriber.send(...shuffled.map((packetId) => ack('pubrec', packetId)));
  for (const packetId of shuffled) await subscriber.expect(ack('pubrel', packetId));
});
