import fc from 'fast-check';
import t from 'tap';
import { Utf8Writer } from '../../../lib/base/utf8-writer.js';

const whole = fc.oneof(
  fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  fc.nat(2_000_000),
  fc
    .integer({ min: 0, max: 15 })
    .chain((power) => fc.integer({ min: -2, max: 2 }).map((by) => Math.max(0, 10 ** power + by))),
);
const text = fc.oneof(fc.string(), fc.string({ maxLength: 300, unit: 'binary' }), fc.string({ maxLength: 300 }));
const piece = fc.oneof(
  whole.map((value) => ({ wanted: String(value), write: (writer: Utf8Writer) => writer.integer(value) })),
  text.map((value) => ({ wanted: value, write: (writer: Utf8Writer) => writer.text(value) })),
  text.map((value) => ({ wanted: JSON.stringify(value), write: (writer: Utf8Writer) => writer.quoted(value) })),
  text.map((value) => ({ wanted: value, write: (writer: Utf8Writer) => writer.raw(Buffer.from(value)) })),
);

t.test('texts, numbers and strings of JSON are written as strings that are joined would be encoded', async (t) => {
  const writer = new Utf8Writer();
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      writer.reset();
      for (const { write } of pieces) write(writer);
      const wanted = Buffer.from(pieces.map(({ wanted }) => wanted).join(''));
      return wanted.equals(writer.bytes.subarray(0, writer.at));
    }),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('half of a surrogate pair is escaped as JSON has it', async (t) => {
  const writer = new Utf8Writer().quoted('a\ud800b');
  t.equal(writer.bytes.toString('utf8', 0, writer.at), JSON.stringify('a\ud800b'));
});

t.test('memory that one long text took is given back', async (t) => {
  const writer = new Utf8Writer();
  writer.text('x'.repeat(1_000_000));
  t.ok(writer.bytes.length >= 1_000_000);
  writer.reset();
  t.ok(writer.bytes.length <= 64 * 1024);
  t.equal(writer.text('y').at, 1);
});
