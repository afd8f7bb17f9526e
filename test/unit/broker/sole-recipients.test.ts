import assert, { deepEqual } from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { DeferredDelivery } from '../../../lib/broker/deferred-deliveries.js';
import { soleOf } from '../../../lib/broker/sole-recipients.js';
import type { PublishFrame } from '../../../lib/codec/publish-frame.js';
import { PacketType } from '../../../lib/spec/packet-types.js';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { type Store, Table } from '../../../lib/store/store.js';
import { CoreWorld, FakeLink } from '../../helpers/core-world.js';
import { CrashStore } from '../../helpers/crash-store.js';
import { packetOf } from '../../helpers/packet-of.js';

const publishers = 2;
const recipients = 3;

/** A link that keeps every packet, in order. */
class KeepingLink extends FakeLink {
  readonly packets: string[] = [];

  override sendPublish(frame: PublishFrame, firstByte: number, packetId: number): void {
    super.sendPublish(frame, firstByte, packetId);
    this.keep('publish', firstByte, packetOf(frame, packetId));
  }

  override sendAck(packetType: number, packetId: number, reasonCode: number, encoded?: PublishFrame | null): void {
    super.sendAck(packetType, packetId, reasonCode);
    this.keep(`ack ${packetId} ${reasonCode}`, packetType, encoded ? packetOf(encoded, packetId) : null);
  }

  private keep(what: string, first: number, bytes: Buffer | null): void {
    this.packets.push(`${what} ${first} ${bytes?.toString('latin1', 1)}`);
  }
}

const who = { publisher: fc.nat(publishers - 1), recipient: fc.nat(recipients - 1) };
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant('publish' as const),
      ...who,
      qos: fc.constantFrom(1, 1, 1, 2),
      count: fc.integer({ min: 1, max: 4 }),
      isReleased: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant('acknowledge' as const),
      ...who,
      place: fc.nat(3),
      reasonCode: fc.constantFrom(0, 0, 0, 0, 0x10, 0x83),
      reason: fc.constantFrom(null, null, null, 'why'),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      what: fc.constant('turn' as const),
      ...who,
      ms: fc.constantFrom(0, 0, 0, 1, 1, 1, 1, 1, 1, 2e12),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('leave' as const), ...who }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('leavePublisher' as const), ...who }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('follow' as const), ...who }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('look' as const), ...who }) },
  {
    weight: 4,
    arbitrary: fc.record({ what: fc.constant('flush' as const), ...who, batches: fc.constantFrom(1, 1, 9) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

const following = fc.constantFrom(
  ...([
    ['$receipts/~/+/+', 0],
    ['$receipts/~/#', 0],
    ['$receipts/~/+', 0],
    ['$receipts/~/#', 1],
  ] as const),
);
type Following = typeof following extends fc.Arbitrary<infer Value> ? Value : never;

/** Two publishers, of whom each has a topic for each of three recipients. */
class Scene<S extends Store> {
  readonly store: S;
  readonly world: CoreWorld;
  readonly links: KeepingLink[] = [];
  private readonly publishers: { link: KeepingLink; session: ReturnType<CoreWorld['connect']>['session'] }[] = [];
  private readonly recipients: { link: KeepingLink; session: ReturnType<CoreWorld['connect']>['session'] }[] = [];
  private readonly expirySeconds: number;
  private readonly isGeneral: boolean;
  private readonly filter: string;
  private readonly receiptQos: 0 | 1 | 2;
  private published = 0;
  soles = 0;

  /**
   * @param expirySeconds of the recipients' sessions
   * @param following how publishers follow their messages
   * @param isGeneral true if all is to take the general way: a second subscription, which matches nothing, sees to it
   */
  constructor(expirySeconds: number, store: S, [filter, receiptQos]: Following, isGeneral: boolean) {
    this.expirySeconds = expirySeconds;
    this.filter = filter;
    this.receiptQos = receiptQos;
    this.isGeneral = isGeneral;
    this.store = store;
    this.world = new CoreWorld(store);
    for (let at = 0; at < publishers; at++) this.joinPublisher(at);
    for (let at = 0; at < recipients; at++) this.join(at);
    this.flush(99);
  }

  /** What is sealed reaches the disk, up to so many batches. */
  private flush(batches: number): void {
    this.world.clock.settle();
    for (let left = batches; left > 0 && this.store instanceof CrashStore && this.store.flush(); left--) {
      this.world.clock.settle();
    }
  }

  private connect(clientId: string, expirySeconds: number) {
    const link = new KeepingLink();
    this.links.push(link);
    const { session } = this.world.connect(clientId, expirySeconds, link);
    return { link, session };
  }

  private joinPublisher(at: number): void {
    const publisher = this.connect(`p${at}`, 0);
    this.publishers[at] = publisher;
    this.world.subscribe(publisher, this.filter, this.receiptQos);
    if (this.isGeneral) this.world.subscribe(publisher, '$receipts/~/+/nobody', 0);
  }

  private join(at: number): void {
    const recipient = this.connect(`r${at}`, this.expirySeconds);
    this.recipients[at] = recipient;
    this.world.subscribe(recipient, `to/${at}/+`, 1);
  }

  play(next: Step): void {
    const { world } = this;
    const publisher = this.publishers[next.publisher] as (typeof this.publishers)[0];
    const recipient = this.recipients[next.recipient] as (typeof this.recipients)[0];
    const { session, link } = recipient;
    if (next.what === 'publish') {
      const topic = `to/${next.recipient}/${next.publisher}`;
      for (let left = next.count; left > 0; left--) {
        world.publish(publisher, topic, [['receipt', 'delivered']], ++this.published, -1, next.qos as 1 | 2);
      }
      if (next.isReleased) world.clock.turn();
    }
    if (next.what === 'acknowledge') {
      const ids = session.outbound.inOrder();
      const packetId = ids[Math.min(next.place, ids.length - 1)];
      if (packetId === undefined || link.publishes.every((one) => one.packetId !== packetId)) return;
      if (soleOf(session.outbound.detail(packetId))?.stands && next.reasonCode === 0) this.soles++;
      world.core.acknowledge(session, link, PacketType.puback, packetId, next.reasonCode, next.reason);
    }
    if (next.what === 'turn') {
      world.clock.advance(next.ms);
      world.clock.turn();
    }
    if (next.what === 'leave') {
      world.disconnect(recipient);
      this.join(next.recipient);
    }
    if (next.what === 'leavePublisher') {
      world.disconnect(publisher);
      this.joinPublisher(next.publisher);
    }
    // Somebody takes all receipts, tallies among them, and leaves again.
    if (next.what === 'follow') {
      world.subscribe(publisher, '$receipts/~/#', 0);
      world.clock.turn();
      const packet = { packetId: 9, userProperties: [], topicFilters: ['$receipts/~/#'] };
      world.core.unsubscribe(publisher.session, publisher.link, packet);
    }
    if (next.what === 'look') {
      world.core.context.records.oldestSequences(Buffer.alloc(12), 0, 1);
      world.core.context.turns.begin();
    }
    if (next.what === 'flush') this.flush(next.batches);
  }

  /** All that came to anybody, and all that the store has of records. */
  end(): { packets: readonly (readonly string[])[]; rows: readonly string[] } {
    this.world.clock.settle();
    const { records } = this.world.core.context;
    records.sequencesAfter(Buffer.alloc(12), 0, 1);
    const rows = [Table.records, Table.finished].flatMap((table) =>
      this.store
        .range(table, Buffer.alloc(0), null, 10_000)
        .map(({ key, value }) => `${table} ${key.toString('hex')} ${value.toString('hex')}`),
    );
    return { packets: this.links.map(({ packets }) => packets), rows };
  }
}

const messageTables = [Table.records, Table.finished, Table.deliveries, Table.messages, Table.references] as const;

/** What a broker finds of messages that starts after this one died. */
function found(store: CrashStore, extraBatches: number): readonly string[] {
  const next = store.crash(extraBatches);
  return messageTables.flatMap((table) =>
    next
      .range(table, Buffer.alloc(0), null, 10_000)
      .map(({ key, value }) => `${table} ${key.toString('hex')} ${value.toString('hex')}`),
  );
}

t.test('a message with one recipient tells and records the same whichever way it takes', async (t) => {
  let soles = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }),
      fc.constantFrom(0, 3600),
      fc.boolean(),
      following,
      (steps, expirySeconds, outlivesProcess, how) => {
        const [short, general] = [false, true].map((isGeneral) => {
          const scene = new Scene(expirySeconds, new MemoryStore(outlivesProcess), how, isGeneral);
          for (const one of steps) scene.play(one);
          soles += scene.soles;
          return scene.end();
        });
        deepEqual(short, general);
      },
    ),
    { numRuns: 300 },
  );
  t.ok(soles > 100, `${soles} messages took the short way`);
});

