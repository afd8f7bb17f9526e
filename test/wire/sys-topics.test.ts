import t from 'tap';
import { startBroker } from '../helpers/broker.js';
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
