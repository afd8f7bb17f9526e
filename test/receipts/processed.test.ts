import t, { type Test } from 'tap';
import { Peer, type PeerOptions, type PublishOptions } from '../helpers/peer.js';
import {
  away,
  counts,
  nothingMore,
  pick,
  publisher,
  type Receipt,
  takeReceipt,
  track,
  untilFinal,
} from '../helpers/receipts.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

const processed = { receipt: 'processed' };

async function scene(t: Test, options: PeerOptions = {}) {
  const broker = await startTimedBroker(t);
  const sub = await Peer.join(t, broker, 'sub', options);
  await sub.subscribe('a', { qos: 2 });
  return { broker, sub, pub: await publisher(t, broker) };
}

/** Acknowledges as the application: to `$receipts/ack` by id, unless told another topic. */
async function ack(peer: Peer, id: string, options: PublishOptions & { topic?: string; status?: string } = {}) {
  const { topic = '$receipts/ack', status, ...rest } = options;
  const ask = { ...(id === '' ? {} : { 'receipt-id': id }), ...(status === undefined ? {} : { status }) };
  return (await peer.publish(topic, { ...rest, ask })).code;
}

const deliveries = (receipts: readonly Receipt[]) => receipts.filter(({ isTally }) => !isTally);

for (const qos of [0, 1, 2] as const) {
  t.test(
    `"The subscriber publishes, at any QoS, to $receipts/ack with user property receipt-id", QoS ${qos}`,
    async (t) => {
      const { broker, sub, pub } = await scene(t);
      const { id } = await track(pub, 'a', { qos: 1, ask: processed });
      const message = await sub.take();
      t.equal(message.pairs['receipt-id'], id);
      t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1');
      t.match(await takeReceipt(pub), { state: 'delivered' }, 'told, but no outcome');
      await nothingMore(pub);
      const deliveredAt = broker.clock.now();
      broker.clock.advance(30);
      t.equal(await ack(sub, id, { qos, payload: 'done' }), 0);
      const [receipt, final] = await untilFinal(pub);
      const expected = { state: 'processed', reason: 0, at: deliveredAt + 30, deliveredAt, answer: 'done', to: 'sub' };
      t.same(pick(receipt as Receipt, ...Object.keys(expected), 'cause'), expected);
      t.equal(counts(final), '1 1 0 0 0 0 final');
      await nothingMore(sub);
    },
  );

  t.test(`a message at QoS ${qos} to an MQTT 5 recipient "waits for the application"`, async (t) => {
    const { sub, pub } = await scene(t);
    await track(pub, 'a', { qos: 2, ask: processed });
    await pub.publish('a', { qos, ask: processed });
    await pub.settle();
    const ids = [await sub.take(), await sub.take()].map(({ pairs }) => String(pairs['receipt-id']));
    pub.inbox.length = 0;
    for (const id of ids) t.equal(await ack(sub, id), 0);
    const all = [...(await untilFinal(pub)), ...(await untilFinal(pub))];
    t.same(
      deliveries(all)
        .slice(-2)
        .map(({ state }) => state),
      ['processed', 'processed'],
    );
  });
}

t.test('"At QoS 0 to an MQTT 5 recipient the delivery waits for the application as well"', async (t) => {
  const { sub, pub } = await scene(t);
  await pub.publish('a', { qos: 0, ask: processed });
  t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1');
  t.match(await takeReceipt(pub), { state: 'sent', qos: 0, sentAt: Number });
  await nothingMore(pub);
  t.equal(await ack(sub, String((await sub.take()).pairs['receipt-id'])), 0);
  t.same(
    deliveries(await untilFinal(pub)).map(({ state }) => state),
    ['processed'],
  );
});

t.test('"status = ok (default) or error"; the application refused: rejected, cause application, 0x83', async (t) => {
  const { sub, pub } = await scene(t);
  const first = await track(pub, 'a', { ask: processed });
  t.equal(await ack(sub, first.id, { status: 'error', payload: 'no ink' }), 0);
  const refused = await untilFinal(pub);
  const receipt = deliveries(refused).at(-1);
  t.match(receipt, { state: 'rejected', cause: 'application', reason: 0x83, answer: 'no ink' });
  t.equal(counts(refused.at(-1)), '1 0 0 0 1 0 final');
  t.same(refused.at(-1)?.failures, [{ to: 'sub', state: 'rejected', reason: 0x83, cause: 'application' }]);
  const second = await track(pub, 'a', { ask: processed });
  t.equal(await ack(sub, second.id, { status: 'ok' }), 0);
  t.equal(counts((await untilFinal(pub)).at(-1)), '1 1 0 0 0 0 final');
  const third = await track(pub, 'a', { ask: processed });
  t.equal(await ack(sub, third.id, { status: 'maybe' }), 0x10, 'another status is no acknowledgement');
});

