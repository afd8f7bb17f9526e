import { randomUUID } from 'node:crypto';
import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { JsClient } from './mqttjs-client.js';

const levels = [0, 1, 2] as const;

for (const protocolVersion of [4, 5] as const) {
  const name = protocolVersion === 5 ? 'MQTT.js at version 5' : 'MQTT.js at version 3.1.1';
  /** Options of a session that outlives its connection. */
  const kept = (clientId: string) => ({
    ...{ protocolVersion, clientId, clean: false },
    ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
  });

  for (const qos of levels) {
    t.test(`${name} publishes and receives at QoS ${qos}`, async (t) => {
      const { port } = await startBroker(t);
      const subscriber = await JsClient.connect(t, port, { protocolVersion });
      const publisher = await JsClient.connect(t, port, { protocolVersion });
      const granted = await subscriber.mqtt.subscribeAsync('a/b', { qos });
      t.equal(granted[0]?.qos, qos, 'granted');
      for (const text of ['one', 'two', 'three']) await publisher.mqtt.publishAsync('a/b', text, { qos });
      const expected = ['one', 'two', 'three'].map((text) => ({ topic: 'a/b', text, qos, retain: false }));
      t.same(await subscriber.messages(3), expected);
    });

    t.test(`${name} gets a message retained at QoS ${qos}, until it is cleared`, async (t) => {
      const { port } = await startBroker(t);
      const publisher = await JsClient.connect(t, port, { protocolVersion });
      await publisher.mqtt.publishAsync('r/1', 'kept', { qos, retain: true });
      await publisher.mqtt.subscribeAsync('r/#', { qos });
      t.same(await publisher.message(), { topic: 'r/1', text: 'kept', qos, retain: true });
      await publisher.mqtt.publishAsync('r/1', '', { qos, retain: true });
      t.same(await publisher.message(), { topic: 'r/1', text: '', qos, retain: false }, 'the clearing one itself');
      const late = await JsClient.connect(t, port, { protocolVersion });
      await late.mqtt.subscribeAsync('r/#', { qos });
      await publisher.mqtt.publishAsync('r/2', 'fence', { qos });
      t.same(await late.message(), { topic: 'r/2', text: 'fence', qos, retain: false }, 'nothing is retained');
    });

    t.test(`${name} leaves a will at QoS ${qos}`, async (t) => {
      const { port } = await startBroker(t);
      const watcher = await JsClient.connect(t, port, { protocolVersion });
      await watcher.mqtt.subscribeAsync('will/#', { qos });
      const will = { topic: 'will/x', payload: Buffer.from('gone'), qos, retain: false };
      const leaving = await JsClient.connect(t, port, { protocolVersion, will });
      await leaving.end();
      const cut = await JsClient.connect(t, port, { protocolVersion, will: { ...will, topic: 'will/y' } });
      await cut.cut();
      t.same(await watcher.message(), { topic: 'will/y', text: 'gone', qos, retain: false }, 'only of the cut one');
    });
  }

  t.test(`${name} finds in its session what came while it was away, in order`, async (t) => {
    const { port } = await startBroker(t);
    const away = await JsClient.connect(t, port, kept('away'));
    t.notOk(away.sessionPresent);
    await away.mqtt.subscribeAsync({ 'q/1': { qos: 1 }, 'q/2': { qos: 2 } });
    await away.end();
    const publisher = await JsClient.connect(t, port, { protocolVersion });
    for (let n = 0; n < 50; n++) {
      const qos = n % 2 === 0 ? 1 : 2;
      await publisher.mqtt.publishAsync(`q/${qos}`, String(n), { qos });
    }
    const back = await JsClient.connect(t, port, kept('away'));
    t.ok(back.sessionPresent);
    const texts = (await back.messages(50)).map(({ text }) => Number(text));
    t.same(
      texts,
      Array.from({ length: 50 }, (_, n) => n),
    );
    await back.end();
    const clean = await JsClient.connect(t, port, { protocolVersion, clientId: 'away', clean: true });
    t.notOk(clean.sessionPresent, 'a clean start ends the session');
  });

  t.test(`${name} subscribes with wildcards`, async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await JsClient.connect(t, port, { protocolVersion });
    await subscriber.mqtt.subscribeAsync({ '+/up': { qos: 1 }, 'house/#': { qos: 1 } });
    for (const topic of ['house', 'house/1/up', 'car/up', 'car/1/up', '$house/up', 'house/last']) {
      await subscriber.mqtt.publishAsync(topic, topic, { qos: 1 });
    }
    const topics = (await subscriber.messages(4)).map(({ topic }) => topic);
    t.same(topics, ['house', 'house/1/up', 'car/up', 'house/last']);
    await subscriber.mqtt.unsubscribeAsync('house/#');
    await subscriber.mqtt.publishAsync('house/1', '', { qos: 1 });
    await subscriber.mqtt.publishAsync('x/up', 'fence', { qos: 1 });
    t.equal((await subscriber.message()).topic, 'x/up', 'nothing of an ended subscription');
  });

  t.test(`${name} shares a subscription: each message goes to one member`, async (t) => {
    const { port } = await startBroker(t);
    const members = await Promise.all([1, 2].map(() => JsClient.connect(t, port, { protocolVersion })));
    for (const member of members) {
      await member.mqtt.subscribeAsync({ '$share/g/job/+': { qos: 1 }, end: { qos: 1 } });
    }
    const publisher = await JsClient.connect(t, port, { protocolVersion });
    for (let n = 0; n < 20; n++) await publisher.mqtt.publishAsync(`job/${n}`, '', { qos: 1 });
    await publisher.mqtt.publishAsync('end', '', { qos: 1 });
    await Promise.all(members.map((member) => member.message('end')));
    const shares = members.map((member) => member.unread().map(({ topic }) => topic));
    t.equal(new Set(shares.flat()).size, 20, 'every message');
    t.equal(shares.flat().length, 20, 'once');
    t.ok(
      shares.every((share) => share.length > 0),
      'both have a part',
    );
  });

  t.test(`${name} moves a large message`, async (t) => {
    const { port } = await startBroker(t);
    const client = await JsClient.connect(t, port, { protocolVersion });
    await client.mqtt.subscribeAsync('big', { qos: 2 });
    const payload = Buffer.alloc(1_000_000, randomUUID());
    await client.mqtt.publishAsync('big', payload, { qos: 2 });
    const packet = await client.packet('publish');
    t.ok(payload.equals(Buffer.from(packet.payload)), 'unaltered');
  });
}

