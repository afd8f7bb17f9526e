import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { viewOf } from '../../../lib/base/words.js';
import { Metrics } from '../../../lib/broker/metrics.js';
import { PublishFrame } from '../../../lib/codec/publish-frame.js';
import { BufferPool } from '../../../lib/net/buffer-pool.js';
import { Outbox } from '../../../lib/net/outbox.js';
import { type OutputBuffer, outputBufferBytes } from '../../../lib/net/output-buffer.js';

/** A socket that takes everything, or nothing more than it has, and what it was given. */
class Sink extends PassThrough {
  readonly written: Buffer[] = [];
  behind = false;
  /** Bytes that it has, but not the kernel. */
  untaken = 0;

  constructor() {
    super();
    Object.defineProperty(this, 'writableNeedDrain', { get: () => this.behind });
    Object.defineProperty(this, 'writableLength', { get: () => this.untaken });
  }

  // Copied: the outbox may use its buffer again.
  override write = (chunk: Buffer): boolean => this.written.push(Buffer.from(chunk)) > 0;
}

function setUp() {
  const sink = new Sink();
  return { sink, outbox: new Outbox(sink, new BufferPool(), new Metrics()) };
}

/** A chunk as it is received: bytes that are all different in any few neighbours, and the frames that lie in it. */
function chunkOf(sizes: readonly number[], seed: number): PublishFrame[] {
  const bytes = Buffer.allocUnsafeSlow(sizes.reduce((sum, size) => sum + size, 0));
  for (let at = 0; at < bytes.length; at++) bytes[at] = (at * 7 + (at >> 8) * 31 + seed * 101) & 0xff;
  const frames: PublishFrame[] = [];
  let start = 0;
  for (const [index, size] of sizes.entries()) {
    const packetIdAt = index % 3 === 0 || size < 8 ? -1 : start + 4;
    const frame = PublishFrame.ofReceived();
    frame.receive(bytes, start, start + size, packetIdAt);
    frames.push(frame);
    start += size;
  }
  return frames;
}

function patched(frame: PublishFrame, firstByte: number, packetId: number): Buffer {
  const bytes = Buffer.from(frame.bytes.subarray(frame.start, frame.end));
  bytes[0] = firstByte;
  if (frame.packetIdAt >= 0) bytes.writeUInt16BE(packetId, frame.packetIdAt - frame.start);
  return bytes;
}

t.test('an outbox writes what it was given, however its packets lie in what was received', async () => {
  const sizes = fc.array(fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 2, max: 300 }) }, fc.nat(9000)), {
    minLength: 1,
    maxLength: 60,
  });
  const step = fc.oneof(
    { weight: 12, arbitrary: fc.record({ kind: fc.constant('next' as const), chunk: fc.nat(2) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('any' as const), chunk: fc.nat(2), at: fc.nat(59) }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('bytes' as const), size: fc.integer({ min: 1, max: 400 }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('flush' as const), behind: fc.boolean() }) },
  );
  const property = fc.property(
    fc.array(sizes, { minLength: 3, maxLength: 3 }),
    fc.array(step, { maxLength: 200 }),
    (chunkSizes, steps) => {
      const chunks = chunkSizes.map((all, seed) =>
        chunkOf(
          all.map((size) => Math.max(2, size)),
          seed,
        ),
      );
      const { sink, outbox } = setUp();
      const expected: Buffer[] = [];
      const next = [0, 0, 0];
      const publish = (frame: PublishFrame): void => {
        const id = expected.length & 0xffff;
        outbox.publish(frame, 0x30 + (id & 7), id);
        expected.push(patched(frame, 0x30 + (id & 7), id));
      };
      for (const step of steps) {
        if (step.kind === 'next' || step.kind === 'any') {
          const frames = chunks[step.chunk] as PublishFrame[];
          const at = step.kind === 'any' ? step.at : (next[step.chunk] as number);
          publish(frames[at % frames.length] as PublishFrame);
          next[step.chunk] = at + 1;
        } else if (step.kind === 'bytes') {
          const packet = Buffer.alloc(step.size, expected.length);
          outbox.bytes(packet);
          expected.push(packet);
        } else {
          sink.behind = step.behind;
          outbox.flush();
        }
      }
      outbox.flush(true);
      return Buffer.concat(sink.written).equals(Buffer.concat(expected));
    },
  );
  fc.assert(property, { numRuns: 400 });
});

