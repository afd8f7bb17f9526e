import t, { type Test } from 'tap';
import { Peer, type PeerOptions } from '../helpers/peer.js';
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
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';

/** A subscriber to `a` that leaves acknowledging to the test, and a publisher with all its receipts. */
async function scene(t: Test, qos: 0 | 1 | 2, options: PeerOptions = {}, settings = {}) {
  const broker = await startTimedBroker(t, settings);
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false, ...options });
  await sub.subscribe('a', { qos });
  return { broker, sub, pub: await publisher(t, broker) };
}

/** The next receipts of one delivery, after the first tally and up to the final one. */
async function deliveryOf(pub: Peer): Promise<Receipt[]> {
  return (await untilFinal(pub)).filter(({ isTally }) => !isTally);
}

const told = (receipt: Receipt | undefined, ...names: string[]) =>
  receipt === undefined ? {} : pick(receipt, 'to', 'state', 'cause', 'reason', 'qos', ...names);

t.test('a receipt carries what "Packets" shows, its times by the broker\'s clock', async (t) => {
  const { broker, sub, pub } = await scene(t, 1);
  const { id } = await track(pub, 'a', { properties: { correlationData: Buffer.from('c1') } });
  const sentAt = broker.clock.now();
  broker.clock.advance(22);
  sub.acknowledge(await sub.take());
  t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1');
  const { packet, topic, text } = await pub.take();
  t.equal(topic, `$receipts/~/${id}/sub`);
  t.same(JSON.parse(text), {
    ...{ id, topic: 'a', to: 'sub', state: 'delivered', qos: 1, reason: 0 },
    ...{ at: sentAt + 22, sentAt, matched: 1 },
  });
  const { payloadFormatIndicator, contentType, correlationData } = packet.properties ?? {};
  t.same([payloadFormatIndicator, contentType, correlationData], [true, 'application/json', Buffer.from('c1')]);
  t.equal(packet.retain, false);
});

t.test('"queued … once, if the recipient is offline at acceptance"', async (t) => {
  const { broker, pub } = await scene(t, 1);
  await away(t, broker, 'off', 'b', 1);
  await track(pub, 'b');
  const queuedAt = broker.clock.now();
  t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1');
  const queued = await takeReceipt(pub);
  t.same(pick(queued, 'state', 'at', 'sentAt', 'qos', 'to'), { state: 'queued', at: queuedAt, qos: 1, to: 'off' });
  broker.clock.advance(500);
  const back = await Peer.join(t, broker, 'off', { expiry: 1000 });
  await back.take();
  const [delivered] = await deliveryOf(pub);
  t.same(pick(delivered as Receipt, 'state', 'sentAt'), { state: 'delivered', sentAt: queuedAt + 500 });
  await nothingMore(pub, back);
});

t.test('a full window is no reason for a "queued" receipt', async (t) => {
  const { sub, pub } = await scene(t, 1, { receiveMaximum: 1 });
  await track(pub, 'a');
  await track(pub, 'a');
  t.same([counts(await takeReceipt(pub)), counts(await takeReceipt(pub))], ['1 0 0 0 0 1', '1 0 0 0 0 1']);
  await nothingMore(pub);
  sub.acknowledge(await sub.take());
  sub.acknowledge(await sub.take());
  t.same(
    [...(await deliveryOf(pub)), ...(await deliveryOf(pub))].map(({ state }) => state),
    ['delivered', 'delivered'],
  );
});

for (const version of [4, 5] as const) {
  t.test(`"sent" is the outcome at QoS 0: nobody can confirm it (version ${version})`, async (t) => {
    const { sub, pub } = await scene(t, 0, { version });
    await track(pub, 'a', { qos: 2 });
    const [sent] = await deliveryOf(pub);
    t.same(told(sent), { to: 'sub', state: 'sent', reason: 0, qos: 0 });
    t.equal(sent?.sentAt, sent?.at);
    await sub.take();
    await nothingMore(pub);
  });
}

