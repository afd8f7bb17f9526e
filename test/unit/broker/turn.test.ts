import t from 'tap';
import { PacketType } from '../../../lib/spec/packet-types.js';
import { Table } from '../../../lib/store/store.js';
import { CoreWorld } from '../../helpers/core-world.js';
import { CrashStore } from '../../helpers/crash-store.js';

const many = 40;
const everything = Buffer.alloc(0);

function scene(count: number) {
  const store = new CrashStore();
  const world = new CoreWorld(store);
  const subscriber = world.connect('subscriber');
  const publisher = world.connect('publisher');
  world.subscribe(subscriber, 'a', 1);
  while (world.clock.turn() || store.flush());
  for (let packetId = 1; packetId <= count; packetId++) world.publish(publisher, 'a', [], packetId);
  world.clock.turn();
  const acknowledge = (from: number, to: number): void => {
    for (const { packetId } of subscriber.link.publishes.slice(from, to)) {
      world.core.acknowledge(subscriber.session, subscriber.link, PacketType.puback, packetId, 0, null);
    }
    world.clock.turn();
  };
  const answered = (): number => publisher.link.acks.length;
  return { store, world, subscriber, publisher, acknowledge, answered };
}

const rowsOf = (store: CrashStore): number => store.countRange(Table.deliveries, everything, null, 1000);

t.test('a commit that most recipients are about to make needless waits for them', async (t) => {
  const { store, world, subscriber, acknowledge, answered } = scene(many);
  t.equal(subscriber.link.publishes.length, many, 'sent at once');
  t.equal(store.commitsInFlight, 0);
  acknowledge(0, many - 1);
  t.equal(store.commitsInFlight, 0);
  t.equal(answered(), many - 1, 'what is not going to be recorded need not wait');
  acknowledge(many - 1, many);
  t.equal(store.commitsInFlight, 1, 'the last acknowledgement ends the wait');
  store.flush();
  world.clock.settle();
  t.equal(answered(), many);
  t.equal(rowsOf(store), 0);
});

t.test('publishers are answered before the commit in order only', async (t) => {
  const { publisher, acknowledge } = scene(many);
  const answers = (): number[] => publisher.link.acks.map(({ packetId }) => packetId);
  acknowledge(1, many);
  t.same(answers(), [], 'the first message has not been acknowledged');
  acknowledge(0, 1);
  t.same(answers().length, 0, 'all is settled: the rest is for the commit of nothing');
});

t.test('what came during a wait has a wait of its own', async (t) => {
  const { store, world, subscriber, publisher, acknowledge, answered } = scene(many);
  world.clock.advance(1);
  for (let packetId = many + 1; packetId <= 2 * many; packetId++) world.publish(publisher, 'a', [], packetId);
  world.clock.turn();
  t.equal(subscriber.link.publishes.length, 2 * many);
  acknowledge(0, many - 3);
  world.clock.advance(1);
  world.clock.turn();
  t.equal(store.commitsInFlight, 1, 'the first messages have waited for long enough');
  t.equal(store.deferred, many, 'the others have not');
  acknowledge(many, 2 * many);
  t.equal(answered(), many - 3, 'the others come after the three that are being recorded');
  store.flush();
  const after = store.crash(0);
  t.equal(after.countRange(Table.deliveries, everything, null, 1000), 3, 'only these three are recorded');
  world.clock.settle();
  while (store.flush()) world.clock.settle();
  t.same(
    publisher.link.acks.map(({ packetId }) => packetId),
    Array.from({ length: 2 * many }, (_, at) => at + 1),
  );
});

t.test('answers that wait for nothing else are not held up by a wait that goes on', async (t) => {
  const { store, world, publisher, acknowledge } = scene(many);
  const { others } = publisher.link;
  world.core.context.turns.pong(publisher.link);
  world.clock.turn();
  t.equal(publisher.link.others, others, 'nothing overtakes on a link');
  acknowledge(0, many - 1);
  t.equal(publisher.link.others, others);
  t.equal(store.commitsInFlight, 0);
  world.clock.advance(1);
  for (let packetId = many + 1; packetId <= 2 * many; packetId++) world.publish(publisher, 'a', [], packetId);
  acknowledge(many - 1, many + 10);
  t.equal(store.commitsInFlight, 0);
  t.equal(publisher.link.others, others + 1);
});

t.test('it waits for no longer than two milliseconds, and then records what is left', async (t) => {
  const { store, world, acknowledge, answered } = scene(many);
  acknowledge(0, many - 3);
  world.clock.advance(1);
  world.clock.turn();
  t.equal(store.commitsInFlight, 0);
  world.clock.advance(1);
  world.clock.turn();
  t.equal(store.commitsInFlight, 1);
  t.equal(answered(), many - 3);
  store.flush();
  world.clock.settle();
  t.equal(answered(), many);
  const after = store.crash(0);
  t.equal(rowsOf(after), 3);
  t.equal(after.countRange(Table.messages, everything, null, 1000), 3);
  acknowledge(many - 3, many);
  while (world.clock.turn() || store.flush());
  t.equal(rowsOf(store), 0);
  t.equal(store.countRange(Table.messages, everything, null, 1000), 0);
});

t.test('recipients that are slow are not waited for every time', async (t) => {
  const { store, world, publisher } = scene(many);
  let waits = 0;
  const commits = 20;
  for (let commit = 0; commit < commits; commit++) {
    if (store.commitsInFlight === 0) {
      waits++;
      world.clock.advance(2);
      world.clock.turn();
    }
    t.equal(store.commitsInFlight, 1);
    while (store.flush());
    world.clock.settle();
    for (let packetId = 1; packetId <= many; packetId++) world.publish(publisher, 'a', [], packetId);
    world.clock.turn();
  }
  t.ok(waits >= 2 && waits <= 5, `${waits} waits in ${commits} commits`);
});

t.test('a few messages do not wait, nor do any that come with other rows', async (t) => {
  t.equal(scene(5).store.commitsInFlight, 1);
  const { store, world, publisher } = scene(0);
  for (let packetId = 1; packetId <= many; packetId++) world.publish(publisher, 'a', [], packetId);
  world.connect('another');
  world.clock.turn();
  t.equal(store.commitsInFlight, 1);
});
