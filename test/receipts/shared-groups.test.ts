import t, { type Test } from 'tap';
import { Peer, type PeerOptions } from '../helpers/peer.js';
import { counts, nothingMore, pick, publisher, type Receipt, track, untilFinal } from '../helpers/receipts.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';

const group = '$share/g/a';

async function member(t: Test, broker: TimedBroker, name: string, qos: 0 | 1 | 2, options: PeerOptions = {}) {
  const peer = await Peer.join(t, broker, name, { acknowledges: false, ...options });
  await peer.subscribe(group, { qos });
  return peer;
}

const told = (receipt: Receipt | undefined) =>
  receipt === undefined ? undefined : pick(receipt, 'to', 'group', 'state', 'cause', 'qos');

/** Receipts of the group's delivery. */
async function outcome(pub: Peer): Promise<Receipt[]> {
  return (await untilFinal(pub)).filter(({ isTally }) => !isTally);
}

t.test(
  '"a shared-subscription group is one recipient, whichever member serves it"; `to` names the member',
  async (t) => {
    const broker = await startTimedBroker(t);
    const members = [await member(t, broker, 'm1', 1), await member(t, broker, 'm2', 1)];
    const pub = await publisher(t, broker);
    for (const serving of members) {
      const { matched, id } = await track(pub, 'a');
      t.equal(matched, 1);
      serving.acknowledge(await serving.take());
      const [receipt] = await outcome(pub);
      t.same(told(receipt), { to: serving.clientId, group, state: 'delivered', qos: 1 });
      t.same(receipt?.segments, ['~', id, '%24%73%68%61re%2Fg%2Fa']);
    }
  },
);

t.test('a member with a subscription of its own is two recipients: by itself, and for the group', async (t) => {
  const broker = await startTimedBroker(t);
  const both = await member(t, broker, 'm1', 1, { acknowledges: true });
  await both.subscribe('a', { qos: 1 });
  const pub = await publisher(t, broker);
  const { id, matched } = await track(pub, 'a', { ask: { receipt: 'processed' } });
  t.equal(matched, 2);
  await both.take();
  await both.take();
  for (let copy = 0; copy < 2; copy++) {
    t.equal((await both.publish('$receipts/ack', { ask: { 'receipt-id': id } })).code, 0, 'each copy is acknowledged');
  }
  t.equal(counts((await untilFinal(pub)).at(-1)), '2 2 0 0 0 0 final');
});

for (const state of ['queued', 'sent'] as const) {
  t.test(
    `"When that member's session ends, a delivery not yet sent, or sent at QoS 1 …, moves": ${state}`,
    async (t) => {
      const broker = await startTimedBroker(t);
      const first = await member(t, broker, 'm1', 1, { receiveMaximum: 1 });
      const pub = await publisher(t, broker);
      await track(pub, 'a');
      if (state === 'queued') await track(pub, 'a');
      const blocked = await first.take();
      const second = await member(t, broker, 'm2', 1, { acknowledges: true });
      if (state === 'queued') first.acknowledge(blocked);
      if (state === 'queued') await outcome(pub);
      await first.leave();
      const message = await second.take();
      t.match(message.pairs, { 'receipt-id': /^.{13}$/ });
      t.same(
        (await outcome(pub)).map(told),
        [{ to: 'm2', group, state: 'delivered', qos: 1 }],
        'and nothing else is told',
      );
      await nothingMore(pub);
    },
  );
}

t.test('what waits for an offline member moves when its session expires, "and stays in its state"', async (t) => {
  const broker = await startTimedBroker(t);
  const off = await member(t, broker, 'm1', 1, { expiry: 10 });
  await off.leave();
  const pub = await publisher(t, broker);
  await track(pub, 'a');
  const second = await member(t, broker, 'm2', 1, { acknowledges: true });
  broker.clock.advance(10_000);
  await second.take();
  const receipts = await outcome(pub);
  t.same(
    receipts.map(({ state, to }) => [state, to]),
    [
      ['queued', 'm1'],
      ['delivered', 'm2'],
    ],
  );
});

