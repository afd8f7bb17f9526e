import type { IClientOptions, MqttClient } from 'mqtt';
import t, { type Test } from 'tap';
import { NotDeliveredError, type Receipts, type TrackedMessage, withReceipts } from '../../lib/client.js';
import { Broker } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { JsClient } from './mqttjs-client.js';

const code = (expected: string) => ({ code: `ERR_COUNTERSIGN_${expected}` });

/** A subscriber of a topic; with `expiry` its session outlives it. */
async function subscriber(t: Test, port: number, clientId: string, filter: string, expiry = 0): Promise<JsClient> {
  const client = await JsClient.connect(t, port, kept(clientId, expiry));
  if (!client.sessionPresent) await client.mqtt.subscribeAsync(filter, { qos: 1 });
  return client;
}

function kept(clientId: string, sessionExpiryInterval: number): IClientOptions {
  return { clientId, clean: sessionExpiryInterval === 0, properties: { sessionExpiryInterval } };
}

async function publisher(
  t: Test,
  port: number,
  options: IClientOptions = {},
): Promise<{ client: JsClient; mqtt: MqttClient; receipts: Receipts }> {
  const client = await JsClient.connect(t, port, { clientId: 'publisher', ...options });
  return { client, mqtt: client.mqtt, receipts: withReceipts(client.mqtt) };
}

async function statesOf(tracked: TrackedMessage): Promise<string[]> {
  const states: string[] = [];
  for await (const { to, state } of tracked) states.push(`${to} ${state}`);
  return states;
}

for (const qos of [1, 2] as const) {
  t.test(`withReceipts tells who got a message published at QoS ${qos}`, async (t) => {
    const { port } = await startBroker(t);
    await subscriber(t, port, 'one', 'cmd/#');
    await subscriber(t, port, 'two', 'cmd/7');
    const { receipts } = await publisher(t, port);
    const tracked = await receipts.publish('cmd/7', Buffer.from('x'), { qos, userProperties: { own: 'kept' } });
    t.match(tracked, { id: /^[0-9A-Z]{13}$/, matched: 2, requested: 'delivered' });
    t.same((await statesOf(tracked)).sort(), ['one delivered', 'two delivered']);
    t.match(await tracked.tally, { id: tracked.id, matched: 2, delivered: 2, final: true });
    t.match(await receipts.publish('nobody', '', { qos }).then(({ tally }) => tally), { matched: 0, final: true });
  });
}

t.test('at QoS 0 the first tally names the message, whether or not it has Correlation Data', async (t) => {
  const { port } = await startBroker(t);
  await subscriber(t, port, 'one', 'a');
  const { receipts } = await publisher(t, port);
  for (const options of [{}, { correlationData: 'mine' }]) {
    const tracked = await receipts.publish('a', 'x', { qos: 0, ...options });
    t.equal(tracked.matched, 1);
    t.match(await tracked.tally, { sent: 1, delivered: 0, final: true });
  }
});

t.test('a client that takes no user properties in PUBACK is told by the first tally', async (t) => {
  const { port } = await startBroker(t);
  await subscriber(t, port, 'one', 'a');
  for (const properties of [{ requestProblemInformation: false }, { maximumPacketSize: 400 }]) {
    const { client, receipts } = await publisher(t, port, { properties });
    t.match(await receipts.publish('a', 'x').then(({ tally }) => tally), { delivered: 1 });
    await client.end();
  }
});

t.test('many messages at a time do not mix up their receipts', async (t) => {
  const { port } = await startBroker(t);
  for (const clientId of ['one', 'two']) await subscriber(t, port, clientId, 'cmd/+');
  const { mqtt, receipts } = await publisher(t, port);
  const all = await Promise.all(
    Array.from({ length: 200 }, async (_, n) => {
      // Others publish over the same client.
      mqtt.publish('cmd/0', 'untracked', { qos: 1 });
      const tracked = await receipts.publish(`cmd/${n % 3}`, String(n), { qos: n % 2 === 0 ? 1 : 2 });
      const told = await statesOf(tracked);
      return { id: tracked.id, told: told.sort().join(), topic: (await tracked.tally).topic, n };
    }),
  );
  t.equal(new Set(all.map(({ id }) => id)).size, 200);
  t.ok(all.every(({ told, topic, n }) => told === 'one delivered,two delivered' && topic === `cmd/${n % 3}`));
});

t.test('hold: publish resolves once all have it, and rejects with the tracked message if not', async (t) => {
  const { port } = await startBroker(t, { data: await temporaryDirectory(t) });
  await subscriber(t, port, 'one', 'a');
  const { receipts } = await publisher(t, port);
  const tracked = await receipts.publish('a', 'x', { hold: true });
  t.match(await tracked.tally, { delivered: 1, final: true });
  t.same(await statesOf(tracked), ['one delivered']);

  const away = await subscriber(t, port, 'away', 'a', 600);
  await away.end();
  const error = await receipts.publish('a', 'x', { hold: true, deadline: 1 }).catch((reason: unknown) => reason);
  t.ok(error instanceof NotDeliveredError);
  if (!(error instanceof NotDeliveredError)) return;
  t.match(error, { code: 'ERR_COUNTERSIGN_NOT_DELIVERED', message: 'delivered to 1 of 2' });
  t.match(await error.tracked.tallyByDeadline, { overdue: true, pending: 1 });
  await subscriber(t, port, 'away', 'a', 600);
  t.match(await error.tracked.tally, { delivered: 2 });
});

