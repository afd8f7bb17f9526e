import t from 'tap';
import { QueuedFrame } from '../../../lib/session/delivery-ring.js';
import * as packets from '../../helpers/packets.js';
import { type Pipe, PipeWorld } from '../../helpers/pipes.js';

const { property } = packets;

/** A subscriber without a stored session whose inflight window is full: what comes for it waits. */
function full(world: PipeWorld, clientId: string, fields: packets.ConnectFields = {}, id: number | null = null): Pipe {
  const pipe = world.client(clientId, [], fields);
  const properties = id === null ? [] : [property.subscriptionIdentifier(id)];
  pipe.receive(packets.subscribe({ version: fields.version ?? 5, filters: [['a', 1]], properties }));
  world.clock.settle();
  sessionOf(world, clientId).sendQuota = 0;
  return pipe;
}

function sessionOf(world: PipeWorld, clientId: string) {
  const session = world.core.context.sessions.get(clientId);
  if (session === undefined) throw new Error(`no session ${clientId}`);
  return session;
}

/** What a subscriber is sent once there is room for one message. */
function sent(world: PipeWorld, clientId: string, pipe: Pipe): string {
  pipe.chunks.length = 0;
  const session = sessionOf(world, clientId);
  session.sendQuota = 1;
  world.core.drained(session);
  world.clock.settle();
  return Buffer.concat(pipe.chunks).toString('hex');
}

t.test('what waits in a queue is not touched when the receive buffer is used again', async (t) => {
  const world = new PipeWorld();
  const pipe = full(world, 'slow');
  const publisher = world.client('publisher');
  const copy = packets.publish({ topic: 'a', qos: 1, packetId: 77, payload: 'kept' });
  publisher.receive(copy);
  world.clock.settle();
  t.ok(sessionOf(world, 'slow').queue.first() instanceof QueuedFrame);
  copy.writeUInt16BE(1, copy.indexOf('a') + 1);
  t.equal(sent(world, 'slow', pipe), copy.toString('hex'), 'the same but for its packet identifier');
  t.equal(world.core.context.metrics.queuedBytesInMemory, 0);
});

/** Tells buffers apart. */
const memories = {
  known: [] as Buffer[],
  numberOf(buffer: Buffer): number {
    if (!this.known.includes(buffer)) this.known.push(buffer);
    return this.known.indexOf(buffer);
  },
};

t.test('each layout waits as a packet of its own, and those alike share one', async (t) => {
  const world = new PipeWorld();
  const pipes = {
    plain: full(world, 'plain'),
    alike: full(world, 'alike'),
    older: full(world, 'older', { version: 4 }),
    olderToo: full(world, 'olderToo', { version: 4 }),
    named: full(world, 'named', {}, 9),
  };
  const content = [property.payloadFormatIndicator(1)];
  const publisher = world.client('publisher');
  publisher.receive(packets.publish({ topic: 'a', qos: 1, payload: 'to all', properties: content }));
  world.clock.settle();
  const first = (clientId: string): string => {
    const queued = sessionOf(world, clientId).queue.first();
    return queued instanceof QueuedFrame ? `${queued.frame.start} of ${memories.numberOf(queued.frame.bytes)}` : '';
  };
  t.equal(first('plain'), first('alike'));
  t.not(first('plain'), first('older'));
  t.not(first('plain'), first('named'));
  const message = { topic: 'a', qos: 1, payload: 'to all' };
  const hex = (fields: Partial<packets.PublishFields>): string =>
    packets.publish({ ...message, ...fields }).toString('hex');
  t.equal(sent(world, 'plain', pipes.plain), hex({ properties: content }));
  t.equal(sent(world, 'alike', pipes.alike), hex({ properties: content }));
  t.equal(sent(world, 'older', pipes.older), hex({ version: 4 }));
  t.equal(sent(world, 'olderToo', pipes.olderToo), hex({ version: 4 }));
  t.equal(sent(world, 'named', pipes.named), hex({ properties: [property.subscriptionIdentifier(9), ...content] }));
  t.equal(world.core.context.metrics.queuedBytesInMemory, 0);
});

t.test('[MQTT-3.1.2-25] what is too large for its client does not begin to wait', async (t) => {
  const world = new PipeWorld();
  full(world, 'small', { properties: [property.maximumPacketSize(30)] });
  full(world, 'large');
  const publisher = world.client('publisher');
  publisher.receive(packets.publish({ topic: 'a', qos: 1, payload: 'x'.repeat(40) }));
  publisher.receive(packets.publish({ topic: 'a', qos: 1, packetId: 2, payload: 'fits' }));
  world.clock.settle();
  t.equal(sessionOf(world, 'small').queueLength, 1);
  t.equal(sessionOf(world, 'large').queueLength, 2);
  t.equal(world.core.context.metrics.droppedTooLarge, 1);
});

t.test('[MQTT-3.3.2-6] what expires waits as a message: its packet changes with time', async (t) => {
  const world = new PipeWorld();
  const pipe = full(world, 'slow');
  const publisher = world.client('publisher');
  publisher.receive(
    packets.publish({ topic: 'a', qos: 1, payload: 'p', properties: [property.messageExpiryInterval(9)] }),
  );
  world.clock.settle();
  t.notOk(sessionOf(world, 'slow').queue.first() instanceof QueuedFrame);
  world.clock.advance(4000);
  const left = packets.publish({ topic: 'a', qos: 1, payload: 'p', properties: [property.messageExpiryInterval(5)] });
  t.equal(sent(world, 'slow', pipe), left.toString('hex'));
  t.equal(world.core.context.metrics.queuedBytesInMemory, 0);
});

t.test('a bound of bytes in flight counts the payloads of packets that waited', async (t) => {
  const world = new PipeWorld({ maximumInflightBytes: 10 });
  const pipe = world.client('slow', [['a', 1]]);
  const publisher = world.client('publisher');
  for (const [index, payload] of ['12345678', 'abcdefgh', 'z'].entries()) {
    publisher.receive(packets.publish({ topic: 'a', qos: 1, packetId: index + 1, payload }));
  }
  world.clock.settle();
  const session = sessionOf(world, 'slow');
  t.equal(session.inflightCount, 1);
  t.equal(session.queueLength, 2, 'in their order');
  pipe.receive(packets.ack('puback', 1));
  world.clock.settle();
  t.equal(session.inflightCount, 2);
  t.equal(session.queueLength, 0);
});