for (const code of [0x00, 0x10]) {
  t.test(`"delivered: PUBACK (QoS 1) or PUBREC (QoS 2) with a success code", 0x${code.toString(16)}`, async (t) => {
    const { sub, pub } = await scene(t, 2);
    await track(pub, 'a', { qos: 1 });
    sub.acknowledge(await sub.take(), code);
    t.same(told((await deliveryOf(pub))[0]), { to: 'sub', state: 'delivered', reason: code, qos: 1 });
    await track(pub, 'a', { qos: 2 });
    const message = await sub.take();
    sub.acknowledge(message, code);
    t.same(told((await deliveryOf(pub))[0]), { to: 'sub', state: 'delivered', reason: code, qos: 2 });
    await sub.expect('pubrel');
    sub.send({ cmd: 'pubcomp', messageId: message.packetId });
    await nothingMore(pub, sub);
  });
}

for (const qos of [1, 2] as const) {
  for (const code of [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]) {
    t.test(`"rejected: PUBACK/PUBREC with a reason code ≥ 0x80", 0x${code.toString(16)} at QoS ${qos}`, async (t) => {
      const { broker, sub, pub } = await scene(t, qos, { expiry: 100 });
      await track(pub, 'a', { qos });
      sub.acknowledge(await sub.take(), code, 'not for me');
      const receipts = await untilFinal(pub);
      t.same(told(receipts[1], 'reasonString'), {
        to: 'sub',
        state: 'rejected',
        reason: code,
        qos,
        reasonString: 'not for me',
      });
      t.equal(counts(receipts.at(-1)), '1 0 0 0 1 0 final');
      await sub.settle();
      t.notOk(sub.has('pubrel'), '"no PUBREL after it"');
      sub.cut();
      const back = await Peer.join(t, broker, 'sub', { expiry: 100 });
      await nothingMore(back);
      await nothingMore(pub);
    });
  }

  t.test(`"expired: Message Expiry Interval ran out before the first send", QoS ${qos}`, async (t) => {
    const { broker, pub } = await scene(t, qos);
    await away(t, broker, 'off', 'b', qos);
    await track(pub, 'b', { qos, properties: { messageExpiryInterval: 5 } });
    broker.clock.advance(5000);
    const [queued, expired] = await deliveryOf(pub);
    t.equal(queued?.state, 'queued');
    t.same(told(expired, 'sentAt'), { to: 'off', state: 'expired', reason: 0, qos });
    t.equal(expired?.at, broker.clock.now());
  });

  t.test(`expired while the window was full, QoS ${qos}`, async (t) => {
    const { broker, sub, pub } = await scene(t, qos, { receiveMaximum: 1 });
    await track(pub, 'a', { qos });
    await track(pub, 'a', { qos, properties: { messageExpiryInterval: 5 } });
    broker.clock.advance(6000);
    sub.acknowledges = true;
    sub.acknowledge(await sub.take());
    const all = [...(await untilFinal(pub)), ...(await untilFinal(pub))].filter(({ isTally }) => !isTally);
    t.same(
      all.map(({ state, sentAt }) => [state, typeof sentAt]),
      [
        ['delivered', 'number'],
        ['expired', 'undefined'],
      ],
    );
    await nothingMore(sub);
  });

  t.test(`what expired before its session ended is expired, not lost, QoS ${qos}`, async (t) => {
    const { broker, sub, pub } = await scene(t, qos, { receiveMaximum: 1 });
    await track(pub, 'a', { qos });
    const { id } = await track(pub, 'a', { qos, properties: { messageExpiryInterval: 5 } });
    broker.clock.advance(6000);
    await sub.leave();
    const all = [...(await untilFinal(pub)), ...(await untilFinal(pub))];
    const last = all.find((receipt) => receipt.id === id && !receipt.isTally);
    t.same(told(last), { to: 'sub', state: 'expired', reason: 0, qos });
  });

  t.test(`"dropped: queue-full", reason 0x97, QoS ${qos}`, async (t) => {
    const { broker, pub } = await scene(t, qos, {}, { maximumQueuedMessages: 1 });
    await away(t, broker, 'off', 'b', qos);
    await track(pub, 'b', { qos });
    await pub.take();
    await pub.take();
    await track(pub, 'b', { qos });
    const [dropped] = await deliveryOf(pub);
    t.same(told(dropped, 'sentAt'), { to: 'off', state: 'dropped', cause: 'queue-full', reason: 0x97, qos });
  });

  t.test(`"dropped: too-large" for the connection that resumes the session, with sentAt, QoS ${qos}`, async (t) => {
    const { broker, sub, pub } = await scene(t, qos, { expiry: 100 });
    await track(pub, 'a', { qos, payload: 'x'.repeat(200) });
    const sentAt = broker.clock.now();
    await sub.take();
    sub.cut();
    broker.clock.advance(70);
    const back = await Peer.join(t, broker, 'sub', { expiry: 100, maximumPacketSize: 100 });
    const [dropped] = await deliveryOf(pub);
    const expected = { to: 'sub', state: 'dropped', cause: 'too-large', reason: 0x95, qos, sentAt, at: sentAt + 70 };
    t.same(told(dropped, 'sentAt', 'at'), expected);
    await nothingMore(back);
  });

  t.test(`"dropped: too-large" out of the queue, without sentAt, QoS ${qos}`, async (t) => {
    const { broker, pub } = await scene(t, qos);
    await away(t, broker, 'off', 'b', qos);
    await track(pub, 'b', { qos, payload: 'x'.repeat(200) });
    const back = await Peer.join(t, broker, 'off', { expiry: 100, maximumPacketSize: 100 });
    const [, dropped] = await deliveryOf(pub);
    t.same(told(dropped, 'sentAt'), { to: 'off', state: 'dropped', cause: 'too-large', reason: 0x95, qos });
    await nothingMore(back);
  });
}

