import t, { type Test } from 'tap';
import { type BrokerChild, startBroker, startChild } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { findClient, RealClient, startClient } from '../helpers/real-clients.js';
import { JsClient } from './mqttjs-client.js';
import { inWords, nextReceipt, publishTracked, type Receipt, receiptsToTheEnd } from './receipts.js';

/** A session that outlives its connection. */
const kept = (clientId: string) => ({ clientId, clean: false, properties: { sessionExpiryInterval: 600 } });
const allOwn = '$receipts/~/#';

/** The receivers of issue 2: online at QoS 1, offline with a session, online at QoS 0. */
async function threeReceivers(t: Test, port: number): Promise<{ online: JsClient; plain: JsClient }> {
  const offline = await JsClient.connect(t, port, kept('offline'));
  await offline.mqtt.subscribeAsync('cmd/#', { qos: 1 });
  await offline.end();
  const online = await JsClient.connect(t, port, kept('online'));
  await online.mqtt.subscribeAsync('cmd/+', { qos: 1 });
  const plain = await JsClient.connect(t, port, { clientId: 'plain' });
  await plain.mqtt.subscribeAsync('cmd/1', { qos: 0 });
  return { online, plain };
}

async function startPublisher(t: Test, port: number): Promise<JsClient> {
  const publisher = await JsClient.connect(t, port, kept('boss'));
  // Receipts are checked to come once: that is what QoS 2 is for.
  if (!publisher.sessionPresent) await publisher.mqtt.subscribeAsync(allOwn, { qos: 2 });
  return publisher;
}

async function comeBack(t: Test, port: number): Promise<void> {
  const back = await JsClient.connect(t, port, kept('offline'));
  t.ok(back.sessionPresent, 'its session is still there');
  t.equal((await back.message()).text, 'reboot', 'and its message');
}

/** All of it, in the order that the contract promises; between first and final tally recipients are in any order. */
function checkAll(t: Test, receipts: readonly Receipt[], id: string): void {
  const words = inWords(receipts);
  t.equal(words[0], 'first 3: 0 0 0 0 3');
  const expected = ['delivered offline', 'delivered online', 'queued offline', 'sent plain'];
  t.same(words.slice(1, -1).sort(), expected, 'each state once');
  t.ok(words.indexOf('queued offline') < words.indexOf('delivered offline'), 'queued before delivered');
  t.equal(words[words.length - 1], 'final 3: 0 2 1 0 0');
  for (const receipt of receipts) {
    t.equal(receipt.id, id);
    t.equal(receipt.topic, 'cmd/1');
    t.equal(receipt.on, `$receipts/~/${id}${receipt.to === undefined ? '' : `/${receipt.to}`}`);
    if (receipt.state === 'delivered') t.ok(Number(receipt.sentAt) <= receipt.at, 'sent before it was delivered');
  }
}

t.test('three receivers: the publisher learns what becomes of each, and the final tally adds up', async (t) => {
  const { port } = await startBroker(t);
  await threeReceivers(t, port);
  const publisher = await startPublisher(t, port);
  const answer = await publishTracked(publisher, 'cmd/1', 'reboot', 1);
  const id = String(answer.properties?.userProperties?.['receipt-id']);
  t.match(id, /^[0-9A-Z]{13}$/);
  t.equal(answer.properties?.userProperties?.['receipt-matched'], '3');
  t.equal(answer.reasonCode, 0);
  const early: Receipt[] = [];
  while (early.length < 4) early.push(await nextReceipt(publisher));
  t.same(inWords(early).sort(), ['delivered online', 'first 3: 0 0 0 0 3', 'queued offline', 'sent plain']);
  await comeBack(t, port);
  checkAll(t, [...early, ...(await receiptsToTheEnd(publisher))], id);
});

/** Starts the broker again on what a SIGKILL left behind. */
async function killAndRestart(child: BrokerChild): Promise<BrokerChild> {
  await child.kill9();
  return child.restart();
}