for (const qos of [1, 2] as const) {
  t.test(`"with no member left it is lost", QoS ${qos}`, async (t) => {
    const broker = await startTimedBroker(t);
    const only = await member(t, broker, 'm1', qos, { receiveMaximum: 1 });
    const pub = await publisher(t, broker);
    await track(pub, 'a', { qos });
    await track(pub, 'a', { qos });
    await only.take();
    await only.leave();
    const all = [...(await outcome(pub)), ...(await outcome(pub))];
    const lost = { to: 'm1', group, state: 'lost', cause: 'disconnected', qos };
    t.same(all.map(told), [lost, lost]);
    t.same(
      all.map(({ sentAt }) => typeof sentAt),
      ['number', 'undefined'],
    );
  });

  t.test(`"A rejected one is never redispatched", QoS ${qos}`, async (t) => {
    const broker = await startTimedBroker(t);
    const first = await member(t, broker, 'm1', qos);
    const second = await member(t, broker, 'm2', qos);
    const pub = await publisher(t, broker);
    await track(pub, 'a', { qos });
    first.acknowledge(await first.take(), 0x87);
    t.same((await outcome(pub)).map(told), [{ to: 'm1', group, state: 'rejected', qos }]);
    await first.leave();
    await nothingMore(second, pub);
  });

  t.test(`an unsubscribed member still finishes what it has; its end moves it or loses it, QoS ${qos}`, async (t) => {
    const broker = await startTimedBroker(t);
    const first = await member(t, broker, 'm1', qos);
    const second = await member(t, broker, 'm2', qos, { acknowledges: true });
    const pub = await publisher(t, broker);
    await track(pub, 'a', { qos });
    const message = await first.take();
    await first.unsubscribe(group);
    await nothingMore(second);
    first.acknowledge(message);
    t.same((await outcome(pub)).map(told), [{ to: 'm1', group, state: 'delivered', qos }]);
  });
}

t.test(
  'what the application of a member has answered moves to no other, though the transport had not confirmed it',
  async (t) => {
    const broker = await startTimedBroker(t);
    const first = await member(t, broker, 'm1', 1);
    const second = await member(t, broker, 'm2', 1);
    const pub = await publisher(t, broker);
    const { id } = await track(pub, 'a', { ask: { receipt: 'processed' } });
    await first.take();
    await first.publish('$receipts/ack', { ask: { 'receipt-id': id } });
    await first.leave();
    t.same((await outcome(pub)).map(told), [{ to: 'm1', group, state: 'processed', qos: 1 }]);
    await nothingMore(second, pub);
  },
);

t.test('"one sent at QoS 2 is lost", although another member could take it', async (t) => {
  const broker = await startTimedBroker(t);
  const first = await member(t, broker, 'm1', 2);
  const second = await member(t, broker, 'm2', 2);
  const pub = await publisher(t, broker);
  await track(pub, 'a', { qos: 2 });
  await first.take();
  await first.leave();
  t.same((await outcome(pub)).map(told), [{ to: 'm1', group, state: 'lost', cause: 'disconnected', qos: 2 }]);
  await nothingMore(second);
});

t.test('a QoS 2 delivery that its member owns is not lost with the member', async (t) => {
  const broker = await startTimedBroker(t);
  const first = await member(t, broker, 'm1', 2);
  await member(t, broker, 'm2', 2);
  const pub = await publisher(t, broker);
  await track(pub, 'a', { qos: 2 });
  first.acknowledge(await first.take());
  t.same((await outcome(pub)).map(told), [{ to: 'm1', group, state: 'delivered', qos: 2 }]);
  await first.expect('pubrel');
  await first.leave();
  await nothingMore(pub);
});

