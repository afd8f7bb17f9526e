import t from 'tap';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { Table } from '../../lib/store/store.js';
import {
  acknowledge,
  begin,
  type Client,
  count,
  dieWithFewStanding,
  recipients,
  replayed,
  settle,
  sizes,
  worldOn,
} from '../helpers/cohort-world.js';
import { CoreWorld, connectPacket, FakeLink, ManualClock } from '../helpers/core-world.js';
import { CrashStore } from '../helpers/crash-store.js';

const nothing = Buffer.alloc(0);

t.test('what recipients without stored sessions are sent needs no rows; each outcome is one', async (t) => {
  const store = new CrashStore();
  const puts: Table[] = [];
  store.onDurable = ({ table, value }) => {
    if (value !== null) puts.push(table);
  };
  const world = worldOn(store);
  const { publisher, crowd } = begin(world, store, ['cmd/all'], 0);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  world.clock.turn();
  world.clock.turn();
  t.equal(crowd.filter(({ link }) => link.publishes.length > 0).length, 0, 'nothing is sent before the first commit');
  store.flush();
  while (world.clock.turn());
  const sent = crowd.filter(({ link }) => link.publishes.length > 0).length;
  t.ok(sent >= sizes.sliceMax, `${sent} have it while the commit of their slice is still to come`);
  settle(world, store);
  t.equal(count(store, Table.recipients), 0);
  t.equal(count(store, Table.fanOuts), 1, 'the cohort speaks for them');
  for (const client of crowd) acknowledge(world, client);
  settle(world, store);
  t.equal(puts.filter((table) => table === Table.recipients).length, recipients);
  t.notOk(puts.includes(Table.deliveries));
  t.equal(count(store, Table.fanOuts), 0, 'and goes with the last of them');
  const final = publisher.link.receipts().filter((receipt) => receipt.final);
  t.match(final, [{ matched: recipients, delivered: recipients, pending: 0 }]);
});

for (const turns of [1, 2, 3, 4, 5, 6, 8, 10]) {
  t.test(`a broker that dies after ${turns} commits of it leaves nobody without an outcome`, async (t) => {
    const dying = new CrashStore();
    const before = worldOn(dying);
    const { publisher, crowd } = begin(before, dying, ['cmd/all'], 0);
    before.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
    for (let turn = 0; turn < turns; turn++) {
      before.clock.turn();
      before.clock.turn();
      for (const [at, client] of crowd.entries()) {
        if (at % 2 === 0 && client.link.publishes.length === 1) acknowledge(before, client);
      }
      dying.flush();
    }
    while (before.clock.turn());
    const has = new Set(crowd.filter(({ link }) => link.publishes.length > 0).map(({ session }) => session.clientId));

    const store = dying.crash(0);
    const after = worldOn(store);
    settle(after, store);
    const all = replayed(after, store);
    const receipts = all.filter((receipt) => 'to' in receipt);
    t.equal(new Set(receipts.map(({ to }) => to)).size, recipients);
    t.equal(receipts.length, recipients, 'each has one outcome');
    for (const { to, state, sentAt, cause } of receipts) {
      if (state === 'delivered') t.ok(Number(String(to).split('-')[1]) % 2 === 0, `${to} acknowledged`);
      else t.match({ state, cause }, { state: 'lost', cause: 'broker-restart' });
      if (sentAt === undefined) t.notOk(has.has(String(to)), `${to} was certainly not sent it`);
    }
    const delivered = receipts.filter(({ state }) => state === 'delivered').length;
    const tally = all.find((receipt) => 'final' in receipt);
    t.match(tally, { matched: recipients, delivered, failed: recipients - delivered, pending: 0, final: true });
    for (const table of [Table.fanOuts, Table.fanOutCursors]) t.equal(count(store, table), 0);
  });
}

t.test('cohorts that stand are few: the oldest give way to rows', async (t) => {
  const { topics, dying } = dieWithFewStanding(t, 0);
  const store = dying.crash(0);
  const after = worldOn(store);
  settle(after, store);
  const tallies = replayed(after, store).filter((receipt) => 'final' in receipt);
  t.equal(tallies.length, topics.length);
  for (const tally of tallies) t.match(tally, { delivered: 1, failed: recipients - 1, pending: 0, final: true });
  t.equal(count(store, Table.fanOuts) + count(store, Table.deliveries), 0);
});

t.test('beyond a number of them, deliveries have rows at once', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store, { ...sizes, unwrittenMax: 6 });
  const { publisher, crowd } = begin(world, store, ['cmd/all'], 0);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  settle(world, store);
  t.equal(count(store, Table.recipients), recipients - sizes.sliceMax);
  for (const client of crowd) acknowledge(world, client);
  settle(world, store);
  t.match(publisher.link.receipts().at(-1), { delivered: recipients, final: true });
  t.equal(count(store, Table.deliveries), 0);
});

t.test('a publisher that subscribes to receipts meanwhile learns of those that wait for their outcome', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store);
  const { publisher } = begin(world, store, ['cmd/all'], 0);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  settle(world, store);
  world.subscribe(publisher, '$receipts/~/+/+', 0);
  settle(world, store);
  const receipts = publisher.link.receipts().filter((receipt) => 'to' in receipt);
  t.equal(receipts.length, recipients);
  t.ok(receipts.every(({ state }) => state === 'sent'));
});

