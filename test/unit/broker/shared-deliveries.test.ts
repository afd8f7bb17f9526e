import t from 'tap';
import { property, publish, subscribe as subscribePacket } from '../../helpers/packets.js';
import { type Pipe, PipeWorld } from '../../helpers/pipes.js';

const retainAsPublished = 0x08;
const payload = 'to all';
/** What expires waits as an object, not as a packet. */
const properties = [property.messageExpiryInterval(600)];

/** Subscribers without a stored session whose inflight windows are full, and one message in all of their queues. */
function scene(subscribers: Readonly<Record<string, number>>) {
  const world = new PipeWorld();
  const pipes = new Map<string, Pipe>();
  for (const [clientId, options] of Object.entries(subscribers)) {
    const pipe = world.client(clientId);
    pipe.receive(subscribePacket({ filters: [['a', options]] }));
    pipes.set(clientId, pipe);
  }
  const session = (clientId: string) => {
    const found = world.core.context.sessions.get(clientId);
    if (found === undefined) throw new Error(`no session ${clientId}`);
    return found;
  };
  const publisher = world.client('publisher');
  for (const clientId of pipes.keys()) session(clientId).sendQuota = 0;
  publisher.receive(publish({ topic: 'a', qos: 1, packetId: 1, retain: true, payload, properties }));
  world.clock.settle();
  /** What a subscriber is sent once there is room. */
  const sent = (clientId: string): Buffer => {
    const pipe = pipes.get(clientId);
    if (pipe !== undefined) pipe.chunks.length = 0;
    session(clientId).sendQuota = 1;
    world.core.drained(session(clientId));
    world.clock.settle();
    return Buffer.concat(pipe?.chunks ?? []);
  };
  return { session, sent };
}

t.test('those who get a message alike share its place in their queues', async (t) => {
  const { session, sent } = scene({ one: 1, other: 1, third: 1 });
  const first = session('one').queue.first();
  t.not(first, null);
  t.equal(session('other').queue.first(), first);
  t.equal(session('third').queue.first(), first);
  for (const clientId of ['one', 'other', 'third']) {
    const bytes = sent(clientId);
    t.equal(bytes[0], 0x32, clientId);
    t.ok(bytes.includes(payload), 'whole, whoever was sent it before');
    t.equal(session(clientId).queueLength, 0);
  }
});

t.test('those who get it in another way do not', async (t) => {
  const { session, sent } = scene({ plain: 1, published: 1 | retainAsPublished, twice: 2, again: 1 });
  t.not(session('plain').queue.first(), session('published').queue.first());
  t.equal(sent('published')[0], 0x33, 'with RETAIN');
  t.equal(sent('plain')[0], 0x32);
  t.equal(sent('twice')[0], 0x32, 'at the QoS of the publisher');
  t.equal(sent('again')[0], 0x32);
});
