import fc from 'fast-check';
import t from 'tap';
import { viewOf } from '../../../lib/base/words.js';
import { type Delivery, DeliveryKind } from '../../../lib/session/delivery.js';
import { DeliveryRing, QueuedFrame } from '../../../lib/session/delivery-ring.js';
import { QueueSlab } from '../../../lib/session/queue-memory.js';
import type { QoS } from '../../../lib/spec/packet-types.js';

const memory = Buffer.from('the bytes of many packets');
const slab = new QueueSlab(memory, viewOf(memory), true);

function delivery(sequence: number): Delivery {
  const plain = { message: null, qos: 1, retain: false, subscriptionIds: null, group: null, reference: null } as const;
  return { ...plain, sequence, messageSequence: sequence, kind: DeliveryKind.message };
}

function packet(sequence: number): QueuedFrame {
  const start = sequence % 7;
  const frame = slab.frame(start, start + 5, sequence % 3 === 0 ? -1 : start + 2);
  const qos = (1 + (sequence % 2)) as QoS;
  return new QueuedFrame(2 ** 41 + sequence, qos, sequence % 5 === 0, frame, slab, `topic/${sequence}`, sequence * 3);
}

const operation = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('delivery', 'packet', 'packets') },
  { weight: 4, arbitrary: fc.constantFrom('first', 'first ten') },
  { weight: 1, arbitrary: fc.constantFrom('one of them', 'all') },
);

t.test('it is a queue of objects and packets', async (t) => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), fc.integer({ min: 0, max: 99 }), (operations, choice) => {
      const ring = new DeliveryRing();
      let model: (Delivery | QueuedFrame)[] = [];
      let number = 1;
      const removeFirst = (): void => {
        if (model.length === 0) return;
        t.strictSame(ring.first(), model.shift());
        ring.removeFirst();
      };
      const addPacket = (): void => {
        const queued = packet(number++);
        ring.pushFrame(queued);
        model.push(queued);
      };
      for (const kind of operations) {
        if (kind === 'delivery') {
          const added = delivery(number++);
          ring.push(added);
          model.push(added);
        } else if (kind === 'packet') addPacket();
        else if (kind === 'packets') for (let count = 0; count < 11; count++) addPacket();
        else if (kind === 'first') removeFirst();
        else if (kind === 'first ten') for (let count = 0; count < 10; count++) removeFirst();
        else if (kind === 'all') {
          ring.removeAll();
          model = [];
        } else {
          const chosen = model[choice % Math.max(1, model.length)]?.sequence ?? 0;
          const isThere = model.some((one) => one.sequence === chosen && !(one instanceof QueuedFrame));
          if (ring.remove(chosen) !== isThere) return false;
          if (isThere) model = model.filter(({ sequence }) => sequence !== chosen);
        }
        const packets = model.filter((one) => one instanceof QueuedFrame);
        if (ring.startsWithFrame !== model[0] instanceof QueuedFrame) return false;
        if (ring.length !== model.length || ring.frameCount !== packets.length) return false;
      }
      t.strictSame(
        ring.deliveries(),
        model.filter((one) => !(one instanceof QueuedFrame)),
      );
      while (model.length > 0) removeFirst();
      return ring.first() === null && ring.length === 0 && ring.frameCount === 0;
    }),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('thousands wait, and what has left is let go of', async (t) => {
  const ring = new DeliveryRing();
  for (let number = 0; number < 5000; number++) ring.pushFrame(packet(number));
  for (let number = 0; number < 4990; number++) ring.removeFirst();
  for (let number = 5000; number < 9000; number++) ring.pushFrame(packet(number));
  for (let number = 4990; number < 9000; number++) {
    if ((ring.first() as QueuedFrame).topicName !== `topic/${number}`) t.fail(`${number} is not there`);
    ring.removeFirst();
  }
  t.equal(ring.first(), null);
  t.equal(ring.frameCount, 0);
});
