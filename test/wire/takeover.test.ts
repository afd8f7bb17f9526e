import t from 'tap';
import { expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import { connect, disconnect, property } from '../helpers/packets.js';
import { numberOf, parseDisconnect } from '../helpers/parse.js';
import { dialAndSend, forVersions, join, lasting, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

forVersions(t, [3, 4, 5], '[MQTT-3.1.4-3] edge case 19: a second connection takes over', async (t, version) => {
  const broker = await startTimedBroker(t);
  const first = await join(t, broker, lasting(version, 'c'));
  const second = await join(t, broker, lasting(version, 'c'), version > 3);
  await expectDisconnect(first, 0x8e, version);
  await second.expectNothing();
});

forVersions(t, [4, 5], '[MQTT-3.1.4-4] a takeover without clean start moves the state over', async (t, version) => {
  const broker = await startTimedBroker(t);
  const first = await join(t, broker, lasting(version, 'c'));
  await subscribed(first, { version, filters: [['a', 1]] });
  const publisher = await join(t, broker);
  await published(publisher, { topic: 'a', qos: 1, payload: 'x' });
  t.match(await received(first, version), { payload: 'x', dup: false });
  const second = await join(t, broker, lasting(version, 'c'), true);
  t.match(await received(second, version), { payload: 'x', dup: true });
  await expectDisconnect(first, 0x8e, version);
});

forVersions(t, [4, 5], '[MQTT-3.1.4-4] a takeover with clean start ends the old session', async (t, version) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  const properties = version === 5 ? [property.willDelayInterval(60)] : [];
  const first = await join(t, broker, { ...lasting(version, 'c'), will: { topic: 'will', properties } });
  await subscribed(first, { version, filters: [['a', 1]] });
  const second = await join(t, broker, { version, clientId: 'c' }, false);
  await expectDisconnect(first, 0x8e, version);
  t.equal((await received(watcher)).topic, 'will');
  await published(watcher, { topic: 'a', qos: 1 });
  await second.expectNothing();
});

for (const [title, willDelay, expiry, cleanStart, isSent] of [
  ['delay 0 is sent', 0, 100, false, true],
  ['a delay that the session outlives is dropped', 10, 100, false, false],
  ['a delay is cut short where the old expiry is 0', 10, 0, false, true],
  ['a delay is cut short by Clean Start 1', 10, 100, true, true],
] as const) {
  t.test(`[MQTT-3.1.2-8] [MQTT-3.1.3-9] edge case 15: at a takeover, ${title}`, async (t) => {
    const broker = await startTimedBroker(t);
    const watcher = await watch(t, broker, 'will');
    const will = { topic: 'will', properties: [property.willDelayInterval(willDelay)] };
    const first = await join(t, broker, { ...lasting(5, 'c', expiry), will });
    await join(t, broker, { ...lasting(5, 'c', 100), cleanStart });
    await expectDisconnect(first, 0x8e);
    if (isSent) t.equal((await received(watcher)).topic, 'will');
    broker.clock.advance(50_000);
    await watcher.expectNothing();
  });
}

forVersions(t, [3, 4], 'edge case 15: before MQTT 5 a takeover sends the will', async (t, version) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will');
  for (const cleanStart of [false, true]) {
    const will = { topic: 'will' };
    const first = await join(t, broker, { version, clientId: 'c', cleanStart, will });
    const second = await join(t, broker, { version, clientId: 'c', cleanStart });
    await first.expectClose();
    await received(watcher);
    second.send(disconnect());
    await second.expectClose();
    await watcher.expectNothing();
  }
});

t.test('edge case 19: the late end of the old socket changes nothing of the new one', async (t) => {
  const broker = await startTimedBroker(t);
  const watcher = await watch(t, broker, 'will/#');
  const first = await join(t, broker, { ...lasting(5, 'c'), keepAlive: 10, will: { topic: 'will/old' } });
  await subscribed(first, { filters: [['a', 0]] });
  first.pause();
  const second = await join(t, broker, { ...lasting(5, 'c'), will: { topic: 'will/new' } }, true);
  t.equal((await received(watcher)).topic, 'will/old', 'each connection has its own will');
  first.reset();
  broker.clock.advance(20_000);
  await published(watcher, { topic: 'a', payload: 'x' });
  t.equal((await received(second)).payload, 'x');
  await watcher.expectNothing();
  second.reset();
  t.equal((await received(watcher)).topic, 'will/new');
});

forVersions(t, [4, 5], 'edge case 19: a loop of reconnects leaves one live connection', async (t, version) => {
  const broker = await startTimedBroker(t);
  const fields = lasting(version, 'c');
  const clients = await Promise.all(Array.from({ length: 40 }, () => dialAndSend(t, broker, connect(fields))));
  // Whatever the order in which they came: the last one stands, all others are closed.
  const last = await join(t, broker, fields, true);
  await subscribed(last, { version, filters: [['a', 0]] });
  for (const client of clients) {
    const answer = await client.rest();
    if (version === 4) t.same([...answer], [0x20, 2, answer[2], 0]);
    else t.equal(answer[0], 0x20);
  }
  await published(await join(t, broker), { topic: 'a', payload: 'x' });
  t.equal((await received(last, version)).payload, 'x');
});

t.test('[MQTT-3.14.2-2] the DISCONNECT of a takeover has no Session Expiry Interval', async (t) => {
  const broker = await startTimedBroker(t);
  const first = await join(t, broker, lasting(5, 'c', 100));
  await join(t, broker, lasting(5, 'c', 50));
  const { code, properties } = parseDisconnect(await first.packet());
  t.equal(code, 0x8e);
  t.equal(numberOf(properties, 0x11), undefined);
  await first.expectClose();
});
