import t, { type Test } from 'tap';
import { Peer } from '../helpers/peer.js';
import {
  away,
  counts,
  publisher,
  type Receipt,
  receiptOf,
  takeReceipt,
  track,
  untilFinal,
} from '../helpers/receipts.js';
import { type SlicedBroker, startSlicedBroker } from '../helpers/sliced-broker.js';

/** Large cohorts over real sockets: what clients do while the message is being offered to others. */

const size = 24;
const ids = Array.from({ length: size }, (_, at) => `device-${at}`);

/** Subscribers that are connected: every other one has a session that is stored. */
async function crowd(t: Test, broker: SlicedBroker, acknowledges = true, count = size): Promise<Peer[]> {
  const peers: Peer[] = [];
  for (let at = 0; at < count; at++) {
    const id = `device-${at}`;
    const peer = await Peer.join(t, broker, id, { expiry: at % 2 === 0 ? 0 : 1000, acknowledges });
    await peer.subscribe('cmd/all', { qos: 1 });
    peers.push(peer);
  }
  return peers;
}

/** The recipients that receipts of a state tell of, each as often as they do. */
function told(receipts: readonly Receipt[], state: string): string[] {
  return receipts.filter((receipt) => receipt.state === state).map(({ to }) => String(to));
}

function sorted(names: readonly string[]): string[] {
  return [...names].sort();
}

/** The last receipt of each recipient as the records have it, and the tally. */
async function recorded(t: Test, broker: SlicedBroker): Promise<{ rows: Map<string, Receipt>; tally: Receipt }> {
  const peer = await Peer.join(t, broker, 'pub', { cleanStart: true });
  await peer.subscribe('$receipts/~/#', { qos: 1 });
  const rows = new Map<string, Receipt>();
  for (;;) {
    const receipt = await takeReceipt(peer);
    if (receipt.isTally && receipt.pending === 0) return { rows, tally: receipt };
    if (!receipt.isTally) rows.set(String(receipt.to), receipt);
  }
}

t.test('SUBSCRIBE to receipts while a cohort is being offered: nothing is missing, nothing comes twice', async (t) => {
  const broker = await startSlicedBroker(t);
  const many = 190;
  const peers = await crowd(t, broker, true, many);
  const pub = await Peer.join(t, broker, 'pub', { expiry: 1000, receiveMaximum: 1, acknowledges: false });
  pub.send1('cmd/all', { ask: { receipt: 'delivered' } });
  await peers[150]?.take();
  t.equal(await pub.subscribe('$receipts/~/#', { qos: 1 }), 1);
  // The replay, of more than it puts in a queue, rests while the others get the message and acknowledge it.
  const first = await pub.take();
  for (const peer of peers.slice(151)) await peer.take();
  for (const peer of peers) await peer.settle();
  pub.acknowledges = true;
  pub.acknowledge(first);
  const all = [receiptOf(first), ...(await untilFinal(pub))];
  await pub.settle();
  all.push(...pub.inbox.map(receiptOf));
  t.same(sorted(told(all, 'delivered')), sorted(peers.map(({ clientId }) => clientId)));
  t.equal(all.filter(({ isTally, final }) => isTally && final).length, 1);
  t.equal(counts(all.at(-1)), `${many} 0 ${many} 0 0 0 final`);
});

t.test('UNSUBSCRIBE and SUBSCRIBE again in the midst of the replay of a cohort that is being offered', async (t) => {
  const broker = await startSlicedBroker(t);
  const peers = await crowd(t, broker);
  const pub = await Peer.join(t, broker, 'pub', { expiry: 1000, receiveMaximum: 1 });
  pub.send1('cmd/all', { ask: { receipt: 'delivered' } });
  await peers[2]?.take();
  await pub.subscribe('$receipts/~/+/+', { qos: 1, id: 1 });
  await pub.unsubscribe('$receipts/~/+/+');
  await pub.subscribe('$receipts/~/#', { qos: 1, id: 2 });
  const all: Receipt[] = [];
  while (all.at(-1)?.final !== true) {
    const message = await pub.take();
    // What was queued for the first subscription still comes.
    if (message.packet.properties?.subscriptionIdentifier === 2) all.push(receiptOf(message));
  }
  t.same(sorted(told(all, 'delivered')), sorted(ids), 'each once');
});

t.test('takeover of a publisher at QoS 2 whose message is being offered: it goes out once', async (t) => {
  const broker = await startSlicedBroker(t);
  const peers = await crowd(t, broker);
  const first = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  const asked = { qos: 2 as const, packetId: 9, ask: { receipt: 'delivered' } };
  first.send1('cmd/all', asked);
  const [begun] = peers;
  await begun?.take();
  const second = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  const answer = await second.publish('cmd/all', { ...asked, dup: true });
  t.match(answer, { code: 0, matched: size });
  await second.subscribe('$receipts/~/#', { qos: 1 });
  const all = await untilFinal(second);
  t.ok(all.every(({ id }) => id === answer.id));
  t.same(sorted(told(all, 'delivered')), sorted(ids));
  for (const peer of peers) await peer.settle();
  t.same(
    peers.map(({ inbox }) => inbox.length),
    peers.map((peer) => (peer === begun ? 0 : 1)),
  );
});

