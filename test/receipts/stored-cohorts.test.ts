import t, { type Test } from 'tap';
import { PacketType } from '../../lib/spec/packet-types.js';
import { Table } from '../../lib/store/store.js';
import {
  acknowledge,
  begin,
  type Client,
  connectCrowd,
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

/** Large cohorts of stored sessions that are connected: the cohort says that they were sent the message. */

const expirySeconds = 3600;
const nothing = Buffer.alloc(0);
const dupBit = 8;

function isEmpty(t: Test, store: CrashStore): void {
  for (const table of [Table.fanOuts, Table.fanOutCursors, Table.messages]) t.equal(count(store, table), 0);
}

t.test('what connected recipients are sent needs no rows in the record; each outcome is one', async (t) => {
  const store = new CrashStore();
  const puts: Table[] = [];
  store.onDurable = ({ table, value }) => {
    if (value !== null) puts.push(table);
  };
  const world = worldOn(store);
  const { publisher, crowd } = begin(world, store, ['cmd/all'], expirySeconds);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  world.clock.turn();
  world.clock.turn();
  store.flush();
  while (world.clock.turn());
  t.equal(crowd.filter(({ link }) => link.publishes.length > 0).length, 0, 'nobody has it before it is recorded');
  settle(world, store);
  t.ok(crowd.every(({ link }) => link.publishes.length === 1));
  t.equal(count(store, Table.recipients), 0);
  t.equal(count(store, Table.deliveries), recipients);
  t.equal(count(store, Table.fanOuts), 1, 'the cohort speaks for them');
  t.equal(world.core.cohortDeliveries, recipients);
  for (const client of crowd) acknowledge(world, client);
  settle(world, store);
  t.equal(puts.filter((table) => table === Table.recipients).length, recipients);
  t.equal(count(store, Table.deliveries), 0);
  t.equal(world.core.cohortDeliveries, 0);
  isEmpty(t, store);
  const final = publisher.link.receipts().filter((receipt) => receipt.final);
  t.match(final, [{ matched: recipients, delivered: recipients, pending: 0 }]);
});

for (const turns of [1, 2, 3, 4, 5, 6, 8, 10, 12]) {
  t.test(`a broker dies after ${turns} commits: who comes back has it once, and each has one outcome`, async (t) => {
    const dying = new CrashStore();
    const before = worldOn(dying);
    const { publisher, crowd } = begin(before, dying, ['cmd/all'], expirySeconds);
    before.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
    for (let turn = 0; turn < turns; turn++) {
      before.clock.turn();
      before.clock.turn();
      for (const [at, client] of crowd.entries()) {
        if (at % 3 === 0 && client.link.publishes.length === 1) acknowledge(before, client);
      }
      dying.flush();
    }
    while (before.clock.turn());

    const store = dying.crash(0);
    const after = worldOn(store);
    const back = connectCrowd(after, expirySeconds);
    settle(after, store);
    for (const [at, { link }] of back.entries()) {
      const had = crowd[at]?.link.publishes.length ?? 0;
      t.ok(had + link.publishes.length > 0, `device-${at} has it`);
      if (had > 0)
        t.ok(
          link.publishes.every(({ firstByte }) => (firstByte & dupBit) > 0),
          'a repeat says so',
        );
      if (link.publishes.length > 0) acknowledge(after, { link, session: back[at]?.session as Client['session'] });
    }
    settle(after, store);
    const all = replayed(after, store);
    const receipts = all.filter((receipt) => 'to' in receipt);
    t.equal(new Set(receipts.map(({ to }) => to)).size, recipients);
    t.equal(receipts.length, recipients, 'each has one outcome');
    for (const { state, qos, sentAt } of receipts) t.match({ state, qos, sentAt }, { state: 'delivered', qos: 1 });
    t.ok(receipts.every(({ sentAt }) => typeof sentAt === 'string' || typeof sentAt === 'number'));
    t.match(
      all.find((receipt) => 'final' in receipt),
      { matched: recipients, delivered: recipients, pending: 0, final: true },
    );
    isEmpty(t, store);
  });
}

t.test('sessions that end after the broker has died, by their cause', async (t) => {
  const dying = new CrashStore();
  const before = worldOn(dying);
  const { publisher, crowd } = begin(before, dying, ['cmd/all'], expirySeconds);
  before.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  settle(before, dying);
  const [first, second] = crowd;
  if (first === undefined || second === undefined) throw new Error('no crowd');
  acknowledge(before, first);
  // Its end is recorded, and not what comes of it.
  before.disconnect(second);
  settle(before, dying);

  const store = dying.crash(0);
  const after = worldOn(store);
  settle(after, store);
  after.clock.advance(expirySeconds * 1000);
  settle(after, store);
  const receipts = replayed(after, store).filter((receipt) => 'to' in receipt);
  t.equal(receipts.length, recipients);
  for (const { to, state, cause } of receipts) {
    if (to === 'device-0') t.equal(state, 'delivered');
    else t.match({ state, cause }, { state: 'lost', cause: 'session-expired' });
  }
  isEmpty(t, store);
});

t.test('who loses the connection, or takes it over, has a row from then on', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store);
  const { publisher, crowd } = begin(world, store, ['cmd/all'], expirySeconds);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  settle(world, store);
  const [gone, taken, ...others] = crowd;
  if (gone === undefined || taken === undefined) throw new Error('no crowd');
  world.disconnect(gone);
  const newcomer = world.connect('device-1');
  settle(world, store);
  t.equal(count(store, Table.recipients), 2);
  t.equal(world.core.cohortDeliveries, recipients - 2);
  for (const client of others) acknowledge(world, client);
  settle(world, store);
  t.equal(count(store, Table.fanOuts), 0, 'the cohort stands for nobody else');
  const back = world.connect('device-0');
  settle(world, store);
  for (const client of [newcomer, back]) acknowledge(world, client);
  settle(world, store);
  t.match(publisher.link.receipts().at(-1), { delivered: recipients, failed: 0, pending: 0, final: true });
  isEmpty(t, store);
});

