import t from 'tap';
import * as packets from '../helpers/packets.js';
import { ByteReader, pairsOf } from '../helpers/parse.js';
import { Peer } from '../helpers/peer.js';
import { counts, nothingMore, publisher, takeReceipt, track, untilFinal } from '../helpers/receipts.js';
import { join } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

const ask = { receipt: 'delivered' };

for (const qos of [1, 2] as const) {
  t.test(
    `"PUBACK or PUBREC carries receipt-id and receipt-matched (the size of the cohort)", QoS ${qos}`,
    async (t) => {
      const broker = await startTimedBroker(t);
      for (const name of ['s1', 's2', 's3']) await (await Peer.join(t, broker, name)).subscribe('a/+', { qos: 0 });
      const pub = await publisher(t, broker);
      const answer = await pub.publish('a/1', { qos, ask });
      t.equal(answer.code, 0);
      t.same(answer.pairs, { 'receipt-id': answer.id, 'receipt-matched': '3' });
      t.match(answer.id, /^[0-9A-HJKMNP-TV-Z]{13}$/);
      const first = await takeReceipt(pub);
      t.same([first.id, first.segments], [answer.id, ['~', answer.id]], 'the first tally says the same');
      t.equal(counts(first), '3 0 0 0 0 3');
    },
  );

  t.test(`"left out if Request Problem Information is 0", QoS ${qos}`, async (t) => {
    const broker = await startTimedBroker(t);
    await (await Peer.join(t, broker, 'sub')).subscribe('a');
    const pub = await Peer.join(t, broker, 'pub', { problemInformation: false });
    await pub.subscribe('$receipts/~/+');
    const { code, pairs, reason } = await pub.publish('a', { qos, ask });
    t.same([code, pairs, reason], [0, {}, undefined]);
    t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1', 'the first tally always says the same');
    const refused = await pub.publish('a', { qos, ask: { receipt: 'x' } });
    t.same([refused.code, refused.reason], [0x83, undefined]);
  });

  t.test(`"or where they would exceed the client's Maximum Packet Size", QoS ${qos}`, async (t) => {
    const broker = await startTimedBroker(t);
    const pub = await Peer.join(t, broker, 'pub', { maximumPacketSize: 40 });
    const { code, pairs } = await pub.publish('a', { qos, ask });
    t.same([code, pairs], [0x10, {}], 'the code still tells an empty cohort');
    const wide = await Peer.join(t, broker, 'wide', { maximumPacketSize: 100 });
    t.equal((await wide.publish('a', { qos, ask })).matched, 0);
  });

  t.test(`"An empty cohort gives reason code 0x10 if the publisher itself asked", QoS ${qos}`, async (t) => {
    const broker = await startTimedBroker(t, { tracking: [{ filter: 'rule', receipt: 'delivered' }] });
    const pub = await publisher(t, broker);
    const asked = await pub.publish('nobody', { qos, ask });
    t.same([asked.code, asked.matched], [0x10, 0]);
    const only = await takeReceipt(pub);
    t.equal(counts(only), '0 0 0 0 0 0 final', '"it is the only one, and final"');
    const byRule = await pub.publish('rule', { qos });
    t.same([byRule.code, byRule.matched], [0, 0], 'a message tracked by rule does not get it');
    t.equal(counts(await takeReceipt(pub)), '0 0 0 0 0 0 final');
    t.equal((await pub.publish('nobody', { qos })).code, 0, 'nor does an untracked one');
    await nothingMore(pub);
  });

  t.test(`"get it only where noMatchingSubscribers is configured on", QoS ${qos}`, async (t) => {
    const tracking = [{ filter: 'rule', receipt: 'delivered' as const }];
    const broker = await startTimedBroker(t, { noMatchingSubscribers: true, tracking });
    const pub = await Peer.join(t, broker, 'pub');
    t.equal((await pub.publish('rule', { qos })).code, 0x10);
    t.equal((await pub.publish('nobody', { qos })).code, 0x10);
  });
}

t.test('"the first tally … also serves QoS 0"', async (t) => {
  const broker = await startTimedBroker(t);
  await (await Peer.join(t, broker, 'sub')).subscribe('a');
  const pub = await publisher(t, broker, 'pub', '$receipts/~/+');
  await pub.publish('a', { qos: 0, ask });
  t.equal(counts(await takeReceipt(pub)), '1 0 0 0 0 1');
  t.equal(counts(await takeReceipt(pub)), '1 0 0 1 0 0 final');
});

