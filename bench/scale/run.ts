// How cost grows with size: `npm run bench:scale -- --help`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startBroker } from '../load/brokers.js';
import { generate } from '../load/generate.js';
import { peers } from '../load/peers.js';
import { describeFindings, formatNumber } from '../load/summary.js';
import { renderCurves } from './curves.js';
import { type LoadSweep, loadSweeps, type Measured, matchSweeps, type Sweep } from './sweeps.js';

const usage = `npm run bench:scale -- [options]
  --sweeps LIST    ${[...matchSweeps, ...loadSweeps].map(({ name }) => name).join(', ')} (default: all)
  --largest N      leave out sizes above this (default 1000000; retained and queued up to a million take minutes)
  --seconds S      of each timed load (default 2)
  --out DIRECTORY  of results and charts (default docs/scale); the page is its name with .md
`;

interface Point {
  readonly size: number;
  readonly measured: Measured;
}

interface SweepResult extends Pick<Sweep, 'name' | 'title' | 'caption'> {
  readonly points: readonly Point[];
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function runLoad(sweep: LoadSweep, size: number, seconds: number): Promise<Measured> {
  const [peer] = peers;
  const program = peer?.find() ?? null;
  if (peer === undefined || program === null) throw new Error('build first: npm run build');
  const broker = await startBroker(peer, program);
  try {
    const timing = { seconds, warmupSeconds: Math.min(1, seconds / 2) };
    const place = { port: broker.port, brokerPid: broker.pid };
    const result = await generate({ ...timing, ...place, ...sweep.options(size) });
    const findings = describeFindings([result]);
    if (findings !== '') print(`${sweep.name} ${size}: UNSOUND: ${findings}`);
    return sweep.read(result);
  } finally {
    await broker.stop();
  }
}

async function runSweep(sweep: Sweep, largest: number, measure: (size: number) => Measured | Promise<Measured>) {
  const points: Point[] = [];
  for (const size of sweep.sizes.filter((candidate) => candidate <= largest)) {
    const measured = await measure(size);
    points.push({ size, measured });
    const values = Object.entries(measured).map(([name, value]) => `${name} ${formatNumber(value)}`);
    print(`${sweep.name.padEnd(14)}${formatNumber(size).padStart(10)}  ${values.join('; ')}`);
  }
  const { name, title, caption } = sweep;
  return { name, title, caption, points };
}

function namesOf({ points }: SweepResult): string[] {
  return [...new Set(points.flatMap(({ measured }) => Object.keys(measured)))];
}

function chartOf(result: SweepResult): string {
  const curves = namesOf(result).map((name) => ({
    name,
    points: result.points.map(({ size, measured }) => ({ x: size, y: measured[name] ?? 0 })),
  }));
  return renderCurves({ title: result.title, caption: `${result.caption}; both axes logarithmic`, curves });
}

function sectionOf(result: SweepResult, folder: string): string {
  const names = namesOf(result);
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const lines = result.points.map(({ size, measured }) =>
    row([
      formatNumber(size),
      ...names.map((name) => (measured[name] === undefined ? '–' : formatNumber(measured[name]))),
    ]),
  );
  const table = [row(['', ...names]), row(['---', ...names.map(() => '---')]), ...lines].join('\n');
  return `## ${result.title}\n\n${result.caption}.\n\n${table}\n\n![${result.title}](${folder}/${result.name}.svg)\n`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      sweeps: { type: 'string' },
      largest: { type: 'string', default: '1000000' },
      seconds: { type: 'string', default: '2' },
      out: { type: 'string', default: join('docs', 'scale') },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return print(usage);
  const wanted = values.sweeps?.split(',') ?? null;
  const known = [...matchSweeps, ...loadSweeps].map(({ name }) => name);
  const unknown = wanted?.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`no sweep is called ${unknown}: ${known.join(', ')}`);
  const [largest, seconds] = [Number(values.largest), Number(values.seconds)];
  if (!(largest >= 1 && seconds > 0)) throw new Error('--largest and --seconds must be numbers above 0');
  const isWanted = ({ name }: Sweep) => wanted?.includes(name) ?? true;
  const date = new Date().toISOString();
  const machine = { date, node: process.version, cpu: cpus()[0]?.model ?? '', loadAverage: loadavg()[0] };
  const results: SweepResult[] = [];
  for (const sweep of matchSweeps.filter(isWanted)) results.push(await runSweep(sweep, largest, sweep.measure));
  for (const sweep of loadSweeps.filter(isWanted)) {
    results.push(await runSweep(sweep, largest, (size) => runLoad(sweep, size, seconds)));
  }
  mkdirSync(values.out, { recursive: true });
  writeFileSync(join(values.out, 'results.json'), `${JSON.stringify({ ...machine, results }, null, 1)}\n`);
  for (const result of results) writeFileSync(join(values.out, `${result.name}.svg`), chartOf(result));
  const folder = values.out.split('/').at(-1) ?? values.out;
  const head = [
    '# Cost against size',
    '',
    `Generated by \`npm run bench:scale\` on ${date.slice(0, 10)}; ${machine.cpu}, Node ${machine.node};`,
    `load average at the start ${formatNumber(machine.loadAverage)}. One run of each size, broker in memory.`,
    '',
  ].join('\n');
  writeFileSync(`${values.out}.md`, [head, ...results.map((result) => sectionOf(result, folder))].join('\n'));
  print(`written: ${values.out}.md`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
});
