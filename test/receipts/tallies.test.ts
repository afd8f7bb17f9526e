import t, { type Test } from 'tap';
import { Peer } from '../helpers/peer.js';
import {
  away,
  counts,
  nothingMore,
  publisher,
  type Receipt,
  takeReceipt,
  track,
  untilFinal,
} from '../helpers/receipts.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';

async function subscribers(
  t: Test,
  broker: TimedBroker,
  names: readonly string[],
  qos: 0 | 1 | 2 = 1,
): Promise<Peer[]> {
  const peers: Peer[] = [];
  for (const name of names) {
    const peer = await Peer.join(t, broker, name, { acknowledges: false });
    await peer.subscribe('a', { qos });
    peers.push(peer);
  }
  return peers;
}

function adds(tally: Receipt): boolean {
  const { matched, processed, delivered, sent, failed, pending } = tally as unknown as Record<string, number>;
  return matched === processed + delivered + sent + failed + pending;
}

t.test(
  '"matched = processed + delivered + sent + failed + pending, always", every outcome under its own count',
  async (t) => {
    const broker = await startTimedBroker(t);
    const [one, two, three] = (await subscribers(t, broker, ['one', 'two', 'three'])) as [Peer, Peer, Peer];
    await subscribers(t, broker, ['zero'], 0);
    const old = await Peer.join(t, broker, 'old', { version: 4 });
    await old.subscribe('a', { qos: 1 });
    await away(t, broker, 'off', 'a', 0);
    const pub = await publisher(t, broker);
    const { id } = await track(pub, 'a', { ask: { receipt: 'processed', 'receipt-deadline': '9' } });
    one.acknowledge(await one.take());
    await one.publish('$receipts/ack', { ask: { 'receipt-id': id } });
    two.acknowledge(await two.take(), 0x97);
    await two.settle();
    await old.settle();
    broker.clock.advance(9000);
    await three.leave();
    const tallies: Receipt[] = [];
    const seen: Receipt[] = [];
    for (let at = 0; at < 8; at++) {
      const receipt = await takeReceipt(pub);
      (receipt.isTally ? tallies : seen).push(receipt);
    }
    t.same(tallies.map(counts), ['6 0 0 0 0 6', '6 1 1 0 2 2 overdue']);
    t.ok(tallies.every(adds));
    const states = seen.map(({ to, state }) => `${to} ${state}`).sort();
    t.same(states, ['off dropped', 'old delivered', 'one delivered', 'one processed', 'two rejected', 'zero sent']);
    t.match(await takeReceipt(pub), { to: 'three', state: 'lost' });
    await nothingMore(pub);
    t.equal(broker.context.records.size, 1);
  },
);

t.test(
  '"Of each message there is a first tally …. The first comes before every receipt … and the final one after all"',
  async (t) => {
    const broker = await startTimedBroker(t);
    await subscribers(t, broker, ['z1', 'z2'], 0);
    await away(t, broker, 'off', 'a', 1);
    await away(t, broker, 'gone', 'a', 0);
    const [one] = (await subscribers(t, broker, ['one'])) as [Peer];
    const pub = await publisher(t, broker);
    await track(pub, 'a');
    one.acknowledge(await one.take());
    await (await Peer.join(t, broker, 'off', { expiry: 10 })).take();
    const all = await untilFinal(pub);
    t.equal(counts(all[0]), '5 0 0 0 0 5');
    t.equal(all.filter(({ isTally }) => isTally).length, 2, '"exactly one with final: true"');
    t.equal(counts(all.at(-1)), '5 0 2 2 1 0 final');
    t.same(all.at(-1)?.failures, [{ to: 'gone', state: 'dropped', reason: 0, cause: 'offline' }]);
    await nothingMore(pub);
  },
);

t.test(
  'a message of which every delivery ends at once has its final tally in the same turn, after its receipts',
  async (t) => {
    const broker = await startTimedBroker(t);
    await subscribers(t, broker, ['z1', 'z2'], 0);
    const pub = await publisher(t, broker);
    await track(pub, 'a');
    const all = await untilFinal(pub);
    t.same(
      all.map((one) => (one.isTally ? counts(one) : one.state)),
      ['2 0 0 0 0 2', 'sent', 'sent', '2 0 0 2 0 0 final'],
    );
  },
);

