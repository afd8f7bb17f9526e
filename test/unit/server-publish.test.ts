import t from 'tap';
import { Broker, isTally, type Receipt, succeeded } from '../../lib/index.js';
import { ReceiptStream, waitingReceiptsMax } from '../../lib/receipts/tracked-message.js';
import { startBroker } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { JsClient } from '../interop/mqttjs-client.js';

const code = (expected: string) => ({ code: `ERR_COUNTERSIGN_${expected}` });

t.test('a message of the embedding program reaches subscribers with all its properties', async (t) => {
  const { broker, port } = await startBroker(t);
  const subscriber = await JsClient.connect(t, port);
  await subscriber.mqtt.subscribeAsync('cmd/#', { qos: 2 });
  const properties = {
    contentType: 'text/plain',
    responseTopic: 'answers',
    correlationData: Buffer.from([0, 255]),
    payloadFormat: 1,
    messageExpiryInterval: 60,
    userProperties: { a: ['1', '2'], b: 'ä' },
  } as const;
  const published = await broker.publish({ topic: 'cmd/7', payload: 'now', qos: 2, properties });
  t.same(published, { id: null, matched: 1 });
  const packet = await subscriber.packet('publish');
  t.match(packet, { topic: 'cmd/7', qos: 2, retain: false });
  t.equal(packet.payload.toString(), 'now');
  t.match(packet.properties, {
    contentType: 'text/plain',
    responseTopic: 'answers',
    payloadFormatIndicator: true,
    messageExpiryInterval: 60,
    userProperties: { a: ['1', '2'], b: 'ä' },
  });
  t.same(packet.properties?.correlationData, Buffer.from([0, 255]));
});

t.test(
  'what the caller does with its payload afterwards changes nothing, and a retained message is kept',
  async (t) => {
    const { broker, port } = await startBroker(t);
    const payload = Buffer.from('kept');
    const published = broker.publish({ topic: 'r', payload, retain: true });
    payload.fill(0x78);
    t.same(await published, { id: null, matched: 0 });
    const late = await JsClient.connect(t, port);
    await late.mqtt.subscribeAsync('r', { qos: 1 });
    t.same(await late.message(), { topic: 'r', text: 'kept', qos: 1, retain: true });
  },
);

t.test('a tracked message tells of each delivery, and its tally', async (t) => {
  const { broker, port } = await startBroker(t, { data: await temporaryDirectory(t) });
  const [online, offline] = await Promise.all(
    ['online', 'offline'].map((clientId) =>
      JsClient.connect(t, port, { clientId, clean: false, properties: { sessionExpiryInterval: 600 } }),
    ),
  );
  for (const client of [online, offline]) await client.mqtt.subscribeAsync('cmd/7', { qos: 1 });
  await offline.end();
  const tracked = await broker.publish({ topic: 'cmd/7', payload: 'x', receipt: 'delivered' });
  t.match(tracked.id, /^[0-9A-Z]{13}$/);
  t.equal(tracked.matched, 2);
  t.equal((await online.packet('publish')).properties?.userProperties?.['receipt-id'], tracked.id);
  const states: string[] = [];
  for await (const { id, topic, to, state } of tracked) {
    t.same([id, topic], [tracked.id, 'cmd/7']);
    states.push(`${to} ${state}`);
    if (states.length === 2) {
      await JsClient.connect(t, port, { clientId: 'offline', clean: false });
    }
  }
  t.same(states.sort(), ['offline delivered', 'offline queued', 'online delivered']);
  const tally = await tracked.tally;
  t.match(tally, { matched: 2, delivered: 2, failed: 0, pending: 0, final: true });
  t.ok(succeeded(tally, tracked.requested));
  t.same(await tracked.tallyByDeadline, tally);
});

t.test('events are the receipts with the tallies in their places', async (t) => {
  const { broker, port } = await startBroker(t);
  const subscriber = await JsClient.connect(t, port, { clientId: 's' });
  await subscriber.mqtt.subscribeAsync('a', { qos: 1 });
  const tracked = await broker.publish({ topic: 'a', payload: '', receipt: 'delivered' });
  const told: string[] = [];
  for await (const event of tracked.events()) told.push(isTally(event) ? `tally ${event.pending}` : event.state);
  t.same(told, ['tally 1', 'delivered', 'tally 0']);
});

t.test('a message that nobody subscribes to has its final tally at once', async (t) => {
  const { broker } = await startBroker(t);
  const tracked = await broker.publish({ topic: 'nobody', payload: '', receipt: 'delivered' });
  t.equal(tracked.matched, 0);
  t.match(await tracked.tally, { matched: 0, final: true });
  for await (const receipt of tracked) t.fail(`no receipt, but ${JSON.stringify(receipt)}`);
});

