import t, { type Test } from 'tap';
import { Peer, type PeerOptions } from '../helpers/peer.js';
import { publisher, type Receipt, takeReceipt, track } from '../helpers/receipts.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';

/** Correlation Data that many messages have: which of them an acknowledgement means, and what it costs to find it. */

const properties = { correlationData: Buffer.from('always the same') };
const ask = { receipt: 'processed' };

async function subscriber(t: Test, broker: TimedBroker, clientId: string, filter: string, options: PeerOptions = {}) {
  const peer = await Peer.join(t, broker, clientId, { expiry: 1000, ...options });
  await peer.subscribe(filter);
  return peer;
}

/** The code that the acknowledgement is answered with. */
async function answer(peer: Peer): Promise<number> {
  return (await peer.publish('$receipts/ack/pub', { properties })).code;
}

/** The next receipt that tells of an application's word. */
async function nextProcessed(pub: Peer): Promise<Receipt> {
  for (;;) {
    const receipt = await takeReceipt(pub);
    if (receipt.state === 'processed') return receipt;
  }
}

t.test('each recipient of the same messages answers them in their order, whatever others have answered', async (t) => {
  const broker = await startTimedBroker(t);
  const one = await subscriber(t, broker, 'one', 'a');
  const two = await subscriber(t, broker, 'two', 'a');
  const pub = await publisher(t, broker);
  const ids: string[] = [];
  for (let at = 0; at < 4; at++) ids.push((await track(pub, 'a', { ask, properties })).id);
  for (const peer of [one, two]) for (let at = 0; at < 4; at++) await peer.take();
  const told: unknown[] = [];
  for (const peer of [one, one, one, two, one, two, two, two]) {
    t.equal(await answer(peer), 0);
    const { id, to } = await nextProcessed(pub);
    told.push([to, ids.indexOf(id)]);
  }
  t.same(told, [
    ...[['one', 0], ['one', 1], ['one', 2], ['two', 0]],
    ...[['one', 3], ['two', 1], ['two', 2], ['two', 3]],
  ]); // biome-ignore format: two lines
  t.same([await answer(one), await answer(two)], [0, 0], 'repeats');
  await broker.crash();
  const back = await Peer.join(t, broker, 'two', { expiry: 1000 });
  t.equal(await answer(back), 0, 'a repeat after a crash too');
  t.equal(await answer(await Peer.join(t, broker, 'three')), 0x10);
});

t.test(
  'what was passed over while it waited in a queue, or with another member of a group, is found later',
  async (t) => {
    const broker = await startTimedBroker(t);
    const one = await subscriber(t, broker, 'one', 'a', { receiveMaximum: 1, acknowledges: false });
    const first = await subscriber(t, broker, 'first', '$share/g/b', { expiry: 0, acknowledges: false });
    const pub = await publisher(t, broker);
    const shared = await track(pub, 'b', { ask, properties });
    await first.take();
    const [sent, waiting] = [await track(pub, 'a', { ask, properties }), await track(pub, 'a', { ask, properties })];
    const message = await one.take();
    await one.subscribe('$share/g/b');
    t.equal(await answer(one), 0);
    t.equal((await nextProcessed(pub)).id, sent.id);
    t.equal(await answer(one), 0, 'a repeat: nothing else has been sent to it');
    one.acknowledges = true;
    one.acknowledge(message);
    t.equal((await one.take()).pairs['receipt-id'], waiting.id);
    t.equal(await answer(one), 0);
    t.equal((await nextProcessed(pub)).id, waiting.id);
    await first.leave();
    t.equal((await one.take()).pairs['receipt-id'], shared.id, 'older than what it has answered');
    t.equal(await answer(one), 0);
    t.match(await nextProcessed(pub), { id: shared.id, to: 'one' });
  },
);

t.test('an acknowledgement looks at few messages, however many have been answered or wait for others', async (t) => {
  const broker = await startTimedBroker(t);
  await (await subscriber(t, broker, 'away', 'a')).leave();
  const sub = await subscriber(t, broker, 'sub', 'a');
  const pub = await Peer.join(t, broker, 'pub');
  const count = 150;
  for (let at = 0; at < count; at++) await track(pub, 'a', { ask, properties });
  let looked = 0;
  const { records } = broker.context;
  const find = records.find.bind(records);
  records.find = (publisherKey, sequence) => {
    looked++;
    return find(publisherKey, sequence);
  };
  for (let at = 0; at < count; at++) t.equal(await answer(sub), 0);
  t.ok(looked < 20 * count, `${looked} records for ${count} acknowledgements`);
});
