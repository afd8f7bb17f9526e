import t from 'tap';
import { Table } from '../../lib/store/store.js';
import { CoreWorld, connectPacket, FakeLink, ManualClock } from '../helpers/core-world.js';
import { CrashStore } from '../helpers/crash-store.js';

/** What happens to recipients of a large cohort before they are offered the message. */

const sizes = { largeCohortMin: 10, writtenMax: 1000, sliceMax: 4, unwrittenMax: 1000, standingMax: 16 };
const recipients = 14;
const nothing = Buffer.alloc(0);

function worldOn(store: CrashStore): CoreWorld {
  return new CoreWorld(store, {}, new ManualClock(), {}, sizes);
}

function settle(world: CoreWorld, store: CrashStore): void {
  while (world.clock.turn() || store.flush());
}

function rows(store: CrashStore, table: Table): number {
  return store.countRange(table, nothing, null, 1000);
}

/** Clients that are away, and a publisher that has published: nobody has been offered the message yet. */
function begin(
  world: CoreWorld,
  store: CrashStore,
  expirySeconds = -1,
  more: (world: CoreWorld) => void = () => undefined,
) {
  for (let at = 0; at < recipients; at++) {
    const device = world.connect(`device-${at}`);
    world.subscribe(device, 'cmd/all', 1);
    world.disconnect(device);
  }
  more(world);
  const publisher = world.connect('publisher');
  settle(world, store);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']], 7, expirySeconds);
}

/** The session begins anew, and so loses its place in the cohort. */
function startClean(world: CoreWorld, clientId: string): void {
  world.core.connect(new FakeLink(), { ...connectPacket(clientId, 3600), cleanStart: true }, null, null);
}

/** The last receipt of each recipient, and the tally. */
function outcomes(world: CoreWorld, store: CrashStore) {
  const again = world.connect('publisher');
  world.subscribe(again, '$receipts/~/#', 0);
  settle(world, store);
  const all = again.link.receipts();
  const receipts = new Map(all.filter((receipt) => 'to' in receipt).map((receipt) => [receipt.to, receipt]));
  return { receipts, tally: all.findLast((receipt) => 'final' in receipt) };
}

const late = [recipients - 3, recipients - 1].map((at) => `device-${at}`);

t.test('"lost: the session ended before it confirmed" names the cause, in the midst of a fan-out too', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store);
  begin(world, store);
  world.clock.turn();
  store.flush();
  world.clock.turn();
  const [one = '', other = ''] = late;
  startClean(world, one);
  const ended = world.core.context.sessions.get(other);
  if (ended !== undefined) world.core.endByOperator(ended, true);
  settle(world, store);
  const { receipts, tally } = outcomes(world, store);
  t.equal(receipts.size, recipients);
  t.match(receipts.get(one), { state: 'lost', cause: 'clean-start', qos: 1 });
  t.match(receipts.get(other), { state: 'lost', cause: 'deleted', qos: 1 });
  for (const id of late) t.notOk('sentAt' in (receipts.get(id) ?? {}), 'it certainly does not have the message');
  t.match(tally, { matched: recipients, failed: 2, pending: recipients - 2 });
  t.equal(rows(store, Table.retired), 0);
});

for (const crashes of [1, 2]) {
  t.test(`the same over ${crashes} crashes of the broker: nobody loses the name`, async (t) => {
    let store = new CrashStore();
    let world = worldOn(store);
    begin(world, store);
    world.clock.turn();
    store.flush();
    for (const id of late) startClean(world, id);
    for (let left = crashes; left > 0; left--) {
      // The end of the sessions is recorded, and not yet that they lost the message by it.
      world.clock.turn();
      world.clock.turn();
      store.flush();
      t.ok(rows(store, Table.fanOuts) > 0 && rows(store, Table.recipients) < recipients, 'the fan-out is under way');
      store = store.crash(0);
      world = worldOn(store);
    }
    settle(world, store);
    const { receipts, tally } = outcomes(world, store);
    t.equal(receipts.size, recipients);
    for (const id of late) t.match(receipts.get(id), { to: id, state: 'lost', cause: 'clean-start' });
    t.match(tally, { matched: recipients, failed: 2, pending: recipients - 2, final: false });
    t.same(
      [Table.retired, Table.fanOuts, Table.fanOutCursors].map((table) => rows(store, table)),
      [0, 0, 0],
    );
  });
}

t.test('"expired: Message Expiry Interval ran out before the first send", in the midst of a fan-out too', async (t) => {
  const dying = new CrashStore();
  const before = worldOn(dying);
  begin(before, dying, 10, (world) => {
    const member = world.connect('member');
    world.subscribe(member, '$share/group/cmd/all', 1);
  });
  before.clock.turn();
  dying.flush();
  before.clock.turn();
  dying.flush();
  const store = dying.crash(0);
  const world = worldOn(store);
  const links = late.map((id) => world.connect(id).link);
  const member = world.connect('member').link;
  world.clock.advance(11_000);
  settle(world, store);
  t.same(
    [...links, member].map(({ publishes }) => publishes.length),
    [0, 0, 0],
  );
  const { receipts, tally } = outcomes(world, store);
  t.equal(receipts.size, recipients + 1);
  for (const id of late) t.match(receipts.get(id), { to: id, state: 'expired', qos: 1 });
  t.match(tally, { matched: recipients + 1, pending: 0, failed: recipients + 1, final: true });
});

t.test('"with no member left it is lost": a group that is gone before its turn', async (t) => {
  const store = new CrashStore();
  const world = worldOn(store);
  begin(world, store, -1, (world) => world.subscribe(world.connect('member'), '$share/group/cmd/all', 1));
  world.clock.turn();
  store.flush();
  startClean(world, 'member');
  settle(world, store);
  const { tally } = outcomes(world, store);
  t.match(tally, { failed: 1, failures: [{ state: 'lost', cause: 'disconnected' }] });
});
