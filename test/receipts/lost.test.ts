import t, { type Test } from 'tap';
import { Peer, type PeerOptions } from '../helpers/peer.js';
import { away, counts, nothingMore, pick, publisher, type Receipt, track, untilFinal } from '../helpers/receipts.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';

interface Scene {
  readonly broker: TimedBroker;
  readonly sub: Peer;
  readonly pub: Peer;
  /** Publishes tracked at the scene's QoS. */
  track(receipt?: string): Promise<{ id: string }>;
}

/** A subscriber to `a` with a window of one that acknowledges nothing by itself. */
async function scene(t: Test, qos: 1 | 2, options: PeerOptions = {}, settings = {}): Promise<Scene> {
  const broker = await startTimedBroker(t, settings);
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false, receiveMaximum: 1, ...options });
  await sub.subscribe('a', { qos });
  const pub = await publisher(t, broker);
  return { broker, sub, pub, track: (receipt = 'delivered') => track(pub, 'a', { qos, ask: { receipt } }) };
}

/** Receipts of deliveries out of `final` messages, oldest message first. */
async function outcomes(pub: Peer, final: number): Promise<Receipt[]> {
  const all: Receipt[] = [];
  for (let seen = 0; seen < final; seen++) all.push(...(await untilFinal(pub)));
  return all.filter(({ isTally }) => !isTally);
}

type End = (t: Test, scene: Scene) => Promise<void>;

const ends: readonly [string, PeerOptions, End][] = [
  ['clean-start', { expiry: 100 }, async (t, { broker }) => void (await Peer.join(t, broker, 'sub'))],
  ['taken-over', {}, async (t, { broker }) => void (await Peer.join(t, broker, 'sub', { cleanStart: false }))],
  [
    'session-expired',
    { expiry: 100 },
    async (_t, { broker, sub }) => {
      sub.cut();
      await sub.closed();
      await broker.settleConnections(1);
      broker.clock.advance(100_000);
    },
  ],
  ['deleted', { expiry: 100 }, async (_t, { broker }) => broker.endSession('sub')],
  ['disconnected', {}, async (_t, { sub }) => sub.leave()],
  ['disconnected', { expiry: 100 }, async (_t, { sub }) => sub.leave(0)],
];

