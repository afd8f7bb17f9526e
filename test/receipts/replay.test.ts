import type { ISubackPacket } from 'mqtt-packet';
import t, { type Test } from 'tap';
import { Peer, type PeerOptions } from '../helpers/peer.js';
import { counts, nothingMore, type Receipt, receiptOf, takeReceipt, track, untilFinal } from '../helpers/receipts.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';

const lasting: PeerOptions = { expiry: 0xffffffff };

/** A publisher that has published `count` messages to one subscriber, and the ids of them. */
async function scene(t: Test, count: number, settings = {}, hooks = {}) {
  const broker = await startTimedBroker(t, settings, hooks);
  const sub = await Peer.join(t, broker, 'sub', lasting);
  await sub.subscribe('a');
  const pub = await Peer.join(t, broker, 'pub', lasting);
  const ids: string[] = [];
  for (let at = 0; at < count; at++) ids.push((await track(pub, 'a')).id);
  await sub.settle();
  await pub.settle();
  return { broker, sub, pub, ids };
}

async function takeAll(peer: Peer, count: number): Promise<Receipt[]> {
  const all: Receipt[] = [];
  while (all.length < count) all.push(await takeReceipt(peer));
  return all;
}

/** What identifies a receipt: the message and the recipient. */
const nameOf = ({ segments }: Receipt): string => segments.slice(1).join('/');

t.test(
  '"Records are served like retained messages": current state, oldest first, RETAIN set, then live (RETAIN 0)',
  async (t) => {
    const { pub, ids } = await scene(t, 3);
    await pub.subscribe('$receipts/~/#');
    const replay = await takeAll(pub, 6);
    t.same(
      replay.map(nameOf),
      ids.flatMap((id) => [`${id}/sub`, id]),
    );
    t.ok(replay.every(({ retain }) => retain));
    t.same(replay.map((one) => (one.isTally ? counts(one) : one.state)).slice(0, 2), [
      'delivered',
      '1 0 1 0 0 0 final',
    ]);
    const { id } = await track(pub, 'a');
    const live = await untilFinal(pub);
    t.same(
      live.map((one) => [nameOf(one), one.retain]),
      [
        [id, false],
        [`${id}/sub`, false],
        [id, false],
      ],
    );
    await nothingMore(pub);
  },
);

t.test(
  '"The subscription chooses the detail": ~/+ tallies only, ~/+/+ every receipt, ~/# both, one id, one recipient',
  async (t) => {
    const { pub, ids } = await scene(t, 2);
    const [first = '', second = ''] = ids;
    for (const [filter, expected] of [
      ['$receipts/~/+', [first, second]],
      ['$receipts/~/+/+', [`${first}/sub`, `${second}/sub`]],
      [`$receipts/~/${first}`, [first]],
      [`$receipts/~/${first}/#`, [`${first}/sub`, first]],
      [`$receipts/~/${second}/+`, [`${second}/sub`]],
      ['$receipts/~/+/sub', [`${first}/sub`, `${second}/sub`]],
      ['$receipts/~/+/other', []],
      ['$receipts/~/0000000000000/#', []],
      ['$receipts/~/nonsense', []],
    ] as const) {
      t.equal(await pub.subscribe(filter), 1);
      t.same((await takeAll(pub, expected.length)).map(nameOf), expected, filter);
      await nothingMore(pub);
      await pub.unsubscribe(filter);
    }
  },
);

t.test('"a SUBSCRIBE replays, per its Retain Handling"', async (t) => {
  const { pub } = await scene(t, 1);
  const filter = '$receipts/~/+';
  await pub.subscribe(filter, { retainHandling: 2 });
  await nothingMore(pub);
  await pub.unsubscribe(filter);
  await pub.subscribe(filter, { retainHandling: 1 });
  await takeAll(pub, 1);
  await pub.subscribe(filter, { retainHandling: 1 });
  await nothingMore(pub);
  await pub.subscribe(filter, { retainHandling: 0 });
  await takeAll(pub, 1);
  await nothingMore(pub);
});