t.test('at the deadline a tally tells what is pending, and the final one still follows', async (t) => {
  const { broker, port } = await startBroker(t, { data: await temporaryDirectory(t) });
  const kept = { clientId: 'away', clean: false, properties: { sessionExpiryInterval: 600 } };
  const away = await JsClient.connect(t, port, kept);
  await away.mqtt.subscribeAsync('a', { qos: 1 });
  await away.end();
  const tracked = await broker.publish({ topic: 'a', payload: '', receipt: 'delivered', deadline: 1 });
  t.match(await tracked.tallyByDeadline, { overdue: true, final: false, pending: 1 });
  await JsClient.connect(t, port, kept);
  t.match(await tracked.tally, { final: true, delivered: 1 });
});

t.test('the application of a recipient answers the embedding program, by id and by Correlation Data', async (t) => {
  const { broker, port } = await startBroker(t);
  const subscriber = await JsClient.connect(t, port, { clientId: 's' });
  await subscriber.mqtt.subscribeAsync('a', { qos: 1 });
  const first = await broker.publish({ topic: 'a', payload: '', receipt: 'processed' });
  const packet = await subscriber.packet('publish');
  const userProperties = { 'receipt-id': String(packet.properties?.userProperties?.['receipt-id']) };
  await subscriber.mqtt.publishAsync('$receipts/ack', 'done', { qos: 1, properties: { userProperties } });
  t.match(await first.tally, { processed: 1, final: true });
  const states: Receipt[] = [];
  for await (const receipt of first) states.push(receipt);
  t.match(states, [{ state: 'delivered' }, { state: 'processed', answer: 'done', to: 's' }]);

  const properties = { responseTopic: '$receipts/ack/$server', correlationData: 'x-1' };
  const second = await broker.publish({ topic: 'a', payload: '', receipt: 'processed', properties });
  const asked = await subscriber.packet('publish');
  const { responseTopic = '', correlationData } = asked.properties ?? {};
  await subscriber.mqtt.publishAsync(responseTopic, 'no', {
    qos: 1,
    properties: { ...(correlationData && { correlationData }), userProperties: { status: 'error' } },
  });
  t.match(await second.tally, { failed: 1, failures: [{ to: 's', state: 'rejected', cause: 'application' }] });
});

t.test('a rule tracks messages of the embedding program too, unless it asks for none', async (t) => {
  const { broker } = await startBroker(t, { tracking: [{ filter: 'cmd/#', receipt: 'delivered' }] });
  t.match(await broker.publish({ topic: 'cmd/1', payload: '' }), { id: /^[0-9A-Z]{13}$/, matched: 0 });
  t.same(await broker.publish({ topic: 'cmd/1', payload: '', receipt: 'none' }), { id: null, matched: 0 });
});

t.test('a client with access to all receipts sees those of the embedding program: hooks decide', async (t) => {
  const asked: unknown[] = [];
  const hooks = {
    receiptAccess(client: { clientId: string }): 'all' | 'own' {
      asked.push(client);
      return client.clientId === 'audit' ? 'all' : 'own';
    },
  };
  const broker = new Broker({ port: 0, memory: true, hooks });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  const audit = await JsClient.connect(t, port, { clientId: 'audit' });
  const [granted] = await audit.mqtt.subscribeAsync('$receipts/+/#', { qos: 1 });
  t.equal(granted?.qos, 1);
  const { id } = await broker.publish({ topic: 'a', payload: '', receipt: 'delivered' });
  t.equal((await audit.message()).topic, `$receipts/$server/${id}`);
  t.match(asked[0], { clientId: 'audit', userName: null });
  const other = await JsClient.connect(t, port, { clientId: 'other' });
  await t.rejects(other.mqtt.subscribeAsync('$receipts/+/#', { qos: 1 }));
});

