import t, { type Test } from 'tap';
import { Peer, type PublishOptions } from '../helpers/peer.js';
import { away, counts, nothingMore, takeReceipt, track, untilFinal } from '../helpers/receipts.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';

const ask = { receipt: 'delivered' };

/** Lets time pass second by second, so that upkeep gets its turns. */
async function pass(broker: TimedBroker, seconds: number, peer: Peer): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    broker.clock.advance(1000);
    await peer.settle();
  }
}

async function scene(t: Test, receipts: Record<string, unknown>, more = {}) {
  const broker = await startTimedBroker(t, { receipts, ...more });
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
  await sub.subscribe('a');
  return { broker, sub, pub: await Peer.join(t, broker, 'pub', { expiry: 0xffffffff }) };
}

t.test('"A record is kept up to receipts.retention after its final tally", counted from the tally', async (t) => {
  const { broker, sub, pub } = await scene(t, { retention: 20 });
  const open = await track(pub, 'a');
  const ended = await track(pub, 'nobody');
  await pass(broker, 19, pub);
  t.equal(broker.context.records.size, 2);
  await pass(broker, 3, pub);
  await pub.subscribe('$receipts/~/+');
  t.same((await takeReceipt(pub)).id, open.id, 'the one still pending is kept');
  t.ok(ended.id);
  await nothingMore(pub);
  sub.acknowledge(await sub.take());
  t.equal(counts((await untilFinal(pub)).at(-1)), '1 0 1 0 0 0 final');
  await pass(broker, 19, pub);
  t.equal(broker.context.records.size, 1);
  await pass(broker, 3, pub);
  t.equal(broker.context.records.size, 0);
  await pub.subscribe('$receipts/~/+');
  await nothingMore(pub);
});

t.test('records are pruned "in the background, in bounded slices", those of large cohorts row by row', async (t) => {
  const { broker, pub } = await scene(t, { retention: 5 });
  const names = Array.from({ length: 450 }, (_, at) => `z${at}`);
  for (const name of names) await (await Peer.join(t, broker, name)).subscribe('many', { qos: 0 });
  await track(pub, 'many');
  for (let at = 0; at < 250; at++) await track(pub, 'nobody');
  broker.clock.advance(6000);
  const left: number[] = [];
  for (let at = 0; at < 40; at++) {
    broker.clock.advance(1);
    await pub.settle();
    left.push(broker.rows('recipients') + broker.rows('records'));
  }
  const most = Math.max(...left.slice(1).map((rows, at) => (left[at] ?? 0) - rows));
  t.ok(most <= 400, `at most ${most} rows go in one slice`);
  await pass(broker, 3, pub);
  t.equal(broker.context.records.size, 0);
  t.equal(broker.rows('recipients'), 0, 'nothing is left of the large cohort');
  t.same(
    (['records', 'finished', 'publishers', 'answers'] as const).map((table) => broker.rows(table)),
    [0, 0, 0, 0],
  );
});

t.test('what is pruned leaves nothing behind, tracked to the application either', async (t) => {
  const { broker, sub, pub } = await scene(t, { retention: 5 });
  const properties = { correlationData: Buffer.from('c') };
  const { id } = await track(pub, 'a', { ask: { receipt: 'processed' }, properties });
  sub.acknowledge(await sub.take());
  await sub.publish('$receipts/ack', { ask: { 'receipt-id': id } });
  await pub.subscribe('$receipts/~/+', { qos: 1 });
  await takeReceipt(pub);
  await pass(broker, 10, pub);
  const tables = [
    'records',
    'finished',
    'publishers',
    'answers',
    'recipients',
    'messages',
    'deliveries',
    'replays',
  ] as const;
  t.same(
    tables.map((table) => broker.rows(table)),
    tables.map(() => 0),
  );
});

t.test('"past them the oldest finished records go first": receipts.maxRecordsPerPublisher', async (t) => {
  const { broker, sub, pub } = await scene(t, { maxRecordsPerPublisher: 3 });
  const pending = await track(pub, 'a');
  const ids = [];
  for (let at = 0; at < 5; at++) ids.push((await track(pub, 'nobody')).id);
  t.equal(broker.context.records.size, 3);
  await pub.subscribe('$receipts/~/+');
  t.same(
    [await takeReceipt(pub), await takeReceipt(pub), await takeReceipt(pub)].map(({ id }) => id),
    [pending.id, ...ids.slice(3)],
  );
  const other = await Peer.join(t, broker, 'other');
  t.equal((await other.publish('nobody', { ask })).code, 0x10, 'others have a part of their own');
  await sub.settle();
});