t.test('three receivers with a SIGKILL after the answer and one before the receipts are read', async (t) => {
  let child = await startChild(t, ['--data', await temporaryDirectory(t)]);
  const { port } = child;
  const { online, plain } = await threeReceivers(t, port);
  const publisher = await startPublisher(t, port);
  const answer = await publishTracked(publisher, 'cmd/1', 'reboot', 1);
  const id = String(answer.properties?.userProperties?.['receipt-id']);
  await online.message('cmd/1');
  await plain.message('cmd/1');
  // The publisher is away when the rest comes about.
  await publisher.end();
  const before = publisher.unread().filter(({ topic }) => topic.startsWith('$receipts/'));
  child = await killAndRestart(child);
  const again = await JsClient.connect(t, port, kept('online'));
  t.ok(again.sessionPresent);
  await comeBack(t, port);
  await killAndRestart(child);
  // The kill may have come before the acknowledgements: whoever is back acknowledges again.
  await JsClient.connect(t, port, kept('online'));
  await JsClient.connect(t, port, kept('offline'));
  const back = await startPublisher(t, port);
  t.ok(back.sessionPresent);
  const read = before.map(({ topic, text }) => ({ on: topic, ...(JSON.parse(text) as Omit<Receipt, 'on'>) }));
  const rest = await receiptsToTheEnd(back);
  // A receipt whose flow was open at the cut comes again under its packet identifier: still one message.
  const all = [...read, ...rest];
  const unique = all.filter((receipt, at) => all.findIndex((other) => sameReceipt(other, receipt)) === at);
  checkAll(t, unique, id);
});

function sameReceipt(left: Receipt, right: Receipt): boolean {
  return left.on === right.on && left.state === right.state && left.final === right.final;
}

t.test('a SIGKILL turns what a session without expiry had not acknowledged into lost', async (t) => {
  const child = await startChild(t, ['--data', await temporaryDirectory(t)]);
  const { port } = child;
  const silent = await JsClient.connect(t, port, { clientId: 'silent', properties: { receiveMaximum: 1 } });
  await silent.mqtt.subscribeAsync('cmd/1', { qos: 1 });
  // It takes messages and never answers.
  silent.mqtt.handleMessage = () => undefined;
  const publisher = await startPublisher(t, port);
  await publishTracked(publisher, 'cmd/1', 'reboot', 2);
  await silent.message('cmd/1');
  const first = await nextReceipt(publisher);
  t.same(inWords([first]), ['first 1: 0 0 0 0 1']);
  await killAndRestart(child);
  const back = await startPublisher(t, port);
  const rest = (await receiptsToTheEnd(back)).filter((receipt) => !sameReceipt(receipt, first));
  t.same(inWords(rest), ['lost silent', 'final 1: 0 0 0 1 0']);
  t.equal(rest[0]?.cause, 'broker-restart');
  t.type(rest[0]?.sentAt, 'number', 'it had been sent: nobody can know');
  t.same(rest[1]?.failures, [{ to: 'silent', state: 'lost', reason: 0, cause: 'broker-restart' }]);
});

