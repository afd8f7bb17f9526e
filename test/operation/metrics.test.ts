import { request } from 'node:http';
import { connect as connectSocket } from 'node:net';
import t, { type Test } from 'tap';
import type { BrokerOptions } from '../../lib/config/schema.js';
import { startBroker } from '../helpers/broker.js';
import { connected, connectedToSession, published, received, subscribed } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { connect, disconnect, property, publish, subscribe, unsubscribe } from '../helpers/packets.js';
import { WireClient } from '../helpers/wire-client.js';

const local = { metrics: { port: 0 } };

async function watched(t: Test, options: BrokerOptions = {}) {
  const { broker, port } = await startBroker(t, { ...local, ...options });
  const place = broker.operationAddresses.metrics;
  if (place === null || 'socket' in place) throw new Error('no metrics listener');
  const base = `http://127.0.0.1:${place.port}`;
  return { broker, port, base, metricsPort: place.port };
}

async function scrape(base: string): Promise<Map<string, number>> {
  const response = await fetch(`${base}/metrics`);
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

t.test('without metrics configured there is no listener', async (t) => {
  const { broker } = await startBroker(t);
  t.equal(broker.operationAddresses.metrics, null);
});

t.test('/metrics has packets by type, reason codes, drops and gauges', async (t) => {
  const { port, base } = await watched(t, { data: await temporaryDirectory(t) });
  const subscriber = await connectedToSession(t, port, 'sub');
  await subscribed(subscriber, { filters: [['a', 1]] });
  const publisher = await connected(t, port, { clientId: 'pub' });
  await published(publisher, { topic: 'a', qos: 1, payload: 'x' });
  await received(subscriber);
  subscriber.send('e0 00');
  await subscriber.expectClose();
  await published(publisher, { topic: 'a', qos: 0, payload: 'nobody there' });
  publisher.send(publish({ topic: '$SYS/x', qos: 1, packetId: 9 }));
  await publisher.packet();
  const all = await scrape(base);
  const has = (name: string, value: number) => t.equal(all.get(`countersign_${name}`), value, name);
  has('packets_received_total{type="connect"}', 2);
  has('packets_received_total{type="publish"}', 3);
  has('packets_received_total{type="disconnect"}', 1);
  has('packets_sent_total{type="connack"}', 2);
  has('packets_sent_total{type="suback"}', 1);
  has('packets_sent_total{type="publish"}', 1);
  has('packets_sent_total{type="puback"}', 2);
  has('reason_codes_sent_total{type="puback",code="0x87"}', 1);
  has('messages_dropped_total{cause="offline"}', 1);
  has('connections', 1);
  has('subscriptions', 1);
  has('store_healthy', 1);
  t.ok((all.get('countersign_store_file_bytes') ?? 0) > 0);
  t.ok((all.get('countersign_store_transactions_total') ?? 0) > 0);
  t.ok((all.get('countersign_publish_to_acknowledge_seconds_count') ?? 0) > 0);
  t.ok((all.get('countersign_commit_seconds_count') ?? 0) > 0);
  t.equal(
    all.get('countersign_commit_seconds_bucket{le="+Inf"}'),
    all.get('countersign_commit_seconds_count'),
    'the last bucket has all',
  );
});

t.test('filters of SUBSCRIBE and UNSUBSCRIBE are counted by reason code, packets once', async (t) => {
  const { port, base } = await watched(t, { maximumSubscriptionsPerSession: 2 });
  const client = await connected(t, port);
  const filters = [
    ['a', 0],
    ['b', 2],
    ['c', 1],
  ] as const;
  client.send(subscribe({ packetId: 1, filters }));
  t.same([...(await client.packet()).subarray(-3)], [0, 2, 0x97]);
  client.send(subscribe({ packetId: 2, filters: [['b', 1]] }));
  await client.expect('90 04 00 02 00 01');
  client.send(unsubscribe({ packetId: 3, filters: ['b', 'c'] }));
  await client.expect('b0 05 00 03 00 00 11');
  const all = await scrape(base);
  const has = (name: string, value: number | undefined) => t.equal(all.get(`countersign_${name}`), value, name);
  has('reason_codes_sent_total{type="suback",code="0x01"}', 1);
  has('reason_codes_sent_total{type="suback",code="0x02"}', 1);
  has('reason_codes_sent_total{type="suback",code="0x97"}', 1);
  has('reason_codes_sent_total{type="unsuback",code="0x11"}', 1);
  has('reason_codes_sent_total{type="suback",code="0x00"}', undefined);
  has('packets_sent_total{type="suback"}', 2);
  has('packets_sent_total{type="unsuback"}', 1);
});

t.test('what the end of a session takes with it is counted, in memory and in the store', async (t) => {
  const { broker, port, base } = await watched(t);
  const publisher = await connected(t, port, { clientId: 'pub' });
  const away = await connectedToSession(t, port, 'away');
  await subscribed(away, { filters: [['a', 1]] });
  away.send('e0 00');
  await away.expectClose();
  const here = await connected(t, port, { clientId: 'here' });
  await subscribed(here, { filters: [['a', 2]] });
  for (const qos of [1, 2] as const) await published(publisher, { topic: 'a', qos });
  await here.packet();
  await here.packet();
  here.send(disconnect());
  await here.expectClose();
  await connected(t, port, { clientId: 'away', cleanStart: true });
  t.equal((await scrape(base)).get('countersign_messages_dropped_total{cause="session_ended"}'), 4);
  t.equal(broker.metrics.publishesDropped, 0);
});

t.test('/metrics has sums over sessions, and how long tracked messages took', async (t) => {
  const { port, base } = await watched(t);
  const subscriber = await connectedToSession(t, port, 'sub');
  await subscribed(subscriber, { filters: [['a', 1]] });
  subscriber.send('e0 00');
  await subscriber.expectClose();
  const publisher = await connected(t, port, { clientId: 'pub' });
  await published(publisher, { topic: 'a', qos: 1, payload: '12345' });
  const properties = [property.userProperty('receipt', 'delivered')];
  publisher.send(publish({ topic: 'nobody', qos: 1, packetId: 2, properties }));
  await publisher.packet();
  const all = await scrape(base);
  t.equal(all.get('countersign_queued_bytes'), 5);
  t.equal(all.get('countersign_queued_messages'), 1);
  t.equal(all.get('countersign_sessions_connected'), 1);
  t.equal(all.get('countersign_sessions_disconnected'), 1);
  t.equal(all.get('countersign_records'), 1);
  t.equal(all.get('countersign_large_fan_outs'), 0);
  t.equal(all.get('countersign_cohort_deliveries'), 0);
  t.equal(all.get('countersign_unrecorded_sends'), 0);
  t.equal(all.get('countersign_sessions_ending'), 0);
  t.equal(all.get('countersign_tracked_message_seconds_count'), 1);
});

t.test('no name of a client is in the page, and its series do not grow with clients', async (t) => {
  const { port, base } = await watched(t);
  const before = (await scrape(base)).size;
  for (const name of ['evil"} 1\ncountersign_x', 'b\u0007', '{type="x"}']) {
    const client = await connected(t, port, { clientId: name });
    await published(client, { topic: `${name}/topic`, qos: 1 });
  }
  const text = await (await fetch(`${base}/metrics`)).text();
  t.notMatch(text, /evil|topic|b.$/m);
  t.equal((await scrape(base)).size, before);
});

t.test('/healthz and /readyz answer; a broker that stops is not ready', async (t) => {
  const { broker, base } = await watched(t);
  t.equal((await fetch(`${base}/healthz`)).status, 200);
  const ready = await fetch(`${base}/readyz`);
  t.equal(ready.status, 200);
  t.equal(await ready.text(), 'ready\n');
  await broker.close();
  await t.rejects(fetch(`${base}/healthz`));
});

t.test('other paths, methods, bodies and headers get an error as JSON', async (t) => {
  const { base, metricsPort } = await watched(t);
  for (const path of ['/', '/metrics/', '/metrics/..', '/%2e%2e/etc/passwd', '//metrics', '/metrics%2f']) {
    const response = await fetch(base + path);
    t.equal(response.status, 404, path);
    t.match(await response.json(), { error: /\/metrics/ });
  }
  t.equal((await fetch(`${base}/%zz`)).status, 400);
  t.equal((await fetch(`${base}/metrics`, { method: 'DELETE' })).status, 405);
  t.equal((await fetch(`${base}/metrics`, { method: 'POST', body: 'x' })).status, 413);
  t.equal((await fetch(`${base}/metrics`, { method: 'HEAD' })).status, 200);
  const raw = async (path: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const asked = request({ port: metricsPort, path }, (response) => resolve(response.resume().statusCode));
      asked.on('error', reject).end();
    });
  t.equal(await raw('/../../etc/passwd'), 404);
  t.equal(await raw(`/${'x'.repeat(20_000)}`), 431, 'a header that is too large');
});

