import t from 'tap';
import { CrashRun } from './run.js';

// `test/crash/run --kills N --seed S --durability D` sets these.
const kills = Number(process.env.COUNTERSIGN_CRASH_KILLS ?? 5);
const seed = Number(process.env.COUNTERSIGN_CRASH_SEED ?? 1);
const durability = process.env.COUNTERSIGN_CRASH_DURABILITY ?? 'flushed';

t.setTimeout(kills * 120_000);

t.test(
  `nothing is lost, repeated or left without an outcome in ${kills} kills (${durability}, seed ${seed})`,
  async (t) => {
    const run = await CrashRun.start(t, seed, ['--durability', durability]);
    t.teardown(() => run.end());
    for (let kill = 1; kill <= kills && run.world.violations.length === 0; kill++) {
      await run.round(kill === kills);
      if (kill % 10 === 0) t.comment(`${kill} kills: ${run.summary()}`);
    }
    t.same(run.world.violations, []);
  },
);