for (const qos of [1, 2] as const) {
  t.test(
    `the ${qos === 1 ? 'PUBACK' : 'PUBREC'} of a tracked message has its id and the size of its cohort`,
    async (t) => {
      const { port } = await startBroker(t);
      const publisher = await JsClient.connect(t, port);
      const subscriber = await JsClient.connect(t, port);
      await subscriber.mqtt.subscribeAsync('a', { qos: 2 });
      const ids: string[] = [];
      for (let n = 0; n < 3; n++) {
        const answer = await publishTracked(publisher, 'a', String(n), qos);
        t.equal(answer.reasonCode, 0);
        t.equal(answer.properties?.userProperties?.['receipt-matched'], '1');
        ids.push(String(answer.properties?.userProperties?.['receipt-id']));
        const packet = await subscriber.packet('publish');
        const expected = { receipt: 'delivered', 'receipt-id': ids[n] };
        t.same({ ...packet.properties?.userProperties }, expected, 'the subscriber sees the id after the properties');
      }
      t.same(ids.toSorted(), ids, 'ids sort by the time of acceptance');
      t.equal(new Set(ids).size, 3);
      publisher.mqtt.publish('a', 'untracked', { qos });
      const plain = qos === 1 ? await publisher.packet('puback') : await publisher.packet('pubrec');
      t.equal(plain.properties, undefined, 'an untracked message has neither');
    },
  );

  t.test(`a tracked message at QoS ${qos} with an empty cohort gets 0x10 and one tally, which is final`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await startPublisher(t, port);
    const answer = await publishTracked(publisher, 'nobody', 'x', qos);
    t.equal(answer.reasonCode, 0x10);
    t.equal(answer.properties?.userProperties?.['receipt-matched'], '0');
    t.same(inWords(await receiptsToTheEnd(publisher)), ['final 0: 0 0 0 0 0']);
    publisher.mqtt.publish('nobody', 'untracked', { qos });
    const plain = qos === 1 ? await publisher.packet('puback') : await publisher.packet('pubrec');
    t.equal(plain.reasonCode ?? 0, 0, 'an untracked one gets no 0x10');
    t.same(publisher.unread(), [], 'and nothing more comes');
  });

  t.test(`a request that is not allowed is refused at QoS ${qos} with 0x83 and says what is`, async (t) => {
    const { port } = await startBroker(t);
    const publisher = await JsClient.connect(t, port);
    const subscriber = await JsClient.connect(t, port);
    await subscriber.mqtt.subscribeAsync('a', { qos: 0 });
    const refusals: [Record<string, string | string[]>, RegExp][] = [
      [{ receipt: 'maybe' }, /delivered, processed or none/],
      [{ receipt: 'Delivered' }, /delivered, processed or none/],
      [{ receipt: ['delivered', 'delivered'] }, /twice/],
      [{ 'receipt-id': '01JD3ZK9V8Q2M' }, /receipt-id/],
      [{ receipt: 'delivered', 'receipt-id': '01JD3ZK9V8Q2M' }, /receipt-id/],
      [{ 'receipt-deadline': '10' }, /receipt/],
      [{ receipt: 'delivered', 'receipt-deadline': '0' }, /1 to 2592000/],
      [{ receipt: 'delivered', 'receipt-deadline': '2592001' }, /1 to 2592000/],
    ];
    for (const [userProperties, reason] of refusals) {
      const answer = await publishTracked(publisher, 'a', 'refused', qos, userProperties);
      t.equal(answer.reasonCode, 0x83, JSON.stringify(userProperties));
      t.match(answer.properties?.reasonString, reason);
      t.equal(answer.properties?.userProperties, undefined, 'no id');
    }
    publisher.mqtt.publish('a', 'fence', { qos });
    t.equal((await subscriber.message()).text, 'fence', 'none of them was delivered');
  });
}

t.test(
  'at QoS 0 a request that is not allowed leaves the message untracked; with a receipt-id it is discarded',
  async (t) => {
    const { broker, port } = await startBroker(t);
    const publisher = await startPublisher(t, port);
    const subscriber = await JsClient.connect(t, port, { clientId: 'device' });
    await subscriber.mqtt.subscribeAsync('a', { qos: 0 });
    const publish = (text: string, userProperties: Record<string, string | string[]>): void => {
      publisher.mqtt.publish('a', text, { qos: 0, properties: { userProperties } });
    };
    publish('bad', { receipt: 'maybe' });
    publish('twice', { receipt: ['delivered', 'delivered'] });
    publish('forged', { 'receipt-id': '01JD3ZK9V8Q2M' });
    publish('good', { receipt: 'delivered' });
    t.same(
      (await subscriber.messages(3)).map(({ text }) => text),
      ['bad', 'twice', 'good'],
    );
    t.same(inWords(await receiptsToTheEnd(publisher)), ['first 1: 0 0 0 0 1', 'sent device', 'final 1: 0 0 1 0 0']);
    t.equal(broker.metrics.receiptRequestsRefused, 3, 'and counted');
    t.ok(publisher.mqtt.connected, 'the connection goes on');
  },
);