t.test(
  '"if none is finished, a publish whose own publisher asked … at QoS 1 or 2 with MQTT 5 gets 0x97"',
  async (t) => {
    for (const maxRecords of [2, 10]) {
      const { broker, sub, pub } = await scene(t, { maxRecordsPerPublisher: 2, maxRecords });
      const held = [await track(pub, 'a'), await track(pub, 'a', { qos: 2 })];
      t.equal(held.length, 2);
      const refusals: PublishOptions[] = [{ qos: 1 }, { qos: 2 }, { qos: 1, ask: { ...ask, 'receipt-hold': 'true' } }];
      for (const options of refusals) t.equal((await pub.publish('a', { ask, ...options })).code, 0x97);
      await sub.settle();
      t.equal(sub.inbox.length, 2, 'and reaches nobody');
      sub.acknowledge(await sub.take());
      sub.acknowledge(await sub.take());
      await sub.settle();
      t.equal((await pub.publish('a', { ask })).code, 0, 'there is room again as soon as one has ended');
      t.equal(broker.context.records.size, 2);
    }
  },
);

t.test('"any other goes on untracked, counted and logged, because an audit must not stop the traffic"', async (t) => {
  const tracking = [{ filter: 'rule', receipt: 'delivered' as const }];
  const { broker, sub, pub } = await scene(t, { maxRecords: 1 }, { tracking });
  await track(pub, 'a');
  await sub.take();
  for (const topic of ['a', 'rule']) await sub.subscribe(topic);
  const old = await Peer.join(t, broker, 'old', { version: 4 });
  await pub.publish('a', { qos: 0, ask, payload: 'asked at QoS 0' });
  await pub.publish('rule', { payload: 'by rule' });
  await old.publish('rule', { payload: 'MQTT 3.1.1' });
  const dying = await Peer.join(t, broker, 'dying', { will: { topic: 'rule', payload: Buffer.from('a will') } });
  dying.cut();
  const texts = [];
  for (let at = 0; at < 4; at++) {
    const { text, pairs } = await sub.take();
    t.notOk('receipt-id' in pairs);
    texts.push(text);
  }
  t.same(texts, ['asked at QoS 0', 'by rule', 'MQTT 3.1.1', 'a will']);
  t.equal(broker.metrics.untrackedForWantOfRecords, 4);
  t.equal(broker.context.records.size, 1);
});

t.test('the bounds hold after a restart: records are counted anew', async (t) => {
  const { broker, pub } = await scene(t, { maxRecordsPerPublisher: 2 });
  await away(t, broker, 'off', 'b', 1);
  for (let at = 0; at < 2; at++) await track(pub, 'b');
  await broker.crash();
  t.equal(broker.context.records.size, 2);
  const back = await Peer.join(t, broker, 'pub', { expiry: 100 });
  t.equal((await back.publish('b', { ask })).code, 0x97);
});

t.test('maxPending ends what is pending however much finished is older', async (t) => {
  const { broker, pub, sub } = await scene(t, { retention: 1_000_000, maxPending: 30 });
  for (let at = 0; at < 300; at++) await track(pub, 'nobody');
  await track(pub, 'a');
  await sub.take();
  await pass(broker, 40, pub);
  await pub.subscribe('$receipts/~/+/+');
  const lost = await takeReceipt(pub);
  t.match(lost, { state: 'lost', cause: 'gave-up', to: 'sub' });
});

t.test('"past receipts.maxWaiting they collapse into their messages\' tallies, marked collapsed: true"', async (t) => {
  const { broker, sub, pub } = await scene(t, { maxWaiting: 5 }, { maximumQueuedMessages: 3 });
  await pub.subscribe('$receipts/~/#');
  await pub.subscribe('inbox');
  const ids = [];
  for (let at = 0; at < 6; at++) ids.push((await track(pub, 'a')).id);
  for (let at = 0; at < 6; at++) await takeReceipt(pub);
  await pub.settle();
  await pub.leave();
  const other = await Peer.join(t, broker, 'other');
  for (let at = 0; at < 5; at++) await other.publish('inbox', { payload: `${at}` });
  sub.acknowledges = true;
  for (let at = 0; at < 6; at++) sub.acknowledge(await sub.take());
  await sub.settle();
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  await back.settle();
  const messages = back.inbox.filter(({ topic }) => topic === 'inbox').map(({ text }) => text);
  t.same(messages, ['0', '1', '2'], 'receipts "do not count against the message queue", nor messages among receipts');
  back.inbox.splice(0, back.inbox.length, ...back.inbox.filter(({ topic }) => topic !== 'inbox'));
  const receipts = [];
  while (receipts.filter(({ final }) => final).length < 6) receipts.push(await takeReceipt(back));
  t.same(
    receipts.filter(({ final }) => final).map(({ id }) => id),
    ids,
    'every message has its final tally',
  );
  const told = receipts.filter(({ isTally }) => !isTally).length;
  const collapsed = receipts.filter((receipt) => receipt.collapsed === true).length;
  t.same([told, collapsed], [3, 3], 'each receipt came, or its tally is marked');
  t.equal(broker.metrics.receiptsCollapsed, 3);
  await nothingMore(back);
});

