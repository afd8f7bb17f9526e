import t from 'tap';
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
