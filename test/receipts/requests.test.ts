import t, { type Test } from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { Broker } from '../../lib/index.js';
import { Peer, type PublishOptions } from '../helpers/peer.js';
import { counts, nothingMore, publisher, receiptOf, takeReceipt, track, untilFinal } from '../helpers/receipts.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';

async function withSubscriber(t: Test, options = {}): Promise<{ broker: TimedBroker; pub: Peer; sub: Peer }> {
  const broker = await startTimedBroker(t, options);
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('#', { qos: 2 });
  return { broker, pub: await publisher(t, broker), sub };
}

for (const qos of [0, 1, 2] as const) {
  for (const receipt of ['delivered', 'processed']) {
    t.test(`"receipt: delivered | processed" tracks the message, at QoS ${qos}: ${receipt}`, async (t) => {
      const { pub } = await withSubscriber(t);
      await pub.publish('a', { qos, ask: { receipt } });
      t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1', 'the first tally');
    });
  }

  t.test(`without a request, or with "none", nothing is tracked at QoS ${qos}`, async (t) => {
    const { pub, sub } = await withSubscriber(t);
    const plain = await pub.publish('a', { qos });
    const none = await pub.publish('a', { qos, ask: { receipt: 'none' } });
    t.same([plain.code, plain.pairs, none.code, none.pairs], [0, {}, 0, {}]);
    await nothingMore(pub);
    t.same([(await sub.take()).pairs, (await sub.take()).pairs], [{}, { receipt: 'none' }]);
  });
}

const refusals: readonly [string, Record<string, string | string[]>, RegExp][] = [
  ['a value not listed', { receipt: 'read' }, /delivered, processed or none/],
  ['a property given twice', { receipt: ['delivered', 'delivered'] }, /twice/],
  ['receipt-deadline 0', { receipt: 'delivered', 'receipt-deadline': '0' }, /1 to 2592000/],
  ['receipt-deadline 2592001', { receipt: 'delivered', 'receipt-deadline': '2592001' }, /1 to 2592000/],
  ['receipt-deadline twice', { receipt: 'delivered', 'receipt-deadline': ['5', '5'] }, /twice/],
  ['receipt-deadline on a message that is not tracked', { 'receipt-deadline': '5' }, /need a receipt/],
  ['receipt-deadline with none', { receipt: 'none', 'receipt-deadline': '5' }, /need a receipt/],
  ['receipt-hold on a message that is not tracked', { 'receipt-hold': 'true' }, /receipt/],
  ['receipt-hold with another value', { receipt: 'delivered', 'receipt-hold': '1' }, /'true'/],
];

for (const [what, ask, reason] of refusals) {
  t.test(`"is refused: PUBACK/PUBREC 0x83 with a reason string that says what is allowed": ${what}`, async (t) => {
    const { broker, pub, sub } = await withSubscriber(t);
    for (const qos of [1, 2] as const) {
      const { code, reason: given, pairs } = await pub.publish('a', { qos, ask });
      t.same([code, pairs], [0x83, {}], `QoS ${qos}`);
      t.match(given, reason);
    }
    await nothingMore(sub, pub);
    t.equal(broker.metrics.receiptRequestsRefused, 2);
  });

  t.test(`"at QoS 0 the message is delivered untracked, counted and logged": ${what}`, async (t) => {
    const { broker, pub, sub } = await withSubscriber(t);
    await pub.publish('a', { qos: 0, ask, payload: 'through' });
    const message = await sub.take();
    t.same([message.text, message.pairs], ['through', ask], 'its properties unaltered, no receipt-id');
    await nothingMore(pub);
    t.equal(broker.metrics.receiptRequestsRefused, 1);
  });
}

t.test('"hold at another QoS than 1, is refused"', async (t) => {
  const { pub, sub } = await withSubscriber(t);
  const ask = { receipt: 'delivered', 'receipt-hold': 'true' };
  t.equal((await pub.publish('a', { qos: 2, ask })).code, 0x83);
  await pub.publish('a', { qos: 0, ask, payload: 'untracked' });
  t.equal((await sub.take()).text, 'untracked');
  await nothingMore(pub);
});

