import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import {
  connected,
  expectAck,
  expectDisconnect,
  published,
  received,
  suback,
  subscribed,
  versions,
} from '../helpers/client.js';
import { field, frame, properties, publish, subscribe, uint16, unsubscribe, type Version } from '../helpers/packets.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import type { WireClient } from '../helpers/wire-client.js';

/** The topic names among those given that reach a subscriber to the filter, live and then as retained messages. */
async function matching(t: Test, version: Version, filter: string, topics: readonly string[]): Promise<string[]> {
  const { port } = await startBroker(t);
  const live = await connected(t, port, { version });
  await subscribed(live, { version, filters: [[filter, 0]] });
  const publisher = await connected(t, port, { version });
  for (const topic of topics) await published(publisher, { version, topic, retain: true, payload: 'x' });
  const late = await connected(t, port, { version });
  await subscribed(late, { version, filters: [[filter, 0]] });
  const [seen, replayed] = [await topicsOf(live), await topicsOf(late)];
  t.same(replayed.sort(), [...seen].sort(), `${filter}: retained as live`);
  return seen;
}

/** Topic names of everything that is on its way to the client. */
async function topicsOf(client: WireClient): Promise<string[]> {
  client.send('c0 00');
  const topics: string[] = [];
  for (;;) {
    const packet = await client.packet();
    if (packet[0] === 0xd0) return topics;
    const at = 1 + (packet[1] < 0x80 ? 1 : 2);
    topics.push(packet.toString('utf8', at + 2, at + 2 + packet.readUInt16BE(at)));
  }
}

async function refusesFilter(t: Test, version: Version, filter: string): Promise<void> {
  const { port } = await startBroker(t);
  const client = await connected(t, port, { version });
  client.send(subscribe({ version, filters: [[filter, 0]] }));
  await expectDisconnect(client, 0x81, version);
}

