import fc from 'fast-check';
import t from 'tap';
import { FrameSlab } from '../../../lib/codec/frame-slab.js';

t.test('no two frames share a byte, whatever their sizes', async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 2, max: 5000 }), { maxLength: 60 }), (sizes) => {
      const slab = new FrameSlab();
      const frames = sizes.map((size, index) => {
        const start = slab.take(size);
        const bytes = slab.bytes.subarray(start, start + size);
        bytes.fill(index);
        return bytes;
      });
      return frames.every((bytes, index) => bytes.length === sizes[index] && bytes.every((byte) => byte === index));
    }),
  );
});

t.test('a large frame has memory of its own, and leaves the slab to small ones', async (t) => {
  const slab = new FrameSlab();
  t.equal(slab.take(100), 0);
  const { bytes } = slab;
  t.equal(slab.take(1_000_000), 0);
  t.equal(slab.bytes.length, 1_000_000);
  t.equal(slab.take(100), 100);
  t.equal(slab.bytes, bytes);
});
