import t from 'tap';
import { transientSessionBase } from '../../lib/session/session.js';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { deliveryRange } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { CoreWorld, type FakeLink } from '../helpers/core-world.js';
import { CrashStore } from '../helpers/crash-store.js';

const recipients = 5000;

function fillWith(world: CoreWorld, count: number): void {
  for (let number = 0; number < count; number++) {
    const device = world.connect(`device-${number}`);
    world.subscribe(device, 'cmd/all', 1);
    world.disconnect(device);
  }
  world.clock.settle();
}

function tallies(link: FakeLink): Record<string, unknown>[] {
  return link.receipts().filter((receipt) => 'final' in receipt);
}

t.test(
  'a large cohort is offered the message slice by slice, and its publisher is answered after the last',
  async (t) => {
    const world = new CoreWorld(new MemoryStore());
    fillWith(world, recipients);
    const publisher = world.connect('publisher');
    world.subscribe(publisher, '$receipts/~/+', 1);
    world.clock.settle();
    world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
    world.clock.turn();
    const [first] = tallies(publisher.link);
    t.match(first, { matched: recipients, pending: recipients, final: false }, 'the first tally comes at once');
    t.equal(publisher.link.acks.length, 0, 'the answer does not');
    let turns = 0;
    while (publisher.link.acks.length === 0) {
      t.ok(world.clock.turn(), 'work goes on');
      turns++;
    }
    t.ok(turns >= recipients / 1000, 'in several turns');
    t.same(publisher.link.acks, [{ packetType: 4, packetId: 7, reasonCode: 0 }]);
  },
);

for (const crashAfter of [0, 1, 2, 3, 5, 8]) {
  t.test(
    `a broker that dies after ${crashAfter} turns of a fan-out misses nobody and gives it to nobody twice`,
    async (t) => {
      const dying = new CrashStore();
      const before = new CoreWorld(dying);
      fillWith(before, recipients);
      const publisher = before.connect('publisher');
      before.subscribe(publisher, '$receipts/~/+', 1);
      const online = before.connect('transient', 0);
      before.subscribe(online, 'cmd/all', 1);
      while (before.clock.turn() || dying.flush());
      before.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
      before.clock.turn();
      dying.flush();
      for (let turn = 0; turn < crashAfter; turn++) {
        before.clock.turn();
        dying.flush();
      }

      const store = dying.crash(0);
      const after = new CoreWorld(store);
      while (after.clock.turn() || store.flush());
      let missed = 0;
      let twice = 0;
      for (const session of after.core.context.sessions.values()) {
        if (!session.clientId.startsWith('device-')) continue;
        const { start, end } = deliveryRange(session.number);
        const count = store.countRange(Table.deliveries, start, end, 10);
        if (count === 0) missed++;
        if (count > 1) twice++;
      }
      t.same({ missed, twice }, { missed: 0, twice: 0 });
      const left = store.range(Table.deliveries, deliveryRange(transientSessionBase).start, null, 10);
      t.equal(left.length, 0, 'nothing is left of sessions that died with the broker');
      t.equal(store.countRange(Table.fanOuts, Buffer.alloc(0), null, 10), 0, 'the fan-out is over');

      const again = after.connect('publisher');
      after.subscribe(again, '$receipts/~/+', 1);
      while (after.clock.turn() || store.flush());
      const tally = tallies(again.link).at(-1);
      t.match(tally, { matched: recipients + 1, pending: recipients, failed: 1, final: false });
      t.match(tally?.failures, [{ to: 'transient', state: 'lost', cause: 'broker-restart' }]);
    },
  );
}
