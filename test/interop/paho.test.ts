import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { findClient, RealClient } from '../helpers/real-clients.js';
import { JsClient } from './mqttjs-client.js';
import { PahoClient, type PahoSetup } from './paho-client.js';

const levels = [0, 1, 2] as const;

/** Starts a client against the test's broker. */
type Connect = (setup?: Partial<PahoSetup>) => Promise<PahoClient>;

/** A test with a broker; skipped, aloud, where Paho is not installed. */
function test(name: string, version: 4 | 5, body: (t: Test, connect: Connect, port: number) => Promise<void>): void {
  t.test(name, async (t) => {
    const path = findClient(t, RealClient.paho);
    if (path === undefined) return;
    const { port } = await startBroker(t);
    await body(t, (setup = {}) => PahoClient.connect(t, path, { version, port, ...setup }), port);
  });
}

for (const version of [4, 5] as const) {
  const name = version === 5 ? 'Paho at version 5' : 'Paho at version 3.1.1';

  for (const qos of levels) {
    test(`${name} publishes and receives at QoS ${qos}`, version, async (t, connect) => {
      const subscriber = await connect();
      const publisher = await connect();
      t.same(await subscriber.subscribe(['a/b', qos]), [qos]);
      for (const text of ['one', 'two', 'three']) await publisher.publish('a/b', text, qos);
      const expected = ['one', 'two', 'three'].map((text) => ({ topic: 'a/b', text, qos, retain: false }));
      t.same(await subscriber.messages(3), expected);
    });

    test(`${name} gets what was retained at QoS ${qos}, and a will`, version, async (t, connect) => {
      const publisher = await connect({ will: { topic: 'w', text: 'gone', qos, retain: true } });
      await publisher.publish('r', 'old', qos, { retain: true });
      await publisher.publish('r', 'new', qos, { retain: true });
      const subscriber = await connect();
      await subscriber.subscribe(['r', qos]);
      t.same(await subscriber.message(), { topic: 'r', text: 'new', qos, retain: true });
      await subscriber.subscribe(['w', qos]);
      await publisher.kill();
      t.same(await subscriber.message(), { topic: 'w', text: 'gone', qos, retain: false });
      const late = await connect();
      await late.subscribe(['w', qos]);
      t.same(await late.message(), { topic: 'w', text: 'gone', qos, retain: true }, 'a retained will');
    });
  }

  test(`${name} finds in its session what came while it was away`, version, async (t, connect) => {
    const away = await connect({ clientId: 'away', clean: false });
    t.notOk(away.sessionPresent);
    await away.subscribe(['q/#', 2]);
    await away.end();
    const publisher = await connect();
    for (let n = 0; n < 20; n++) await publisher.publish('q/1', String(n), 1);
    for (let n = 20; n < 40; n++) await publisher.publish('q/2', String(n), 2);
    const back = await connect({ clientId: 'away', clean: false });
    t.ok(back.sessionPresent);
    const texts = (await back.messages(40)).map(({ text }) => Number(text));
    t.same(
      texts.filter((n) => n < 20),
      Array.from({ length: 20 }, (_, n) => n),
      'QoS 1 in order',
    );
    t.same(
      texts.filter((n) => n >= 20),
      Array.from({ length: 20 }, (_, n) => n + 20),
      'QoS 2 in order',
    );
  });

  test(`${name} subscribes with wildcards and unsubscribes`, version, async (t, connect) => {
    const client = await connect();
    t.same(await client.subscribe(['+/up', 1], ['house/#', 2]), [1, 2]);
    for (const topic of ['house', 'car/1/up', 'car/up']) await client.publish(topic, topic, 1);
    await client.unsubscribe('house/#');
    for (const topic of ['house/1', 'last/up']) await client.publish(topic, topic, 1);
    const topics = (await client.messages(3)).map(({ topic }) => topic);
    t.same(topics, ['house', 'car/up', 'last/up']);
  });

  test(`two of ${name} share a subscription`, version, async (t, connect) => {
    const members = [await connect(), await connect()];
    for (const member of members) await member.subscribe(['$share/g/j/#', 1]);
    const publisher = await connect();
    for (let n = 0; n < 10; n++) await publisher.publish(`j/${n}`, String(n), 1);
    const shares = await Promise.all(members.map((member) => member.messages(5)));
    t.equal(new Set(shares.flat().map(({ topic }) => topic)).size, 10, 'each message went to one of them');
  });

  test(`${name} and MQTT.js reach each other at every QoS`, version, async (t, connect, port) => {
    const paho = await connect();
    const js = await JsClient.connect(t, port);
    await paho.subscribe(['to/paho/#', 2]);
    await js.mqtt.subscribeAsync('to/js/#', { qos: 2 });
    for (const qos of levels) {
      await js.mqtt.publishAsync(`to/paho/${qos}`, 'grüße', { qos });
      t.same(await paho.message(), { topic: `to/paho/${qos}`, text: 'grüße', qos, retain: false });
      await paho.publish(`to/js/${qos}`, 'hi', qos);
      t.same(await js.message(), { topic: `to/js/${qos}`, text: 'hi', qos, retain: false });
    }
  });
}

test('properties go from Paho to Paho', 5, async (t, connect) => {
  const subscriber = await connect();
  await subscriber.subscribe(['p', 1]);
  const publisher = await connect();
  const properties = {
    PayloadFormatIndicator: 1,
    ContentType: 'text/plain',
    ResponseTopic: 'answers',
    CorrelationData: 'corr',
    UserProperty: [
      ['b', '1'],
      ['a', '2'],
      ['b', '3'],
    ],
  };
  await publisher.publish('p', 'x', 1, { properties });
  const message = await subscriber.whole();
  t.same(message.properties, { ...properties, CorrelationData: Buffer.from('corr').toString('hex') });
});

test('Paho gets receipts for what it publishes', 5, async (t, connect) => {
  const device = await connect({ clientId: 'device' });
  await device.subscribe(['cmd', 1]);
  const publisher = await connect({ clientId: 'boss' });
  await publisher.subscribe(['$receipts/~/+/+', 1]);
  await publisher.publish('cmd', 'now', 1, { properties: { UserProperty: [['receipt', 'delivered']] } });
  const receipt = JSON.parse((await publisher.message()).text) as Record<string, unknown>;
  t.match(receipt, { to: 'device', state: 'delivered', qos: 1, topic: 'cmd', matched: 1 });
});
