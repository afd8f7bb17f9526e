import t from 'tap';
import { FrameSplitter } from '../../../lib/codec/frame-splitter.js';
import { bytes, packet } from './bytes.js';
import { withReason } from './with-reason.js';

/** Remembers frames; stops after each frame whose number is in `stopAfter`. */
class Recorder {
  readonly frames: string[] = [];
  readonly buffers: Buffer[] = [];
  private readonly stopAfter: ReadonlySet<number>;

  constructor(stopAfter: number[] = []) {
    this.stopAfter = new Set(stopAfter);
  }

  onFrame(buffer: Buffer, frameStart: number, bodyStart: number, end: number): boolean {
    const header = buffer.toString('hex', frameStart, bodyStart);
    this.frames.push(`${header}|${buffer.toString('hex', bodyStart, end)}`);
    this.buffers.push(buffer);
    return !this.stopAfter.has(this.frames.length);
  }
}

/** Hands over bytes that are good for this call only, as those of a socket are. */
function push(splitter: FrameSplitter, bytes: Buffer, recorder: Recorder): void {
  const chunk = Buffer.from(bytes);
  splitter.push(chunk, recorder);
  chunk.fill(0xff);
}

const ping = packet(0xc0);
const short = packet(0x40, '0001');
const long = packet(0x30, Buffer.alloc(300, 0x61));
const stream = bytes(ping, short, long, ping, short);
const expected = ['c000|', '4002|0001', `30ac02|${'61'.repeat(300)}`, 'c000|', '4002|0001'];

t.test('packets in one chunk are passed on as they lie', async (t) => {
  const recorder = new Recorder();
  const splitter = new FrameSplitter(1000);
  splitter.push(stream, recorder);
  t.same(recorder.frames, expected);
  t.ok(recorder.buffers.every((buffer) => buffer === stream));
  t.equal(splitter.bufferedBytes, 0);
});

t.test('the result is the same for every chunk size and every single cut', async (t) => {
  for (let size = 1; size <= stream.length; size++) {
    const recorder = new Recorder();
    const splitter = new FrameSplitter(1000);
    for (let at = 0; at < stream.length; at += size) push(splitter, stream.subarray(at, at + size), recorder);
    if (recorder.frames.join() !== expected.join() || splitter.bufferedBytes !== 0) t.fail(`chunks of ${size}`);
  }
  for (let cut = 0; cut <= stream.length; cut++) {
    const recorder = new Recorder();
    const splitter = new FrameSplitter(1000);
    push(splitter, stream.subarray(0, cut), recorder);
    const passedOn = recorder.frames.reduce((sum, frame) => sum + (frame.length - 1) / 2, 0);
    if (splitter.bufferedBytes !== cut - passedOn) t.fail(`buffered bytes at ${cut}`);
    push(splitter, stream.subarray(cut), recorder);
    if (recorder.frames.join() !== expected.join()) t.fail(`cut at ${cut}`);
  }
});

t.test('a completed packet is not touched by what comes later', async (t) => {
  const recorder = new Recorder();
  const splitter = new FrameSplitter(1000);
  for (const byte of bytes(short, packet(0x40, 'ffff'), packet(0x40, 'eeee')))
    splitter.push(Buffer.from([byte]), recorder);
  t.same(
    recorder.buffers.map((buffer) => buffer.subarray(0, 4).toString('hex')),
    ['40020001', '4002ffff', '4002eeee'],
  );
});

t.test('a sink that stops gets the rest on resume, in order, whatever arrives meanwhile', async (t) => {
  for (let size = 1; size <= 40; size++) {
    for (const stops of [[1], [2], [3], [1, 2, 3, 4, 5], [5]]) {
      const recorder = new Recorder(stops);
      const splitter = new FrameSplitter(1000);
      for (let at = 0; at < stream.length; at += size) {
        push(splitter, stream.subarray(at, at + size), recorder);
        if (splitter.stopped && at % 3 === 0) splitter.resume(recorder);
      }
      while (splitter.stopped) splitter.resume(recorder);
      if (recorder.frames.join() !== expected.join() || splitter.bufferedBytes !== 0) t.fail(`${size} ${stops}`);
    }
  }
});

t.test('stopped: nothing is passed on, everything is counted', async (t) => {
  const recorder = new Recorder([1]);
  const splitter = new FrameSplitter(1000);
  t.equal(splitter.stopped, false);
  splitter.push(bytes(ping, short), recorder);
  t.equal(splitter.stopped, true);
  t.equal(splitter.bufferedBytes, short.length);
  splitter.push(long, recorder);
  t.equal(splitter.bufferedBytes, short.length + long.length);
  t.equal(recorder.frames.length, 1);
  splitter.resume(recorder);
  t.equal(splitter.stopped, false);
  t.equal(splitter.bufferedBytes, 0);
  t.equal(recorder.frames.length, 3);
  splitter.resume(recorder);
  t.equal(recorder.frames.length, 3, 'a resume without stop does nothing');
});

t.test('errors behind a stop come out at the resume', async (t) => {
  const recorder = new Recorder([1]);
  const splitter = new FrameSplitter(1000);
  splitter.push(bytes(ping, '00 00'), recorder);
  t.throws(() => splitter.resume(recorder), withReason(0x81));
});

