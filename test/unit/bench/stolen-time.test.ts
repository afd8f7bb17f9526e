import t from 'tap';
import { type ProcessorTime, parseProcessorTime, runQuietly, stolenShareOf } from '../../../bench/load/stolen-time.js';

t.test('the time of all processors is read as the kernel tells it', async (t) => {
  const text = 'cpu  100 20 30 4000 50 6 7 80 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n';
  t.same(parseProcessorTime(text), { wanted: 243, stolen: 80 });
  t.equal(parseProcessorTime('cpu  1 2 3\n'), null);
  t.equal(parseProcessorTime('intr 5\n'), null);
  t.equal(stolenShareOf({ wanted: 100, stolen: 10 }, { wanted: 300, stolen: 60 }), 0.25);
  t.equal(stolenShareOf({ wanted: 100, stolen: 10 }, { wanted: 100, stolen: 10 }), 0);
  t.equal(stolenShareOf(null, { wanted: 100, stolen: 10 }), null);
});

/** Runs that lose so much of a hundred ticks each; the result of each is its number. */
async function runsLosing(...losses: readonly number[]) {
  let time: ProcessorTime = { wanted: 0, stolen: 0 };
  let runs = 0;
  const run = async (): Promise<number> => {
    const { wanted, stolen } = time;
    time = { wanted: wanted + 100, stolen: stolen + losses[runs] };
    return ++runs;
  };
  return { ...(await runQuietly(run, () => time)), runs };
}

t.test('a run that was disturbed is done again, and the quietest one counts', async (t) => {
  t.same(await runsLosing(5), { result: 1, stolenShare: 0.05, runs: 1 });
  t.same(await runsLosing(40, 0), { result: 2, stolenShare: 0, runs: 2 });
  t.same(await runsLosing(40, 20, 30), { result: 2, stolenShare: 0.2, runs: 3 });
  t.same(
    await runQuietly(
      async () => 'once',
      () => null,
    ),
    { result: 'once', stolenShare: null },
  );
});
