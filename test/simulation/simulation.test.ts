import t from 'tap';
import { planOf } from './plan.js';
import { play, playSeed } from './run.js';

const seeds = 200;
const perTest = 25;

for (let from = 1; from <= seeds; from += perTest) {
  t.test(`whatever happens, promises are kept: seeds ${from} to ${from + perTest - 1}`, async (t) => {
    for (let seed = from; seed < from + perTest; seed++) {
      const { broken } = playSeed(seed);
      t.equal(broken, null, `seed ${seed}: npm run simulate -- --seed ${seed} tells how`);
    }
  });
}

t.test('a seed is the same world every time', async (t) => {
  const [one, other] = [play(planOf(7), true), play(planOf(7), true)];
  t.ok(one.trace.length > 20, 'something happens');
  t.same(one, other);
});