t.test('QoS 0 to a group of which nobody is connected is dropped: offline', async (t) => {
  const broker = await startTimedBroker(t);
  const off = await member(t, broker, 'm1', 0, { expiry: 10 });
  await off.leave();
  const pub = await publisher(t, broker);
  const { matched } = await track(pub, 'a');
  t.equal(matched, 1);
  const receipts = await untilFinal(pub);
  t.match(receipts[1], { group, state: 'dropped', cause: 'offline' });
  t.equal(counts(receipts.at(-1)), '1 0 0 0 1 0 final');
});

t.test('after a restart of the broker a durable member goes on, and its end moves the delivery', async (t) => {
  const broker = await startTimedBroker(t);
  const first = await member(t, broker, 'm1', 1, { expiry: 10 });
  const second = await member(t, broker, 'm2', 1, { expiry: 1000 });
  const pub = await publisher(t, broker);
  await track(pub, 'a');
  await first.take();
  await second.leave();
  await broker.crash();
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  broker.clock.advance(10_000);
  const taker = await Peer.join(t, broker, 'm2', { expiry: 1000 });
  t.equal((await taker.take()).topic, 'a');
  t.match((await outcome(back)).at(-1), { to: 'm2', state: 'delivered' });
});

t.test('a group whose member ended with the broker itself: others that are restored take over', async (t) => {
  // The member that resumed without an expiry ends at the start, while sessions behind it are still being read.
  const broker = await startTimedBroker(t);
  const first = await member(t, broker, 'm1', 1, { expiry: 1000 });
  const second = await member(t, broker, 'm2', 1, { expiry: 1000 });
  await second.leave();
  first.cut();
  await broker.settleConnections(0);
  const ending = await Peer.join(t, broker, 'm1', { cleanStart: false, acknowledges: false });
  t.ok(ending.sessionPresent);
  const pub = await publisher(t, broker);
  await track(pub, 'a');
  await ending.take();
  await broker.crash();
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  const taker = await Peer.join(t, broker, 'm2', { expiry: 1000 });
  t.equal((await taker.take()).topic, 'a');
  t.match((await outcome(back)).at(-1), { to: 'm2', state: 'delivered' });
});

t.test('"a delivery not yet sent … moves to another member", at QoS 2 as well; what was sent is lost', async (t) => {
  const broker = await startTimedBroker(t);
  const first = await member(t, broker, 'm1', 2, { receiveMaximum: 1 });
  const pub = await publisher(t, broker);
  const sent = await track(pub, 'a', { qos: 2 });
  const waiting = await track(pub, 'a', { qos: 2 });
  await first.take();
  const second = await member(t, broker, 'm2', 2, { acknowledges: true });
  await first.leave();
  t.equal((await second.take()).pairs['receipt-id'], waiting.id);
  const all = [...(await outcome(pub)), ...(await outcome(pub))];
  const lost = { to: 'm1', group, state: 'lost', cause: 'disconnected', qos: 2 };
  const delivered = { to: 'm2', group, state: 'delivered', qos: 2 };
  t.same(new Map(all.map((receipt) => [receipt.id, told(receipt)])), new Map([
    [sent.id, lost],
    [waiting.id, delivered],
  ])); // biome-ignore format: two
  await nothingMore(second, pub);
});

t.test('what a member that is not stored has is lost with the broker, though another could take it', async (t) => {
  for (const qos of [1, 2] as const) {
    const broker = await startTimedBroker(t);
    const first = await member(t, broker, 'm1', qos);
    const pub = await publisher(t, broker);
    await track(pub, 'a', { qos });
    await first.take();
    const second = await member(t, broker, 'm2', qos, { expiry: 1000 });
    await second.leave();
    await broker.crash();
    const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
    const taker = await Peer.join(t, broker, 'm2', { expiry: 1000 });
    t.same((await outcome(back)).map(told), [{ to: 'm1', group, state: 'lost', cause: 'broker-restart', qos }]);
    await nothingMore(taker, back);
  }
});