t.test('[MQTT-3.2.2-15] the size is judged by the header alone, and includes it', async (t) => {
  const exact = new Recorder();
  new FrameSplitter(303).push(long, exact);
  t.equal(exact.frames.length, 1, 'exactly the limit passes');
  t.throws(() => new FrameSplitter(302).push(long, new Recorder()), withReason(0x95));
  t.throws(() => new FrameSplitter(302).push(long.subarray(0, 3), new Recorder()), withReason(0x95));
  const splitter = new FrameSplitter(302);
  splitter.push(long.subarray(0, 1), new Recorder());
  splitter.push(long.subarray(1, 2), new Recorder());
  t.throws(() => splitter.push(long.subarray(2, 3), new Recorder()), withReason(0x95));
});

t.test('the limit may change from one packet to the next', async (t) => {
  const splitter = new FrameSplitter(1000);
  const sink = {
    onFrame(): boolean {
      splitter.maximumPacketSize = 100;
      return true;
    },
  };
  t.throws(() => splitter.push(bytes(long, long), sink), withReason(0x95));
});

t.test('[MQTT-1.5.5-1] impossible headers end the stream as soon as they can be told', async (t) => {
  for (const hex of ['00', '0f 00', 'c0 80 00', '30 ff ff ff ff', '30 80 80 80 80', '30 80 80 80 00']) {
    t.throws(() => new FrameSplitter(1e9).push(bytes(hex), new Recorder()), withReason(0x81), hex);
    const splitter = new FrameSplitter(1e9);
    const single = bytes(hex);
    for (const byte of single.subarray(0, -1)) {
      if (byte !== 0x0f) splitter.push(Buffer.from([byte]), new Recorder());
      else t.throws(() => splitter.push(Buffer.from([byte]), new Recorder()), withReason(0x81));
    }
    if (hex !== '0f 00') t.throws(() => splitter.push(single.subarray(-1), new Recorder()), withReason(0x81), hex);
  }
});

t.test('an announced length allocates nothing: storage follows what has arrived', async (t) => {
  const before = process.memoryUsage().arrayBuffers;
  const splitters: FrameSplitter[] = [];
  for (let index = 0; index < 200; index++) {
    const splitter = new FrameSplitter(268_435_460);
    splitter.push(bytes('30 ff ff ff 7f', Buffer.alloc(100)), new Recorder());
    splitters.push(splitter);
  }
  t.equal(splitters[0].bufferedBytes, 105);
  t.ok(process.memoryUsage().arrayBuffers - before < 1e6);
});

t.test('a large packet in small chunks is not copied over and over', async (t) => {
  const size = 8_000_000;
  const splitter = new FrameSplitter(size + 5);
  const recorder = {
    ends: 0,
    onFrame(_buffer: Buffer, _frameStart: number, _bodyStart: number, end: number): boolean {
      recorder.ends = end;
      return true;
    },
  };
  const before = process.memoryUsage().arrayBuffers;
  splitter.push(bytes(0x30, '80 a4 e8 03'), recorder);
  const chunk = Buffer.alloc(1000);
  for (let sent = 0; sent < size; sent += chunk.length) splitter.push(chunk, recorder);
  t.equal(recorder.ends, size + 5);
  t.ok(process.memoryUsage().arrayBuffers - before < 4 * size);
});

t.test('large packets come together from chunks of any size', async (t) => {
  const payload = Buffer.from(Array.from({ length: 150_000 }, (_, at) => (at * 7 + (at >> 8)) & 0xff));
  const large = packet(0x30, payload);
  const both = bytes(large, ping, large, short);
  const sizes = [1, 100, 16_384, 20_000, 65_536, 15_000, 40_000, 3, 70_000];
  for (let first = 0; first < sizes.length; first++) {
    const recorder = new Recorder();
    const splitter = new FrameSplitter(200_000);
    let at = 0;
    for (let turn = first; at < both.length; turn++) {
      const chunk = both.subarray(at, at + sizes[turn % sizes.length]);
      at += chunk.length;
      push(splitter, chunk, recorder);
      const passedOn = recorder.frames.reduce((sum, frame) => sum + (frame.length - 1) / 2, 0);
      if (splitter.bufferedBytes !== at - passedOn) t.fail(`buffered bytes at ${at}`);
    }
    const body = payload.toString('hex');
    t.ok(recorder.frames[0] === `30f09309|${body}` && recorder.frames[2] === recorder.frames[0], `from ${first}`);
    t.same([recorder.frames[1], recorder.frames[3]], ['c000|', '4002|0001']);
  }
});

t.test('a small part of a chunk is copied, and does not keep all of it', async (t) => {
  const begun = bytes('30 a0 9c 01', Buffer.alloc(20_000 - 4));
  const filling = packet(0x30, Buffer.alloc(1_000_000));
  const splitter = new FrameSplitter(2_000_000);
  const chunk = bytes(filling, begun);
  splitter.push(chunk, { onFrame: () => true });
  t.equal(splitter.bufferedBytes, begun.length);
  chunk.fill(0xff);
  let completed: Buffer = Buffer.alloc(0);
  const onFrame = (buffer: Buffer): boolean => {
    completed = buffer;
    return true;
  };
  splitter.push(Buffer.alloc(4), { onFrame });
  t.ok(
    completed.subarray(4).every((byte) => byte === 0),
    'nothing of the chunk is left in the packet',
  );
});