t.test('properties go from MQTT.js to MQTT.js unaltered and in order', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await JsClient.connect(t, port);
  await subscriber.mqtt.subscribeAsync('p', { qos: 1, properties: { subscriptionIdentifier: 7 } });
  const publisher = await JsClient.connect(t, port);
  const properties = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 600,
    contentType: 'text/plain',
    responseTopic: 'answers',
    correlationData: Buffer.from([0, 1, 2, 255]),
    userProperties: { first: ['1', '2'], second: 'ä' },
  };
  await publisher.mqtt.publishAsync('p', 'x', { qos: 1, properties });
  const packet = await subscriber.packet('publish');
  const { messageExpiryInterval, ...rest } = packet.properties ?? {};
  t.ok(messageExpiryInterval === 600 || messageExpiryInterval === 599, `expiry ${messageExpiryInterval}`);
  const { messageExpiryInterval: _, ...expected } = properties;
  t.same(rest, { ...expected, subscriptionIdentifier: 7, userProperties: { ...properties.userProperties } });
});

t.test('the options of a version 5 subscription hold for MQTT.js', async (t) => {
  const { port } = await startBroker(t);
  const client = await JsClient.connect(t, port);
  await client.mqtt.publishAsync('o/kept', 'old', { qos: 1, retain: true });
  await client.mqtt.subscribeAsync('o/#', { qos: 1, rh: 2, rap: true, nl: true });
  const other = await JsClient.connect(t, port);
  await client.mqtt.publishAsync('o/own', 'own', { qos: 1 });
  await other.mqtt.publishAsync('o/other', 'new', { qos: 1, retain: true });
  const expected = { topic: 'o/other', text: 'new', qos: 1, retain: true };
  t.same(await client.message(), expected, 'no retained one, nothing of its own, RETAIN as published');
});

t.test('both versions of MQTT.js talk to each other; 3.1.1 gets no properties', async (t) => {
  const { port } = await startBroker(t);
  const four = await JsClient.connect(t, port, { protocolVersion: 4 });
  const five = await JsClient.connect(t, port, { protocolVersion: 5 });
  await four.mqtt.subscribeAsync('to/4', { qos: 2 });
  await five.mqtt.subscribeAsync('to/5', { qos: 2 });
  await four.mqtt.publishAsync('to/5', 'from 4', { qos: 2 });
  await five.mqtt.publishAsync('to/4', 'from 5', { qos: 2, properties: { userProperties: { a: 'b' } } });
  t.equal((await five.message()).text, 'from 4');
  const packet = await four.packet('publish');
  t.equal(packet.payload.toString(), 'from 5');
  t.equal(packet.properties, undefined);
});
