import t from 'tap';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { CoreWorld, FakeLink } from '../helpers/core-world.js';
import { publish } from '../helpers/packets.js';
import { type Pipe, PipeWorld } from '../helpers/pipes.js';

/** What one turn may hold: `unitsMax` of the budget, and a message more for whoever was at work. */
const offersPerTurnMax = 52_000;
const subscribers = 100;
const floods = 3;
const messages = 2000;

/** A turn's input at once: as much as a socket may have for the broker when it is polled. */
function flood(publisher: Pipe, topic: string): void {
  publisher.receive(
    ...Array.from({ length: messages }, (_, at) => publish({ topic, payload: Buffer.from([at >> 8, at]) })),
  );
}

function payloads(pipe: Pipe): number[] {
  const bytes = Buffer.concat(pipe.chunks);
  const found: number[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes[at + 1]) found.push(bytes.readUInt16BE(at + bytes[at + 1]));
  return found;
}

t.test('a polite pair is served in its own turn, however much others publish', async (t) => {
  const world = new PipeWorld();
  const { metrics } = world.core.context;
  const crowd: Pipe[] = [];
  for (let at = 0; at < subscribers; at++) crowd.push(world.client(`s${at}`, [['flood/#', 0]]));
  const publishers = Array.from({ length: floods }, (_, at) => world.client(`flood${at}`));
  const listener = world.client('listener', [['polite', 0]]);
  const speaker = world.client('speaker');

  let turns = 0;
  let longest = 0;
  const isBusy = () => metrics.publishesSent < floods * messages * subscribers;
  for (const [at, publisher] of publishers.entries()) flood(publisher, `flood/${at}`);
  for (const publisher of publishers) t.ok(publisher.isPaused(), 'what floods is not read on');
  let politeServed = 0;
  for (; isBusy(); turns++) {
    const before = turns === 0 ? 0 : metrics.publishesSent;
    const heard = listener.bytes;
    speaker.receive(publish({ topic: 'polite', payload: Buffer.from('hello') }));
    if (!world.clock.turn()) break;
    if (listener.bytes > heard) politeServed++;
    longest = Math.max(longest, metrics.publishesSent - before);
  }
  world.clock.settle();
  t.equal(politeServed, turns, 'each polite message was written with the turn in which it came');
  t.ok(turns >= Math.floor((floods * messages * subscribers) / offersPerTurnMax), `${turns} turns`);
  t.ok(longest <= 2 * offersPerTurnMax, `${longest} messages between two turns' ends`);
  t.ok(metrics.turnsYielded >= turns, 'the metric says so');
  const all = Array.from({ length: messages }, (_, at) => at);
  const [first] = crowd;
  const got = first === undefined ? [] : payloads(first);
  t.equal(got.length, floods * messages, 'nothing is lost');
  t.strictSame(
    got.toSorted((a, b) => a - b),
    all.flatMap((at) => Array<number>(floods).fill(at)),
  );
  for (const publisher of publishers) t.notOk(publisher.isPaused(), 'and all are read again');
  t.equal(world.yields.size, 0);
});

t.test('publishers that flood advance alike', async (t) => {
  const world = new PipeWorld();
  for (let at = 0; at < subscribers; at++) world.client(`s${at}`, [['flood/#', 0]]);
  const watchers = Array.from({ length: floods }, (_, at) => world.client(`w${at}`, [[`flood/${at}`, 0]]));
  const publishers = Array.from({ length: floods }, (_, at) => world.client(`flood${at}`));
  for (const [at, publisher] of publishers.entries()) flood(publisher, `flood/${at}`);
  const perTurn = offersPerTurnMax / (subscribers + 1);
  let apart = 0;
  while (world.clock.turn()) {
    const counts = watchers.map((watcher) => payloads(watcher).length);
    apart = Math.max(apart, Math.max(...counts) - Math.min(...counts));
  }
  t.ok(apart <= 2 * perTurn, `${apart} messages apart at most`);
  for (const watcher of watchers) t.strictSame(payloads(watcher), [...Array(messages).keys()], 'in order');
});

t.test('what comes after a yield is dealt with after it, the end of the connection too', async (t) => {
  const world = new PipeWorld();
  for (let at = 0; at < subscribers; at++) world.client(`s${at}`, [['flood/#', 0]]);
  const watcher = world.client('watcher', [['#', 0]]);
  const publisher = world.client('publisher');
  flood(publisher, 'flood/0');
  publisher.receive(publish({ topic: 'last', payload: Buffer.from([0xff, 0xff]) }), Buffer.from([0xe0, 0]));
  world.clock.settle();
  t.equal(payloads(watcher).length, messages + 1);
  t.equal(payloads(watcher).at(-1), 0xffff);
  t.ok(publisher.writableEnded, 'DISCONNECT was reached');
});

/** Counts, and keeps nothing. */
class CountingLink extends FakeLink {
  count = 0;

