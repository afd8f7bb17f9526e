import fc from 'fast-check';
import t from 'tap';
import { RecentMap } from '../../../lib/base/recent-map.js';

t.test('what was put lately is there, and no more than twice the minimum in all', async (t) => {
  const step = fc.record({ key: fc.nat(12), isDelete: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const map = new RecentMap<number, number>(5);
      const model = new Map<number, number>();
      for (const [at, { key, isDelete }] of steps.entries()) {
        model.delete(key);
        if (isDelete) map.delete(key);
        else {
          map.set(key, at);
          model.set(key, at);
        }
        if (map.size > 10) return false;
        const latest = [...model].slice(-5);
        if (latest.some(([known, value]) => map.get(known) !== value)) return false;
        for (let other = 0; other <= 12; other++) {
          const value = map.get(other);
          if (value !== undefined && model.get(other) !== value) return false;
        }
      }
      return true;
    }),
  );
  t.pass();
});

t.test('it forgets when it is full and a new key comes', async (t) => {
  const map = new RecentMap<string, number>(2);
  for (const [at, key] of ['a', 'b', 'c', 'd'].entries()) map.set(key, at);
  t.ok(map.isFull);
  t.equal(map.get('a'), 0);
  map.set('d', 5);
  t.equal(map.get('a'), 0, 'a known key makes nobody go');
  map.set('e', 6);
  t.same([map.get('a'), map.get('b'), map.get('c'), map.get('d'), map.get('e')], [undefined, undefined, 2, 5, 6]);
});