t.test('a death leaves the same of a message with one recipient whichever way it took', async (t) => {
  let soles = 0;
  let rows = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }),
      fc.constantFrom(0, 3600),
      fc.nat(3),
      following,
      (steps, expirySeconds, extraBatches, how) => {
        const [short, general] = [false, true].map((isGeneral) => {
          const scene = new Scene(expirySeconds, new CrashStore(), how, isGeneral);
          for (const one of steps) {
            // Every turn has something to commit, or one way would have more batches than the other.
            scene.store.put(Table.meta, Buffer.from('step'), Buffer.from('done'));
            scene.play(one);
          }
          soles += scene.soles;
          return found(scene.store, extraBatches);
        }) as [readonly string[], readonly string[]];
        rows += short.length;
        deepEqual(short, general);
      },
    ),
    { numRuns: 500 },
  );
  t.ok(soles > 100 && rows > 1000, `${soles} messages took the short way, ${rows} rows were left`);
});

t.test('the log keeps what it says of a record until the next row of it is recorded', async (t) => {
  const store = new CrashStore();
  const world = new CoreWorld(store);
  const publisher = world.connect('p', 0, new FakeLink());
  const { session } = world.connect('r', 3600, new FakeLink());
  world.subscribe({ session, link: session.link as FakeLink }, 'to/r', 1);
  world.clock.settle();
  while (store.flush()) world.clock.settle();
  world.publish({ ...publisher, link: publisher.link as FakeLink }, 'to/r', [['receipt', 'delivered']], 1, -1, 1);
  world.clock.settle();
  while (store.flush()) world.clock.settle();
  const [packetId] = session.outbound.inOrder();
  const delivery = session.outbound.detail(packetId as number);
  assert(delivery instanceof DeferredDelivery && delivery.rows !== null, 'the delivery has no row of its own');
  const { rows, sole } = delivery;
  t.equal(rows.settledIn, 0);
  world.core.context.records.find(sole?.publisherKey as Buffer, delivery.sequence);
  t.equal(rows.settledIn, store.batch, 'its turn stays in the log until this batch is committed');
});