for (const qos of [0, 1, 2] as const) {
  t.test(`"dropped: too-large for the recipient's Maximum Packet Size", QoS ${qos}`, async (t) => {
    const { sub, pub } = await scene(t, qos, { maximumPacketSize: 100 });
    await track(pub, 'a', { qos: 2, payload: 'x'.repeat(200) });
    const [dropped] = await deliveryOf(pub);
    t.same(told(dropped, 'sentAt'), { to: 'sub', state: 'dropped', cause: 'too-large', reason: 0x95, qos });
    await nothingMore(sub);
  });
}

t.test('"dropped: QoS 0 to an offline session"', async (t) => {
  const { broker, pub } = await scene(t, 1);
  await away(t, broker, 'off', 'b', 0);
  await track(pub, 'b', { qos: 2 });
  t.same(told((await deliveryOf(pub))[0], 'sentAt'), {
    to: 'off',
    state: 'dropped',
    cause: 'offline',
    reason: 0,
    qos: 0,
  });
});

t.test('QoS 0 that is queued for an offline session goes on as such: queued, then sent', async (t) => {
  const { broker, pub } = await scene(t, 1, {}, { queueQos0Messages: true });
  await away(t, broker, 'off', 'b', 0);
  await track(pub, 'b');
  const back = await Peer.join(t, broker, 'off', { expiry: 100 });
  await back.take();
  t.same(
    (await deliveryOf(pub)).map(({ state, qos }) => [state, qos]),
    [
      ['queued', 0],
      ['sent', 0],
    ],
  );
});

async function untilSlow(broker: TimedBroker, pub: Peer): Promise<void> {
  const before = broker.metrics.droppedSlow;
  while (broker.metrics.droppedSlow === before) await pub.publish('a', { qos: 0, payload: Buffer.alloc(1_000_000) });
}

t.test('"dropped: QoS 0 to … a slow connection over its byte cap"', async (t) => {
  const { broker, sub, pub } = await scene(t, 0, {}, { maximumOutboxBytes: 4096 });
  sub.pause();
  await untilSlow(broker, pub);
  await track(pub, 'a');
  t.same(told((await deliveryOf(pub))[0]), { to: 'sub', state: 'dropped', cause: 'slow', reason: 0, qos: 0 });
});