for (const qos of [1, 2] as const) {
  for (const [cause, options, end] of ends) {
    const how = `${cause}${options.expiry === undefined ? '' : ' of a session with expiry'}`;
    t.test(
      `"lost: the session ended before it confirmed", ${how}, QoS ${qos}: sentAt if it had been sent`,
      async (t) => {
        const all = await scene(t, qos, options);
        const { sub, pub, broker } = all;
        const sentAt = broker.clock.now();
        await all.track();
        await all.track();
        await sub.take();
        await end(t, all);
        const names = ['state', 'cause', 'reason', 'qos', 'sentAt', 'to'] as const;
        const lost = { state: 'lost', cause, reason: 0, qos, to: 'sub' };
        const told = (await outcomes(pub, 2)).map((receipt) => pick(receipt, ...names));
        t.same(told, [{ ...lost, sentAt }, lost], 'the first was sent, the second waited');
        await nothingMore(pub);
      },
    );

    t.test(`"The end of a session after delivered changes nothing", ${how}, QoS ${qos}`, async (t) => {
      const all = await scene(t, qos, options);
      const { sub, pub } = all;
      await all.track();
      sub.acknowledge(await sub.take());
      const receipts = await untilFinal(pub);
      t.same(receipts.map(({ state }) => state).filter(Boolean), ['delivered']);
      await end(t, all);
      await nothingMore(pub);
    });
  }

  t.test(`"broker-restart for sessions that are not durable", QoS ${qos}`, async (t) => {
    const all = await scene(t, qos);
    const { sub, broker } = all;
    const sentAt = broker.clock.now();
    await all.track();
    await all.track();
    await sub.take();
    await broker.crash();
    const pub = await Peer.join(t, broker, 'pub', { expiry: 100 });
    const told = (await outcomes(pub, 2)).map((receipt) => pick(receipt, 'state', 'cause', 'sentAt', 'to'));
    const lost = { state: 'lost', cause: 'broker-restart', to: 'sub' };
    t.same(told, [{ ...lost, sentAt }, lost]);
    await nothingMore(pub);
  });

  t.test(`a durable session goes on after a restart of the broker, QoS ${qos}`, async (t) => {
    const all = await scene(t, qos, { expiry: 100 });
    const { sub, broker } = all;
    await all.track();
    await all.track();
    await sub.take();
    await broker.crash();
    const pub = await Peer.join(t, broker, 'pub', { expiry: 100 });
    const back = await Peer.join(t, broker, 'sub', { expiry: 100 });
    t.same([(await back.take()).dup, (await back.take()).dup], [true, false]);
    t.same(
      (await outcomes(pub, 2)).map(({ state }) => state),
      ['delivered', 'delivered'],
    );
  });

  t.test(
    `"Takeover with Clean Start 0 of a session that has an expiry keeps it and changes no state", QoS ${qos}`,
    async (t) => {
      const all = await scene(t, qos, { expiry: 100 });
      const { sub, pub, broker } = all;
      await all.track();
      await all.track();
      await sub.take();
      const second = await Peer.join(t, broker, 'sub', { expiry: 100, acknowledges: false, receiveMaximum: 1 });
      t.ok(second.sessionPresent);
      await sub.closed();
      await pub.settle();
      t.same(
        pub.inbox.splice(0).map(({ topic }) => topic.split('/').length),
        [3, 3],
        'first tallies only',
      );
      second.acknowledges = true;
      second.acknowledge(await second.take());
      await second.take();
      t.same(
        (await outcomes(pub, 2)).map(({ state }) => state),
        ['delivered', 'delivered'],
      );
    },
  );

  t.test(
    `"Unsubscribing or losing a connection moves nothing; what is queued or in flight finishes", QoS ${qos}`,
    async (t) => {
      const all = await scene(t, qos, { expiry: 100 });
      const { sub, pub, broker } = all;
      await all.track();
      await all.track();
      const first = await sub.take();
      await sub.unsubscribe('a');
      sub.cut();
      const back = await Peer.join(t, broker, 'sub', { expiry: 100 });
      t.equal((await back.take()).packetId, first.packetId);
      await back.take();
      t.same(
        (await outcomes(pub, 2)).map(({ state }) => state),
        ['delivered', 'delivered'],
      );
      await nothingMore(pub);
    },
  );

  t.test(
    `"receipts.maxPending bounds every wait": gave-up, and "the message itself … may still arrive", QoS ${qos}`,
    async (t) => {
      const all = await scene(t, qos, { expiry: 0xfffffffe }, { receipts: { maxPending: 50, retention: 1000 } });
      const { sub, pub, broker } = all;
      const sentAt = broker.clock.now();
      await all.track();
      await all.track();
      const sent = await sub.take();
      for (let second = 0; second < 120; second++) {
        broker.clock.advance(1000);
        await sub.settle();
      }
      const told = (await outcomes(pub, 2)).map((receipt) => pick(receipt, 'state', 'cause', 'sentAt'));
      const lost = { state: 'lost', cause: 'gave-up' };
      t.same(told, [{ ...lost, sentAt }, lost]);
      sub.acknowledges = true;
      sub.acknowledge(sent);
      t.equal((await sub.take()).topic, 'a', 'it arrives');
      await nothingMore(pub, sub);
    },
  );
}

t.test('"unanswered: delivered but never processed"', async (t) => {
  const all = await scene(t, 1, { acknowledges: true }, { receipts: { maxPending: 50, retention: 1000 } });
  const { sub, pub, broker } = all;
  const { id } = await all.track('processed');
  await sub.take();
  for (let second = 0; second < 120; second++) {
    broker.clock.advance(1000);
    await sub.settle();
  }
  const [delivered, lost] = await outcomes(pub, 1);
  t.equal(delivered?.state, 'delivered');
  t.match(lost, { state: 'lost', cause: 'unanswered', sentAt: Number, deliveredAt: Number });
  const late = await sub.publish('$receipts/ack', { ask: { 'receipt-id': id } });
  t.equal(late.code, 0x10, '"Once a delivery has its outcome, later acknowledgements … change nothing"');
  await nothingMore(pub);
});