t.test('acknowledge answers for the application, by id and by Correlation Data', async (t) => {
  const { port } = await startBroker(t);
  const device = await subscriber(t, port, 'device', 'a');
  const application = withReceipts(device.mqtt);
  device.mqtt.on('message', (_topic, payload, packet) => {
    const [answer, status] = payload.toString() === 'good' ? (['done'] as const) : (['no fuel', 'error'] as const);
    application.acknowledge(packet, answer, status).then(t.ok, t.fail);
  });
  const { receipts } = await publisher(t, port);
  const good = await receipts.publish('a', 'good', { receipt: 'processed' });
  t.match(await good.tally, { processed: 1, final: true });
  const told = [];
  for await (const receipt of good) told.push(receipt);
  t.match(told.at(-1), { state: 'processed', answer: 'done', to: 'device' });
  const properties = { responseTopic: '$receipts/ack/publisher', correlationData: 'c-7' };
  const bad = await receipts.publish('a', 'bad', { receipt: 'processed', ...properties });
  t.match(await bad.tally, { failed: 1, failures: [{ state: 'rejected', cause: 'application' }] });

  const forged = { properties: { userProperties: { 'receipt-id': '0'.repeat(13) } } };
  t.equal(await application.acknowledge(forged), false, 'nobody waits for it');
  await t.rejects(application.acknowledge({ properties: {} }), code('UNTRACKED'));
  const byCorrelation = { responseTopic: '$receipts/ack/publisher', correlationData: Buffer.from('other') };
  t.equal(await application.acknowledge({ properties: byCorrelation }), false);
});

t.test('what the broker refuses is told with its reason', async (t) => {
  const { port } = await startBroker(t);
  const { receipts } = await publisher(t, port);
  await t.rejects(receipts.publish('a', '', { deadline: 0 }), { ...code('REFUSED'), message: /receipt-deadline/ });
  await t.rejects(receipts.publish('a', '', { qos: 2, userProperties: { 'receipt-id': 'x' } }), code('REFUSED'));
  const four = await JsClient.connect(t, port, { protocolVersion: 4 });
  await t.rejects(withReceipts(four.mqtt).publish('a', ''), code('CLIENT'));
  const off = await startBroker(t, { receipts: { enabled: false } });
  const untracked = await publisher(t, off.port);
  await t.rejects(untracked.receipts.publish('a', ''), code('UNTRACKED'));
});

t.test('older records are not replayed, and old receipts of the same topic stay out', async (t) => {
  const { port } = await startBroker(t);
  await subscriber(t, port, 'one', 'a');
  const before = await publisher(t, port);
  await (await before.receipts.publish('a', 'x')).tally;
  await before.client.end();
  const { client, receipts } = await publisher(t, port);
  await (await receipts.publish('a', 'y')).tally;
  t.notOk(client.unread().some(({ topic, retain }) => topic.startsWith('$receipts/') && retain));
});

t.test('after a reconnect without its session the client asks for what it missed, and repeats nothing', async (t) => {
  const { port } = await startBroker(t, { data: await temporaryDirectory(t) });
  await subscriber(t, port, 'one', 'a');
  const away = await subscriber(t, port, 'away', 'a', 600);
  await away.end();
  const { client, mqtt, receipts } = await publisher(t, port, { reconnectPeriod: 1500 });
  const tracked = await receipts.publish('a', 'x');
  const told: string[] = [];
  for await (const { to, state } of tracked) {
    told.push(`${to} ${state}`);
    if (told.length !== 2) continue;
    await client.cut();
    const back = await subscriber(t, port, 'away', 'a', 600);
    await back.packet('publish');
    t.notOk(mqtt.connected, 'delivered while the publisher is away');
  }
  t.same(told.sort(), ['away delivered', 'away queued', 'one delivered']);
  t.match(await tracked.tally, { delivered: 2, final: true });
  t.match(await receipts.publish('a', 'y').then(({ tally }) => tally), { matched: 2 }, 'and goes on');
});

t.test('a client that may have tallies only has those', async (t) => {
  const broker = new Broker({ port: 0, memory: true, hooks: { receiptAccess: () => 'tally' } });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  await subscriber(t, port, 'one', 'a');
  const { receipts } = await publisher(t, port);
  const tracked = await receipts.publish('a', 'x');
  t.match(await tracked.tally, { delivered: 1, final: true });
  t.same(await statesOf(tracked), []);
});

t.test('a client that may have no receipts is told so', async (t) => {
  const broker = new Broker({ port: 0, memory: true, hooks: { receiptAccess: () => 'none' } });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  const { receipts } = await publisher(t, port);
  await t.rejects(receipts.publish('a', 'x'), { ...code('REFUSED'), message: /\$receipts\/~/ });
});

t.test('close() and the end of the connection end what is waited for', async (t) => {
  const { port } = await startBroker(t, { data: await temporaryDirectory(t) });
  const away = await subscriber(t, port, 'away', 'a', 600);
  await away.end();
  const first = await publisher(t, port);
  const tracked = await first.receipts.publish('a', 'x');
  await first.receipts.close();
  await t.rejects(tracked.tally, code('CLOSED'));
  await t.rejects(first.receipts.publish('a', 'x'), code('CLOSED'));
  await first.receipts.close();
  t.ok(first.mqtt.connected, 'the client itself stays');
  await first.client.end();

  const second = await publisher(t, port);
  const cut = await second.receipts.publish('a', 'x');
  await second.client.cut();
  await t.rejects(cut.tally, code('CLOSED'));
  await t.rejects(statesOf(cut), code('CLOSED'));
});

t.test('a tracked message that is no longer followed leaves the others alone', async (t) => {
  const { port } = await startBroker(t);
  await subscriber(t, port, 'one', 'a');
  const { receipts } = await publisher(t, port);
  const left = await receipts.publish('a', 'x', { receipt: 'processed' });
  left.close();
  await t.rejects(left.tally, code('CLOSED'));
  t.match(await receipts.publish('a', 'y').then(({ tally }) => tally), { delivered: 1 });
});
