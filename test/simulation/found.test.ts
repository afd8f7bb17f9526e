import t from 'tap';
import { CoreWorld, FakeLink } from '../helpers/core-world.js';
import { CrashStore } from '../helpers/crash-store.js';

// What the simulator has found, step by step.

t.test('no success is answered to a 3.1.1 client while the store can not record: it is sent away', async (t) => {
  const store = new CrashStore();
  const world = new CoreWorld(store);
  const old = world.connect('old', 0, new FakeLink(4));
  const modern = world.connect('modern', 0);
  world.clock.settle();
  world.subscribe(world.connect('durable'), 'a', 1);
  world.clock.settle();
  store.fail();
  for (const client of [old, modern]) world.publish(client, 'a', []);
  world.clock.settle();
  while (store.flush());
  t.ok(old.link.closed, 'its acknowledgements know no failure');
  t.same(old.link.acks, []);
  t.notOk(modern.link.closed);
  t.same(
    modern.link.acks.map(({ reasonCode }) => reasonCode),
    [0x80],
  );
});

t.test('CONNACK does not tell of the end of a session before that is recorded', async (t) => {
  const store = new CrashStore();
  const world = new CoreWorld(store);
  const first = world.connect('client', 600);
  world.clock.settle();
  while (store.flush());
  const goodbye = { reasonCode: 0, sessionExpirySeconds: 0, reasonString: null };
  world.core.disconnect(first.session, goodbye);
  world.clock.settle();
  const second = world.connect('client', 0);
  world.clock.settle();
  t.equal(second.link.others, 0, 'a restart would bring the old session back');
  while (store.flush()) world.clock.settle();
  t.equal(second.link.others, 1);
});

t.test(
  'a recipient that leaves before its delivery is recorded has an outcome, whenever the broker dies',
  async (t) => {
    const settle = (world: CoreWorld, store: CrashStore): void => {
      while (world.clock.turn() || store.flush());
    };
    for (const batches of [1, 2]) {
      const dying = new CrashStore();
      const before = new CoreWorld(dying);
      const publisher = before.connect('publisher');
      const recipient = before.connect('recipient', 0);
      before.subscribe(recipient, 'a', 1);
      settle(before, dying);
      before.publish(publisher, 'a', [['receipt', 'delivered']]);
      before.clock.settle();
      before.core.connectionGone(recipient.session, false);
      before.clock.settle();
      const store = dying.crash(batches);
      const after = new CoreWorld(store);
      settle(after, store);
      const back = after.connect('publisher');
      after.subscribe(back, '$receipts/~/#', 0);
      settle(after, store);
      const outcomes = back.link.receipts().filter((receipt) => 'to' in receipt);
      const cause = ['broker-restart', 'disconnected'][batches - 1];
      t.match(outcomes, [{ to: 'recipient', state: 'lost', cause }]);
      t.equal(outcomes.length, 1, `with ${batches} of the batches`);
    }
  },
);