  override sendPublish(): void {
    this.count++;
  }
}

for (const qos of [0, 1] as const) {
  t.test(`1 to 20 000 subscribers at QoS ${qos}: no turn offers to more than 1 000 of them`, async (t) => {
    const recipients = 20_000;
    const world = new CoreWorld(new MemoryStore());
    const { metrics } = world.core.context;
    for (let at = 0; at < recipients; at++) {
      const device = world.connect(`device-${at}`, 0);
      device.session.link = new CountingLink();
      world.subscribe(device, 'cmd/all', qos);
    }
    world.clock.settle();
    const count = () => {
      let all = 0;
      for (const { link } of world.core.context.sessions.values()) if (link instanceof CountingLink) all += link.count;
      return all;
    };
    const publisher = world.connect('publisher', 0);
    world.publish(publisher, 'cmd/all', []);
    let longest = 0;
    let turns = 0;
    for (let before = 0; world.clock.turn(); turns++) {
      const now = count();
      longest = Math.max(longest, now - before);
      before = now;
    }
    t.equal(count(), recipients, 'all get it');
    t.equal(metrics.droppedSlow + metrics.droppedOffline, 0);
    t.ok(longest <= 1000, `${longest} in one turn`);
    t.ok(turns >= 20);
    t.equal(publisher.link.acks.length, 1);
  });
}

t.test('large fan-outs that are under way are bounded: their publisher is not read from, others are', async (t) => {
  const world = new PipeWorld({ maximumPacketSize: 8 * 1024 * 1024 });
  const recipients = 2000;
  for (let at = 0; at < recipients; at++) world.client(`s${at}`, [['all', 0]]);
  for (const { link } of world.core.context.sessions.values()) if (link !== null) link.sendPublish = () => undefined;
  const listener = world.client('listener', [['polite', 0]]);
  const publisher = world.client('publisher');
  const speaker = world.client('speaker');
  const payload = Buffer.alloc(4 * 1024 * 1024);
  for (let at = 0; at < 10; at++) publisher.receive(publish({ topic: 'all', payload }));
  t.ok(publisher.isPaused());
  t.equal(world.core.context.metrics.publishesReceived, 4, 'as much as 16 MB');
  speaker.receive(publish({ topic: 'polite', payload: Buffer.from('hello') }));
  world.clock.turn();
  t.ok(listener.bytes > 0, 'the others go on');
  world.clock.settle();
  t.equal(world.core.context.metrics.publishesReceived, 11, 'the rest follows');
  t.notOk(publisher.isPaused());
});

t.test('a payload of 1 MB to 1 000 subscribers is shared, not copied', async (t) => {
  const world = new PipeWorld();
  const size = 1024 * 1024;
  for (const qos of [0, 1]) {
    const crowd = Array.from({ length: 1000 }, (_, at) => world.client(`q${qos}-${at}`, [[`big/${qos}`, qos]]));
    const publisher = world.client(`publisher-${qos}`);
    const before = process.memoryUsage().arrayBuffers;
    publisher.receive(publish({ topic: `big/${qos}`, qos: qos as 0 | 1, packetId: 1, payload: Buffer.alloc(size, 7) }));
    world.clock.settle();
    const grown = process.memoryUsage().arrayBuffers - before;
    t.ok(
      crowd.every(({ bytes }) => bytes > size),
      'all of them got all of it',
    );
    const bodies = new Set(crowd.map(({ chunks }) => chunks.find(({ length }) => length >= size - 64)?.buffer));
    t.equal(bodies.size, 1, 'as the very same bytes');
    t.ok(grown < 48 * size, `${Math.round(grown / size)} MB more in buffers`);
  }
});

t.test('a replay that searches many retained topics in vain leaves the turn to others', async (t) => {
  const world = new PipeWorld();
  const publisher = world.client('publisher');
  const topics = 60_000;
  for (let at = 0; at < topics; at++) {
    publisher.receive(publish({ topic: `a/${at}/x`, retain: true, payload: Buffer.from('1') }));
    if (at % 1000 === 999) world.clock.settle();
  }
  publisher.receive(publish({ topic: 'a/z/wanted', retain: true, payload: Buffer.from([1, 2]) }));
  world.clock.settle();
  const many = world.client('many', []);
  const packet = (topic: string) =>
    Buffer.concat([
      Buffer.from([0x82, 6 + topic.length, 0, 9, 0, 0, topic.length]),
      Buffer.from(topic),
      Buffer.from([0]),
    ]);
  // Twenty searches through all of it.
  many.receive(...Array.from({ length: 20 }, () => packet('a/+/wanted')));
  let turns = 0;
  while (world.clock.turn()) turns++;
  t.ok(turns > 5, `${turns} turns`);
  const found = Buffer.concat(many.chunks).toString('latin1').split('a/z/wanted').length - 1;
  t.equal(found, 20, 'and all is found in the end');
});