t.test(
  '"one with overdue: true at the deadline if it passes first", after a restart too; none if all ended before',
  async (t) => {
    const broker = await startTimedBroker(t);
    await away(t, broker, 'off', 'a', 1);
    const [one] = (await subscribers(t, broker, ['one'])) as [Peer];
    const pub = await publisher(t, broker, 'pub', '$receipts/~/+');
    const acceptedAt = broker.clock.now();
    await track(pub, 'a', { ask: { 'receipt-deadline': '10' } });
    await pub.publish('nobody', { ask: { receipt: 'delivered', 'receipt-deadline': '10' } });
    t.same([counts(await takeReceipt(pub)), counts(await takeReceipt(pub))], ['2 0 0 0 0 2', '0 0 0 0 0 0 final']);
    one.acknowledge(await one.take());
    await one.settle();
    await pub.settle();
    await broker.crash();
    broker.clock.advance(9_999);
    const back = await Peer.join(t, broker, 'pub', { expiry: 100 });
    await nothingMore(back);
    broker.clock.advance(1);
    const overdue = await takeReceipt(back);
    t.equal(counts(overdue), '2 0 1 0 0 1 overdue');
    t.equal(overdue.at, acceptedAt + 10_000);
    await (await Peer.join(t, broker, 'off', { expiry: 10 })).take();
    t.equal(counts(await takeReceipt(back)), '2 0 2 0 0 0 final');
    await nothingMore(back);
  },
);

t.test('a deadline that passed while the broker was down is told at its start', async (t) => {
  const broker = await startTimedBroker(t);
  await away(t, broker, 'off', 'a', 1);
  const pub = await publisher(t, broker, 'pub', '$receipts/~/+');
  await track(pub, 'a', { ask: { 'receipt-deadline': '10' } });
  await takeReceipt(pub);
  await pub.settle();
  await broker.stop();
  broker.clock.advance(60_000);
  await broker.start();
  broker.clock.advance(1);
  const back = await Peer.join(t, broker, 'pub', { expiry: 100 });
  t.equal(counts(await takeReceipt(back)), '1 0 0 0 0 1 overdue');
});

t.test('"failures has at most 100 entries and 16 KiB"', async (t) => {
  const broker = await startTimedBroker(t);
  const pub = await publisher(t, broker, 'pub', '$receipts/~/+');
  const names = Array.from({ length: 120 }, (_, at) => `f${String(at).padStart(3, '0')}`);
  for (const name of names) await away(t, broker, name, 'many', 0);
  await track(pub, 'many');
  const many = (await untilFinal(pub)).at(-1);
  t.equal(counts(many), '120 0 0 0 120 0 final');
  t.ok(Array.isArray(many?.failures) && many.failures.length === 100, '100 of 120');
  for (let at = 0; at < 30; at++) await away(t, broker, `${String(at).padStart(2, '0')}${'"'.repeat(900)}`, 'long', 0);
  await track(pub, 'long');
  const long = (await untilFinal(pub)).at(-1);
  t.equal(counts(long), '30 0 0 0 30 0 final');
  const bytes = Buffer.byteLength(JSON.stringify(long?.failures));
  t.ok(bytes <= 16 * 1024 && bytes > 12 * 1024, `${bytes} bytes`);
});

t.test(
  '"a message with 100 000 recipients costs a subscriber of $receipts/~/+ two packets": a cohort beyond one row',
  async (t) => {
    const broker = await startTimedBroker(t);
    const peers = await subscribers(
      t,
      broker,
      Array.from({ length: 40 }, (_, at) => `s${at}`),
    );
    const pub = await publisher(t, broker, 'pub', '$receipts/~/+');
    await track(pub, 'a');
    for (const peer of peers) peer.acknowledge(await peer.take());
    t.same((await untilFinal(pub)).map(counts), ['40 0 0 0 0 40', '40 0 40 0 0 0 final']);
    await nothingMore(pub, ...peers);
  },
);

t.test(
  '"A publisher … gets receipts queued while it is away", at QoS 2 exactly once, in order, after a restart too',
  async (t) => {
    for (const qos of [1, 2] as const) {
      const broker = await startTimedBroker(t);
      const [one] = (await subscribers(t, broker, ['one'])) as [Peer];
      const pub = await Peer.join(t, broker, 'pub', { expiry: 1000 });
      await pub.subscribe('$receipts/~/#', { qos });
      const ids = [];
      for (let at = 0; at < 3; at++) ids.push((await track(pub, 'a')).id);
      await pub.settle();
      await pub.leave();
      for (let at = 0; at < 3; at++) one.acknowledge(await one.take());
      await one.settle();
      await broker.crash();
      const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
      const all: Receipt[] = [];
      while (all.filter(({ final }) => final).length < 3) all.push(await takeReceipt(back));
      const told = all.filter(({ pending }) => pending !== 1).map(({ segments }) => segments.slice(1).join('/'));
      t.same(
        told,
        ids.flatMap((id) => [`${id}/one`, id]),
      );
      await nothingMore(back);
    }
  },
);

t.test('a subscription at QoS 0 gets what comes while it is connected only', async (t) => {
  const broker = await startTimedBroker(t);
  const [one] = (await subscribers(t, broker, ['one'])) as [Peer];
  const pub = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  await pub.subscribe('$receipts/~/#', { qos: 0 });
  await track(pub, 'a');
  await takeReceipt(pub);
  await pub.leave();
  one.acknowledge(await one.take());
  await one.settle();
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  await nothingMore(back);
});
