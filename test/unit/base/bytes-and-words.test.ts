import fc from 'fast-check';
import t from 'tap';
import { copyBytes, utf8Length, writeUtf8 } from '../../../lib/base/bytes.js';
import { copyOut, copyWords, viewOf } from '../../../lib/base/words.js';

const place = fc.record({
  before: fc.nat(9),
  length: fc.oneof(fc.nat(80), fc.integer({ min: 120, max: 140 }), fc.integer({ min: 370, max: 400 })),
  after: fc.nat(9),
  at: fc.nat(9),
});

/** A source with a part to copy, cut out of a larger buffer as Node's are, and a target that shows what is touched. */
function scene({ before, length, after, at }: { before: number; length: number; after: number; at: number }) {
  const whole = Buffer.alloc(3 + before + length + after);
  for (const index of whole.keys()) whole[index] = (index * 37 + 11) & 0xff;
  const source = whole.subarray(3);
  const target = Buffer.alloc(5 + at + length + 7, 0xaa).subarray(5);
  const expected = Buffer.from(target);
  source.copy(expected, at, before, before + length);
  return { source, target, expected };
}

t.test('a copy out of a buffer is one, whether or not there is a view of it', async () => {
  fc.assert(
    fc.property(place, fc.boolean(), (given, isViewed) => {
      const { source, target, expected } = scene(given);
      const view = viewOf(target);
      if (isViewed) viewOf(source);
      copyOut(source, given.before, given.before + given.length, target, view, given.at);
      return target.equals(expected);
    }),
    { numRuns: 1000 },
  );
});

t.test('copies by words are copies, wherever they begin and end', async () => {
  fc.assert(
    fc.property(place, (given) => {
      const { source, target, expected } = scene(given);
      copyWords(viewOf(source), given.before, given.before + given.length, viewOf(target), given.at);
      return target.equals(expected);
    }),
  );
});

t.test('copies by bytes are, too', async () => {
  fc.assert(
    fc.property(place, (given) => {
      const { source, target, expected } = scene(given);
      copyBytes(source, given.before, given.before + given.length, target, given.at);
      return target.equals(expected);
    }),
  );
});

t.test('a buffer has one view for as long as no other is asked for', async (t) => {
  const [one, other] = [Buffer.from('one'), Buffer.from('other')];
  const view = viewOf(one);
  t.equal(viewOf(one), view);
  t.equal(viewOf(other).getUint8(4), 'r'.charCodeAt(0));
  t.equal(viewOf(one).getUint8(0), 'o'.charCodeAt(0));
});

t.test('texts are as long, and written, as UTF-8 has it', async () => {
  const text = fc.oneof(fc.string({ maxLength: 60 }), fc.string({ unit: 'grapheme', maxLength: 40 }));
  fc.assert(
    fc.property(text, (text) => {
      const expected = Buffer.from(text, 'utf8');
      const bytes = utf8Length(text);
      const target = Buffer.alloc(bytes + 4, 0xaa);
      writeUtf8(text, bytes, target, 2);
      return bytes === expected.length && target.equals(Buffer.from([0xaa, 0xaa, ...expected, 0xaa, 0xaa]));
    }),
  );
});