t.test(
  'clean starts and cuts of recipients in the midst of a fan-out: each is delivered to, or lost by name',
  async (t) => {
    const broker = await startSlicedBroker(t);
    const peers = await crowd(t, broker, false);
    const pub = await publisher(t, broker);
    const answered = track(pub, 'cmd/all');
    await peers[0]?.take();
    const late = [...peers.entries()].filter(([at]) => at >= size / 2);
    for (const [at, peer] of late) {
      if (at % 2 === 0) peer.cut();
      else await Peer.join(t, broker, peer.clientId, { cleanStart: true, expiry: 1000 });
    }
    t.equal((await answered).matched, size);
    for (const peer of peers.slice(1, size / 2)) peer.acknowledge(await peer.take());
    peers[0]?.send({ cmd: 'puback', messageId: 1, reasonCode: 0 });
    const all = await untilFinal(pub);
    t.equal(counts(all.at(-1)), `${size} 0 ${size / 2} 0 ${size / 2} 0 final`);
    for (const [at, { clientId }] of late) {
      const receipts = all.filter(({ to }) => to === clientId);
      t.equal(receipts.length, 1, `${clientId} has one outcome`);
      t.match(receipts[0], { state: 'lost', cause: at % 2 === 0 ? 'disconnected' : 'clean-start' });
    }
  },
);

t.test('"processed" of recipients for whom their cohort stands: before PUBACK, and from later sessions', async (t) => {
  const broker = await startSlicedBroker(t);
  const peers = await crowd(t, broker, false);
  const pub = await publisher(t, broker);
  const { id } = await track(pub, 'cmd/all', { ask: { receipt: 'processed' } });
  const answer = { ask: { 'receipt-id': id }, payload: 'done' };
  for (const [at, peer] of peers.entries()) {
    const message = await peer.take();
    if (at % 4 > 1) peer.acknowledge(message);
    if (at % 4 < 2) t.equal((await peer.publish('$receipts/ack', answer)).code, 0, 'before PUBACK');
    await peer.settle();
  }
  t.equal(broker.rows('fanOuts'), 1, 'the cohort stands');
  await broker.crash();
  for (const [at, peer] of peers.entries()) {
    if (at % 4 < 2) continue;
    const later = await Peer.join(t, broker, peer.clientId, { expiry: at % 2 === 0 ? 0 : 1000 });
    t.equal((await later.publish('$receipts/ack', answer)).code, 0, `${peer.clientId} from a later session`);
  }
  const { rows, tally } = await recorded(t, broker);
  t.equal(counts(tally), `${size} ${size} 0 0 0 0 final`);
  for (const receipt of rows.values()) t.match(receipt, { state: 'processed', answer: 'done' });
  t.equal(broker.rows('fanOuts') + broker.rows('fanOutCursors'), 0);
});

t.test(
  'crash upon crash in the midst of a fan-out: everybody has one outcome, and who is stored the message',
  async (t) => {
    const broker = await startSlicedBroker(t, { unwrittenMax: 6, standingMax: 1 });
    const peers = await crowd(t, broker);
    await away(t, broker, 'device-away', 'cmd/all');
    const pub = await publisher(t, broker);
    pub.send1('cmd/all', { ask: { receipt: 'delivered' } });
    await peers[3]?.take();
    for (let left = 3; left > 0; left--) await broker.crash();
    const stored = [...ids.filter((_, at) => at % 2 === 1), 'device-away'];
    const back: Peer[] = [];
    for (const id of stored) back.push(await Peer.join(t, broker, id, { expiry: 1000, cleanStart: false }));
    const { rows, tally } = await recorded(t, broker);
    t.equal(rows.size, size + 1);
    for (const id of stored) t.match(rows.get(id), { state: 'delivered' });
    for (const [id, receipt] of rows) {
      const isRight = receipt.state === 'delivered' || receipt.cause === 'broker-restart';
      t.ok(isRight, `${id}: ${receipt.state} ${receipt.cause ?? ''}`);
    }
    const delivered = [...rows.values()].filter(({ state }) => state === 'delivered').length;
    t.equal(counts(tally), `${size + 1} 0 ${delivered} 0 ${size + 1 - delivered} 0 final`);
    for (const peer of back) t.ok(peer.inbox.length <= 1, 'at most once more');
  },
);

t.test('a hold on a large cohort is answered when the last has it', async (t) => {
  const broker = await startSlicedBroker(t);
  const peers = await crowd(t, broker, false);
  const pub = await publisher(t, broker);
  const packetId = pub.send1('cmd/all', { ask: { receipt: 'delivered', 'receipt-hold': 'true' } });
  for (const peer of peers) {
    const message = await peer.take();
    t.notOk(pub.has('puback'), 'not yet');
    peer.acknowledge(message);
  }
  const answer = await pub.answer(packetId);
  t.match(answer, { code: 0, reason: `delivered to ${size} of ${size}`, matched: size });
});

t.test('the deadline passes in the midst of it all: an overdue tally, then the final one', async (t) => {
  const broker = await startSlicedBroker(t);
  const peers = await crowd(t, broker, false);
  const pub = await publisher(t, broker, 'pub', '$receipts/~/+');
  await track(pub, 'cmd/all', { ask: { receipt: 'delivered', 'receipt-deadline': '1' } });
  t.equal(counts(await takeReceipt(pub)), `${size} 0 0 0 0 ${size}`);
  const [first, ...others] = peers;
  if (first !== undefined) first.acknowledge(await first.take());
  t.equal(counts(await takeReceipt(pub)), `${size} 0 1 0 0 ${size - 1} overdue`);
  for (const peer of others) peer.acknowledge(await peer.take());
  t.equal(counts(await takeReceipt(pub)), `${size} 0 ${size} 0 0 0 final`);
});