t.test('a client subscribes to its own receipts and to no others', async (t) => {
  const { port } = await startBroker(t);
  const client = await JsClient.connect(t, port, { clientId: 'me' });
  for (const filter of ['$receipts/~/#', '$receipts/~/+', '$receipts/~/+/+', '$receipts/~/01JD3ZK9V8Q2M']) {
    client.mqtt.subscribe(filter, { qos: 1 });
    t.same((await client.packet('suback')).granted, [1], filter);
  }
  const others = ['$receipts/other/#', '$receipts/me/#', '$receipts/#', '$receipts/+/+', '$receipts/ack'];
  for (const filter of [...others, '$share/g/$receipts/other/#', '$share/g/$receipts/#']) {
    client.mqtt.subscribe(filter, { qos: 1 });
    t.same((await client.packet('suback')).granted, [0x87], filter);
  }
});

t.test('receipts reach their publisher only, and nobody can publish one', async (t) => {
  const { port } = await startBroker(t);
  const device = await JsClient.connect(t, port, { clientId: 'device' });
  await device.mqtt.subscribeAsync('a', { qos: 1 });
  const other = await JsClient.connect(t, port, { clientId: 'other' });
  await other.mqtt.subscribeAsync({ '$receipts/~/#': { qos: 1 }, '#': { qos: 1 } });
  const publisher = await startPublisher(t, port);
  await publishTracked(publisher, 'a', 'x', 1);
  const expected = ['first 2: 0 0 0 0 2', 'delivered device', 'delivered other', 'final 2: 0 2 0 0 0'];
  t.same(inWords(await receiptsToTheEnd(publisher)).sort(), expected.sort());
  const forged = await publishTracked(other, '$receipts/~/01JD3ZK9V8Q2M', '{}', 1, {});
  t.equal(forged.reasonCode, 0x87);
  publisher.mqtt.publish('b', 'fence', { qos: 1 });
  t.same(
    (await other.messages(2)).map(({ topic }) => topic),
    ['a', 'b'],
    'no receipt among them',
  );
});

t.test('mosquitto_pub asks for receipts with a user property and mosquitto_sub shows them', async (t) => {
  const pub = findClient(t, RealClient.mosquittoPub);
  const sub = findClient(t, RealClient.mosquittoSub);
  if (pub === undefined || sub === undefined) return;
  const { port } = await startBroker(t);
  const common = ['-h', '127.0.0.1', '-p', String(port), '-V', 'mqttv5', '-q', '1', '-c'];
  const boss = [...common, '-i', 'boss', '-t', '$receipts/~/#'];
  await startClient(t, sub, [...boss, '-E']).finish();
  await startClient(t, sub, [...common, '-i', 'device', '-t', 'cmd/1', '-E']).finish();
  // Under an identifier of its own the receipts would be of a session that ends with the program.
  const publish = [...common, '-i', 'boss', '-x', '600', '-t', 'cmd/1', '-m', 'reboot'];
  const request = ['-D', 'publish', 'user-property', 'receipt', 'delivered'];
  const published = await startClient(t, pub, [...publish, ...request]).finish();
  t.equal(published.code, 0);
  const device = startClient(t, sub, [...common, '-i', 'device', '-t', 'cmd/1', '-C', '1', '-F', '%p %P']);
  t.match((await device.finish()).stdout, /^reboot receipt:delivered receipt-id:[0-9A-Z]{13}\n$/);
  const watcher = startClient(t, sub, boss);
  const [line] = await watcher.output(/^.*"final":true.*$/m);
  t.match(JSON.parse(line), { topic: 'cmd/1', matched: 1, delivered: 1, failed: 0, pending: 0 });
  t.match(watcher.stdout, /"to":"device","state":"delivered","qos":1/);
});