t.test('what is wrong with a message is told, and nothing is published', async (t) => {
  const { broker } = await startBroker(t, { maximumPacketSize: 1000, maximumRetainedMessages: 1, sysInterval: 0 });
  const message = { topic: 't', payload: '' };
  const wrong = [
    { ...message, topic: '' },
    { ...message, topic: 'a/+' },
    { ...message, topic: '\ud800' },
    { ...message, topic: '$SYS/x' },
    { ...message, topic: '$receipts/~/x' },
    { ...message, topic: '/'.repeat(300) },
    { ...message, payload: 'x'.repeat(1000) },
    { ...message, qos: 3 as 2 },
    { ...message, deadline: 5 },
    { ...message, receipt: 'delivered' as const, deadline: 0 },
    { ...message, receipt: 'read' as 'delivered' },
    { ...message, properties: { messageExpiryInterval: -1 } },
    { ...message, properties: { contentType: '\0' } },
    { ...message, properties: { responseTopic: '#' } },
    { ...message, properties: { payloadFormat: 2 as 1 } },
    { ...message, properties: { correlationData: Buffer.alloc(65_536) } },
    { ...message, properties: { userProperties: { 'receipt-id': 'x' } } },
    { ...message, properties: { userProperties: { x: 'y'.repeat(65_536) } } },
    { ...message, receipt: 'delivered' as const, properties: { userProperties: { receipt: 'processed' } } },
    { ...message, receipt: 'delivered' as const, properties: { responseTopic: '$receipts/ack/other' } },
    { ...message, receipt: 'delivered' as const, properties: { userProperties: [['receipt-hold', 'true']] as const } },
  ];
  for (const request of wrong) {
    await t.rejects(broker.publish(request), code('PUBLISH'), JSON.stringify(request).slice(0, 80));
  }
  await broker.publish({ ...message, payload: 'x', retain: true });
  await t.rejects(broker.publish({ topic: 'u', payload: 'x', retain: true }), code('PUBLISH'));
});

t.test('receipts cannot be asked for where they are off, and the names are free for other use', async (t) => {
  const { broker } = await startBroker(t, { receipts: { enabled: false } });
  await t.rejects(broker.publish({ topic: 'a', payload: '', receipt: 'delivered' }), code('PUBLISH'));
  const properties = { userProperties: { receipt: 'of groceries' } };
  t.same(await broker.publish({ topic: 'a', payload: '', properties }), { id: null, matched: 0 });
});

t.test('a broker that is not open publishes nothing; one that closes ends what is waited for', async (t) => {
  const fresh = new Broker({ port: 0, memory: true });
  await t.rejects(fresh.publish({ topic: 'a', payload: '' }), code('STATE'));
  const { broker, port } = await startBroker(t, { data: await temporaryDirectory(t) });
  const away = await JsClient.connect(t, port, {
    clientId: 'away',
    clean: false,
    properties: { sessionExpiryInterval: 600 },
  });
  await away.mqtt.subscribeAsync('a', { qos: 1 });
  await away.end();
  const tracked = await broker.publish({ topic: 'a', payload: '', receipt: 'delivered' });
  const unread = await broker.publish({ topic: 'a', payload: '', receipt: 'delivered' });
  await broker.close();
  await t.rejects(tracked.tally, code('STATE'));
  await t.rejects(tracked.tallyByDeadline, code('STATE'));
  const told: string[] = [];
  await t.rejects(async () => {
    for await (const { state } of tracked) told.push(state);
  }, code('STATE'));
  t.same(told, ['queued'], 'what had come is told before');
  t.equal(unread.dropped, 0, 'that nobody waits for it harms nothing');
  await t.rejects(broker.publish({ topic: 'a', payload: '' }), code('STATE'));
});

t.test('close() ends loops and rejects the tally', async (t) => {
  const closed: ReceiptStream[] = [];
  const stream = new ReceiptStream('ID', 'delivered', (ended) => closed.push(ended));
  const loop = (async () => {
    for await (const receipt of stream) t.fail(receipt.state);
  })();
  stream.close();
  await loop;
  await t.rejects(stream.tally, code('CLOSED'));
  stream.close();
  t.equal(closed.length, 1, 'told once');
});

t.test(`of receipts that nobody takes the newest ${waitingReceiptsMax} are kept, and the others counted`, async (t) => {
  const stream = new ReceiptStream('ID', 'delivered', () => undefined);
  const receipt = { id: 'ID', topic: 't', state: 'delivered', qos: 1, reason: 0, at: 1, matched: 1 } as const;
  const total = waitingReceiptsMax + 2500;
  for (let n = 0; n < total; n++) stream.push({ ...receipt, to: String(n) });
  t.equal(stream.dropped, 2500);
  const zeros = { processed: 0, sent: 0, failed: 0, pending: 0 };
  stream.push({ id: 'ID', topic: 't', matched: total, delivered: total, ...zeros, final: true, at: 2 });
  const told: string[] = [];
  for await (const { to } of stream) told.push(to);
  t.equal(told.length, waitingReceiptsMax - 1);
  t.equal(told[0], '2501');
  t.equal(told.at(-1), String(total - 1));
  t.equal((await stream.tally).delivered, total);
});