for (const version of versions) {
  const titled = (title: string, script: (t: Test) => Promise<void>) => t.test(`${title}, in ${version}`, script);
  const all = ['a', 'a/', 'a/b', 'a/b/c', '/a', '/', 'b', 'ab', 'a//b', '//'];

  titled('[MQTT-4.7.1-1] # matches its parent and everything below it', async (t) => {
    t.same(await matching(t, version, 'a/#', all), ['a', 'a/', 'a/b', 'a/b/c', 'a//b']);
    t.same(await matching(t, version, '#', all), all);
    t.same(await matching(t, version, '/#', all), ['/a', '/', '//']);
    t.same(await matching(t, version, 'a/b/#', all), ['a/b', 'a/b/c']);
  });

  titled('[MQTT-4.7.1-2] + matches one level, an empty one too', async (t) => {
    t.same(await matching(t, version, '+', all), ['a', 'b', 'ab']);
    t.same(await matching(t, version, 'a/+', all), ['a/', 'a/b']);
    t.same(await matching(t, version, '+/+', all), ['a/', 'a/b', '/a', '/']);
    t.same(await matching(t, version, '/+', all), ['/a', '/']);
    t.same(await matching(t, version, '+/b/#', all), ['a/b', 'a/b/c']);
    t.same(await matching(t, version, 'a/+/b', all), ['a//b']);
    t.same(await matching(t, version, '+/+/+', all), ['a/b/c', 'a//b', '//']);
  });

  titled('[MQTT-4.7.1-1] # anywhere but alone as the last level is refused', async (t) => {
    for (const filter of ['a/#/b', 'a#', '#a', '##', 'a/b#', '#/', '#/a', 'a/##'])
      await refusesFilter(t, version, filter);
  });

  titled('[MQTT-4.7.1-2] + that is not a whole level is refused', async (t) => {
    for (const filter of ['a+', '+a', '+a/b', 'a/b+', '++', 'a/+b/c', '+#']) await refusesFilter(t, version, filter);
  });

  titled('[MQTT-4.7.2-1] edge case 7: $ topics hide from a wildcard at the first level', async (t) => {
    const topics = ['$own/x', '$own', 'a/$b', '$own/x/y', 'x/y'];
    t.same(await matching(t, version, '#', topics), ['a/$b', 'x/y']);
    t.same(await matching(t, version, '+/x', topics), []);
    t.same(await matching(t, version, '+/#', topics), ['a/$b', 'x/y']);
    t.same(await matching(t, version, '+', topics), []);
    t.same(await matching(t, version, '$own/#', topics), ['$own/x', '$own', '$own/x/y']);
    t.same(await matching(t, version, '$own/+', topics), ['$own/x']);
    t.same(await matching(t, version, 'a/+', topics), ['a/$b']);
    t.same(await matching(t, version, 'a/$b', topics), ['a/$b']);
  });

  titled('[MQTT-4.7.3-4] edge case 39: names are compared as they are', async (t) => {
    const names = [
      '\u00e9',
      'e\u0301',
      'a',
      'A',
      'a/',
      '/a',
      'a//',
      ' a',
      'a ',
      '\ufeffa',
      '\u{1f600}',
      'a\u200d',
      '\u0001',
    ];
    const { port } = await startBroker(t);
    const subscriber = await connected(t, port, { version });
    const publisher = await connected(t, port, { version });
    for (const name of names) {
      await subscribed(subscriber, { version, filters: [[name, 0]] });
      for (const topic of names) await published(publisher, { version, topic });
      t.equal((await received(subscriber, version)).topic, name);
      await subscriber.expectNothing();
      subscriber.send(unsubscribe({ version, filters: [name] }));
      await subscriber.packet();
    }
  });

  titled('[MQTT-4.7.3-3] edge case 39: names of 65535 bytes work', async (t) => {
    const { port } = await startBroker(t);
    const subscriber = await connected(t, port, { version });
    const publisher = await connected(t, port, { version });
    for (const name of ['n'.repeat(65_535), '\u20ac'.repeat(21_845)]) {
      await subscribed(subscriber, { version, filters: [[name, 0]] });
      await published(publisher, { version, topic: name, payload: 'x', retain: true });
      t.match(await received(subscriber, version), { topic: name, payload: 'x' });
      await subscribed(subscriber, { version, filters: [['+', 0]] });
      t.match(await received(subscriber, version), { topic: name, retain: true });
      await published(publisher, { version, topic: name, payload: '', retain: true });
      await received(subscriber, version);
      subscriber.send(unsubscribe({ version, filters: [name, '+'] }));
      await subscriber.packet();
    }
  });

  titled('[MQTT-4.7.3-3] edge case 39: deep names are legal up to the stated limit', async (t) => {
    const { port } = await startBroker(t, { maximumTopicLevels: 200 });
    const subscriber = await connected(t, port, { version });
    const publisher = await connected(t, port, { version });
    const deepest = '/'.repeat(199);
    await subscribed(subscriber, { version, filters: [[deepest, 1]] });
    await published(publisher, { version, topic: deepest, qos: 1 });
    t.equal((await received(subscriber, version)).topic, deepest);
    for (const deeper of [`${deepest}/`, '/'.repeat(65_535)]) {
      publisher.send(publish({ version, topic: deeper, qos: 1 }));
      await expectAck(publisher, 'puback', 1, version === 5 ? 0x90 : 0);
      subscriber.send(subscribe({ version, packetId: 2, filters: [[deeper, 0]] }));
      const answer = await subscriber.packet();
      t.same([answer[0], answer.at(-1)], [0x90, version === 5 ? 0x8f : 0x80]);
    }
    await subscriber.expectNothing();
  });

  titled('edge case 39: control characters and non-characters are ordinary characters', async (t) => {
    const names = ['\u0001', 'a\u007f', '\u0085', '\ufffe', '\uffff', '\ufdd0'];
    for (const name of names) t.same(await matching(t, version, name, names), [name]);
  });
}

t.test('[MQTT-4.7.2-1] edge case 7: $SYS topics reach $SYS filters only', async (t) => {
  const { port, clock } = await startTimedBroker(t, { sysInterval: 5 });
  const [wide, plus, sys] = [await connected(t, port), await connected(t, port), await connected(t, port)];
  await subscribed(wide, { filters: [['#', 0]] });
  await subscribed(plus, { filters: [['+/broker/#', 0]] });
  clock.advance(11_000);
  await wide.expectNothing();
  await plus.expectNothing();
  sys.send(subscribe({ filters: [['$SYS/#', 0]] }));
  await sys.expect(suback(1, [0]));
});

t.test('[MQTT-4.7.1-1] a filter in UNSUBSCRIBE with a wildcard out of place removes nothing', async (t) => {
  const { port } = await startBroker(t);
  const client = await connected(t, port);
  await subscribed(client, { filters: [['a/#', 0]] });
  client.send(frame(0xa2, uint16(1), properties(5), field('a#')));
  const answer = await client.packet();
  if (answer[0] === 0xb0) t.equal(answer.at(-1), 0x11);
  else t.equal(answer[0], 0xe0);
});