t.test('a client that could not answer when it was sent the message need not once it can', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store);
  const link = Object.assign(new FakeLink(), { version: 4 as const });
  const accepted = world.core.connect(link, { ...connectPacket('device-old', expirySeconds), version: 4 }, null, null);
  if (!('session' in accepted)) throw new Error('refused');
  world.subscribe({ link, session: accepted.session }, 'cmd/all', 1);
  const { publisher, crowd } = begin(world, store, ['cmd/all'], expirySeconds);
  world.publish(publisher, 'cmd/all', [['receipt', 'processed']]);
  settle(world, store);
  const newcomer = world.connect('device-old', expirySeconds);
  settle(world, store);
  acknowledge(world, newcomer);
  settle(world, store);
  const [row] = replayed(world, store).filter(({ to }) => to === 'device-old');
  t.match(row, { state: 'delivered' });
  for (const client of crowd) acknowledge(world, client);
  settle(world, store);
  const [tally] = replayed(world, store).filter((receipt) => 'final' in receipt);
  t.match(tally, { delivered: 1, pending: recipients }, 'the others are waited for');
});

t.test('a session deleted with a delivery in flight', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store);
  const { publisher, crowd } = begin(world, store, ['cmd/all'], expirySeconds);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  settle(world, store);
  world.core.endByOperator(crowd[0]?.session as Client['session'], true);
  for (const client of crowd.slice(1)) acknowledge(world, client);
  settle(world, store);
  t.match(publisher.link.receipts().at(-1), { delivered: recipients - 1, failed: 1, pending: 0, final: true });
  isEmpty(t, store);
});

