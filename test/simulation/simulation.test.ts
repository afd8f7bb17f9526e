import t from 'tap';
import { planOf } from './plan.js';
import { play, playSeed } from './run.js';

const seeds = 200;
const perTest = 25;

/** Everything that may become of a tracked delivery must happen somewhere, or nothing is checked about it. */
const outcomes = [
  ...['delivered', 'processed', 'rejected', 'rejected application', 'sent', 'expired', 'dropped offline'],
  ...['dropped queue-full', 'dropped too-large'],
  ...['clean-start', 'taken-over', 'session-expired', 'disconnected', 'broker-restart', 'unanswered'].map(
    (cause) => `lost ${cause}`,
  ),
];
const seen = new Map<string, number>();

for (let from = 1; from <= seeds; from += perTest) {
  t.test(`whatever happens, promises are kept: seeds ${from} to ${from + perTest - 1}`, async (t) => {
    for (let seed = from; seed < from + perTest; seed++) {
      const { broken, outcomes } = playSeed(seed);
      for (const [outcome, times] of outcomes) seen.set(outcome, (seen.get(outcome) ?? 0) + times);
      t.equal(broken, null, `seed ${seed}: npm run simulate -- --seed ${seed} tells how`);
    }
  });
}

t.test('tracked deliveries come to every outcome', async (t) => {
  t.comment([...seen].map(([outcome, times]) => `${outcome} ${times}`).join(', '));
  for (const outcome of outcomes) t.ok(seen.has(outcome), outcome);
});

t.test('a seed is the same world every time', async (t) => {
  const [one, other] = [play(planOf(7), true), play(planOf(7), true)];
  t.ok(one.trace.length > 20, 'something happens');
  t.same(one, other);
});