t.test('the answer "goes into the receipt (cut at 4 KiB with answerCut: true)", text or base64', async (t) => {
  const { sub, pub } = await scene(t);
  const answered = async (payload: Buffer | string) => {
    const { id } = await track(pub, 'a', { ask: processed });
    t.equal(await ack(sub, id, { payload }), 0);
    const last = deliveries(await untilFinal(pub)).at(-1);
    return last === undefined ? {} : pick(last, 'answer', 'answerBase64', 'answerCut');
  };
  t.same(await answered(''), {});
  t.same(await answered('grün "🐟"\n'), { answer: 'grün "🐟"\n' });
  t.same(await answered(Buffer.from('ff00fe', 'hex')), { answerBase64: '/wD+' });
  t.same(await answered('x'.repeat(4096)), { answer: 'x'.repeat(4096) });
  t.same(await answered('x'.repeat(4097)), { answer: 'x'.repeat(4096), answerCut: true });
  const fish = `${'x'.repeat(4094)}🐟`;
  t.same(await answered(fish), { answer: 'x'.repeat(4094), answerCut: true }, 'no character is cut in two');
  const bytes = Buffer.alloc(5000, 0xfe);
  t.same(await answered(bytes), { answerBase64: bytes.subarray(0, 4096).toString('base64'), answerCut: true });
});

t.test('"0x00 taken, or a repeat of what was taken (the first verdict stays)"', async (t) => {
  const { broker, sub, pub } = await scene(t, { expiry: 100 });
  const { id } = await track(pub, 'a', { ask: processed });
  await sub.take();
  t.equal(await ack(sub, id, { payload: 'first' }), 0);
  t.equal(await ack(sub, id, { payload: 'second', status: 'error', qos: 2 }), 0);
  const [receipt] = deliveries(await untilFinal(pub)).slice(-1);
  t.match(receipt, { state: 'processed', answer: 'first' });
  await broker.restart();
  const back = await Peer.join(t, broker, 'sub', { expiry: 100 });
  t.equal(await ack(back, id, { payload: 'third' }), 0, 'after a restart too');
  const pubBack = await Peer.join(t, broker, 'pub', { expiry: 0xffffffff });
  await nothingMore(pubBack, back);
});

t.test('"0x10 anything else, so nothing can be probed"', async (t) => {
  const { broker, sub, pub } = await scene(t);
  const other = await Peer.join(t, broker, 'other');
  const { id } = await track(pub, 'a', { ask: processed });
  await sub.take();
  const plain = await track(pub, 'a');
  await sub.take();
  await away(t, broker, 'off', 'b', 1);
  const waiting = await track(pub, 'b', { ask: processed });
  const answers = [
    await ack(other, id),
    await ack(pub, id),
    await ack(other, '01JD3ZK9V8Q2M'),
    await ack(sub, 'no id'),
    await ack(sub, ''),
    await ack(sub, `${id.slice(0, 11)}01`),
    await ack(sub, plain.id),
    await ack(sub, waiting.id),
    await ack(other, id, { qos: 2 }),
    await ack(sub, '', { topic: '$receipts/ack/pub', properties: { correlationData: Buffer.from('none') } }),
    await ack(sub, '', { topic: '$receipts/ack/nobody', properties: { correlationData: Buffer.from('c') } }),
    await ack(sub, '', { topic: '$receipts/ack/pub' }),
  ];
  t.same(
    answers,
    answers.map(() => 0x10),
  );
  t.equal(await ack(sub, id), 0, 'the right one still counts');
});

t.test('"The broker checks that client and user are the recipient"', async (t) => {
  const broker = await startTimedBroker(t);
  const ann = await Peer.join(t, broker, 'sub', { userName: 'ann' });
  await ann.subscribe('a');
  const pub = await publisher(t, broker);
  const { id } = await track(pub, 'a', { ask: processed });
  await ann.take();
  await ann.leave();
  const bob = await Peer.join(t, broker, 'sub', { userName: 'bob' });
  t.equal(await ack(bob, id), 0x10, 'another user under the same identifier');
  await bob.leave();
  const later = await Peer.join(t, broker, 'sub', { userName: 'ann' });
  t.equal(await ack(later, id), 0, '"the same client and user may acknowledge from a later session"');
  t.match(deliveries(await untilFinal(pub)).at(-1), { state: 'processed', to: 'sub' });
});

