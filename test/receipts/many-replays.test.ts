import type { ISubackPacket } from 'mqtt-packet';
import t from 'tap';
import { Peer } from '../helpers/peer.js';
import { nothingMore, takeReceipt, track } from '../helpers/receipts.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

/** Subscriptions to receipts by the hundred: each could have all records gone through. */

const records = 120;

/** The codes of one SUBSCRIBE for many filters. */
async function subscribe(peer: Peer, filters: readonly string[], rh: 0 | 2 = 0): Promise<number[]> {
  const subscriptions = filters.map((topic) => ({ topic, qos: 1 as const, nl: false, rap: false, rh }));
  peer.send({ cmd: 'subscribe', messageId: 900, subscriptions });
  const { granted } = (await peer.expect('suback', 900)) as ISubackPacket;
  return granted as number[];
}

const numbered = (count: number, name: (at: number) => string) => Array.from({ length: count }, (_, at) => name(at));

t.test('a session may have 100 replays of many messages under way, more are refused with 0x97', async (t) => {
  const broker = await startTimedBroker(t);
  const pub = await Peer.join(t, broker, 'pub', { receiveMaximum: 1, acknowledges: false });
  const ids: string[] = [];
  for (let at = 0; at < records; at++) ids.push((await track(pub, 'nobody')).id);
  await pub.subscribe('$receipts/~/+');
  await pub.take();
  const filters = numbered(250, (at) => `$receipts/~/+/device-${at}`);
  const expected = filters.map((_, at) => (at < 99 ? 1 : 0x97));
  t.same(await subscribe(pub, filters), expected, 'one was under way');
  t.same(await subscribe(pub, filters, 2), filters.map(() => 1), 'without replays as many as one likes');
  const single = ids.map((id) => `$receipts/~/${id}`);
  t.same(await subscribe(pub, single), single.map(() => 1), 'nor does it matter for those that name a message');
  const live = numbered(150, (at) => `$share/g${at}/$receipts/~/+`);
  t.same(await subscribe(pub, live), live.map(() => 0x87));
}); // biome-ignore format: short

t.test('one replay follows the other, whole; when they are done there is room for more', async (t) => {
  const broker = await startTimedBroker(t);
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('a');
  const pub = await Peer.join(t, broker, 'pub', { expiry: 100 });
  for (let at = 0; at < 20; at++) await track(pub, 'a');
  const nobody = numbered(100, (at) => `$receipts/~/+/device-${at}`);
  for (let round = 0; round < 2; round++) {
    await subscribe(pub, ['$receipts/~/+/+', '$receipts/~/+', ...nobody.slice(2)]);
    const told = [];
    for (let at = 0; at < 40; at++) told.push((await takeReceipt(pub)).isTally);
    t.equal(told.filter((isTally) => isTally).length, 20);
    await nothingMore(pub);
  }
  t.equal(broker.rows('replays'), 0);
});

t.test('a SUBSCRIBE that begins many replays has few records looked at in its turn', async (t) => {
  const broker = await startTimedBroker(t);
  const pub = await Peer.join(t, broker, 'pub');
  for (let at = 0; at < records; at++) await track(pub, 'nobody');
  const { turns, records: store } = broker.context;
  const looked = new Map<number, number>();
  const find = store.find.bind(store);
  store.find = (publisherKey, sequence) => {
    looked.set(turns.number, (looked.get(turns.number) ?? 0) + 1);
    return find(publisherKey, sequence);
  };
  await subscribe(
    pub,
    numbered(100, (at) => `$receipts/~/+/device-${at}`),
  );
  const sum = () => [...looked.values()].reduce((all, one) => all + one, 0);
  while (sum() < 100 * records) await pub.settle();
  t.ok(looked.size > 10 && Math.max(...looked.values()) < 20 * records, `${[...looked.values()]}`);
});
