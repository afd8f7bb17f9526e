import t from 'tap';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { CoreWorld } from '../../helpers/core-world.js';

t.test('a session lasts from the end of its connection, however long ago the turn at hand began', async (t) => {
  const world = new CoreWorld(new MemoryStore());
  const { core, clock } = world;
  const client = world.connect('sub', 1);
  clock.settle();
  core.context.turns.begin();
  clock.advance(300);
  world.disconnect(client);
  clock.settle();
  clock.advance(999);
  clock.settle();
  t.ok(core.context.sessions.has('sub'));
  clock.advance(1);
  clock.settle();
  t.notOk(core.context.sessions.has('sub'));
});