t.test('QoS 1 to a slow connection waits, and is delivered when it reads on', async (t) => {
  const { broker, sub, pub } = await scene(t, 0, { acknowledges: true }, { maximumOutboxBytes: 4096 });
  await sub.subscribe('b', { qos: 1 });
  sub.pause();
  await untilSlow(broker, pub);
  await track(pub, 'b');
  t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1');
  await nothingMore(pub);
  sub.resume();
  t.equal((await deliveryOf(pub))[0]?.state, 'delivered');
});

for (const qos of [1, 2] as const) {
  t.test(`what was sent does not expire: it is sent again and delivered, QoS ${qos}`, async (t) => {
    const { broker, sub, pub } = await scene(t, qos, { expiry: 100 });
    await track(pub, 'a', { qos, properties: { messageExpiryInterval: 5 } });
    const sentAt = broker.clock.now();
    await sub.take();
    sub.cut();
    await broker.settleConnections(1);
    broker.clock.advance(6000);
    const back = await Peer.join(t, broker, 'sub', { expiry: 100 });
    t.equal((await back.take()).dup, true);
    const [delivered] = await deliveryOf(pub);
    t.same(told(delivered, 'sentAt'), { to: 'sub', state: 'delivered', reason: 0, qos, sentAt });
  });
}

t.test('receipt-id and user properties stay on what was queued and what is sent again, over a crash', async (t) => {
  const { broker, sub, pub } = await scene(t, 1, { expiry: 100, receiveMaximum: 1 });
  const ask = { receipt: 'delivered', z: '1', a: '2' };
  const sent = await track(pub, 'a', { ask });
  const waiting = await track(pub, 'a', { ask });
  t.same((await sub.take()).pairs, { ...ask, 'receipt-id': sent.id });
  await broker.crash();
  const back = await Peer.join(t, broker, 'sub', { expiry: 100 });
  const messages = [await back.take(), await back.take()];
  t.same(
    messages.map(({ dup, pairs }) => [dup, Object.entries(pairs)]),
    [sent, waiting].map(({ id }, at) => [at === 0, [...Object.entries(ask), ['receipt-id', id]]]),
  );
});

t.test('what makes a receipt or tally too large for its subscriber is left out, not the receipt', async (t) => {
  const { broker, sub } = await scene(t, 1);
  const names = Array.from({ length: 12 }, (_, at) => `device-${at}-${'x'.repeat(80)}`);
  for (const name of names) await away(t, broker, name, 'a', 0);
  const small = { expiry: 1000, maximumPacketSize: 500 };
  const pub = await Peer.join(t, broker, 'small', { ...small, receiveMaximum: 1, acknowledges: false });
  await pub.subscribe('$receipts/~/+/sub');
  await pub.subscribe('$receipts/~/+', { id: 3 });
  const { id } = await track(pub, 'a', { ask: { receipt: 'processed' } });
  const first = await pub.take();
  await sub.take();
  await sub.publish('$receipts/ack', { ask: { 'receipt-id': id }, payload: 'y'.repeat(600) });
  pub.acknowledges = true;
  pub.acknowledge(first);
  const [processed, final] = await untilFinal(pub);
  t.same(told(processed, 'answer', 'answerCut'), { to: 'sub', state: 'processed', reason: 0, qos: 1, answerCut: true });
  t.same([counts(final), final?.failures], ['13 1 0 0 12 0 final', undefined], 'out of the queue');
  const whole = await Peer.join(t, broker, 'small', { expiry: 1000 });
  await whole.subscribe('$receipts/~/+');
  t.equal(((await takeReceipt(whole)).failures as unknown[]).length, 12, 'they are in the record');
});

t.test('of a reason string 1024 characters are recorded, whole ones, and quotes do no harm', async (t) => {
  const { sub, pub } = await scene(t, 1);
  for (const [reason, expected] of [
    ['say "no"\n', 'say "no"\n'],
    ['x'.repeat(1025), 'x'.repeat(1024)],
    [`${'x'.repeat(1023)}🐟`, 'x'.repeat(1023)],
    [`${'x'.repeat(1022)}🐟`, `${'x'.repeat(1022)}🐟`],
  ] as const) {
    await track(pub, 'a');
    sub.acknowledge(await sub.take(), 0x80, reason);
    t.equal((await deliveryOf(pub))[0]?.reasonString, expected);
  }
});
