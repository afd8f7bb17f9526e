import t, { type Test } from 'tap';
import { ack, publish } from '../helpers/packets.js';
import { Peer, type PeerOptions, type PublishOptions } from '../helpers/peer.js';
import { counts, nothingMore, takeReceipt } from '../helpers/receipts.js';
import { join } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

const held: PublishOptions = { ask: { receipt: 'delivered', 'receipt-hold': 'true' } };

function holding(receipt: string, deadline?: number): PublishOptions {
  const more = deadline === undefined ? {} : { 'receipt-deadline': String(deadline) };
  return { ask: { receipt, 'receipt-hold': 'true', ...more } };
}

async function scene(t: Test, names: readonly string[], options: PeerOptions = {}, settings = {}) {
  const broker = await startTimedBroker(t, settings);
  const subs = [];
  for (const name of names) {
    const sub = await Peer.join(t, broker, name, { acknowledges: false });
    await sub.subscribe('a', { qos: 1 });
    subs.push(sub);
  }
  const pub = await Peer.join(t, broker, 'pub', { expiry: 1000, ...options });
  return { broker, subs, pub };
}

async function acknowledge(sub: Peer | undefined, code = 0): Promise<void> {
  if (sub === undefined) throw new Error('no such subscriber');
  sub.acknowledge(await sub.take(), code);
  await sub.settle();
}

const receiptPairs = (id: string, matched: number, delivered: number, failed: number, pending: number) => ({
  'receipt-id': id,
  'receipt-matched': String(matched),
  'receipt-delivered': String(delivered),
  'receipt-failed': String(failed),
  'receipt-pending': String(pending),
});

t.test(
  '"the PUBACK itself is the answer: it is held until the final tally", 0x00 if the message succeeded',
  async (t) => {
    const { subs, pub } = await scene(t, ['s1', 's2']);
    const packetId = pub.send1('a', held);
    await acknowledge(subs[0]);
    await nothingMore(pub);
    t.notOk(pub.has('puback', packetId));
    await acknowledge(subs[1]);
    const { code, reason, pairs, id } = await pub.answer(packetId);
    t.same([code, reason, pairs], [0, 'delivered to 2 of 2', receiptPairs(id, 2, 2, 0, 0)]);
  },
);

t.test('"0x10 if the cohort was empty", at once', async (t) => {
  const { pub } = await scene(t, []);
  const { code, reason, pairs, id } = await pub.publish('a', held);
  t.same([code, reason, pairs], [0x10, 'delivered to 0 of 0', receiptPairs(id, 0, 0, 0, 0)]);
});

t.test('"else 0x83, with reason string (`delivered to 2 of 3`)"', async (t) => {
  const { subs, pub } = await scene(t, ['s1', 's2', 's3']);
  const packetId = pub.send1('a', held);
  await acknowledge(subs[0]);
  await acknowledge(subs[1], 0x80);
  await acknowledge(subs[2]);
  const { code, reason, pairs, id } = await pub.answer(packetId);
  t.same([code, reason, pairs], [0x83, 'delivered to 2 of 3', receiptPairs(id, 3, 2, 1, 0)]);
});

t.test('"or the deadline (default 30 s …)"', async (t) => {
  const { broker, pub } = await scene(t, ['s1']);
  const packetId = pub.send1('a', held);
  await pub.settle();
  broker.clock.advance(29_999);
  await pub.settle();
  t.notOk(pub.has('puback', packetId));
  broker.clock.advance(1);
  const { code, reason, pairs, id } = await pub.answer(packetId);
  t.same([code, reason, pairs], [0x83, 'delivered to 0 of 1', receiptPairs(id, 1, 0, 0, 1)]);
});

t.test(
  'receipt-deadline is the deadline of a hold, "at most receipts.maxHold", and the overdue tally is sent',
  async (t) => {
    const { broker, pub } = await scene(t, ['s1'], {}, { receipts: { maxHold: 50 } });
    await pub.subscribe('$receipts/~/+');
    const short = pub.send1('a', holding('delivered', 5));
    const long = pub.send1('a', holding('delivered', 60));
    await pub.settle();
    t.same([counts(await takeReceipt(pub)), counts(await takeReceipt(pub))], ['1 0 0 0 0 1', '1 0 0 0 0 1']);
    broker.clock.advance(5000);
    t.equal((await pub.answer(short)).code, 0x83);
    t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1 overdue');
    broker.clock.advance(44_999);
    await pub.settle();
    t.notOk(pub.has('puback', long));
    broker.clock.advance(1);
    t.equal((await pub.answer(long)).code, 0x83, 'after 50 s, not 60');
    broker.clock.advance(10_000);
    t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1 overdue');
  },
);

