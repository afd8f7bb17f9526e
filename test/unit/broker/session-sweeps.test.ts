import t from 'tap';
import { TurnYields } from '../../../lib/net/turn-yields.js';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { Table } from '../../../lib/store/store.js';
import { CoreWorld, type FakeLink } from '../../helpers/core-world.js';

const everything = Buffer.alloc(0);
const subscribers = 30;
/** For each of them; all together are more than a turn's budget allows to end. */
const messages = 2000;

/** Connected clients without a stored session, or with one, that have acknowledged nothing and will end. */
function scene(expirySeconds: number) {
  const store = new MemoryStore(true);
  const world = new CoreWorld(store, { receiveMaximum: 65_535 });
  const { context } = world.core;
  const links: FakeLink[] = [];
  for (let at = 0; at < subscribers; at++) {
    const { session, link } = world.connect(`sub-${at}`, expirySeconds);
    world.subscribe({ session, link }, 'a', 1);
    session.sendQuota = at % 2 === 0 ? 65_535 : 0;
    links.push(link);
  }
  const publisher = world.connect('pub', 0);
  for (let sent = 0; sent < messages; sent++) world.publish(publisher, 'a', []);
  world.clock.settle();
  const sessions = [...context.sessions.values()].filter(({ clientId }) => clientId !== 'pub');
  const endAll = () => {
    for (const session of sessions) world.core.endByOperator(session, true);
  };
  return { world, context, store, endAll };
}

t.test('deliveries of many sessions that end at once end over several turns', async (t) => {
  const { world, context, endAll } = scene(0);
  t.ok(context.metrics.queuedBytesInMemory > 0);
  endAll();
  t.equal(context.sessions.size, 1, 'the sessions have ended');
  const { droppedSessionEnded } = context.metrics;
  t.ok(droppedSessionEnded > 0 && droppedSessionEnded < subscribers * messages, `${droppedSessionEnded} at once`);
  t.ok(world.core.sessionsEnding > 0);
  world.clock.settle();
  t.equal(context.metrics.droppedSessionEnded, subscribers * messages);
  t.equal(context.metrics.queuedBytesInMemory, 0);
  t.equal(world.core.sessionsEnding, 0);
});

t.test('those of stored sessions, too; then nothing of them is left in the store', async (t) => {
  const { world, context, store, endAll } = scene(3600);
  endAll();
  const left = store.countRange(Table.deliveries, everything, null, subscribers * messages);
  t.ok(left > 0, `${left} rows are left after the first turn`);
  world.clock.settle();
  for (let turns = 0; turns < 100 && world.core.sessionsEnding > 0; turns++) {
    world.clock.advance(1);
    world.clock.settle();
  }
  t.equal(context.metrics.droppedSessionEnded, subscribers * messages);
  for (const table of [Table.deliveries, Table.messages, Table.retired]) {
    t.equal(store.countRange(table, everything, null, 10), 0);
  }
});

t.test('what ends in memory has ended when the broker stops', async (t) => {
  const { world, context, endAll } = scene(0);
  endAll();
  t.ok(world.core.sessionsEnding > 0);
  world.core.stop();
  t.equal(context.metrics.droppedSessionEnded, subscribers * messages);
});

t.test('tracked deliveries count for more: they have their outcomes, each once', async (t) => {
  const store = new MemoryStore(true);
  const world = new CoreWorld(store, { receiveMaximum: 65_535 });
  const subscriber = world.connect('sub', 0);
  world.subscribe(subscriber, 'a', 1);
  subscriber.session.sendQuota = 0;
  const publisher = world.connect('pub', 0);
  world.subscribe(publisher, '$receipts/~/+/+', 0);
  const tracked = 3000;
  for (let sent = 0; sent < tracked; sent++) world.publish(publisher, 'a', [['receipt', 'delivered']]);
  world.clock.settle();
  world.core.endByOperator(subscriber.session, true);
  t.equal(world.core.sessionsEnding, 1, 'not all in one turn');
  for (let turns = 0; turns < 1000 && world.core.sessionsEnding > 0; turns++) {
    world.clock.advance(1);
    world.clock.settle();
  }
  world.clock.settle();
  const receipts = publisher.link.receipts().filter(({ state }) => state === 'lost');
  t.equal(receipts.length, tracked);
  t.ok(receipts.every(({ cause }) => cause === 'deleted'));
});

/** A connection has used up the turn. */
function useUp({ core }: CoreWorld): void {
  const { turns, budget } = core.context;
  turns.begin();
  budget.enter({});
  budget.spend(50_000);
}

