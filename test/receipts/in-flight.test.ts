import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { Peer, type PeerOptions } from '../helpers/peer.js';
import {
  counts,
  nothingMore,
  publisher,
  type Receipt,
  receiptOf,
  takeReceipt,
  track,
  untilFinal,
} from '../helpers/receipts.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

/** Flows that a reconnect finds open, and what they can no longer say. */

const lasting: PeerOptions = { expiry: 0xffffffff };

t.test(
  'a QoS 2 receipt in flight whose record was pruned gives its identifier back by PUBREL, not silently',
  async (t) => {
    const broker = await startTimedBroker(t, { receipts: { retention: 5 } });
    const pub = await Peer.join(t, broker, 'pub', { ...lasting, acknowledges: false });
    await pub.subscribe('$receipts/~/+', { qos: 2 });
    await track(pub, 'nobody');
    const held = await pub.take();
    pub.cut();
    await broker.settleConnections(0);
    for (let second = 0; second < 10; second++) broker.clock.advance(1000);
    t.equal(broker.rows('records'), 0);
    const back = await Peer.join(t, broker, 'pub', lasting);
    await back.expect('pubrel', held.packetId);
    await back.settle();
    await track(back, 'nobody');
    t.equal(counts(await takeReceipt(back)), '0 0 0 0 0 0 final', 'the next one comes, under whatever identifier');
    await back.settle();
    t.equal(broker.rows('deliveries'), 0);
  },
);

t.test('the same at QoS 1 ends without a word', async (t) => {
  const broker = await startTimedBroker(t, { receipts: { retention: 5 } });
  const pub = await Peer.join(t, broker, 'pub', { ...lasting, acknowledges: false });
  await pub.subscribe('$receipts/~/+', { qos: 1 });
  await track(pub, 'nobody');
  await pub.take();
  pub.cut();
  await broker.settleConnections(0);
  for (let second = 0; second < 10; second++) broker.clock.advance(1000);
  const back = await Peer.join(t, broker, 'pub', lasting);
  await nothingMore(back);
  t.equal(broker.rows('deliveries'), 0);
});

t.test(
  '[MQTT-4.3.3-4] a QoS 2 message too large for the new connection gives its identifier back by PUBREL',
  async (t) => {
    const broker = await startTimedBroker(t);
    const sub = await Peer.join(t, broker, 'sub', { expiry: 100, acknowledges: false });
    await sub.subscribe('a', { qos: 2 });
    const pub = await publisher(t, broker);
    await track(pub, 'a', { qos: 2, payload: 'x'.repeat(200) });
    const { packetId } = await sub.take();
    sub.cut();
    const back = await Peer.join(t, broker, 'sub', { expiry: 100, maximumPacketSize: 100 });
    await back.expect('pubrel', packetId);
    const [, receipt] = await untilFinal(pub);
    t.match(receipt, { state: 'dropped', cause: 'too-large', sentAt: Number });
    await back.settle();
    await track(pub, 'a', { qos: 2, payload: 'small' });
    t.equal((await back.take()).text, 'small');
    t.match((await untilFinal(pub))[1], { state: 'delivered' });
  },
);

for (const qos of [1, 2] as const) {
  t.test(
    `a replayed tally that the final one has overtaken: repeated as not final, "exactly one final", QoS ${qos}`,
    async (t) => {
      const broker = await startTimedBroker(t);
      const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
      await sub.subscribe('a');
      const first = await Peer.join(t, broker, 'pub', { ...lasting, acknowledges: false });
      await track(first, 'a');
      await first.subscribe('$receipts/~/+', { qos });
      t.equal(counts(receiptOf(await first.take())), '1 0 0 0 0 1');
      first.cut();
      await broker.settleConnections(1);
      sub.acknowledge(await sub.take());
      await sub.settle();
      const back = await Peer.join(t, broker, 'pub', lasting);
      const again = await back.take();
      t.same([again.dup, counts(receiptOf(again))], [true, '1 0 0 0 0 1']);
      t.equal(counts(await takeReceipt(back)), '1 0 1 0 0 0 final');
      await nothingMore(back);
    },
  );
}

t.test(
  'a queued receipt does not leave before its commit, though an acknowledgement makes room in the same turn',
  async (t) => {
    // Both acknowledgements arrive in one chunk each; what the second window gives must not overtake the store.
    const broker = await startTimedBroker(t);
    const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
    await sub.subscribe('a');
    const pub = await Peer.join(t, broker, 'pub', { ...lasting, receiveMaximum: 1, acknowledges: false });
    await pub.subscribe('$receipts/~/#');
    await track(pub, 'a');
    const first = await pub.take();
    sub.acknowledge(await sub.take());
    await sub.settle();
    pub.acknowledge(first);
    t.equal(receiptOf(await pub.take()).state, 'delivered');
    await broker.crash();
    const back = await Peer.join(t, broker, 'pub', lasting);
    const again = await back.take();
    t.same([again.dup, receiptOf(again).state], [true, 'delivered'], 'what was told is known after a crash');
    t.equal(counts(await takeReceipt(back)), '1 0 1 0 0 0 final');
  },
);

t.test('"with no gap and nothing twice": restarts of a broker on LMDB in mid-replay', async (t) => {
  const data = await temporaryDirectory(t);
  const options = { data, durability: 'committed' as const };
  let { broker, port } = await startBroker(t, options);
  const sub = await Peer.join(t, { port }, 'sub', lasting);
  await sub.subscribe('a');
  let pub = await Peer.join(t, { port }, 'pub', { ...lasting, receiveMaximum: 2, acknowledges: false });
  const ids: string[] = [];
  for (let at = 0; at < 120; at++) ids.push((await track(pub, 'a')).id);
  for (let at = 0; at < 120; at++) await sub.take();
  await sub.settle();
  await sub.leave();
  await pub.subscribe('$receipts/~/#', { qos: 2 });
  const whole: Receipt[] = [];
  for (let round = 0; round < 3; round++) {
    for (let at = 0; at < 20; at++) {
      const message = await pub.take();
      whole.push(receiptOf(message));
      pub.acknowledge(message);
      await pub.expect('pubrel', message.packetId);
      pub.send({ cmd: 'pubcomp', messageId: message.packetId });
    }
    await pub.settle();
    await broker.close();
    ({ broker, port } = await startBroker(t, options));
    const back = await Peer.join(t, { port }, 'sub', lasting);
    pub = await Peer.join(t, { port }, 'pub', { ...lasting, receiveMaximum: 2, acknowledges: false });
    t.ok(pub.sessionPresent && back.sessionPresent);
    ids.push((await track(pub, 'a')).id);
    await back.take();
    await back.settle();
    await back.leave();
  }
  pub.acknowledges = true;
  for (const message of pub.inbox) pub.acknowledge(message);
  while (whole.filter(({ final }) => final === true).length < ids.length) whole.push(await takeReceipt(pub));
  const names = whole.map(({ segments }) => segments.slice(1).join('/'));
  const deliveries = names.filter((name) => name.includes('/'));
  t.same(
    deliveries,
    ids.map((id) => `${id}/sub`),
  );
  const finals = whole.filter(({ final }) => final === true).map(({ id }) => id);
  t.same(finals, ids);
  await nothingMore(pub);
});
