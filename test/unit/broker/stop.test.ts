import t from 'tap';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { Table } from '../../../lib/store/store.js';
import { CoreWorld } from '../../helpers/core-world.js';

const everything = Buffer.alloc(0);
/** More than a turn's budget allows to sweep. */
const messages = 20_000;

t.test('after a stop nothing goes on in later turns; the next start finishes it', async (t) => {
  const store = new MemoryStore(true);
  const rows = () => store.countRange(Table.deliveries, everything, null, messages);
  const world = new CoreWorld(store, { receiveMaximum: 65_535 });
  const subscriber = world.connect('sub');
  world.subscribe(subscriber, 'a', 1);
  world.disconnect(subscriber);
  const publisher = world.connect('pub', 0);
  for (let sent = 0; sent < messages; sent++) world.publish(publisher, 'a', []);
  world.clock.settle();
  t.equal(rows(), messages);
  world.core.endByOperator(subscriber.session, true);
  const left = rows();
  t.ok(left > 0 && left < messages, `${left} deliveries are still to be swept`);
  world.core.stop();
  world.clock.settle();
  t.equal(rows(), left, 'the store, which may be closed, is left alone');
  new CoreWorld(store, {}, world.clock).clock.settle();
  t.equal(rows(), 0);
});

t.test('what moves to another member at the stop begins no timer', async (t) => {
  const store = new MemoryStore(true);
  const world = new CoreWorld(store);
  const [away, member] = [world.connect('away', 3600), world.connect('member', 0)];
  for (const client of [away, member]) world.subscribe(client, '$share/g/a', 1);
  world.disconnect(away);
  const publisher = world.connect('pub', 0);
  for (let sent = 0; sent < 1000; sent++) {
    member.session.sendQuota = 1;
    world.publish(publisher, 'a', [], 7, 60);
  }
  world.clock.settle();
  const { turns, budget } = world.core.context;
  turns.begin();
  budget.enter(null);
  budget.spend(50_000);
  world.core.endByOperator(member.session, true);
  t.equal(world.core.sessionsEnding, 1);
  world.core.stop();
  let asked = 0;
  const range = store.range.bind(store);
  store.range = (...args) => {
    asked++;
    return range(...args);
  };
  world.clock.settle();
  world.clock.advance(61_000);
  t.equal(asked, 0, 'the store, which may be closed, is left alone');
});