t.test('"to $receipts/ack/{publisher} with the message\'s Correlation Data … the oldest is meant"', async (t) => {
  const { sub, pub } = await scene(t);
  const properties = { responseTopic: '$receipts/ack/pub', correlationData: Buffer.from([0, 1, 255]) };
  const ids = [];
  for (let at = 0; at < 3; at++) ids.push((await track(pub, 'a', { ask: processed, properties })).id);
  const answer = async () => {
    const { packet } = await sub.take();
    const { responseTopic = '', correlationData = Buffer.alloc(0) } = packet.properties ?? {};
    return ack(sub, '', { topic: responseTopic, properties: { correlationData }, payload: 'ok' });
  };
  for (const id of ids) {
    t.equal(await answer(), 0);
    const final = (await untilFinal(pub)).at(-1);
    t.equal(final?.id, id);
  }
  const again = { topic: '$receipts/ack/pub', properties: { correlationData: properties.correlationData } };
  t.equal(await ack(sub, '', again), 0, 'a repeat of what was taken');
  await nothingMore(pub);
});

t.test('a repeat by Correlation Data is one, though a later message with the same data waits to be sent', async (t) => {
  const { sub, pub } = await scene(t, { acknowledges: false, receiveMaximum: 1 });
  const correlationData = Buffer.from('c');
  const ids = [];
  for (let at = 0; at < 2; at++)
    ids.push((await track(pub, 'a', { qos: 1, ask: processed, properties: { correlationData } })).id);
  const word = { topic: '$receipts/ack/pub', properties: { correlationData } };
  const first = await sub.take();
  t.equal(await ack(sub, '', word), 0);
  t.equal(await ack(sub, '', word), 0, 'once more, before there is room for the second message');
  sub.acknowledge(first);
  t.equal((await sub.take()).pairs['receipt-id'], ids[1]);
  t.equal(await ack(sub, '', word), 0, 'which is meant from now on');
  const told = deliveries([...(await untilFinal(pub)), ...(await untilFinal(pub))]);
  const done = told.filter(({ state }) => state === 'processed').map(({ id }) => id);
  t.same(done, ids);
});

t.test('"its own identifier, else 0x87": a response topic in another publisher\'s name, tracked or not', async (t) => {
  const { broker, sub, pub } = await scene(t);
  const properties = { responseTopic: '$receipts/ack/someone', correlationData: Buffer.from('c') };
  for (const qos of [1, 2] as const) {
    t.equal((await pub.publish('a', { qos, ask: processed, properties })).code, 0x87);
    t.equal((await pub.publish('a', { qos, properties })).code, 0x87, 'untracked');
  }
  await pub.publish('a', { qos: 0, properties });
  await nothingMore(sub, pub);
  const odd = await publisher(t, broker, 'a/b', '$receipts/~/+');
  t.equal((await odd.publish('a', { properties: { responseTopic: '$receipts/ack/a%2Fb' } })).code, 0);
  t.equal((await odd.publish('a', { properties: { responseTopic: '$receipts/ack' } })).code, 0);
  t.equal((await odd.publish('a', { properties: { responseTopic: '$receipts/ack/pub' } })).code, 0x87);
  const will = { topic: 'w', payload: Buffer.alloc(0), properties: { responseTopic: '$receipts/ack/pub' } };
  t.equal((await Peer.greet(t, broker, 'x', { will })).connackCode, 0x87);
  t.equal(
    (await Peer.greet(t, broker, 'pub2', { will: { ...will, properties: { responseTopic: '$receipts/ack/pub2' } } }))
      .connackCode,
    0,
  );
});

t.test(
  '"An acknowledgement that arrives before the transport\'s PUBACK makes the delivery processed at once"',
  async (t) => {
    for (const qos of [1, 2] as const) {
      const { sub, pub } = await scene(t, { acknowledges: false });
      const { id } = await track(pub, 'a', { qos, ask: processed });
      const message = await sub.take();
      t.equal(await ack(sub, id), 0);
      const all = await untilFinal(pub);
      t.same(
        deliveries(all).map(({ state, sentAt, deliveredAt }) => [state, typeof sentAt, deliveredAt]),
        [['processed', 'number', undefined]],
      );
      sub.acknowledge(message, 0x80);
      await sub.settle();
      await nothingMore(pub);
    }
  },
);

t.test('an acknowledgement "after a reconnect", and after a restart of the broker', async (t) => {
  const { broker, sub, pub } = await scene(t, { expiry: 100 });
  const one = await track(pub, 'a', { ask: processed });
  const two = await track(pub, 'a', { ask: processed });
  await sub.take();
  await sub.take();
  await sub.settle();
  sub.cut();
  const back = await Peer.join(t, broker, 'sub', { expiry: 100 });
  t.equal(await ack(back, one.id), 0);
  t.equal(deliveries(await untilFinal(pub)).at(-1)?.state, 'processed');
  await broker.crash();
  const pubBack = await Peer.join(t, broker, 'pub', { expiry: 100 });
  const again = await Peer.join(t, broker, 'sub', { expiry: 100 });
  t.equal(await ack(again, two.id), 0);
  t.equal(deliveries(await untilFinal(pubBack)).at(-1)?.state, 'processed');
});

