import t from 'tap';
import { keepResults } from '../helpers/results.js';
import { CrashRun } from './run.js';

// `test/crash/run --kills N --seed S --durability D --cast C` sets these.
const kills = Number(process.env.COUNTERSIGN_CRASH_KILLS ?? 5);
const seed = Number(process.env.COUNTERSIGN_CRASH_SEED ?? 1);
const durability = process.env.COUNTERSIGN_CRASH_DURABILITY ?? 'flushed';
const cast = process.env.COUNTERSIGN_CRASH_CAST ?? 'everyone';

t.setTimeout(kills * 600_000);

t.test(
  `nothing is lost, repeated or left without an outcome in ${kills} kills (${cast}, ${durability}, seed ${seed})`,
  async (t) => {
    const run = await CrashRun.start(t, { seed, durability, cast });
    t.teardown(() => run.end());
    for (let kill = 1; kill <= kills && run.world.violations.length === 0; kill++) {
      await run.round(kill === kills);
      if (kill % 10 === 0) t.comment(`${kill} kills: ${run.summary()}`);
    }
    t.same(run.world.violations, []);
    const violations = run.world.violations.length;
    keepResults(`crash-${cast}-${durability}`, { seed, cast, durability, kills, ...run.tally(), violations });
  },
);