/** Somebody without a stored session has so many tracked messages, unacknowledged. */
function tracked(world: CoreWorld, topicFilter: string, count: number) {
  const subscriber = world.connect('sub', 0);
  world.subscribe(subscriber, topicFilter, 1);
  const publisher = world.connect('pub', 0);
  world.subscribe(publisher, '$receipts/~/+/+', 0);
  for (let sent = 0; sent < count; sent++) world.publish(publisher, 'a', [['receipt', 'delivered']]);
  world.clock.settle();
  return { subscriber, publisher };
}

t.test('they go on, if slowly, while others use up every turn', async (t) => {
  const world = new CoreWorld(new MemoryStore(true), { receiveMaximum: 65_535 });
  const { subscriber } = tracked(world, 'a', 100);
  useUp(world);
  world.core.endByOperator(subscriber.session, true);
  t.equal(world.core.sessionsEnding, 1);
  let turns = 0;
  for (; turns < 100 && world.core.sessionsEnding > 0; turns++) {
    world.clock.turn();
    world.clock.advance(1);
    useUp(world);
  }
  t.equal(world.core.context.metrics.droppedSessionEnded, 100, `after ${turns} turns`);
});

t.test('they leave room for others that wait for the turn', async (t) => {
  const world = new CoreWorld(new MemoryStore(true), { receiveMaximum: 65_535 });
  const { subscriber } = tracked(world, 'a', 12_000);
  const yields = new TurnYields(world.core.context);
  world.core.endByOperator(subscriber.session, true);
  world.clock.turn();
  world.clock.turn();
  let hasGoneOn = false;
  yields.add({
    goOn: () => {
      hasGoneOn = true;
    },
  });
  while (!hasGoneOn && world.core.sessionsEnding > 0) {
    world.clock.turn();
    world.clock.advance(1);
  }
  t.ok(hasGoneOn);
  t.equal(world.core.sessionsEnding, 1, 'before the sweep was done');
});

t.test('what an ended session had in memory is no reason to drop messages to others', async (t) => {
  const world = new CoreWorld(new MemoryStore(true), { maximumQueuedBytesInMemory: 1_000_000, receiveMaximum: 65_535 });
  const { metrics } = world.core.context;
  const [first, other] = ['a', 'b'].map((topicFilter) => {
    const client = world.connect(`sub-${topicFilter}`, 0);
    world.subscribe(client, topicFilter, 1);
    client.session.sendQuota = 0;
    return client;
  });
  const publisher = world.connect('pub', 0);
  // What expires waits as an object, which the sweep goes through one by one.
  while (metrics.droppedQueueFull === 0) world.publish(publisher, 'a', [], 7, 600);
  world.clock.settle();
  useUp(world);
  if (first !== undefined) world.core.endByOperator(first.session, true);
  t.equal(world.core.sessionsEnding, 1);
  world.publish(publisher, 'b', []);
  t.equal(metrics.droppedQueueFull, 1);
  t.equal(other?.session.queueLength, 1);
});

t.test('a clean start leaves behind what was for the session before, also of a shared subscription', async (t) => {
  const world = new CoreWorld(new MemoryStore(true), { receiveMaximum: 65_535 });
  const { publisher } = tracked(world, '$share/g/a', 50);
  useUp(world);
  const after = world.connect('sub', 0);
  world.subscribe(after, '$share/g/a', 1);
  t.equal(world.core.sessionsEnding, 1);
  for (let turns = 0; turns < 100; turns++) {
    world.clock.settle();
    world.clock.advance(1);
  }
  t.equal(after.link.publishes.length, 0);
  const receipts = publisher.link.receipts();
  t.equal(receipts.length, 50);
  t.ok(receipts.every(({ state, cause }) => state === 'lost' && cause === 'taken-over'));
});

t.test('a hook that is asked about a move may end the next session', async (t) => {
  let onAsk: () => void = () => undefined;
  const authorize = (): boolean => {
    onAsk();
    return true;
  };
  const world = new CoreWorld(new MemoryStore(true), {}, undefined, { authorize });
  const [one, two, three] = ['one', 'two', 'three'].map((name) => {
    const member = world.connect(name, 0);
    world.subscribe(member, '$share/g/a', 1);
    return member;
  });
  const publisher = world.connect('pub', 0);
  for (let sent = 0; sent < 9; sent++) world.publish(publisher, 'a', []);
  world.clock.settle();
  world.core.rightsChanged();
  onAsk = () => {
    onAsk = () => undefined;
    if (two !== undefined) world.core.endByOperator(two.session, true);
  };
  if (one !== undefined) world.core.endByOperator(one.session, true);
  world.clock.settle();
  t.equal(three?.link.publishes.length, 9);
});
