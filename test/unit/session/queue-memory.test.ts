import fc from 'fast-check';
import t from 'tap';
import { viewOf } from '../../../lib/base/words.js';
import { PublishFrame } from '../../../lib/codec/publish-frame.js';
import { QueueMemory, type QueueSlab } from '../../../lib/session/queue-memory.js';

interface Waiting {
  readonly frame: PublishFrame;
  readonly slab: QueueSlab;
  readonly expected: Buffer;
}

/** A packet of `size` bytes, all of them `fill`, as one in a receive buffer is. */
function received(size: number, fill: number): PublishFrame {
  const buffer = Buffer.alloc(size + 9, fill);
  const frame = PublishFrame.ofReceived();
  frame.receive(buffer, 5, 5 + size, 7);
  return frame;
}

/** Keeps a packet. @returns the packet where it waits, in an object of its own */
function hold(memory: QueueMemory, frame: PublishFrame, sequence: number): PublishFrame {
  const { start, end, packetIdAt } = memory.hold(frame, sequence);
  return memory.slab.frame(start, end, packetIdAt);
}

function bytesOf({ bytes, start, end }: PublishFrame): Buffer {
  return bytes.subarray(start, end);
}

t.test('what waits stays as it is, whatever comes and goes', async () => {
  const sizes = fc.oneof(fc.integer({ min: 10, max: 300 }), fc.integer({ min: 1900, max: 2200 }), fc.constant(8192));
  const step = fc.record({ size: sizes, queues: fc.integer({ min: 1, max: 3 }), leaves: fc.nat(4), at: fc.nat(99) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const memory = new QueueMemory();
      const waiting: Waiting[] = [];
      for (const [sequence, { size, queues, leaves, at }] of steps.entries()) {
        const frame = received(size, sequence & 0xff);
        const expected = Buffer.from(bytesOf(frame));
        for (let queue = 0; queue < queues; queue++) {
          const held = hold(memory, frame, sequence);
          waiting.push({ frame: held, slab: memory.slab, expected });
        }
        frame.bytes.fill(0xee);
        for (let left = 0; left < leaves && waiting.length > 0; left++) {
          const [gone] = waiting.splice(at % waiting.length, 1);
          if (gone === undefined || !bytesOf(gone.frame).equals(gone.expected)) return false;
          memory.release(gone.slab);
        }
      }
      return waiting.every(({ frame, expected }) => bytesOf(frame).equals(expected) && frame.packetIdAt > frame.start);
    }),
    { numRuns: 300 },
  );
});

t.test('memory is used again', async (t) => {
  const memory = new QueueMemory();
  const slabs = new Set<QueueSlab>();
  const waiting: QueueSlab[] = [];
  for (let sequence = 0; sequence < 5000; sequence++) {
    hold(memory, received(100, 1), sequence);
    slabs.add(memory.slab);
    waiting.push(memory.slab);
    const [oldest] = waiting.length > 500 ? waiting.splice(0, 1) : [];
    if (oldest !== undefined) memory.release(oldest);
  }
  t.ok(slabs.size < 12, `${slabs.size} slabs of 8 KB for 500 packets of 100 bytes that wait at a time`);
});

t.test('the same packet for several queues is there once, and until it has left the last', async (t) => {
  const memory = new QueueMemory();
  const frame = received(20, 7);
  const first = hold(memory, frame, 1);
  const { slab } = memory;
  const second = hold(memory, frame, 1);
  t.equal(second.start, first.start);
  t.equal(slab.held, 2);
  memory.release(slab);
  const next = hold(memory, received(20, 9), 2);
  t.not(next.start, second.start);
  t.ok(bytesOf(second).every((byte) => byte === 7));
  memory.release(slab);
  memory.release(slab);
  const third = hold(memory, frame, 1);
  t.equal(third.start, 0, 'nothing of it waits any more');
  t.ok(
    bytesOf(third).every((byte) => byte === 7),
    'it is copied anew',
  );
});

t.test('whoever keeps a packet after it has left its queue gets a copy', async (t) => {
  const memory = new QueueMemory();
  const held = hold(memory, received(20, 7), 1);
  const lasting = held.lasting();
  memory.release(memory.slab);
  hold(memory, received(20, 9), 2);
  t.ok(bytesOf(lasting).every((byte) => byte === 7));
  const large = hold(memory, received(3000, 5), 3);
  t.equal(large.lasting(), large, 'a large one has memory of its own, which nobody uses again');
  const buffer = Buffer.alloc(30, 1);
  t.equal(hold(memory, new PublishFrame(buffer, viewOf(buffer), 0, 20, -1), 4).packetIdAt, -1);
});
