import fc from 'fast-check';
import t from 'tap';
import { PacketType } from '../../../lib/spec/packet-types.js';
import { Table } from '../../../lib/store/store.js';
import { CoreWorld } from '../../helpers/core-world.js';
import { CrashStore } from '../../helpers/crash-store.js';

const publishers = 3;
const subscribers = 2;

/** What may happen next: who publishes how much, who acknowledges which of its messages, time, the disk. */
const step = fc.oneof(
  fc.record({
    what: fc.constant('publish' as const),
    who: fc.nat(publishers - 1),
    count: fc.integer({ min: 1, max: 5 }),
  }),
  fc.record({ what: fc.constant('acknowledge' as const), who: fc.nat(subscribers - 1), count: fc.nat(20) }),
  fc.record({ what: fc.constant('turn' as const) }),
  fc.record({ what: fc.constant('pass' as const) }),
  fc.record({ what: fc.constant('commit' as const) }),
  fc.record({ what: fc.constant('flush' as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** Publishers and subscribers that stay, with sessions that are stored. */
class Scene {
  readonly store = new CrashStore();
  readonly world = new CoreWorld(this.store, {}, undefined, {}, { patientFrom: 2 });
  readonly publishers = Array.from({ length: publishers }, (_, at) => this.world.connect(`p${at}`));
  readonly subscribers = Array.from({ length: subscribers }, (_, at) => this.world.connect(`s${at}`));
  /** How many of its messages each publisher has sent, and how many each subscriber has acknowledged. */
  readonly published = this.publishers.map(() => 0);
  readonly acknowledged = this.subscribers.map(() => 0);

  constructor() {
    // The first gets everything, the other all but what the first publisher sends.
    for (const at of [0, 1, 2]) this.world.subscribe(this.first, `t/${at}`, 1);
    for (const at of [1, 2]) this.world.subscribe(this.subscribers[1] as typeof this.first, `t/${at}`, 1);
    while (this.world.clock.turn() || this.store.flush());
  }

  private get first() {
    return this.subscribers[0] as (typeof this.subscribers)[0];
  }

  play(next: Step): void {
    const { world, store } = this;
    if (next.what === 'publish') {
      for (let left = next.count; left > 0; left--) {
        const packetId = ++this.published[next.who];
        world.publish(this.publishers[next.who] as typeof this.first, `t/${next.who}`, [], packetId);
      }
    }
    if (next.what === 'acknowledge') this.acknowledge(next.who, next.count);
    if (next.what === 'turn') world.clock.turn();
    if (next.what === 'pass') world.clock.advance(1);
    if (next.what === 'commit') store.commitNext();
    if (next.what === 'flush') store.flush();
  }

  acknowledge(who: number, count: number): void {
    const { session, link } = this.subscribers[who] as typeof this.first;
    const from = this.acknowledged[who] as number;
    for (const { packetId } of link.publishes.slice(from, from + count)) {
      this.world.core.acknowledge(session, link, PacketType.puback, packetId, 0, null);
      this.acknowledged[who]++;
    }
  }

  /** Messages, as topic and number, that were answered and not acknowledged by who is to get them. */
  owed(): number {
    let owed = 0;
    for (const [at, { link }] of this.publishers.entries()) {
      const answered = link.acks.length;
      for (const [who, subscriber] of this.subscribers.entries()) {
        if (who === 1 && at === 0) continue;
        const sent = subscriber.link.publishes.slice(0, this.acknowledged[who]);
        const taken = sent.filter(({ bytes }) => bytes.includes(`t/${at}`)).length;
        owed += Math.max(0, answered - taken);
      }
    }
    return owed;
  }
}

t.test('whatever is answered before the commit: a power loss never takes what somebody still is to get', async (t) => {
  let early = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const scene = new Scene();
      const { store, publishers } = scene;
      for (const next of steps) {
        scene.play(next);
        if (store.uncommitted > 0) early += publishers.filter(({ link }) => link.acks.length > 0).length;
        for (const { link } of publishers) {
          if (link.acks.some(({ packetId }, index) => packetId !== index + 1)) return false;
        }
      }
      const owed = scene.owed();
      const rows = store.crash(0).countRange(Table.deliveries, Buffer.alloc(0), null, 10_000);
      return rows >= owed;
    }),
    { numRuns: 400 },
  );
  t.ok(early > 0, 'some were answered with an open batch');
});

t.test('when everything is acknowledged everybody is answered and nothing is left', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const scene = new Scene();
      const { store, world } = scene;
      for (const next of steps) scene.play(next);
      for (let round = 0; round < 10; round++) {
        for (const who of scene.subscribers.keys()) scene.acknowledge(who, 1000);
        world.clock.advance(2);
        while (world.clock.turn() || store.flush());
      }
      const rows = store.countRange(Table.deliveries, Buffer.alloc(0), null, 10_000);
      return rows === 0 && scene.publishers.every(({ link }, at) => link.acks.length === scene.published[at]);
    }),
    { numRuns: 200 },
  );
  t.pass('200 histories');
});

t.test('a message for a queue that has to be read first is not answered before it is recorded', async (t) => {
  const first = new CrashStore();
  const before = new CoreWorld(first);
  before.subscribe(before.connect('away'), 'q', 1);
  while (before.clock.turn() || first.flush());
  const store = first.crash(0);
  const world = new CoreWorld(store);
  const [subscriber, publisher, other] = ['subscriber', 'publisher', 'other'].map((name) => world.connect(name));
  if (subscriber === undefined || publisher === undefined || other === undefined) return;
  world.subscribe(subscriber, 'a', 1);
  while (world.clock.turn() || store.flush());
  // As many rows are forgotten by the read as the message then puts.
  for (const packetId of [1, 2]) world.publish(publisher, 'a', [], packetId);
  for (const { packetId } of subscriber.link.publishes) {
    world.core.acknowledge(subscriber.session, subscriber.link, PacketType.puback, packetId, 0, null);
  }
  world.publish(other, 'q', [], 1);
  world.clock.turn();
  t.equal(other.link.acks.length, 0);
  t.equal(store.crash(0).countRange(Table.messages, Buffer.alloc(0), null, 10), 0);
  while (store.flush() || world.clock.turn());
  t.equal(other.link.acks.length, 1);
});
