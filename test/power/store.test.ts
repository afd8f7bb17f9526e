import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Random } from '../crash/random.js';
import { temporaryDirectory } from '../helpers/command.js';
import { keepResults } from '../helpers/results.js';
import { withoutFaultyDisk } from './faulty-disk.js';
import { createAndDie, StoreRun } from './store-run.js';

// `test/power/run --rounds N --seed S` sets these.
const rounds = Number(process.env.COUNTERSIGN_POWER_ROUNDS ?? 1);
const instants = rounds > 2 ? 9 : 3;
const seed = Number(process.env.COUNTERSIGN_POWER_SEED ?? 1);
const skip = withoutFaultyDisk();

t.setTimeout(rounds * instants * 600_000);

for (const durability of ['flushed', 'committed'] as const) {
  t.test(`a power loss leaves whole batches and every batch that was told, ${durability}`, { skip }, async (t) => {
    const random = new Random(seed);
    const run = await StoreRun.begin(await temporaryDirectory(t), durability, random);
    for (let round = 0; round < rounds; round++) await run.round(20 + random.below(200), instants);
    const { images, broken, imagesWithLoss, lostMax, kills, told } = run.tally;
    t.comment(
      `${kills} kills, ${images} images, ${told} batches told; ${imagesWithLoss} lack some, at most ${lostMax}`,
    );
    t.same(broken.slice(0, 10), [], 'every image opens, and no batch is torn or out of order');
    t.ok(told > 0, 'batches were told');
    if (durability === 'flushed') t.equal(imagesWithLoss, 0, 'every batch that was told is in every image');
    keepResults(`power-store-${durability}`, { seed, ...run.tally, broken: broken.length });
  });
}

t.test('a store that tells too early is found out', { skip }, async (t) => {
  const random = new Random(seed);
  const run = await StoreRun.begin(await temporaryDirectory(t), 'eager', random);
  for (let round = 0; round < 2 && run.tally.imagesWithLoss === 0; round++) await run.round(150, 3);
  t.ok(run.tally.imagesWithLoss > 0, `${run.tally.imagesWithLoss} images lack batches`);
  t.same(run.tally.broken, [], 'none of them is torn all the same');
});

t.test('a start that dies while it makes the data file is followed by one that works', { skip }, async (t) => {
  const folder = await temporaryDirectory(t);
  const random = new Random(seed);
  for (let round = 0; round < rounds; round++) {
    const directory = join(folder, `home-${round}`);
    mkdirSync(directory);
    await createAndDie(directory, 1 + random.below(120));
    t.pass(`round ${round}`);
  }
});
