import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DeliveryState } from '../../lib/delivery/table.js';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { decodeDelivery, encodeDelivery, encodeNumber } from '../../lib/store/records.js';
import { deliveryKey, inboundKey, messageKey, readDeliveryKey, sessionKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { startChild } from '../helpers/broker.js';
import { runProgram, temporaryDirectory } from '../helpers/command.js';
import { Peer } from '../helpers/peer.js';
import { wallClock } from '../store/wall-clock.js';

/** A data directory with a session, its subscription, a retained and a queued message, and a record. */
async function makeData(t: Test): Promise<string> {
  const directory = await temporaryDirectory(t);
  const broker = await startChild(t, ['--data', directory]);
  const away = await Peer.join(t, broker, 'away', { expiry: 3600 });
  await away.subscribe('t/#', { qos: 1 });
  await away.leave();
  const publisher = await Peer.join(t, broker, 'publisher', { expiry: 3600 });
  await publisher.publish('t/kept', { qos: 1, payload: 'kept', retain: true });
  await publisher.publish('t/tracked', { qos: 1, payload: 'tracked', ask: { receipt: 'delivered' } });
  // A broker that was killed leaves turns in the log: they count, too.
  await broker.kill9();
  return directory;
}

t.test('store export prints everything as JSON lines, and check counts it', async (t) => {
  const directory = await makeData(t);
  const { code, stdout, stderr } = await runProgram(t, ['store', 'export', directory]);
  t.equal(code, 0, stderr);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const of = (type: string) => lines.filter((line) => line.type === type);
  const clients = of('session').map(({ clientId }) => clientId);
  t.same(clients.sort(), ['away', 'publisher']);
  t.match(of('subscription'), [{ clientId: 'away', topicFilter: 't/#', qos: 1 }]);
  t.match(of('retained'), [{ topicName: 't/kept', payload: Buffer.from('kept').toString('base64') }]);
  const queued = of('queued').map(({ payload }) => Buffer.from(payload, 'base64').toString());
  t.same(queued, ['kept', 'tracked']);
  t.match(of('record'), [{ publisher: 'publisher', topicName: 't/tracked', matched: 1, pending: 1 }]);
  const checked = await runProgram(t, ['store', 'check', directory]);
  t.equal(checked.code, 0);
  t.match(checked.stdout, /2 session, 1 subscription, 1 retained, 2 queued, 1 record; no row is damaged/);
});

t.test('store check names damaged rows, and export gives the others', async (t) => {
  const directory = await makeData(t);
  const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
  store.put(Table.sessions, sessionKey(7), Buffer.from('?'));
  const [{ key }] = store.range(Table.deliveries, deliveryKey(0, 0), null, 1);
  store.put(Table.deliveries, key, Buffer.alloc(1));
  await new Promise<void>((resolve) => store.commit(resolve));
  await store.close();
  const { code, stderr, stdout } = await runProgram(t, ['store', 'check', directory]);
  t.equal(code, 1);
  t.match(stderr, /^countersign: table sessions, row 00000007: a stored session is damaged/m);
  t.match(stderr, /^countersign: table deliveries, row [0-9a-f]{24}: /m);
  t.match(stdout, /2 rows damaged/);
  const started = await runProgram(t, ['start', '--port', '0', '--data', directory]);
  t.equal(started.code, 1);
  t.equal(started.stderr.trim().split('\n').length, 1);
  t.match(
    started.stderr,
    /^countersign: data directory .+: a stored session is damaged; run `countersign store check /,
  );
  const exported = await runProgram(t, ['store', 'export', directory]);
  t.equal(exported.code, 1);
  t.match(exported.stdout, /"type":"retained"/);
});

t.test('store check names rows that are whole and do not fit together', async (t) => {
  const directory = await makeData(t);
  const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
  const rows = store.range(Table.deliveries, deliveryKey(0, 0), null, 2);
  const { session, sequence } = readDeliveryKey(rows[0].key);
  const { sequence: last } = readDeliveryKey(rows[1].key);
  const facts = { ...decodeDelivery(sequence, rows[0].value), messageSequence: sequence };
  const [{ key, value }] = store.range(Table.messages, messageKey(sequence), null, 1);
  store.put(Table.messages, messageKey(sequence - 1), value);
  store.put(Table.references, key, encodeNumber(7));
  store.put(Table.references, messageKey(last + 1), encodeNumber(2));
  for (const at of [1, 2]) {
    const sent = encodeDelivery({ ...facts, sequence: last + at }, DeliveryState.awaitPuback, 5);
    store.put(Table.deliveries, deliveryKey(session, last + at), sent);
  }
  store.put(Table.inbound, inboundKey(99, 1), Buffer.alloc(1));
  await new Promise<void>((resolve) => store.commit(resolve));
  await store.close();
  const { code, stderr, stdout } = await runProgram(t, ['store', 'check', directory]);
  t.equal(code, 1);
  t.match(stderr, /^countersign: table messages, row \w+: nothing needs it any more$/m);
  // The retained message waits for its subscriber, and the rows added here refer to it.
  t.match(stderr, /^countersign: table messages, row \w+: 4 rows need it, and 7 are counted$/m);
  t.match(stderr, new RegExp(`^countersign: table references, row \\w+: message ${last + 1} is missing$`, 'm'));
  t.match(stderr, /^countersign: table deliveries, row \w+: it was sent, and an earlier one waits$/m);
  t.match(stderr, /^countersign: table deliveries, row \w+: packet identifier 5 is that of an earlier delivery, too$/m);
  t.match(stderr, /^countersign: table inbound, row \w+: there is no session 99$/m);
  t.match(stdout, /6 rows damaged/);
});

t.test('store check of no data directory and of one in use say so', async (t) => {
  const directory = await temporaryDirectory(t);
  mkdirSync(join(directory, 'empty'));
  const none = await runProgram(t, ['store', 'check', join(directory, 'empty')]);
  t.match(none, { code: 2, stderr: /has no data\.mdb: name the directory/ });
  const data = join(directory, 'data');
  await startChild(t, ['--data', data]);
  t.match(await runProgram(t, ['store', 'check', data]), { code: 1, stderr: /is in use by process \d+; stop that/ });
});