t.test(
  '"subscription identifiers of the matching subscription"; several filters that match are one packet',
  async (t) => {
    const { pub } = await scene(t, 1);
    await pub.subscribe('$receipts/~/#', { id: 7 });
    t.same((await pub.take()).packet.properties?.subscriptionIdentifier, 7);
    t.same((await pub.take()).packet.properties?.subscriptionIdentifier, 7);
    await pub.subscribe('$receipts/~/+', { id: 9, retainHandling: 2 });
    await track(pub, 'a');
    t.same((await pub.take()).packet.properties?.subscriptionIdentifier, [7, 9]);
    t.same((await pub.take()).packet.properties?.subscriptionIdentifier, 7);
    t.same((await pub.take()).packet.properties?.subscriptionIdentifier, [7, 9]);
    await nothingMore(pub);
  },
);

t.test('"the newest receipts.replay messages … are replayed"', async (t) => {
  const { pub, ids } = await scene(t, 5, { receipts: { replay: 2 } });
  await pub.subscribe('$receipts/~/+');
  t.same((await takeAll(pub, 2)).map(nameOf), ids.slice(3));
  await nothingMore(pub);
  await pub.subscribe(`$receipts/~/${ids[0]}`);
  t.same((await takeAll(pub, 1)).map(nameOf), ids.slice(0, 1), 'a filter that names the id is served whatever its age');
});

t.test('receipts.replay 0 replays nothing, and goes on live', async (t) => {
  const { pub } = await scene(t, 3, { receipts: { replay: 0 } });
  await pub.subscribe('$receipts/~/+');
  await nothingMore(pub);
  const { id } = await track(pub, 'a');
  t.same(
    (await takeAll(pub, 2)).map((one) => [nameOf(one), one.retain]),
    [
      [id, false],
      [id, false],
    ],
  );
});

t.test('"a SUBSCRIBE user property receipt-since (an id) limits it to later ones"', async (t) => {
  const { pub, ids } = await scene(t, 4);
  const filter = '$receipts/~/+';
  await pub.subscribe(filter, { ask: { 'receipt-since': ids[1] ?? '' } });
  t.same((await takeAll(pub, 2)).map(nameOf), ids.slice(2));
  await pub.subscribe(filter, { ask: { 'receipt-since': ids[3] ?? '' } });
  await nothingMore(pub);
  const { id } = await track(pub, 'a');
  t.same((await takeAll(pub, 2)).map(nameOf), [id, id]);
});

t.test('a delivery that is pending is told as it stands; "exactly one with final: true" comes after', async (t) => {
  const { broker, pub } = await scene(t, 0);
  const slow = await Peer.join(t, broker, 'slow', { ...lasting, acknowledges: false });
  await slow.subscribe('b');
  await track(pub, 'b');
  await pub.subscribe('$receipts/~/#');
  const [delivery, tally] = await takeAll(pub, 2);
  t.match(delivery, { state: 'sent', retain: true, sentAt: Number });
  t.equal(counts(tally), '1 0 0 0 0 1');
  slow.acknowledge(await slow.take());
  const live = await untilFinal(pub);
  t.same(
    live.map(({ retain, state }) => [retain, state]),
    [
      [false, 'delivered'],
      [false, undefined],
    ],
  );
  await nothingMore(pub);
});

t.test(
  'a publisher "that lost its session, asks by subscribing"; ownership is client identifier and user name',
  async (t) => {
    const broker = await startTimedBroker(t);
    const pub = await Peer.join(t, broker, 'pub', { userName: 'ann' });
    const { id } = await track(pub, 'a');
    await pub.leave();
    const other = await Peer.join(t, broker, 'pub', { userName: 'bob' });
    await other.subscribe('$receipts/~/#');
    await nothingMore(other);
    await other.leave();
    const again = await Peer.join(t, broker, 'pub', { userName: 'ann' });
    await again.subscribe('$receipts/~/#');
    t.same((await takeAll(again, 1)).map(nameOf), [id]);
  },
);

t.test('"Filters with a wildcard in {publisher} and shared subscriptions are live only"', async (t) => {
  const { broker, pub, ids } = await scene(t, 2, {}, { receiptAccess: () => 'all' });
  const audit = await Peer.join(t, broker, 'audit');
  await audit.subscribe('$receipts/+/+');
  await audit.subscribe('$receipts/#');
  await audit.subscribe('$share/g/$receipts/pub/+');
  await nothingMore(audit);
  await audit.subscribe('$receipts/pub/+');
  t.same(
    (await takeAll(audit, 2)).map(({ segments }) => segments.join('/')),
    ids.map((id) => `pub/${id}`),
  );
  await track(pub, 'a');
  const live = await takeAll(audit, 5);
  t.same(
    live.map(({ retain }) => retain),
    Array(5).fill(false),
  );
});