t.test('at QoS 2 the broker dies when some have sent PUBREC, some PUBCOMP and some nothing', async (t) => {
  const dying = new CrashStore();
  const before = worldOn(dying);
  const { publisher, crowd } = begin(before, dying, ['cmd/all'], expirySeconds, 2);
  before.publish(publisher, 'cmd/all', [['receipt', 'delivered']], 7, -1, 2);
  settle(before, dying);
  const answer = (world: CoreWorld, { session, link }: Client, packetType: number): void => {
    world.core.acknowledge(session, link, packetType, crowdId(session.clientId), 0, null);
  };
  const crowdId = (clientId: string): number => {
    const client = crowd.find(({ session }) => session.clientId === clientId);
    return client?.link.publishes[0]?.packetId ?? 0;
  };
  t.ok(crowd.every(({ link }) => link.publishes[0]?.firstByte === 0x34));
  for (const client of crowd.slice(0, 8)) answer(before, client, PacketType.pubrec);
  for (const client of crowd.slice(0, 4)) answer(before, client, PacketType.pubcomp);
  settle(before, dying);
  t.equal(count(dying, Table.recipients), 8);
  t.equal(count(dying, Table.deliveries), recipients - 4);

  const store = dying.crash(0);
  const after = worldOn(store);
  const back = connectCrowd(after, expirySeconds);
  settle(after, store);
  for (const client of back.slice(8)) {
    t.equal(client.link.publishes[0]?.firstByte, 0x34 | dupBit);
    answer(after, client, PacketType.pubrec);
  }
  t.ok(back.slice(0, 8).every(({ link }) => link.publishes.length === 0));
  for (const client of back.slice(4)) answer(after, client, PacketType.pubcomp);
  settle(after, store);
  const all = replayed(after, store);
  t.ok(all.filter((receipt) => 'to' in receipt).every(({ state, qos }) => state === 'delivered' && qos === 2));
  t.match(
    all.find((receipt) => 'final' in receipt),
    { delivered: recipients, pending: 0, final: true },
  );
  isEmpty(t, store);
});

t.test('cohorts that stand are few: the oldest give way to rows', async (t) => {
  const { topics, dying } = dieWithFewStanding(t, expirySeconds);
  const store = dying.crash(0);
  const after = worldOn(store);
  settle(after, store);
  const back = connectCrowd(after, expirySeconds);
  settle(after, store);
  for (const client of back.slice(1)) for (const at of topics.keys()) acknowledge(after, client, at);
  settle(after, store);
  const tallies = replayed(after, store).filter((receipt) => 'final' in receipt);
  t.equal(tallies.length, topics.length);
  for (const tally of tallies) t.match(tally, { delivered: recipients, failed: 0, pending: 0, final: true });
  isEmpty(t, store);
});

for (const stored of [true, false]) {
  const kind = stored ? 'stored sessions' : 'one stored session and others';
  t.test(`the broker dies when a record is partly pruned for which a cohort stands: ${kind}`, async (t) => {
    const many = 300;
    const few = { ...sizes, sliceMax: 500 };
    const options = { receipts: { retention: 1 } };
    const dying = new CrashStore();
    const before = new CoreWorld(dying, options, new ManualClock(), {}, few);
    const crowd = Array.from({ length: many }, (_, at) =>
      before.connect(`device-${at}`, stored || at === 0 ? expirySeconds : 0),
    );
    for (const client of crowd) before.subscribe(client, 'cmd/all', 1);
    const publisher = before.connect('publisher');
    before.subscribe(publisher, '$receipts/~/+', 0);
    settle(before, dying);
    before.publish(publisher, 'cmd/all', [['receipt', 'processed']]);
    settle(before, dying);
    // The applications have their say, and the acknowledgements of the transport do not come.
    const id = String(publisher.link.receipts()[0]?.id);
    for (const client of crowd) before.publish(client, '$receipts/ack', [['receipt-id', id]]);
    settle(before, dying);
    t.match(publisher.link.receipts().at(-1), { processed: many, pending: 0, final: true });
    while (dying.countRange(Table.recipients, nothing, null, many) === many) {
      before.clock.advance(100);
      before.clock.turn();
      dying.flush();
    }
    const store = dying.crash(0);
    const left = store.countRange(Table.recipients, nothing, null, many);
    t.ok(left > 0, `${left} rows are left`);
    t.equal(count(store, Table.fanOuts), 1);

    const after = new CoreWorld(store, {}, new ManualClock(), {}, few);
    settle(after, store);
    t.equal(store.countRange(Table.recipients, nothing, null, many), left, 'and no more');
    t.equal(count(store, Table.fanOuts), 0);
    after.clock.advance(expirySeconds * 1000);
    settle(after, store);
    t.equal(store.countRange(Table.deliveries, nothing, null, many), 0);
    t.match(replayed(after, store).at(-1), { processed: many, failed: 0, pending: 0, final: true });
  });
}
