import t from 'tap';
import type { Hooks } from '../../../lib/broker/hooks.js';
import { DeliveryState } from '../../../lib/delivery/table.js';
import { PacketType } from '../../../lib/spec/packet-types.js';
import { decodeDelivery } from '../../../lib/store/records.js';
import { readDeliveryKey } from '../../../lib/store/records-keys.js';
import { type Store, Table } from '../../../lib/store/store.js';
import { CoreWorld, FakeLink, ManualClock } from '../../helpers/core-world.js';
import { CrashStore } from '../../helpers/crash-store.js';

const { queued, awaitPuback } = DeliveryState;
const nothing = Buffer.alloc(0);

type Client = ReturnType<CoreWorld['connect']>;

function settle(world: CoreWorld, store: CrashStore): void {
  while (world.clock.turn() || store.flush());
}

/** Time enough passes for everything to be recorded. */
function pass(world: CoreWorld, store: CrashStore): void {
  for (let at = 0; at < 2; at++) {
    world.clock.advance(10);
    settle(world, store);
  }
}

/** States and packet identifiers of all deliveries, in order. */
function rowsOf(store: Store): (readonly [state: number, packetId: number])[] {
  return store.range(Table.deliveries, nothing, null, 100_000).map(({ key, value }) => {
    const { state, packetId } = decodeDelivery(readDeliveryKey(key).sequence, value);
    return [state, packetId] as const;
  });
}

function acknowledge(world: CoreWorld, { session, link }: Client): void {
  for (const { packetId } of link.publishes) {
    world.core.acknowledge(session, link, PacketType.puback, packetId, 0, null);
  }
}

/** A subscriber that is away, for whom so many messages wait; what the store is told is kept. */
function away(
  count: number,
  options = {},
): { world: CoreWorld; store: CrashStore; states: number[]; publisher: Client } {
  const store = new CrashStore();
  const world = new CoreWorld(store, options, new ManualClock());
  const subscriber = world.connect('subscriber');
  world.subscribe(subscriber, 'a', 1);
  world.disconnect(subscriber);
  const publisher = world.connect('publisher');
  for (let at = 0; at < count; at++) {
    world.publish(publisher, 'a', []);
    publisher.link.unansweredPublishes = 0;
  }
  settle(world, store);
  const states: number[] = [];
  store.onDurable = ({ table, key, value }) => {
    if (table === Table.deliveries && value !== null) {
      states.push(decodeDelivery(readDeliveryKey(key).sequence, value).state);
    }
  };
  return { world, store, states, publisher };
}

t.test('what is acknowledged within moments is never recorded as sent', async (t) => {
  const { world, store, states } = away(3);
  const subscriber = world.connect('subscriber');
  settle(world, store);
  t.equal(subscriber.link.publishes.length, 3);
  t.equal(world.core.unrecordedSends, 3);
  acknowledge(world, subscriber);
  settle(world, store);
  pass(world, store);
  t.same(states, []);
  t.same(rowsOf(store), []);
  t.equal(world.core.unrecordedSends, 0);
});

t.test('what is not is recorded soon', async (t) => {
  const { world, store, states } = away(3);
  const subscriber = world.connect('subscriber');
  settle(world, store);
  pass(world, store);
  t.same(states, [awaitPuback, awaitPuback, awaitPuback]);
  t.equal(world.core.unrecordedSends, 0);
  const ids = subscriber.link.publishes.map(({ packetId }) => packetId);
  t.same(
    rowsOf(store).map(([, packetId]) => packetId),
    ids,
  );
});

t.test('a message sent since is recorded behind what came before it', async (t) => {
  const { world, store, publisher } = away(2);
  world.connect('subscriber');
  settle(world, store);
  world.publish(publisher, 'a', []);
  settle(world, store);
  t.same(
    rowsOf(store.crash(0)).map(([state]) => state),
    [awaitPuback, awaitPuback, awaitPuback],
  );
});

t.test('so is a tracked one from the queue, which has to be recorded', async (t) => {
  const { world, store, publisher } = away(2);
  world.publish(publisher, 'a', [['receipt', 'delivered']]);
  world.publish(publisher, 'a', []);
  settle(world, store);
  world.connect('subscriber');
  settle(world, store);
  t.same(
    rowsOf(store.crash(0)).map(([state]) => state),
    [awaitPuback, awaitPuback, awaitPuback, queued],
    'nothing comes before it that is not recorded; what comes after may wait',
  );
});