t.test('MQTT 3.1.1 recipients can not answer: "delivered" is their outcome, neither success nor failure', async (t) => {
  const { broker, sub, pub } = await scene(t);
  const old = await Peer.join(t, broker, 'old', { version: 4 });
  await old.subscribe('a', { qos: 1 });
  const plain = await Peer.join(t, broker, 'plain', { version: 4 });
  await plain.subscribe('a', { qos: 0 });
  const packetId = pub.send1('a', { ask: { ...processed, 'receipt-hold': 'true' } });
  const id = String((await sub.take()).pairs['receipt-id']);
  await old.take();
  t.equal(await ack(sub, id), 0);
  const all = await untilFinal(pub);
  t.equal(counts(all.at(-1)), '3 1 1 1 0 0 final');
  const { code, reason } = await pub.answer(packetId);
  t.same([code, reason], [0, 'processed by 1 of 3'], 'they do not keep it from success');
  await sub.unsubscribe('a');
  const held = await pub.publish('a', { ask: { ...processed, 'receipt-hold': 'true' } });
  t.same([held.code, held.reason], [0x83, 'processed by 0 of 2'], 'nor are they one');
  await untilFinal(pub);
  await old.publish('$receipts/ack', { payload: id });
  await nothingMore(pub, old, plain);
});

t.test('after its record was pruned an acknowledgement is answered 0x10', async (t) => {
  const broker = await startTimedBroker(t, { receipts: { retention: 10 } });
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('a');
  const pub = await publisher(t, broker);
  const { id } = await track(pub, 'a', { ask: processed });
  await sub.take();
  t.equal(await ack(sub, id), 0);
  broker.clock.advance(30_000);
  await sub.settle();
  t.equal(broker.context.records.size, 0);
  t.equal(await ack(sub, id), 0x10);
});

t.test(
  '"Acknowledgements are … never forwarded, never retained"; "nothing under $receipts/ … can be published"',
  async (t) => {
    const broker = await startTimedBroker(t, {}, { receiptAccess: () => 'all' });
    const watcher = await Peer.join(t, broker, 'watcher');
    await watcher.subscribe('$receipts/#');
    const pub = await Peer.join(t, broker, 'pub');
    t.equal((await pub.publish('$receipts/ack', { retain: true, payload: 'x' })).code, 0x10);
    for (const topic of ['$receipts/~/x', '$receipts/pub/x/y', '$receipts/x', '$receipts/acks', '$receipts']) {
      t.equal((await pub.publish(topic, { qos: 1 })).code, 0x87, topic);
      t.equal((await pub.publish(topic, { qos: 2, ask: processed })).code, 0x87, topic);
      await pub.publish(topic, { qos: 0, retain: true });
      const will = { topic, payload: Buffer.alloc(0) };
      t.equal((await Peer.greet(t, broker, 'w', { will })).connackCode, 0x87, 'wills included');
    }
    await nothingMore(watcher, pub);
  },
);

t.test('"commits before PUBACK": what was answered 0x00 is known after a crash at once, the verdict too', async (t) => {
  for (const status of ['ok', 'error']) {
    const { broker, sub, pub } = await scene(t, { expiry: 100 });
    const { id } = await track(pub, 'a', { ask: processed });
    await sub.take();
    t.equal(await ack(sub, id, { status, payload: 'mine' }), 0);
    await broker.crash();
    const back = await Peer.join(t, broker, 'pub', { cleanStart: true });
    await back.subscribe(`$receipts/~/${id}/+`);
    t.match(await takeReceipt(back), { state: status === 'ok' ? 'processed' : 'rejected', answer: 'mine' });
  }
});

t.test('"Acknowledgements are always permitted whatever the topic rules"', async (t) => {
  const broker = await startTimedBroker(t, {}, {
    authorize: ({ clientId }, action) => clientId !== 'sub' || action !== 'publish',
    receiptAccess: ({ clientId }) => (clientId === 'sub' ? 'none' : 'own'),
  }); // biome-ignore format: hooks
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('a');
  const pub = await publisher(t, broker);
  const properties = { correlationData: Buffer.from('c') };
  const [one, two] = [await track(pub, 'a', { ask: processed }), await track(pub, 'a', { ask: processed, properties })];
  await sub.take();
  await sub.take();
  t.equal((await sub.publish('a')).code, 0x87, 'it may publish nothing else');
  t.equal(await ack(sub, one.id), 0);
  t.equal(await ack(sub, '', { topic: '$receipts/ack/pub', properties }), 0);
  t.ok(two.id);
});
