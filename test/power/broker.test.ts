import t from 'tap';
import { Random } from '../crash/random.js';
import { CrashRun } from '../crash/run.js';
import { temporaryDirectory } from '../helpers/command.js';
import { keepResults } from '../helpers/results.js';
import { withoutFaultyDisk } from './faulty-disk.js';
import { PowerLosses } from './power-losses.js';

// `test/power/run --rounds N --seed S` sets these.
const rounds = Number(process.env.COUNTERSIGN_POWER_ROUNDS ?? 1);
const seed = Number(process.env.COUNTERSIGN_POWER_SEED ?? 1);
const skip = withoutFaultyDisk();

t.setTimeout(rounds * 600_000);

t.test(`nothing acknowledged is lost in ${rounds} rounds with power losses (seed ${seed})`, { skip }, async (t) => {
  const machine = new PowerLosses(await temporaryDirectory(t), new Random(seed + 1000));
  const run = await CrashRun.start(t, { seed, durability: 'flushed' }, machine);
  t.teardown(() => run.end());
  for (let round = 1; round <= rounds && run.world.violations.length === 0; round++) {
    await run.round(round === rounds);
    if (round % 10 === 0) t.comment(`${round} rounds, ${machine.losses} power losses: ${run.summary()}`);
  }
  t.comment(`${machine.losses} power losses with ${machine.sectorsAtRisk} sectors not synced`);
  t.same(run.world.violations, []);
  const { losses, sectorsAtRisk } = machine;
  const violations = run.world.violations.length;
  keepResults('power-broker', { seed, kills: rounds, losses, sectorsAtRisk, ...run.tally(), violations });
});
