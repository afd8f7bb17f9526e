// One scenario against one broker, in a process of its own: options as JSON in the first argument, result as one JSON
// line on stdout. `node dist/bench/load/generator.js '{"scenario":"pairs","port":1883,"qos":1}'`
import { completeOptions, type LoadOptions } from './options.js';
import { runScenario } from './scenarios.js';

/** Longest time beyond the timed phase: opening, warm-up, counted phases, draining. */
const graceSeconds = 120;

function abort(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

async function main(): Promise<void> {
  const given = JSON.parse(process.argv[2] ?? '{}') as Partial<LoadOptions>;
  const options = completeOptions(given);
  const limitSeconds = options.warmupSeconds + options.seconds + graceSeconds;
  setTimeout(() => abort(new Error(`not done after ${limitSeconds} s`)), limitSeconds * 1000).unref();
  const result = await runScenario(options);
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

process.on('uncaughtException', abort);
main().catch(abort);