t.test('connections to the HTTP listener have a bound, and clients of MQTT do not notice', async (t) => {
  const { port, metricsPort } = await watched(t);
  const sockets = Array.from({ length: 70 }, () => connectSocket(metricsPort, '127.0.0.1'));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  const closed = sockets.map(
    (socket) => new Promise<void>((resolve) => socket.on('error', () => undefined).on('close', () => resolve())),
  );
  await withDeadline(Promise.any(closed), () => 'no connection was closed');
  await connected(t, port);
});

t.test('a port in use is told with the option that names it', async (t) => {
  const { metricsPort } = await watched(t);
  await t.rejects(startBroker(t, { metrics: { port: metricsPort } }), {
    code: 'ERR_COUNTERSIGN_LISTEN',
    message: /^metrics: can not listen on http:\/\/127\.0\.0\.1:\d+ \(EADDRINUSE\)$/,
  });
});

t.test('a refused CONNECT is counted with its reason code', async (t) => {
  const { port, base } = await watched(t, { maximumSessions: 1 });
  await connectedToSession(t, port, 'one');
  const client = await WireClient.connect(port);
  t.teardown(() => client.reset());
  client.send(connect({ clientId: 'two' }));
  await client.packet();
  const all = await scrape(base);
  t.equal(all.get('countersign_reason_codes_sent_total{type="connack",code="0x97"}'), 1);
  t.equal(all.get('countersign_connections_refused_total'), 1);
});