t.test('"a PUBLISH … that brings a receipt-id is refused likewise (QoS 0: discarded and counted)"', async (t) => {
  const { broker, pub, sub } = await withSubscriber(t);
  const asks = [
    { 'receipt-id': '01JD3ZK9V8Q2M' },
    { receipt: 'delivered', 'receipt-id': 'x' },
    { receipt: 'bad', 'receipt-id': 'x' },
  ];
  for (const ask of asks) {
    t.equal((await pub.publish('a', { qos: 1, ask })).code, 0x83);
    t.equal((await pub.publish('a', { qos: 2, ask, retain: true })).code, 0x83);
    await pub.publish('a', { qos: 0, ask, retain: true });
  }
  await nothingMore(sub, pub);
  t.same([broker.metrics.receiptRequestsRefused, broker.metrics.publishesRefused], [9, 9]);
  const late = await Peer.join(t, broker, 'late');
  await late.subscribe('#');
  await nothingMore(late);
});

for (const [what, ask] of [
  ['a forged receipt-id', { 'receipt-id': '01JD3ZK9V8Q2M' }],
  ['a value not listed', { receipt: 'maybe' }],
  ['receipt-hold', { receipt: 'delivered', 'receipt-hold': 'true' }],
  ['receipt-deadline alone', { 'receipt-deadline': '3' }],
] as const) {
  t.test(`"CONNACK 0x83 for a will": ${what}`, async (t) => {
    const broker = await startTimedBroker(t);
    const will = { topic: 'w', payload: Buffer.alloc(0), qos: 1 as const, properties: { userProperties: { ...ask } } };
    const peer = await Peer.greet(t, broker, 'a', { will });
    t.equal(peer.connackCode, 0x83);
    await peer.closed();
  });
}

t.test('"A will can be tracked by its own user properties …; its deadline counts from its publication"', async (t) => {
  const broker = await startTimedBroker(t);
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
  await sub.subscribe('w', { qos: 1 });
  const userProperties = { receipt: 'delivered', 'receipt-deadline': '10' };
  const will = { topic: 'w', payload: Buffer.from('gone'), qos: 1 as const, properties: { userProperties } };
  const dying = await Peer.join(t, broker, 'pub', { expiry: 1000, will });
  await dying.subscribe('$receipts/~/#');
  broker.clock.advance(60_000);
  dying.cut();
  const message = await sub.take();
  t.match(message.pairs, { receipt: 'delivered', 'receipt-id': /^.{13}$/ });
  broker.clock.advance(10_000);
  sub.acknowledge(message);
  await sub.settle();
  const pub = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  t.same((await untilFinal(pub)).filter(({ isTally }) => isTally).map(counts), [
    '1 0 0 0 0 1',
    '1 0 0 0 0 1 overdue',
    '1 0 1 0 0 0 final',
  ]);
});

t.test('"A will can be tracked … by rule", for MQTT 3.1.1 clients too', async (t) => {
  const { pub, sub, broker } = await withSubscriber(t, { tracking: [{ filter: 'w/#', receipt: 'delivered' }] });
  await pub.leave();
  const will = { topic: 'w/1', payload: Buffer.from('gone'), qos: 1 as const };
  const dying = await Peer.join(t, broker, 'pub', { version: 4, expiry: 1, will });
  dying.cut();
  t.match((await sub.take()).pairs, { 'receipt-id': /^.{13}$/ });
  await sub.settle();
  const back = await Peer.join(t, broker, 'pub', { expiry: 1 });
  t.equal(counts((await untilFinal(back)).at(-1)), '1 0 1 0 0 0 final');
});