t.test('"A repeated PUBREC repeats its code and properties", after a reconnect and a restart too', async (t) => {
  const broker = await startTimedBroker(t);
  const pub = await Peer.join(t, broker, 'pub', { expiry: 100 });
  const packetId = pub.send1('a', { qos: 2, ask });
  const first = await pub.answer(packetId);
  t.same([first.code, first.matched], [0x10, 0]);
  await (await Peer.join(t, broker, 'sub')).subscribe('a');
  pub.send1('a', { qos: 2, ask, dup: true, packetId });
  t.same(await pub.answer(packetId), first, 'although there is a subscriber by now');
  pub.cut();
  const back = await Peer.join(t, broker, 'pub', { expiry: 100 });
  back.send1('a', { qos: 2, ask, dup: true, packetId });
  t.same(await back.answer(packetId), first, 'on another connection');
  await broker.restart();
  const late = await Peer.join(t, broker, 'pub', { expiry: 100 });
  late.send1('a', { qos: 2, ask, dup: true, packetId });
  t.same(await late.answer(packetId), first, 'after a restart of the broker');
  t.equal(broker.context.records.size, 1, 'one message, one record');
});

t.test('"A QoS 1 PUBLISH resent … is, in MQTT, a new message, with an id and a record of its own"', async (t) => {
  const broker = await startTimedBroker(t);
  const pub = await Peer.join(t, broker, 'pub', { expiry: 100 });
  const first = await pub.publish('a', { ask, packetId: 9 });
  const again = await pub.publish('a', { ask, packetId: 9, dup: true });
  t.ok(again.id > first.id);
  t.equal(broker.context.records.size, 2);
});

t.test('receipt ids are "sortable by time of acceptance, … never going back with the clock"', async (t) => {
  const broker = await startTimedBroker(t);
  const ids: string[] = [];
  for (let round = 0; round < 4; round++) {
    const pub = await Peer.join(t, broker, `pub${round}`);
    for (let at = 0; at < 20; at++) ids.push((await pub.publish('a', { ask })).id);
    if (round % 2 === 0) await broker.crash();
  }
  t.same(ids, [...ids].sort());
  t.equal(new Set(ids).size, ids.length);
});

t.test(
  '"User properties reach the subscribers unaltered and in order …. After them the broker appends receipt-id"',
  async (t) => {
    const broker = await startTimedBroker(t);
    const sub = await join(t, broker, { clientId: 'sub' });
    sub.send(packets.subscribe({ filters: [['a', 0]] }));
    await sub.packet();
    const pub = await join(t, broker, { clientId: 'pub' });
    const { userProperty } = packets.property;
    const pairs = [
      ['z', '1'],
      ['receipt', 'delivered'],
      ['a', '2'],
      ['z', '0'],
      ['receipt-deadline', '9'],
    ] as const;
    const properties = pairs.map(([name, value]) => userProperty(name, value));
    pub.send(packets.publish({ topic: 'a', qos: 1, payload: 'p', properties }));
    const reader = new ByteReader(await sub.packet(), 1);
    reader.variable();
    reader.field();
    const got = pairsOf(reader.properties(5));
    t.same(got.slice(0, -1), pairs);
    t.match(got.at(-1), ['receipt-id', /^.{13}$/]);
  },
);

t.test('receipt-id is "left out where it alone would make the packet too large for the recipient"', async (t) => {
  const broker = await startTimedBroker(t);
  const small = await Peer.join(t, broker, 'small', { maximumPacketSize: 60 });
  const large = await Peer.join(t, broker, 'large', { maximumPacketSize: 100 });
  for (const peer of [small, large]) await peer.subscribe('a', { id: 5 });
  const pub = await publisher(t, broker);
  const { id } = await track(pub, 'a', { payload: 'x'.repeat(20) });
  t.same((await small.take()).pairs, { receipt: 'delivered' });
  t.same((await large.take()).pairs, { receipt: 'delivered', 'receipt-id': id });
  t.equal(counts((await untilFinal(pub)).at(-1)), '2 0 2 0 0 0 final');
});

t.test('receipt-id is "never on replays of a retained message", which are not in the cohort either', async (t) => {
  const broker = await startTimedBroker(t);
  const pub = await publisher(t, broker);
  const { id } = await track(pub, 'a', { retain: true, payload: 'kept' });
  t.equal(counts(await takeReceipt(pub)), '0 0 0 0 0 0 final');
  const late = await Peer.join(t, broker, 'late');
  await late.subscribe('a');
  const message = await late.take();
  t.same([message.text, message.pairs, message.retain], ['kept', { receipt: 'delivered' }, true]);
  t.ok(id);
  await nothingMore(pub, late);
});