t.test('QoS 0 that waits for the application: neither the end of its session nor a crash decides', async (t) => {
  const all = await scene(t, 1, {}, { receipts: { maxPending: 50, retention: 1000 } });
  const { sub, pub, broker } = all;
  const ids: string[] = [];
  for (const _ of [1, 2]) {
    await pub.publish('a', { qos: 0, ask: { receipt: 'processed' } });
    ids.push(String((await sub.take()).pairs['receipt-id']));
  }
  await sub.leave();
  const again = await Peer.join(t, broker, 'sub');
  const [one = ''] = ids;
  t.equal((await again.publish('$receipts/ack', { ask: { 'receipt-id': one } })).code, 0, 'from a later session');
  const told = await outcomes(pub, 1);
  await pub.settle();
  await broker.crash();
  const back = await Peer.join(t, broker, 'pub', { expiry: 100 });
  for (let second = 0; second < 120; second++) {
    broker.clock.advance(1000);
    await back.settle();
  }
  told.push(...(await outcomes(back, 1)));
  const ends = told.filter(({ state }) => state !== 'sent').map((one) => pick(one, 'id', 'state', 'cause', 'qos'));
  t.same(ends, [
    { id: one, state: 'processed', qos: 0 },
    { id: ids[1], state: 'lost', cause: 'unanswered', qos: 0 },
  ]);
  await nothingMore(back);
});

t.test('"One recipient per session, however many of its subscriptions match"', async (t) => {
  const { broker, sub, pub } = await scene(t, 1, { acknowledges: true, receiveMaximum: 10 });
  for (const filter of ['#', '+', 'a/#']) await sub.subscribe(filter, { qos: 2 });
  const { matched } = await track(pub, 'a', { qos: 2 });
  t.equal(matched, 1);
  const [receipt] = await outcomes(pub, 1);
  t.match(receipt, { to: 'sub', state: 'delivered', qos: 2, matched: 1 });
  t.equal((await sub.take()).topic, 'a');
  await nothingMore(sub);
  t.equal(broker.context.records.size, 1);
});

t.test('a downgrade: the receipt has the QoS of the delivery, the lower of publish and subscription', async (t) => {
  const { broker, pub } = await scene(t, 1);
  for (const qos of [0, 1, 2] as const) await (await Peer.join(t, broker, `q${qos}`)).subscribe('d', { qos });
  for (const qos of [0, 1, 2] as const) {
    await pub.publish('d', { qos, ask: { receipt: 'delivered' } });
    const told = (await outcomes(pub, 1)).map(({ to, qos: of, state }) => `${to} ${of} ${state}`).sort();
    const expected = [0, 1, 2].map((granted) => {
      const least = Math.min(granted, qos);
      return `q${granted} ${least} ${least === 0 ? 'sent' : 'delivered'}`;
    });
    t.same(told, expected, `published at QoS ${qos}`);
  }
});

t.test('"Not in the cohort: later subscribers, … no-local exclusions"', async (t) => {
  const { pub, broker } = await scene(t, 1, { acknowledges: true });
  await pub.subscribe('mine', { noLocal: true });
  t.equal((await track(pub, 'mine')).matched, 0);
  t.equal(counts((await untilFinal(pub)).at(-1)), '0 0 0 0 0 0 final');
  await pub.subscribe('both', { noLocal: true });
  await pub.subscribe('both/#', { noLocal: false });
  t.equal((await track(pub, 'both')).matched, 1, 'one of two subscriptions excludes itself');
  await pub.settle();
  pub.inbox.length = 0;
  await away(t, broker, 'off', 'later', 1);
  await track(pub, 'later');
  const late = await Peer.join(t, broker, 'late');
  await late.subscribe('later');
  const back = await Peer.join(t, broker, 'off', { expiry: 100 });
  await back.take();
  await nothingMore(late);
  const receipts = await outcomes(pub, 1);
  t.same(
    receipts.map(({ to }) => to),
    ['off', 'off'],
  );
});