t.test('with "processed" the hold waits for the application', async (t) => {
  const { subs, pub } = await scene(t, ['s1']);
  const packetId = pub.send1('a', holding('processed'));
  const [sub] = subs as [Peer];
  const message = await sub.take();
  sub.acknowledge(message);
  await nothingMore(pub, sub);
  t.notOk(pub.has('puback', packetId));
  await sub.publish('$receipts/ack', { ask: { 'receipt-id': message.pairs['receipt-id'] ?? '' } });
  const { code, reason, pairs, id } = await pub.answer(packetId);
  t.same([code, reason, pairs], [0, 'processed by 1 of 1', receiptPairs(id, 1, 1, 0, 0)]);
});

t.test('QoS 0 recipients leave it unconfirmed: `sent` is no success', async (t) => {
  const { broker, pub } = await scene(t, []);
  await (await Peer.join(t, broker, 's0')).subscribe('a', { qos: 0 });
  const { code, reason } = await pub.publish('a', held);
  t.same([code, reason], [0x83, 'delivered to 0 of 1']);
});

t.test('the answer leaves out what the client does not take', async (t) => {
  const { subs, pub } = await scene(t, ['s1'], { problemInformation: false });
  const packetId = pub.send1('a', held);
  await acknowledge(subs[0]);
  t.same(await pub.answer(packetId), { code: 0, reason: undefined, pairs: {}, id: '', matched: -1 });
});

t.test('"after a reconnect it is answered in reply to the client\'s resend (same id, DUP, same topic)"', async (t) => {
  const { broker, subs, pub } = await scene(t, ['s1', 's2']);
  const packetId = pub.send1('a', held);
  await acknowledge(subs[0]);
  pub.cut();
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  back.send1('a', { ...held, packetId, dup: true });
  await nothingMore(back);
  t.notOk(back.has('puback', packetId), 'still held');
  await acknowledge(subs[1]);
  const { code, matched } = await back.answer(packetId);
  t.same([code, matched], [0, 2]);
  t.equal(broker.context.records.size, 1, 'the resend was no new message');
});

t.test('what ended while the publisher was away is answered at once to its resend', async (t) => {
  const { broker, subs, pub } = await scene(t, ['s1']);
  const packetId = pub.send1('a', held);
  await pub.settle();
  pub.cut();
  await broker.settleConnections(1);
  await acknowledge(subs[0]);
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  await nothingMore(back);
  t.notOk(back.has('puback'), 'not unasked: the client will send again');
  t.equal((await back.publish('a', { ...held, packetId, dup: true })).code, 0);
  await nothingMore(subs[0] as Peer);
});

t.test('a deadline that passes while the publisher is away is answered to its resend', async (t) => {
  const { broker, pub } = await scene(t, ['s1']);
  const packetId = pub.send1('a', held);
  await pub.settle();
  pub.cut();
  await broker.settleConnections(1);
  broker.clock.advance(40_000);
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  t.equal((await back.publish('a', { ...held, packetId, dup: true })).code, 0x83);
});

t.test('"The hold is stored with the session: it survives a restart"', async (t) => {
  const { broker, pub } = await scene(t, []);
  const sub = await Peer.join(t, broker, 's1', { expiry: 1000, acknowledges: false });
  await sub.subscribe('a');
  const packetId = pub.send1('a', holding('delivered', 3600));
  await sub.take();
  await broker.crash();
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  back.send1('a', { ...held, packetId, dup: true });
  await nothingMore(back);
  t.notOk(back.has('puback', packetId));
  const subBack = await Peer.join(t, broker, 's1', { expiry: 1000 });
  await subBack.take();
  t.equal((await back.answer(packetId)).code, 0);
  t.equal(broker.context.records.size, 1);
  await nothingMore(subBack);
});

t.test('its deadline survives too, "at most receipts.maxHold"', async (t) => {
  const { broker, pub } = await scene(t, []);
  await (await Peer.join(t, broker, 's1', { expiry: 1e6, acknowledges: false })).subscribe('a');
  const packetId = pub.send1('a', holding('delivered', 3600));
  await pub.settle();
  broker.clock.advance(100_000);
  await broker.crash();
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  back.send1('a', { ...held, packetId, dup: true });
  await back.settle();
  broker.clock.advance(199_999);
  await back.settle();
  t.notOk(back.has('puback', packetId));
  broker.clock.advance(1);
  t.equal((await back.answer(packetId)).code, 0x83);
});

