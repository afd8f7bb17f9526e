import fc from 'fast-check';
import t from 'tap';
import { SequenceMap } from '../../../lib/base/sequence-map.js';

// Neighbours, both sides of pages, and numbers far beyond 32 bits.
const sequence = fc.oneof(
  fc.integer({ min: 0, max: 100 }),
  fc.integer({ min: 2 ** 40, max: 2 ** 40 + 70 }),
  fc.constantFrom(31, 32, 63, 64, Number.MAX_SAFE_INTEGER),
);
const step = fc.record({ isSet: fc.boolean(), sequence });
const bounds = fc.tuple(sequence, sequence);

t.test('it is a map, in order', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.array(bounds, { maxLength: 5 }), (steps, ranges) => {
      const map = new SequenceMap<number>();
      const model = new Map<number, number>();
      for (const [at, { isSet, sequence }] of steps.entries()) {
        if (isSet) {
          map.set(sequence, at);
          model.set(sequence, at);
        } else if (map.delete(sequence) !== model.delete(sequence)) return false;
        // Order is asked for in between as well: it is kept from then on.
        if (at % 50 === 7) map.forEach(0, 10, () => true);
        if (map.size !== model.size || map.get(sequence) !== model.get(sequence)) return false;
      }
      const sorted = [...model].sort(([one], [other]) => one - other);
      return ranges.every(([from, end]) => {
        const expected = sorted.filter(([key]) => key >= from && key < end);
        const found: [number, number][] = [];
        const reversed: [number, number][] = [];
        map.forEach(from, end, (key, value) => found.push([key, value]) < 3);
        map.forEachReverse(from, end, (key, value) => reversed.push([key, value]) < 3);
        return (
          JSON.stringify(found) === JSON.stringify(expected.slice(0, 3)) &&
          JSON.stringify(reversed) === JSON.stringify(expected.reverse().slice(0, 3))
        );
      });
    }),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('what is left alone on its page is found, and an emptied map is empty', async (t) => {
  const map = new SequenceMap<string>();
  for (let sequence = 0; sequence < 1000; sequence++) map.set(sequence, String(sequence));
  for (let sequence = 0; sequence < 1000; sequence++) if (sequence % 100 > 0) map.delete(sequence);
  const left: number[] = [];
  map.forEach(0, Number.MAX_SAFE_INTEGER, (sequence) => left.push(sequence) > 0);
  t.same(left, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
  for (const sequence of left) t.ok(map.delete(sequence));
  t.equal(map.size, 0);
  t.equal(map.get(100), undefined);
});
