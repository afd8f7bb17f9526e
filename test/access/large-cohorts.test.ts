import t from 'tap';
import type { ClientIdentity, Hooks } from '../../lib/broker/hooks.js';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { CoreWorld, ManualClock } from '../helpers/core-world.js';

const recipients = 5000;

t.test('who loses the right in the midst of a large fan-out gets nothing, and the tally says so', async (t) => {
  const lost = new Set<string>();
  const hooks: Hooks = {
    authorize: ({ clientId }: ClientIdentity, action) => action !== 'receive' || !lost.has(clientId),
  };
  const world = new CoreWorld(new MemoryStore(), {}, new ManualClock(), hooks);
  for (let number = 0; number < recipients; number++) {
    const device = world.connect(`device-${number}`);
    world.subscribe(device, 'cmd/all', 1);
    world.disconnect(device);
  }
  const publisher = world.connect('publisher');
  world.subscribe(publisher, '$receipts/~/+', 1);
  world.clock.settle();
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']]);
  world.clock.turn();
  lost.add(`device-${recipients - 1}`);
  world.core.rightsChanged();
  while (publisher.link.acks.length === 0) t.ok(world.clock.turn(), 'work goes on');
  t.equal(world.core.context.metrics.droppedNotAuthorized, 1);
  world.subscribe(publisher, '$receipts/~/+', 1);
  world.clock.settle();
  const tally = publisher.link.receipts().findLast((receipt) => 'final' in receipt);
  const failures = [{ to: `device-${recipients - 1}`, state: 'dropped', reason: 0x87, cause: 'not-authorized' }];
  t.match(tally, { matched: recipients, failed: 1, pending: recipients - 1, failures });
});