t.test('collapsing counts what waits after a restart too', async (t) => {
  const { broker, pub } = await scene(t, { maxWaiting: 4 });
  const sub = await Peer.join(t, broker, 'durable', { expiry: 1000, acknowledges: false });
  await sub.subscribe('b');
  await pub.subscribe('$receipts/~/#');
  for (let at = 0; at < 4; at++) await track(pub, 'b');
  for (let at = 0; at < 4; at++) await takeReceipt(pub);
  await pub.settle();
  await pub.leave();
  for (let at = 0; at < 2; at++) sub.acknowledge(await sub.take());
  await sub.settle();
  await broker.crash();
  const back = await Peer.join(t, broker, 'durable', { expiry: 1000 });
  for (let at = 0; at < 2; at++) await back.take();
  await back.settle();
  t.equal(broker.metrics.receiptsCollapsed, 2);
});

t.test('what must come does not collapse: the only tally of a message for nobody, and replays', async (t) => {
  const broker = await startTimedBroker(t, { receipts: { maxWaiting: 2 } });
  const options = { expiry: 1000, receiveMaximum: 1, acknowledges: false };
  const pub = await Peer.join(t, broker, 'pub', options);
  await pub.subscribe('$receipts/~/#');
  const ids = [];
  for (let at = 0; at < 5; at++) ids.push((await track(pub, 'nobody')).id);
  const tellAll = async (): Promise<string[]> => {
    const told = [];
    while (told.length < ids.length) {
      const message = await pub.take();
      pub.acknowledge(message);
      told.push(message.topic.split('/')[2] ?? '');
    }
    return told;
  };
  t.same(await tellAll(), ids);
  const sub = await Peer.join(t, broker, 'sub');
  for (const filter of ['a/#', 'a/+', 'a/b']) await sub.subscribe(filter);
  const others = await Promise.all([1, 2, 3].map((at) => Peer.join(t, broker, `sub-${at}`)));
  for (const other of others) await other.subscribe('a/b');
  await pub.unsubscribe('$receipts/~/#');
  const { id } = await track(pub, 'a/b');
  for (const peer of [sub, ...others]) await peer.settle();
  await pub.subscribe(`$receipts/~/${id}/#`);
  const replayed = [];
  for (let at = 0; at < 5; at++) {
    const message = await pub.take();
    pub.acknowledge(message);
    replayed.push(message.topic.split('/')[3] ?? 'tally');
  }
  t.same(replayed.sort(), ['sub', 'sub-1', 'sub-2', 'sub-3', 'tally']);
  t.equal(broker.metrics.receiptsCollapsed, 0);
});

/** A publisher that is away, with receipts of `count` messages waiting for it. */
async function withWaiting(t: Test, maxRecords: number, count: number) {
  const all = await scene(t, { maxRecords, maxRecordsPerPublisher: maxRecords });
  const { broker, sub, pub } = all;
  await pub.subscribe('$receipts/~/#');
  const ids: string[] = [];
  for (let at = 0; at < count; at++) ids.push((await track(pub, 'a')).id);
  await pub.settle();
  pub.inbox.length = 0;
  await pub.leave();
  for (let at = 0; at < count; at++) sub.acknowledge(await sub.take());
  await sub.settle();
  // Later than numbers can run ahead of the clock.
  broker.clock.advance(120_000);
  return { ...all, ids };
}

t.test('"those that a waiting receipt refers to last": the records of a publisher that is away are kept', async (t) => {
  for (const crashes of [false, true]) {
    const { broker, ids } = await withWaiting(t, 5, 2);
    if (crashes) await broker.crash();
    const other = await Peer.join(t, broker, 'other');
    const others: string[] = [];
    for (let at = 0; at < 300; at++) others.push((await track(other, 'nobody')).id);
    t.equal(broker.context.records.size, 5);
    t.ok(broker.rows('finished') < 260, `${broker.rows('finished')} rows: what was removed is taken off the list`);
    await other.subscribe('$receipts/~/+');
    for (const id of others.slice(-3)) t.equal((await takeReceipt(other)).id, id, 'of the others the newest are left');
    const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
    const told = [...(await untilFinal(back)), ...(await untilFinal(back))].filter(({ final }) => final);
    t.same(told.map(({ id }) => id), ids); // biome-ignore format: one line
    await nothingMore(back);
    for (let at = 0; at < 10; at++) await track(other, 'nobody');
    await back.subscribe('$receipts/~/+');
    await nothingMore(back);
  }
});

t.test('where receipts of all records wait, the oldest goes all the same', async (t) => {
  const { broker, ids } = await withWaiting(t, 2, 2);
  const other = await Peer.join(t, broker, 'other');
  t.equal((await other.publish('nobody', { ask })).code, 0x10);
  const back = await Peer.join(t, broker, 'pub', { expiry: 1000 });
  t.equal((await untilFinal(back)).at(-1)?.id, ids[1]);
  await nothingMore(back);
});