/** Everything that comes until both are silent; then checks that nothing is missing and nothing came twice. */
async function checkWhole(t: Test, receipts: readonly Receipt[], ids: readonly string[]): Promise<void> {
  const deliveries = receipts.filter(({ isTally }) => !isTally).map(nameOf);
  t.same(
    deliveries,
    ids.map((id) => `${id}/sub`),
    'each delivery once, oldest first',
  );
  const finals = receipts.filter(({ final }) => final === true).map(nameOf);
  t.same(finals, ids, 'each final tally once');
}

async function untilQuiet(peer: Peer, finals: number): Promise<Receipt[]> {
  const all: Receipt[] = [];
  while (all.filter(({ final }) => final === true).length < finals) all.push(await takeReceipt(peer));
  await nothingMore(peer);
  return all;
}

t.test('"with no gap and nothing twice": publishing while the replay is under way, Receive Maximum 1', async (t) => {
  const { broker, pub, sub, ids } = await scene(t, 100);
  await pub.leave();
  const slow = await Peer.join(t, broker, 'pub', { ...lasting, receiveMaximum: 1, acknowledges: false });
  await slow.subscribe('$receipts/~/#', { qos: 1 });
  const taken: Receipt[] = [];
  const step = async () => {
    const message = await slow.take();
    taken.push(receiptOf(message));
    slow.acknowledge(message);
  };
  for (let round = 0; round < 20; round++) {
    await step();
    if (round % 2 === 0) ids.push((await track(slow, 'a')).id);
    await sub.settle();
  }
  slow.acknowledges = true;
  await step();
  taken.push(...(await untilQuiet(slow, ids.length - taken.filter(({ final }) => final === true).length)));
  await checkWhole(t, taken, ids);
  t.equal(
    taken.findIndex(({ retain }) => !retain),
    -1,
    'all of it was replayed: the queue was never empty',
  );
  ids.push((await track(slow, 'a')).id);
  t.same(
    (await untilQuiet(slow, 1)).map(({ retain }) => retain),
    [false, false, false],
  );
});

for (const qos of [1, 2] as const) {
  t.test(
    `"The position of an unfinished replay is part of the session and goes on at resume", QoS ${qos}`,
    async (t) => {
      const { broker, sub, ids } = await scene(t, 150);
      const seen = new Map<string, number>();
      const order: string[] = [];
      let pub = await Peer.join(t, broker, 'pub', { ...lasting, receiveMaximum: 3, acknowledges: false });
      await pub.subscribe('$receipts/~/+/+', { qos });
      for (let round = 0; round < 6; round++) {
        for (let at = 0; at < 20; at++) await step(pub, seen, order, broker);
        ids.push((await track(pub, 'a')).id);
        pub.cut();
        pub = await Peer.join(t, broker, 'pub', { ...lasting, receiveMaximum: 3, acknowledges: false });
        t.ok(pub.sessionPresent);
        await sub.settle();
      }
      while (seen.size < ids.length) await step(pub, seen, order, broker);
      t.same(order, ids, 'no gap, oldest first');
      await nothingMore(pub);
      if (qos === 2)
        t.ok(
          [...seen.values()].every((times) => times === 1),
          'exactly once',
        );
    },
  );
}

/** Takes one receipt in full; notes each message once, and how often it came as a first delivery. */
async function step(pub: Peer, seen: Map<string, number>, order: string[], _broker: TimedBroker): Promise<void> {
  const message = await pub.take();
  const { id } = receiptOf(message);
  if (!seen.has(id)) order.push(id);
  if (!message.dup) seen.set(id, (seen.get(id) ?? 0) + 1);
  else if (!seen.has(id)) seen.set(id, 1);
  pub.acknowledge(message);
  if (message.qos < 2) return;
  await pub.expect('pubrel', message.packetId);
  pub.send({ cmd: 'pubcomp', messageId: message.packetId });
}

