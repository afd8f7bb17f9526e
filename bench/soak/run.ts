// Mixed load for as long as you like, and whether anything grows: `npm run soak -- --help`.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Sample } from './broker.js';
import { type Finding, judge } from './judge.js';
import { runRound } from './load.js';

const usage = `npm run soak -- [options]
  --minutes N      how long (default 10; at least eight rounds, which are some seconds)
  --structural     compare only what does not depend on the machine: sessions, rows, maps, the data file
  --out FILE       all samples as JSON
  --read FILE      judge the samples of an earlier run instead
  --results FILE   what the run has shown as JSON, for the reliability report
Exit code 1 when something grows.
`;

const brokerPath = join(dirname(fileURLToPath(import.meta.url)), 'broker.js');
const roundsMin = 12;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function askSample(broker: ChildProcess): Promise<Sample> {
  const answered = once(broker, 'message');
  broker.send('sample');
  return (await answered)[0] as Sample;
}

function describe({ name, early, late, isGrowing }: Finding): string {
  const format = (value: number) => Math.round(value).toLocaleString('en').replaceAll(',', ' ').padStart(14);
  return `${name.padEnd(28)}${format(early)}${format(late)}  ${isGrowing ? 'GROWING' : 'level'}`;
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      structural: { type: 'boolean', default: false },
      out: { type: 'string' },
      read: { type: 'string' },
      results: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new Error(`--minutes must be a number above 0, not ${values.minutes}`);
  return { ...values, minutes };
}

function writeJson(path: string, value: unknown): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(value, null, 1)}\n`);
}

/** A run in a few numbers; bytes in MB. */
function digest(samples: readonly Sample[], findings: readonly Finding[]) {
  const last = samples.at(-1);
  const round = ({ name, early, late }: Finding) => {
    const isBytes = name.startsWith('bytes');
    const display = (value: number) => (isBytes ? `${Math.round(value / 1024 / 1024)} MB` : String(Math.round(value)));
    return { name: isBytes ? name.replace('bytes ', '') : name, early: display(early), late: display(late) };
  };
  return {
    ...{ date: new Date().toISOString().slice(0, 10), node: process.version, cpus: cpus().length },
    ...{ minutes: Math.round((last?.seconds ?? 0) / 60), rounds: samples.length, messages: last?.messages ?? 0 },
    growing: findings.filter(({ isGrowing }) => isGrowing).map(({ name }) => name),
    levels: findings.filter(({ name }) => name.startsWith('bytes')).map(round),
  };
}

async function soak(minutes: number, samples: Sample[]): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'countersign-soak-'));
  const broker = fork(brokerPath, [join(directory, 'data')], { execArgv: ['--expose-gc'] });
  process.once('exit', () => broker.kill('SIGKILL'));
  try {
    const [{ port }] = (await once(broker, 'message')) as [{ readonly port: number }];
    const until = performance.now() + minutes * 60_000;
    let saidAtMs = 0;
    for (let round = 1; performance.now() < until || round <= roundsMin; round++) {
      await runRound(port, round);
      const sample = await askSample(broker);
      samples.push(sample);
      if (performance.now() - saidAtMs < 10_000) continue;
      saidAtMs = performance.now();
      const megabytes = Math.round(sample.bytes.rss / 1024 / 1024);
      print(`${Math.round(sample.seconds)} s: round ${round}, ${sample.messages} messages, ${megabytes} MB resident`);
    }
  } finally {
    const ended = broker.exitCode === null ? once(broker, 'exit') : null;
    if (broker.connected) broker.disconnect();
    await ended;
    rmSync(directory, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  const given = readArguments();
  if (given.help) return print(usage);
  const samples: Sample[] = given.read === undefined ? [] : JSON.parse(readFileSync(given.read, 'utf8'));
  if (given.read === undefined) await soak(given.minutes, samples);
  if (given.out !== undefined) writeJson(given.out, samples);
  const findings = judge(samples, given.structural);
  if (given.results !== undefined) writeJson(given.results, digest(samples, findings));
  print(`\n${'medians of'.padEnd(28)}${'second quarter'.padStart(14)}${'last'.padStart(14)}`);
  for (const finding of findings) print(describe(finding));
  if (findings.some(({ isGrowing }) => isGrowing)) process.exitCode = 1;
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(2);
});