t.test('packets that came in a row leave in a row, over the borders of output buffers', async (t) => {
  // 17 packets of 241 bytes have one byte more than what is copied at once.
  for (const size of [90, 241, 256]) {
    const { sink, outbox } = setUp();
    const frames = chunkOf(Array(1000).fill(size), 1);
    for (const [at, frame] of frames.entries()) outbox.publish(frame, 0x32, at);
    t.equal(outbox.gatheredBytes, 1000 * size);
    outbox.flush();
    t.ok(Buffer.concat(sink.written).equals(Buffer.concat(frames.map((frame, at) => patched(frame, 0x32, at)))));
    t.ok(sink.written.length > (1000 * size) / outputBufferBytes);
  }
});

t.test('an outbox is behind by what it has and what its socket has, until the kernel takes that', async (t) => {
  const { sink, outbox } = setUp();
  const isBehind = (maximum: number): boolean => outbox.isBehind(maximum, Number.MAX_SAFE_INTEGER);
  outbox.bytes(Buffer.alloc(100));
  t.ok(isBehind(99));
  t.notOk(isBehind(100));
  sink.untaken = 80;
  outbox.flush();
  t.ok(isBehind(79));
  t.notOk(isBehind(80));
  outbox.bytes(Buffer.alloc(30));
  t.ok(isBehind(109));
  sink.untaken = 0;
  t.notOk(isBehind(30));
  t.ok(isBehind(29));
  sink.untaken = 40;
  outbox.flush();
  t.ok(isBehind(39), 'again after it has taken everything once');
});

t.test('what follows a frame is copied only where it can not change any more', async (t) => {
  const { sink, outbox } = setUp();
  const bytes = Buffer.alloc(30, 'a');
  const frameAt = (start: number): PublishFrame => new PublishFrame(bytes, viewOf(bytes), start, start + 10, -1);
  outbox.publish(frameAt(0), 0x30, 0);
  outbox.publish(frameAt(10), 0x30, 0);
  bytes.fill('b', 20);
  outbox.publish(frameAt(20), 0x30, 0);
  outbox.flush();
  t.equal(Buffer.concat(sink.written).toString(), `0${'a'.repeat(9)}0${'a'.repeat(9)}0${'b'.repeat(9)}`);
});

t.test('buffers are free for others once the kernel has taken what they hold, each once', async (t) => {
  const sink = new Sink();
  const pool = new BufferPool();
  const given: OutputBuffer[] = [];
  const give = pool.give.bind(pool);
  pool.give = (buffer) => {
    given.push(buffer);
    give(buffer);
  };
  const outbox = new Outbox(sink, pool, new Metrics());
  const large = Buffer.alloc(outputBufferBytes);
  const fill = (): void => {
    for (let packet = 0; packet < 9; packet++) outbox.bytes(Buffer.alloc(outputBufferBytes / 4 - 4));
    outbox.bytes(large);
    outbox.bytes(Buffer.alloc(100));
  };
  fill();
  sink.untaken = 1;
  given.length = 0;
  outbox.flush();
  t.equal(given.length, 0, 'the socket still has them');
  sink.untaken = 0;
  fill();
  given.length = 0;
  outbox.flush();
  t.equal(given.length, 4, 'two full ones, one that a large packet ended, and the last');
  t.equal(new Set(given).size, given.length);
  t.notOk(given.some(({ bytes }) => bytes.buffer === large.buffer));
  outbox.bytes(Buffer.alloc(100));
  given.length = 0;
  outbox.flush();
  t.equal(given.length, 1, 'what was free already is not given again');
  fill();
  given.length = 0;
  outbox.discard();
  outbox.flush(true);
  t.equal(given.length, 1, 'of what is dropped only the open one');
});