t.test(
  '"nothing twice": a restart of the broker in mid-replay, while receipts go on for the absent publisher',
  async (t) => {
    const { broker, ids } = await scene(t, 120);
    const pending = await Peer.join(t, broker, 'sub2', { ...lasting, acknowledges: false, receiveMaximum: 1 });
    await pending.subscribe('b');
    const first = await Peer.join(t, broker, 'pub', { ...lasting, receiveMaximum: 1, acknowledges: false });
    ids.push((await track(first, 'b')).id);
    const held = await pending.take();
    await first.subscribe('$receipts/~/#');
    await first.take();
    await first.settle();
    first.cut();
    await broker.settleConnections(2);
    await broker.crash();
    const recipient = await Peer.join(t, broker, 'sub2', lasting);
    t.equal((await recipient.take()).topic, held.topic);
    await recipient.settle();
    const back = await Peer.join(t, broker, 'pub', lasting);
    const all = await untilQuiet(back, ids.length);
    t.same(
      all.map(nameOf),
      ids.flatMap((id) => [id === ids.at(-1) ? `${id}/sub2` : `${id}/sub`, id]),
    );
    t.match(all.at(-2), { state: 'delivered', retain: true });
  },
);

t.test('a SUBSCRIBE again in mid-replay that asks for no replay leaves no gap', async (t) => {
  const { broker, ids } = await scene(t, 120);
  const pub = await Peer.join(t, broker, 'pub', { ...lasting, receiveMaximum: 1, acknowledges: false });
  await pub.subscribe('$receipts/~/#');
  const message = await pub.take();
  await pub.subscribe('$receipts/~/#', { retainHandling: 1, id: 3 });
  ids.push((await track(pub, 'a')).id);
  pub.acknowledges = true;
  pub.acknowledge(message);
  await checkWhole(t, [receiptOf(message), ...(await untilQuiet(pub, ids.length))], ids);
});

t.test('a replay at QoS 0 gives way to other work, and is whole', async (t) => {
  const { pub, ids } = await scene(t, 700);
  await pub.subscribe('$receipts/~/#', { qos: 0 });
  await checkWhole(t, await untilQuiet(pub, ids.length), ids);
});

t.test('a malformed receipt-since is refused: SUBACK 0x83 for filters of receipts, with a reason string', async (t) => {
  const { broker, pub, ids } = await scene(t, 2);
  const [first = ''] = ids;
  const subscribe = async (value: string | string[], topics: readonly string[]) => {
    const subscriptions = topics.map((topic) => ({ topic, qos: 1 as const, nl: false, rap: false, rh: 0 as const }));
    const properties = { userProperties: { 'receipt-since': value } };
    pub.send({ cmd: 'subscribe', messageId: 900, subscriptions, properties });
    const { granted, properties: answered } = (await pub.expect('suback', 900)) as ISubackPacket;
    return [granted, answered?.reasonString];
  };
  const wrong: readonly [string | string[], RegExp][] = [
    ['', /must be a receipt-id/],
    ['yesterday', /'yesterday'.*must be a receipt-id/],
    [first.toLowerCase(), /must be a receipt-id/],
    [[first, first], /twice/],
  ];
  for (const [value, reason] of wrong) {
    const [codes, text] = await subscribe(value, ['$receipts/~/+', 'a', '$receipts/x/+']);
    t.same(codes, [0x83, 1, 0x87], 'another topic is none of its business; 0x87 where receipts are not seen at all');
    t.match(text, reason);
  }
  await nothingMore(pub);
  t.equal(broker.metrics.receiptRequestsRefused, 4);
  t.same(await subscribe(first, ['$receipts/~/+']), [[1], undefined]);
  t.same((await takeAll(pub, 1)).map(nameOf), ids.slice(1));
});

t.test('an MQTT 3.1.1 client asks by subscribing, too', async (t) => {
  const { broker, pub, ids } = await scene(t, 2);
  await pub.leave(0);
  const old = await Peer.join(t, broker, 'pub', { version: 4 });
  t.equal(await old.subscribe('$receipts/~/+'), 1);
  t.same(
    (await takeAll(old, 2)).map((one) => [nameOf(one), one.retain]),
    ids.map((id) => [id, true]),
  );
});
