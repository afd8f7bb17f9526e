import t from 'tap';
import { queueLength } from '../../../lib/broker/stored-queues.js';
import type { BrokerOptions } from '../../../lib/config/schema.js';
import { Census } from '../../../lib/operation/census.js';
import type { Session } from '../../../lib/session/session.js';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { CoreWorld } from '../../helpers/core-world.js';

const payloadBytes = 3;

/** A broker that starts on a store with so many messages for the absent `sub`, and the session of that. */
function restarted(messages: number, options: BrokerOptions = {}) {
  const store = new MemoryStore(true);
  const before = new CoreWorld(store, options);
  const subscriber = before.connect('sub');
  before.subscribe(subscriber, 'a', 1);
  before.disconnect(subscriber);
  const publisher = before.connect('pub', 0);
  for (let sent = 0; sent < messages; sent++) before.publish(publisher, 'a', []);
  before.clock.settle();
  const world = new CoreWorld(store, options, before.clock);
  return { store, world, session: sessionOf(world), publisher: world.connect('pub', 0) };
}

function sessionOf(world: CoreWorld): Session {
  const session = world.core.context.sessions.get('sub');
  if (session === undefined) throw new Error('the session is gone');
  return session;
}

t.test('maximumQueuedBytes holds for what was queued before a restart', async (t) => {
  const { world, session, publisher } = restarted(3, { maximumQueuedBytes: 4 * payloadBytes });
  for (let sent = 0; sent < 5; sent++) world.publish(publisher, 'a', []);
  world.clock.settle();
  t.equal(session.queueLength, 4);
  t.equal(session.queue.bytes, 4 * payloadBytes);
  t.equal(world.core.context.metrics.droppedQueueFull, 4);
});

t.test('a long queue is measured slice by slice, while it grows and drains', async (t) => {
  const window = 1500;
  const { world, session, publisher } = restarted(3500, {
    maximumInflightMessages: window,
    receiveMaximum: 65_535,
  });
  world.publish(publisher, 'a', []);
  t.equal(session.queueLength, 3501, 'the length is known at once');
  t.equal(session.queue.bytes, 1001 * payloadBytes, 'of the bytes a slice, and what has come since');
  const subscriber = world.connect('sub');
  t.equal(session.queueLength, 3501 - window);
  t.equal(session.queue.bytes, payloadBytes, 'what is sent and was not measured takes nothing away');
  world.clock.settle();
  t.equal(session.queue.bytes, (3501 - window) * payloadBytes);
  for (let acknowledged = 0; acknowledged < 3501; acknowledged++) {
    const { packetId } = subscriber.link.publishes[acknowledged];
    world.core.acknowledge(session, subscriber.link, 4, packetId, 0, null);
    if (acknowledged % 100 === 0) world.clock.settle();
  }
  t.equal(session.queueLength, 0);
  t.equal(session.queue.bytes, 0);
});

t.test('sums over all sessions count what waits since before a restart', async (t) => {
  const { world } = restarted(5);
  const { queuedMessages, queuedBytes } = await new Census(world.core).take();
  t.same({ queuedMessages, queuedBytes }, { queuedMessages: 5, queuedBytes: 5 * payloadBytes });
});

t.test('a session that ends while its queue is measured is let go', async (t) => {
  const { world, session } = restarted(2500, { receiveMaximum: 65_535 });
  t.equal(queueLength(world.core.context, session), 2500);
  world.core.endByOperator(session, true);
  world.clock.settle();
  t.equal(session.queue.bytes, 1000 * payloadBytes);
});