t.test('the replay of a cohort that stands writes its rows as it comes to them', async (t) => {
  const many = 3000;
  const store = new CrashStore();
  const world = worldOn(store, { ...sizes, sliceMax: 500, unwrittenMax: many });
  for (let at = 0; at < many; at++) world.subscribe(world.connect(`device-${at}`, 0), 'cmd/all', 1);
  const publisher = world.connect('publisher');
  settle(world, store);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  settle(world, store);
  const rows = () => store.countRange(Table.recipients, nothing, null, many);
  world.subscribe(publisher, '$receipts/~/+/+', 0);
  t.ok(rows() > 0 && rows() < many / 2, `${rows()} of ${many} in the turn of the SUBSCRIBE`);
  settle(world, store);
  t.equal(rows(), many);
  const told = publisher.link.receipts().filter(({ state }) => state === 'sent');
  t.equal(told.length, many);
  t.equal(new Set(told.map(({ to }) => to)).size, many, 'each once');
});

t.test('who is sent the message at QoS 0 has a row at once', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store);
  const { publisher, crowd } = begin(world, store, ['cmd/all'], 0);
  for (const client of crowd.slice(5)) world.subscribe(client, 'cmd/all', 0);
  settle(world, store);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  settle(world, store);
  t.equal(count(store, Table.recipients), recipients - 5);
  for (const client of crowd.slice(0, 5)) acknowledge(world, client);
  settle(world, store);
  t.match(publisher.link.receipts().at(-1), { delivered: 5, sent: recipients - 5, final: true });
});

t.test('acknowledgements of two messages that alternate are told apart', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store);
  const { publisher, crowd } = begin(world, store, ['a', 'b'], 0);
  world.publish(publisher, 'a', [['receipt', 'delivered']]);
  world.publish(publisher, 'b', [['receipt', 'delivered']]);
  settle(world, store);
  for (const [at, client] of crowd.entries()) {
    acknowledge(world, client, at % 2);
    if (at % 3 > 0) acknowledge(world, client, 1 - (at % 2));
  }
  settle(world, store);
  const told = replayed(world, store);
  for (const [topic, name] of ['a', 'b'].entries()) {
    const acknowledged = crowd.map((_, at) => at % 3 > 0 || at % 2 === topic);
    const delivered = acknowledged.filter(Boolean).length;
    const [tally] = told.filter((receipt) => receipt.topic === name && 'final' in receipt);
    t.match(tally, { delivered, pending: recipients - delivered });
    for (const [at, isDelivered] of acknowledged.entries()) {
      const [row, ...more] = told.filter(({ topic, to }) => topic === name && to === `device-${at}`);
      t.same([row?.state, more], [isDelivered ? 'delivered' : 'sent', []], `${name} to device-${at}`);
    }
  }
});

t.test('applications that acknowledge before their clients, while most of the cohort is done', async (t) => {
  const many = 2500;
  const store = new CrashStore();
  const world = worldOn(store, { ...sizes, sliceMax: 500, unwrittenMax: many });
  const crowd = Array.from({ length: many }, (_, at) => world.connect(`device-${at}`, 0));
  for (const client of crowd) world.subscribe(client, 'cmd/all', 1);
  const publisher = world.connect('publisher');
  world.subscribe(publisher, '$receipts/~/+', 0);
  settle(world, store);
  world.publish(publisher, 'cmd/all', [['receipt', 'processed']]);
  const [first, second, last, ...others] = [...crowd.slice(0, 2), ...crowd.slice(-1), ...crowd.slice(2, -1)] as [
    Client,
    Client,
    Client,
    ...Client[],
  ];
  while (first.link.publishes.length === 0) {
    world.clock.turn();
    store.flush();
  }
  const [id] = publisher.link.receipts().map((receipt) => String(receipt.id));
  const answer = (client: Client) => world.publish(client, '$receipts/ack', [['receipt-id', id ?? '']]);
  t.equal(last.link.publishes.length, 0, 'others are sent the message later');
  answer(first);
  settle(world, store);
  answer(last);
  for (const client of others.slice(100)) acknowledge(world, client);
  answer(second);
  for (const client of others) answer(client);
  answer(second);
  for (const client of [first, second, last, ...others.slice(0, 100)]) acknowledge(world, client);
  settle(world, store);
  t.match(publisher.link.receipts().at(-1), { processed: many, failed: 0, pending: 0, final: true });
  t.equal(count(store, Table.fanOuts), 0);
});

t.test('a message for nobody is not a large one: its tally is final at once', async (t) => {
  const world = new CoreWorld(new MemoryStore(), {}, new ManualClock(), {}, { ...sizes, largeCohortMin: 0 });
  const publisher = world.connect('publisher');
  world.subscribe(publisher, '$receipts/~/+', 0);
  world.clock.settle();
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  world.clock.settle();
  t.match(publisher.link.receipts(), [{ matched: 0, pending: 0, final: true }]);
  t.match(publisher.link.acks, [{ reasonCode: 0x10 }]);
});

t.test('a will that a start publishes to many goes out once', async (t) => {
  const dying = new CrashStore();
  const before = worldOn(dying);
  for (let at = 0; at < recipients; at++) {
    const device = before.connect(`device-${at}`);
    before.subscribe(device, 'gone', 1);
    before.disconnect(device);
  }
  const will = {
    ...{ topicName: 'gone', payload: Buffer.from('gone'), qos: 1 as const, retain: false, delaySeconds: 0 },
    ...{ messageExpirySeconds: -1, properties: nothing, userProperties: [] },
  };
  before.core.connect(new FakeLink(), { ...connectPacket('dying', 3600), will }, null, null);
  settle(before, dying);
  const store = dying.crash(0);
  settle(worldOn(store), store);
  t.equal(count(store, Table.deliveries), recipients);
});
