import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { connected, received, subscribed } from '../helpers/client.js';
import { connect, subscribe } from '../helpers/packets.js';
import { WireClient } from '../helpers/wire-client.js';

t.test('$SYS topics are retained, and hidden from a filter that begins with a wildcard', async (t) => {
  const { port } = await startBroker(t, { sysInterval: 3600 });
  const client = await WireClient.connect(port);
  t.teardown(() => client.end());
  client.send(connect({ version: 4, clientId: 'watcher' }));
  await client.expect('20 02 00 00');
  client.send(subscribe({ version: 4, packetId: 1, filters: [['#', 0]] }));
  await client.expect('90 03 00 01 00');
  client.send(subscribe({ version: 4, packetId: 2, filters: [['$SYS/broker/version', 0]] }));
  await client.expect('90 03 00 02 00');
  const packet = await client.packet();
  t.equal(packet[0], 0x31);
  t.match(packet.toString('latin1'), /\$SYS\/broker\/versioncountersign \d+\.\d+\.\d+$/);
});

/** The names of Mosquitto's $SYS topics that this broker has as well. */
const names = [
  ...['version', 'uptime', 'bytes/received', 'bytes/sent', 'messages/received', 'messages/sent'],
  ...['connected', 'disconnected', 'active', 'inactive', 'maximum', 'total', 'expired'].map(
    (name) => `clients/${name}`,
  ),
  ...['dropped', 'received', 'sent'].map((name) => `publish/messages/${name}`),
  ...['retained messages/count', 'subscriptions/count'],
  ...['messages/received', 'messages/sent', 'publish/received', 'publish/sent', 'publish/dropped', 'bytes/received']
    .concat('bytes/sent', 'connections')
    .flatMap((name) => [1, 5, 15].map((minute) => `load/${name}/${minute}min`)),
];

t.test("$SYS topics have Mosquitto's names", async (t) => {
  const { port } = await startBroker(t, { sysInterval: 3600 });
  const client = await connected(t, port);
  await subscribed(client, { filters: names.map((name) => [`$SYS/broker/${name}`, 0]) });
  const missing = new Set(names);
  while (missing.size > 0) {
    const { topic, payload } = await received(client);
    t.ok(missing.delete(topic.replace('$SYS/broker/', '')), `${topic}: ${payload}`);
  }
});
