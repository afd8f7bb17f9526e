import t from 'tap';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { CoreWorld, ManualClock } from '../../helpers/core-world.js';

const recipients = 500;

t.test('a large fan-out goes on, if slowly, while others use up every turn', async (t) => {
  const sizes = { largeCohortMin: 3 };
  const world = new CoreWorld(new MemoryStore(true), {}, new ManualClock(), {}, sizes);
  const { turns, budget } = world.core.context;
  /** Connections that have more input than a turn takes, and come first in each. */
  const flood = () => {
    turns.begin();
    budget.enter({});
    budget.spend(50_000);
    world.clock.endOfTurn(flood);
  };
  const links = Array.from({ length: recipients }, (_, at) => {
    const client = world.connect(`sub-${at}`, 0);
    world.subscribe(client, 'a', 0);
    return client.link;
  });
  const publisher = world.connect('pub', 0);
  world.clock.settle();
  turns.begin();
  world.clock.endOfTurn(flood);
  world.publish(publisher, 'a', []);
  let passed = 0;
  for (; passed < 100 && world.core.largeFanOutsUnderWay > 0; passed++) {
    world.clock.turn();
    world.clock.advance(1);
  }
  t.equal(world.core.largeFanOutsUnderWay, 0, `done after ${passed} turns`);
  t.ok(links.every(({ publishes }) => publishes.length === 1));
});