t.test(
  'a client that comes back is sent the same again, whether or not its connection is known to be gone',
  async (t) => {
    for (const isGone of [true, false]) {
      const { world, store } = away(3);
      const subscriber = world.connect('subscriber');
      settle(world, store);
      if (isGone) world.disconnect(subscriber);
      const back = world.connect('subscriber');
      settle(world, store);
      const ids = ({ link }: Client) => link.publishes.map(({ packetId }) => packetId);
      t.same(ids(back), ids(subscriber));
      for (const { firstByte } of back.link.publishes) t.ok(firstByte & 8, 'with DUP');
    }
  },
);

t.test('after a death what had not been recorded is sent as it would have been before', async (t) => {
  const { world, store } = away(3);
  world.connect('subscriber');
  settle(world, store);
  const next = store.crash(0);
  const after = new CoreWorld(next, {}, new ManualClock());
  settle(after, next);
  const back = after.connect('subscriber', 3600, new FakeLink());
  settle(after, next);
  t.equal(back.link.publishes.length, 3);
  acknowledge(after, back);
  settle(after, next);
  t.same(rowsOf(next), []);
});

t.test('no more than some thousands go unrecorded', async (t) => {
  const { world, store } = away(10_050, { maximumInflightMessages: 20_000, maximumQueuedMessages: 20_000 });
  const subscriber = world.connect('subscriber');
  settle(world, store);
  t.equal(subscriber.link.publishes.length, 10_050);
  t.equal(world.core.unrecordedSends, 50);
});

t.test('what a hook publishes while it is asked does not overtake what is being sent', async (t) => {
  let onAsked = (): void => undefined;
  const hooks: Hooks = {
    authorize: (_, action, topic) => {
      if (action === 'receive' && topic === 'a') onAsked();
      return true;
    },
  };
  const store = new CrashStore();
  const world = new CoreWorld(store, {}, new ManualClock(), hooks);
  const subscriber = world.connect('subscriber');
  for (const topic of ['a', 'b']) world.subscribe(subscriber, topic, 1);
  world.disconnect(subscriber);
  world.publish(world.connect('publisher'), 'a', []);
  settle(world, store);
  world.core.rightsChanged();
  onAsked = () => {
    onAsked = () => undefined;
    void world.core.publishFromServer({ topic: 'b', payload: Buffer.from('note'), qos: 1 });
  };
  const back = world.connect('subscriber');
  settle(world, store);
  t.equal(back.link.publishes.length, 2);
  t.same(
    rowsOf(store.crash(0)).map(([state]) => state),
    [awaitPuback, awaitPuback],
  );
});

t.test('what a hook publishes is sent once, though it stands in the queue before an older message', async (t) => {
  let onAsked = (): void => undefined;
  const hooks: Hooks = {
    authorize: (_, action, topic) => {
      if (action === 'receive' && topic === 'x') onAsked();
      return true;
    },
  };
  const store = new CrashStore();
  const world = new CoreWorld(store, { maximumInflightMessages: 100 }, new ManualClock(), hooks);
  const subscriber = world.connect('subscriber');
  world.subscribe(subscriber, '#', 1);
  const publisher = world.connect('publisher');
  const publish = (topic: string): void => {
    world.publish(publisher, topic, []);
    publisher.link.unansweredPublishes = 0;
  };
  // The window and all but two places of what is kept in memory behind it.
  for (let at = 0; at < 162; at++) publish('a');
  onAsked = () => {
    onAsked = () => undefined;
    void world.core.publishFromServer({ topic: 'b', payload: Buffer.from('inner'), qos: 1 });
  };
  publish('x');
  for (let at = 0; at < 20; at++) publish('a');
  settle(world, store);
  let received = 0;
  for (let open = subscriber.link.publishes; open.length > 0; settle(world, store)) {
    for (const { packetId } of open.splice(0)) {
      received++;
      world.core.acknowledge(subscriber.session, subscriber.link, PacketType.puback, packetId, 0, null);
    }
    open = subscriber.link.publishes;
  }
  t.equal(received, 184);
  t.same(rowsOf(store), []);
});