t.test('a hold whose record has been pruned is answered 0x83: its resend is still no new message', async (t) => {
  for (const restarts of [true, false]) {
    const { broker, pub } = await scene(t, [], { expiry: 1e6 }, { receipts: { retention: 5 } });
    const sub = await Peer.join(t, broker, 's1', { expiry: 1e6, acknowledges: false });
    await sub.subscribe('a');
    const packetId = pub.send1('a', held);
    const message = await sub.take();
    pub.cut();
    await broker.settleConnections(1);
    sub.acknowledge(message);
    await sub.settle();
    broker.clock.advance(10_000);
    t.equal(broker.context.records.size, 0);
    if (restarts) await broker.crash();
    const back = await Peer.join(t, broker, 'pub', { expiry: 1e6 });
    t.equal((await back.publish('a', { ...held, packetId, dup: true })).code, 0x83);
    t.equal(broker.context.records.size, 0);
    t.equal(broker.rows('inbound'), 0);
  }
});

t.test('"anything else with that id is a new message and ends the hold"', async (t) => {
  const others: readonly [string, string, PublishOptions][] = [
    ['without DUP', 'a', held],
    ['another topic', 'b', { ...held, dup: true }],
    ['not held', 'b', { dup: true }],
    ['QoS 2', 'b', { qos: 2 }],
  ];
  for (const [what, topic, options] of others) {
    const { broker, subs, pub } = await scene(t, ['s1']);
    const packetId = pub.send1('a', held);
    await pub.settle();
    pub.cut();
    await broker.settleConnections(1);
    const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
    back.send1(topic, { ...options, packetId });
    if (topic === 'b') t.ok((await back.answer(packetId)).code < 0x80, what);
    await acknowledge(subs[0]);
    if (topic === 'a') {
      await nothingMore(back);
      t.notOk(back.has('puback', packetId), `${what}: a new hold, which waits for its own message`);
      await acknowledge(subs[0]);
      t.equal((await back.answer(packetId)).code, 0);
    }
    await back.settle();
    t.notOk(back.has('puback', packetId), `${what}: the first is not answered`);
  }
});

t.test('the same identifier again on the same connection ends the hold and gives its quota back', async (t) => {
  const { subs, pub } = await scene(t, ['s1'], {}, { receiveMaximum: 2 });
  for (let round = 0; round < 5; round++) pub.send1('a', { ...held, packetId: 7 });
  for (let round = 0; round < 4; round++) await acknowledge(subs[0]);
  t.notOk(pub.has('puback'));
  await acknowledge(subs[0]);
  t.equal((await pub.answer(7)).code, 0);
  t.equal(pub.disconnectCode, null);
});

t.test('"A held publish counts against the broker\'s Receive Maximum"', async (t) => {
  const { subs, pub } = await scene(t, ['s1'], {}, { receiveMaximum: 2 });
  const ids = [pub.send1('a', held), pub.send1('a', held)];
  await acknowledge(subs[0]);
  t.equal((await pub.answer(ids[0] ?? 0)).code, 0);
  pub.send1('b', held);
  await pub.settle();
  t.equal(pub.disconnectCode, null, 'one was answered, so there is room');
  pub.send1('a', held);
  pub.send1('a', held);
  await pub.closed();
  t.equal(pub.disconnectCode, 0x93);
});

t.test('"A publisher whose session ends drops its holds; tracking goes on"', async (t) => {
  const { broker, subs, pub } = await scene(t, ['s1']);
  const packetId = pub.send1('a', held);
  await pub.settle();
  await pub.leave(0);
  const fresh = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  t.notOk(fresh.sessionPresent);
  await acknowledge(subs[0]);
  await fresh.subscribe('$receipts/~/+');
  t.equal(counts(await takeReceipt(fresh)), '1 0 1 0 0 0 final');
  fresh.send1('nobody', { ...held, packetId, dup: true });
  t.equal((await fresh.answer(packetId)).code, 0x10, 'a new message');
});

t.test('a client that comes back with MQTT 3.1.1 is answered as that has it: four bytes', async (t) => {
  const { broker, subs, pub } = await scene(t, ['s1']);
  const packetId = pub.send1('a', held);
  await pub.settle();
  pub.cut();
  const back = await join(t, broker, { version: 4, clientId: 'pub', cleanStart: false }, true);
  back.send(publish({ version: 4, topic: 'a', qos: 1, dup: true, packetId }));
  await acknowledge(subs[0], 0x80);
  await back.expect(ack('puback', packetId));
});