t.test(
  '"Rules … track topics by filter: so MQTT 3.1.1 publishers, which have no properties, get receipts too"',
  async (t) => {
    const broker = await startTimedBroker(t, { tracking: [{ filter: 'cmd/#', receipt: 'delivered' }] });
    const sub = await Peer.join(t, broker, 'sub');
    await sub.subscribe('#');
    const old = await Peer.join(t, broker, 'old', { version: 4 });
    await old.subscribe('$receipts/~/#');
    await old.publish('tele/1');
    await old.publish('cmd/1');
    t.same([(await sub.take()).pairs, Object.keys((await sub.take()).pairs)], [{}, ['receipt-id']]);
    const [first, receipt, final] = await untilFinal(old);
    t.equal(counts(first), '1 0 0 0 0 1');
    t.match(receipt, { to: 'sub', state: 'delivered', topic: 'cmd/1' });
    t.equal(counts(final), '1 0 1 0 0 0 final');
  },
);

t.test('"The publisher\'s own request wins over a rule unless the rule says force: true"', async (t) => {
  const tracking = [
    { filter: 'free/#', receipt: 'delivered' as const },
    { filter: 'forced/#', receipt: 'delivered' as const, force: true },
  ];
  const broker = await startTimedBroker(t, { tracking });
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('#');
  const pub = await publisher(t, broker);
  const outcomeOf = async (topic: string, ask: PublishOptions['ask']) => {
    const { matched } = await pub.publish(topic, ask === undefined ? {} : { ask });
    await pub.settle();
    await sub.settle();
    await pub.settle();
    const receipts = pub.inbox
      .splice(0)
      .map(receiptOf)
      .filter(({ isTally }) => !isTally);
    return matched < 0 ? 'untracked' : receipts.length === 1 ? `${receipts[0]?.state} of ${matched}` : receipts.length;
  };
  t.equal(await outcomeOf('free/a', undefined), 'delivered of 1');
  t.equal(await outcomeOf('free/a', { receipt: 'none' }), 'untracked');
  t.equal(await outcomeOf('forced/a', { receipt: 'none' }), 'delivered of 1');
  t.equal(await outcomeOf('free/a', { receipt: 'processed' }), 'delivered of 1', 'told, and waits for the application');
  t.equal(broker.context.records.size, 3);
  await track(pub, 'forced/b', { ask: { receipt: 'processed' } });
  const last = (await untilFinal(pub)).at(-1);
  t.equal(counts(last), '1 0 1 0 0 0 final', 'the rule has it: delivered is enough');
});

t.test('"receipts.enabled: false switches the feature off"', async (t) => {
  const broker = await startTimedBroker(t, {
    receipts: { enabled: false },
    tracking: [{ filter: '#', receipt: 'delivered' }],
  });
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('#');
  const will = { topic: 'w', payload: Buffer.alloc(0), properties: { userProperties: { 'receipt-id': 'mine' } } };
  const pub = await Peer.join(t, broker, 'pub', { will });
  t.equal(await pub.subscribe('$receipts/~/#'), 1);
  const ask = { receipt: 'whatever', 'receipt-id': 'mine', 'receipt-hold': 'x' };
  t.same((await pub.publish('a', { ask })).pairs, {});
  t.same((await sub.take()).pairs, ask);
  await pub.publish('$receipts/~/x', { payload: 'an ordinary topic' });
  t.equal((await pub.take()).text, 'an ordinary topic');
  await nothingMore(pub);
});

const byRule = { tracking: [{ filter: 'rule', receipt: 'delivered' as const }] };

t.test('receipt-deadline and receipt-hold are taken without `receipt` where a rule tracks the message', async (t) => {
  const broker = await startTimedBroker(t, byRule);
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
  await sub.subscribe('rule');
  const pub = await publisher(t, broker, 'pub', '$receipts/~/+');
  await pub.publish('rule', { ask: { 'receipt-deadline': '5' } });
  t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1');
  broker.clock.advance(5000);
  t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1 overdue');
  await sub.take();
  const packetId = pub.send1('rule', { ask: { 'receipt-hold': 'true' } });
  const message = await sub.take();
  await pub.settle();
  t.notOk(pub.has('puback', packetId), 'held');
  sub.acknowledge(message);
  t.equal((await pub.answer(packetId)).reason, 'delivered to 1 of 1');
});

