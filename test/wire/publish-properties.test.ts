import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { connected, connectedToSession, expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import { disconnect, field, property, publish } from '../helpers/packets.js';
import type { WireClient } from '../helpers/wire-client.js';

const illFormed = [
  Buffer.from('eda080', 'hex'),
  Buffer.from('c0af', 'hex'),
  Buffer.from('e282', 'hex'),
  Buffer.from([0]),
];

/** What a message with these properties has where it arrives live, from a queue and as a retained message. */
async function copies(t: Test, list: readonly Buffer[]): Promise<Record<string, readonly Buffer[]>> {
  const { port } = await startBroker(t);
  const live = await connected(t, port);
  await subscribed(live, { filters: [['a', 1]] });
  const leaving = await connectedToSession(t, port, 'queued');
  await subscribed(leaving, { filters: [['a', 1]] });
  leaving.send(disconnect());
  await leaving.expectClose();
  const publisher = await connected(t, port);
  await published(publisher, { topic: 'a', qos: 1, payload: 'x', retain: true, properties: list });
  const late = await connected(t, port);
  await subscribed(late, { filters: [['a', 0]] });
  const back = await connectedToSession(t, port, 'queued', { sessionPresent: true });
  const propertiesOf = async (client: WireClient) => (await received(client)).properties;
  const [liveCopy, queued, retained] = [await propertiesOf(live), await propertiesOf(back), await propertiesOf(late)];
  return { live: liveCopy, queued, retained };
}

function forwards(title: string, list: readonly Buffer[]): void {
  t.test(title, async (t) => {
    t.strictSame(await copies(t, list), { live: list, queued: list, retained: list });
  });
}

forwards('[MQTT-3.3.2-4] Payload Format Indicator 0 is forwarded', [property.payloadFormatIndicator(0)]);
forwards('[MQTT-3.3.2-4] Payload Format Indicator 1 is forwarded', [property.payloadFormatIndicator(1)]);
forwards('[MQTT-3.3.2-4] [MQTT-2.2.2-1] without properties there are none, and their length is 0', []);
forwards('[MQTT-3.3.2-15] Response Topic is forwarded', [property.responseTopic('answers/\u00e9/\u{1f600}')]);
forwards('[MQTT-3.3.2-16] Correlation Data is forwarded', [property.correlationData(Buffer.from('00ff00c0af', 'hex'))]);
forwards('[MQTT-3.3.2-16] empty Correlation Data is forwarded', [property.correlationData('')]);
forwards('[MQTT-3.3.2-20] Content Type is forwarded', [property.contentType('text/plain; \u{1f600}')]);
forwards('[MQTT-3.3.2-20] an empty Content Type is forwarded', [property.contentType('')]);
forwards('[MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-1.5.7-1] User Properties arrive all, unchanged and in order', [
  property.userProperty('b', '1'),
  property.userProperty('a', '2'),
  property.userProperty('b', '3'),
  property.userProperty('a', '2'),
  property.userProperty('', ''),
  property.userProperty('__proto__', 'x'),
  property.userProperty('b', '1'),
]);
forwards('edge case 22: a queued message comes back with all properties, in order', [
  property.userProperty('z', '1'),
  property.payloadFormatIndicator(1),
  property.contentType('x'),
  property.userProperty('y', '2'),
  property.responseTopic('r'),
  property.correlationData('c'),
]);

t.test('[MQTT-3.3.2-18] a hundred User Properties beside an alias and an expiry keep their order', async (t) => {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['a', 0]] });
  const publisher = await connected(t, port);
  const pairs = Array.from({ length: 100 }, (_, at) => property.userProperty(`n${at % 7}`, String(at)));
  const around = [property.topicAlias(1), ...pairs, property.messageExpiryInterval(1000)];
  await published(publisher, { topic: 'a', properties: around });
  const { properties } = await received(subscriber);
  t.strictSame(
    properties.filter(([id]) => id === 0x26),
    pairs,
  );
  t.equal(properties.length, pairs.length + 1, 'and the expiry');
});

t.test('a message goes to 3.1.1 without its properties, and from 3.1.1 to 5 without any', async (t) => {
  const { port } = await startBroker(t);
  const older = await connected(t, port, { version: 4 });
  const newer = await connected(t, port);
  await subscribed(older, { version: 4, filters: [['a', 2]] });
  await subscribed(newer, { filters: [['a', 2]] });
  const list = [property.contentType('x'), property.userProperty('a', 'b'), property.messageExpiryInterval(9)];
  newer.send(publish({ topic: 'a', payload: 'p', properties: list }));
  await older.expect('30 04 00 01 61 70');
  await newer.expect(publish({ topic: 'a', payload: 'p', properties: [list[2], list[0], list[1]] }));
  older.send(publish({ version: 4, topic: 'a', payload: 'q' }));
  await newer.expect('30 05 00 01 61 00 71');
  await older.expect('30 04 00 01 61 71');
});

async function refuses(t: Test, reasonCode: number, ...list: Buffer[]): Promise<void> {
  const { port } = await startBroker(t);
  const subscriber = await connected(t, port);
  await subscribed(subscriber, { filters: [['#', 0]] });
  const publisher = await connected(t, port);
  publisher.send(publish({ topic: 'a', properties: list }));
  await expectDisconnect(publisher, reasonCode);
  await subscriber.expectNothing();
}

t.test('[MQTT-3.3.2-13] an ill-formed Response Topic ends the connection', async (t) => {
  for (const bytes of illFormed) await refuses(t, 0x81, property.responseTopic(bytes));
});

t.test('[MQTT-3.3.2-14] [MQTT-4.7.0-1] a wildcard in the Response Topic ends the connection', async (t) => {
  for (const topic of ['a/+', '#', 'a/#', 'a+', '+']) await refuses(t, 0x82, property.responseTopic(topic));
});

t.test('[MQTT-3.3.2-19] an ill-formed Content Type ends the connection', async (t) => {
  for (const bytes of illFormed) await refuses(t, 0x81, property.contentType(bytes));
});

t.test(
  '[MQTT-1.5.7-1] [MQTT-1.5.4-2] an ill-formed name or value of a User Property ends the connection',
  async (t) => {
    const user = (name: Buffer, value: Buffer) => Buffer.concat([Buffer.from([0x26]), field(name), field(value)]);
    for (const bytes of illFormed) {
      await refuses(t, 0x81, user(bytes, Buffer.from('x')));
      await refuses(t, 0x81, user(Buffer.from('x'), bytes));
    }
  },
);
