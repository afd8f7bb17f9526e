import { Command, InvalidArgumentError } from 'commander';
import { keepResults } from '../helpers/results.js';
import { planOf } from './plan.js';
import { play, playSeed, type Result, shrink } from './run.js';

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

/** One line of progress: a bar on a terminal, a line now and then elsewhere. */
class Progress {
  private readonly total: number;
  private readonly startedAtMs = performance.now();
  private shownAtMs = 0;

  constructor(total: number) {
    this.total = total;
  }

  show(done: number): void {
    const nowMs = performance.now();
    const { isTTY, columns = 80 } = process.stderr;
    if (done < this.total && nowMs - this.shownAtMs < (isTTY ? 100 : 10_000)) return;
    this.shownAtMs = nowMs;
    const part = done / this.total;
    const perSecond = Math.round((done * 1000) / Math.max(1, nowMs - this.startedAtMs));
    const text = ` ${done} of ${this.total} seeds, ${perSecond} a second`;
    if (!isTTY) process.stderr.write(`${text.trim()}\n`);
    else {
      const width = Math.max(10, Math.min(40, columns - text.length - 3));
      const full = Math.round(width * part);
      process.stderr.write(
        `\r[${'#'.repeat(full)}${'.'.repeat(width - full)}]${text}${done === this.total ? '\n' : ''}`,
      );
    }
  }
}

/** Prints what broke and the shortest history that breaks it. */
function report(failed: Result): void {
  const { seed, actions } = failed.plan;
  process.stdout.write(`seed ${seed} breaks "${failed.broken?.invariant}": ${failed.broken?.what}\n`);
  const shortest = shrink(failed);
  process.stdout.write(`${shortest.plan.actions.length} of ${actions.length} actions are enough:\n\n`);
  print(play(shortest.plan, true));
  process.stdout.write(`\nplay it whole: npm run simulate -- --seed ${seed} --trace\n`);
}

function print({ plan, trace, broken }: Result): void {
  const { durability, options, sizes, roles } = plan;
  process.stdout.write(`durability ${durability}, options ${JSON.stringify({ ...options, ...sizes })}\n`);
  for (const role of roles) process.stdout.write(`${JSON.stringify(role)}\n`);
  for (const line of trace) process.stdout.write(`${line}\n`);
  process.stdout.write(broken === null ? 'all is well\n' : `broken: "${broken.invariant}": ${broken.what}\n`);
}

/** Plays many seeds. @returns false at the first that fails */
function playMany(from: number, seeds: number, isBrief: boolean): boolean {
  const progress = new Progress(seeds);
  const startedAtMs = performance.now();
  const total = { simulatedMs: 0, steps: 0, crashes: 0, acknowledged: 0, arrivals: 0, receipts: 0 };
  for (let done = 0; done < seeds; done++) {
    const result = playSeed(from + done);
    if (result.broken !== null) {
      if (isBrief) process.stdout.write(`${JSON.stringify({ seed: from + done, ...result.broken })}\n`);
      else report(result);
      return false;
    }
    for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += result[name];
    if (!isBrief) progress.show(done + 1);
  }
  if (isBrief) return true;
  const seconds = (performance.now() - startedAtMs) / 1000;
  const faster = Math.round(total.simulatedMs / 1000 / seconds).toLocaleString('en');
  const wholeHours = Math.round(total.simulatedMs / 3_600_000);
  const hours = wholeHours.toLocaleString('en');
  keepResults('simulation', { seed: from, seeds, ...total, hours: wholeHours, broken: 0 });
  process.stdout.write(
    `${seeds} seeds are well: ${total.steps} steps, ${hours} hours in ${seconds.toFixed(1)} s ` +
      `(${faster} times real time), ` +
      `${total.crashes} crashes, ${total.acknowledged} messages acknowledged, ${total.arrivals} received, ` +
      `${total.receipts} receipts\n`,
  );
  return true;
}

const program = new Command('simulate')
  .description('Plays brokers in simulated worlds, one for each seed, and checks that they keep their promises.')
  .option('--seeds <n>', 'how many worlds', whole, 1000)
  .option('--from <n>', 'the first seed', whole, 1)
  .option('--seed <n>', 'one world only', whole)
  .option('--trace', 'with --seed: tell what happens')
  .option('--brief', 'one line of JSON for the seed that fails, nothing else')
  .parse();
const { seeds, from, seed, trace, brief } = program.opts<{
  seeds: number;
  from: number;
  seed?: number;
  trace?: boolean;
  brief?: boolean;
}>();
if (seed !== undefined && trace === true) {
  const result = play(planOf(seed), true);
  print(result);
  if (result.broken !== null) process.exitCode = 1;
} else {
  const isWell = seed === undefined ? playMany(from, seeds, brief === true) : playMany(seed, 1, brief === true);
  if (!isWell) process.exitCode = 1;
}