t.test('"none (asking is refused with 0x87)": by deadline or hold of what a rule tracks as well', async (t) => {
  const broker = await startTimedBroker(t, byRule, { receiptAccess: () => 'none' });
  const pub = await Peer.join(t, broker, 'pub');
  for (const ask of [{ 'receipt-hold': 'true' }, { 'receipt-deadline': '5' }]) {
    const { code, pairs } = await pub.publish('rule', { ask });
    t.same([code, pairs], [0x87, {}]);
  }
  const will = { topic: 'rule', payload: Buffer.alloc(0), properties: { userProperties: { 'receipt-deadline': '5' } } };
  t.equal((await Peer.greet(t, broker, 'x', { will })).connackCode, 0x87);
  t.equal(broker.context.records.size, 0);
});

t.test('a hold that cannot be tracked is refused: PUBACK 0x00 would pass for "they have it"', async (t) => {
  const broker = await startTimedBroker(t, { ...byRule, receipts: { maxRecords: 1 } });
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
  await sub.subscribe('rule');
  const pub = await Peer.join(t, broker, 'pub');
  t.equal((await pub.publish('rule')).code, 0);
  t.equal((await pub.publish('rule')).code, 0, 'what only the rule wants goes on untracked');
  t.equal((await pub.publish('rule', { ask: { 'receipt-hold': 'true' } })).code, 0x97);
});

t.test('"counted and logged … Never silently ignored": each refused request has a line of the log', async (t) => {
  const lines: unknown[] = [];
  const note = (fields: object, message: string) => lines.push({ ...fields, message });
  const log = { ...silentLog, info: note, warn: note };
  const broker = new Broker({ port: 0, memory: true, log, receipts: { maxRecords: 1 }, ...byRule });
  t.teardown(() => broker.close());
  const address = await broker.listen();
  await (await Peer.join(t, address, 'sub', { acknowledges: false })).subscribe('#');
  const pub = await Peer.join(t, address, 'pub');
  lines.length = 0;
  await pub.publish('a', { qos: 0, ask: { receipt: 'maybe' } });
  await pub.publish('a', { qos: 0, ask: { 'receipt-id': 'x' } });
  await pub.subscribe('$receipts/~/+', { ask: { 'receipt-since': 'x' } });
  await pub.publish('rule');
  await pub.publish('rule');
  t.match(lines, [
    { client: 'pub', topic: 'a', message: /receipt request refused: receipt is 'maybe'/ },
    { client: 'pub', topic: 'a', message: /receipt request refused: receipt-id is set by the broker/ },
    { client: 'pub', message: /receipt request refused: receipt-since is 'x'/ },
    { topic: 'rule', message: /not tracked: the broker keeps no more records/ },
  ]);
  t.equal(lines.length, 4);
});

t.test('the request of a will that the rules of the time do not allow any more is counted and logged', async (t) => {
  const messages: string[] = [];
  const log = { ...silentLog, info: (_fields: object, message: string) => messages.push(message) };
  const broker = new Broker({ port: 0, memory: true, log, ...byRule });
  t.teardown(() => broker.close());
  const address = await broker.listen();
  const sub = await Peer.join(t, address, 'sub');
  await sub.subscribe('rule');
  const properties = { userProperties: { 'receipt-deadline': '5' } };
  const will = { topic: 'rule', payload: Buffer.from('gone'), qos: 1 as const, properties };
  const dying = await Peer.join(t, address, 'dying', { will });
  await broker.reload({ ...broker.settings, tracking: [] });
  dying.cut();
  t.notOk('receipt-id' in (await sub.take()).pairs, 'it goes out, untracked');
  t.match(
    messages.filter((message) => message.startsWith('receipt request')),
    [/refused: .*need a receipt/],
  );
  t.equal(broker.metrics.receiptRequestsRefused, 1);
});
