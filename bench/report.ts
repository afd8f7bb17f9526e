// Writes docs/benchmarks.md, its charts and the block in README.md from a results file:
// `node dist/bench/report.js [bench/results/FILE.json]`, by default the newest.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { groupTitles } from './load/cases.js';
import { type ChartRow, renderChart } from './load/chart.js';
import { stolenShareMax } from './load/stolen-time.js';
import {
  type CaseSummary,
  formatNumber,
  type PhaseSummary,
  type ResultsFile,
  type Spread,
  summarize,
} from './load/summary.js';

/** All that a report consists of. */
export interface Report {
  readonly markdown: string;
  /** SVG by file name. */
  readonly charts: ReadonlyMap<string, string>;
  readonly readmeBlock: string;
}

interface Line {
  readonly label: string;
  readonly summary: CaseSummary;
  readonly phase: PhaseSummary;
  /** The same phase of our own broker; null when it was not measured. */
  readonly ours: PhaseSummary | null;
}

const ourFamily = 'countersign';
const readmeGroups = ['pairs', 'fanout', 'fanin', 'durable', 'tracked'];
const blockPattern = /<!-- bench:begin -->[\s\S]*?<!-- bench:end -->/;
const notePattern = /<!-- note:([a-z0-9]+) -->\n([\s\S]*?)<!-- \/note -->/g;

/** `mosquitto` of `mosquitto-persistent`. */
function familyOf(peer: string): string {
  return peer.split('-')[0];
}

function spread(value: Spread | null, scale = 1): string {
  if (value === null) return '–';
  const [median, min, max] = [value.median, value.min, value.max].map((number) => formatNumber(number * scale));
  return `${median} (${min}–${max})`;
}

function ratio(value: Spread | null | undefined, to: Spread | null | undefined): string {
  if (!value || !to || to.median === 0) return '–';
  return `${formatNumber(value.median / to.median)} ×`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function linesOf(summaries: readonly CaseSummary[], group: string): Line[] {
  return summaries
    .filter((summary) => summary.group === group)
    .flatMap((summary) => {
      const sameCase = summaries.filter(({ caseName }) => caseName === summary.caseName);
      const our = sameCase.find(({ peer }) => familyOf(peer) === ourFamily);
      return summary.phases.map((phase, index) => {
        const isOnly = phase.name === 'route' && summary.phases.length === 1;
        const label = [summary.title, isOnly ? '' : phase.name].filter((part) => part !== '').join(', ');
        return { label, summary, phase, ours: our?.phases[index] ?? null };
      });
    });
}

/** Cells of a line in the table of its group; a column that would be empty in all lines is left out. */
function groupTable(lines: readonly Line[], titles: ReadonlyMap<string, string>): string {
  const columns: [string, (line: Line) => string][] = [
    ['', ({ label }) => label],
    ['broker', ({ summary }) => titles.get(summary.peer) ?? summary.peer],
    ['per second', ({ phase }) => spread(phase.perSecond) + (phase.isGeneratorBound ? ' †' : '')],
    ['to ours', ({ phase, ours }) => ratio(phase.perSecond, ours?.perSecond)],
    ['broker CPU µs each', ({ phase }) => spread(phase.cpuMicroseconds)],
    ['to ours', ({ phase, ours }) => ratio(phase.cpuMicroseconds, ours?.cpuMicroseconds)],
    ['latency p50 ms', ({ summary }) => spread(summary.p50Ms)],
    ['p99 ms', ({ summary }) => spread(summary.p99Ms)],
    ['commit p50 ms', ({ summary }) => spread(summary.commitP50Ms)],
    ['p99 ms', ({ summary }) => spread(summary.commitP99Ms)],
    ['RSS bytes each', ({ summary, phase }) => (phase.unit === 'message' ? '–' : spread(summary.rssBytesEach))],
    ['checks', ({ summary }) => describeChecks(summary)],
  ];
  const used = columns.filter(([head, cell]) => head === '' || lines.some((line) => cell(line) !== '–'));
  const head = used.map(([name]) => name);
  return table(
    head,
    lines.map((line) => used.map(([, cell]) => cell(line))),
  );
}

function describeChecks({ findings, failures }: CaseSummary): string {
  const failed = failures.length === 0 ? '' : `${failures.length} runs failed`;
  return [findings, failed].filter((part) => part !== '').join(', ') || 'sound';
}

function chartRows(
  lines: readonly Line[],
  titles: ReadonlyMap<string, string>,
  read: (line: Line) => Spread | null,
): ChartRow[] {
  const rows = new Map<string, ChartRow['bars'][number][]>();
  for (const line of lines) {
    const value = read(line)?.median;
    if (value === undefined) continue;
    const name = titles.get(line.summary.peer) ?? line.summary.peer;
    const bars = rows.get(line.label) ?? [];
    bars.push({ name, value, text: formatNumber(value) });
    rows.set(line.label, bars);
  }
  return Array.from(rows, ([label, bars]) => ({ label, bars }));
}

function chartsOf(group: string, lines: readonly Line[], titles: ReadonlyMap<string, string>): Map<string, string> {
  const title = groupTitles[group] ?? group;
  const kinds: [string, string, (line: Line) => Spread | null][] = [
    ['cpu', 'broker CPU µs each; shorter is better', ({ phase }) => phase.cpuMicroseconds],
    ['rate', 'per second; longer is better', ({ phase }) => phase.perSecond],
  ];
  if (lines.some(({ summary }) => summary.p99Ms !== null)) {
    kinds.splice(1, 1, [
      'p99',
      '99th percentile of the latency in ms; shorter is better',
      (line) => line.summary.p99Ms,
    ]);
  }
  const charts = new Map<string, string>();
  for (const [kind, caption, read] of kinds) {
    const rows = chartRows(lines, titles, read);
    if (rows.length > 0) charts.set(`${group}-${kind}.svg`, renderChart({ title, caption, rows }));
  }
  return charts;
}

function payloadBytesOf(file: ResultsFile): number {
  return file.records.find(({ result }) => result !== null)?.result?.options.payloadBytes ?? 0;
}

function describeMethod(file: ResultsFile): string {
  const pinning = file.isPinned ? 'the broker pinned to CPU 0, the generator to CPU 1' : 'nothing pinned';
  const commit = file.commit === '' ? 'no commit' : `commit \`${file.commit.slice(0, 12)}\``;
  const modified = file.isModified ? ' with changes' : '';
  const brokers = file.peers.map(({ title, version, durability }) => [title, version, durability]);
  return `Generated by \`npm run bench:report\`; change the numbers by measuring, the notes by hand.

## Method

Measured on ${file.date.slice(0, 10)}, ${commit}${modified}; ${file.cpu}, ${file.cores} cores, ${file.system}, Node
${file.node}; load average at the start ${formatNumber(file.loadAverage)}. Broker and generator are processes of their
own on one machine, ${pinning}. Each run starts a fresh broker; the brokers take turns run by run, ${file.runs} runs
each; a run counts the messages *delivered* in ${file.seconds} s after a warm-up. Every scenario is warmed up, all
brokers alike: where a fixed number is counted, smaller rounds of the same work, with other clients on other topics, go
on for the time of the warm-up and end all that they began. Memory is read before that, of a broker that has done
nothing else yet: what a warm-up frees is used again. Figures are medians with the least and the greatest run.
Broker CPU is the process's own, all threads and its share of the kernel's work, per delivered message.
Payloads are ${payloadBytesOf(file)} bytes. The window holds the publisher back: at QoS 0 until its subscriber
has received, at QoS 1 and 2 until the broker has acknowledged. Latency is open loop, from the time at which a message
should have been sent. Every message carries its publisher and a number: *checks* says what was lost, doubled or
reordered. † the generator was at its limit before the broker: the broker can do more per second, its CPU per message
holds.${describeDisturbance(file)}

${table(['broker', 'version', 'recorded before it acknowledges'], brokers)}
`;
}

/** What others on the machine did to the runs, where it is known. */
function describeDisturbance({ records }: ResultsFile): string {
  const shares = records.map(({ stolenShare }) => stolenShare ?? null).filter((share) => share !== null);
  if (shares.length === 0) return '';
  const disturbed = shares.filter((share) => share > stolenShareMax).length;
  return ` A run was done again, twice at most, if the hypervisor gave more than ${stolenShareMax * 100} % of what the
processors were to do to others; the quietest counts. Of ${shares.length} runs ${disturbed} stayed above that.`;
}

/** Notes that a person wrote between the markers of a group, kept when the page is written anew. */
function readNotes(markdown: string): Map<string, string> {
  return new Map(Array.from(markdown.matchAll(notePattern), ([, group, note]) => [group, note]));
}

function renderReadmeBlock(file: ResultsFile, summaries: readonly CaseSummary[]): string {
  const families = [...new Set(file.peers.map(({ name }) => familyOf(name)))];
  const titles = families.map((family) => file.peers.find(({ name }) => familyOf(name) === family)?.title ?? family);
  const short = titles.map((title) => title.split(',')[0]);
  const rows: string[][] = [];
  for (const group of readmeGroups) {
    const lines = linesOf(summaries, group);
    for (const label of new Set(lines.map((line) => line.label))) {
      const same = lines.filter((line) => line.label === label);
      const find = (family: string) => same.find(({ summary }) => familyOf(summary.peer) === family)?.phase;
      const first = find(families[0]);
      const rate = first === undefined ? '–' : formatNumber(first.perSecond.median);
      const cpu = families.map((family) => {
        const value = find(family)?.cpuMicroseconds;
        return value ? formatNumber(value.median) : '–';
      });
      rows.push([`${groupTitles[group] ?? group}: ${label}`, rate, ...cpu]);
    }
  }
  const head = ['', `${short[0]}, messages/s`, ...short.map((title) => `${title}, CPU µs`)];
  return `Broker CPU per delivered message and throughput of one core, ${payloadBytesOf(file)}-byte payloads, medians of
${file.runs} runs on ${file.cpu} (${file.date.slice(0, 10)}). Method, spread, latency, memory and charts:
[docs/benchmarks.md](docs/benchmarks.md); how cost grows with size is in [docs/scale.md](docs/scale.md).

${table(head, rows)}

Between durable sessions each broker runs as its most durable one measured; see there what that promises.`;
}

/** What is written by hand from other measurements, by the name of its note. */
const noteSections = {
  earlier: 'The run before, on another machine, and what changed since',
  threads: 'What leaves the main thread',
  profiles: 'What gained most',
  goals: 'Goals that were missed, and where the time goes',
};

/** The report of a results file. `previous` is the page as it stands: its notes are kept. */
export function renderReport(file: ResultsFile, previous = ''): Report {
  const summaries = summarize(file.records);
  const titles = new Map(file.peers.map(({ name, title }) => [name, title]));
  const notes = readNotes(previous);
  const charts = new Map<string, string>();
  const sections: string[] = [];
  for (const [group, title] of Object.entries(groupTitles)) {
    const lines = linesOf(summaries, group);
    if (lines.length === 0) continue;
    const names: string[] = [];
    for (const [name, svg] of chartsOf(group, lines, titles)) {
      charts.set(name, svg);
      names.push(`![${title}: ${name.replace('.svg', '')}](benchmarks/${name})`);
    }
    const note = `<!-- note:${group} -->\n${notes.get(group) ?? ''}<!-- /note -->`;
    sections.push(`## ${title}\n\n${groupTable(lines, titles)}\n\n${note}\n\n${names.join('\n')}\n`);
  }
  for (const [name, title] of Object.entries(noteSections)) {
    sections.push(`## ${title}\n\n<!-- note:${name} -->\n${notes.get(name) ?? ''}<!-- /note -->\n`);
  }
  const markdown = ['# Benchmarks', describeMethod(file), ...sections].join('\n\n').replaceAll(/\n{3,}/g, '\n\n');
  return { markdown, charts, readmeBlock: renderReadmeBlock(file, summaries) };
}

/** README.md with the block between the bench markers replaced; unchanged where it has none. */
export function replaceBlock(readme: string, block: string): string {
  return readme.replace(blockPattern, () => `<!-- bench:begin -->\n${block}\n<!-- bench:end -->`);
}

function newestResults(): string {
  const directory = 'bench/results';
  const names = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith('.json')) : [];
  const newest = names.toSorted().at(-1);
  if (newest === undefined) throw new Error('no results: measure first, with `npm run bench`');
  return join(directory, newest);
}

function main(): void {
  const path = process.argv[2] ?? newestResults();
  const file = JSON.parse(readFileSync(path, 'utf8')) as ResultsFile;
  const pagePath = 'docs/benchmarks.md';
  const report = renderReport(file, existsSync(pagePath) ? readFileSync(pagePath, 'utf8') : '');
  mkdirSync('docs/benchmarks', { recursive: true });
  writeFileSync(pagePath, report.markdown);
  for (const [name, svg] of report.charts) writeFileSync(join('docs/benchmarks', name), svg);
  if (existsSync('README.md')) {
    writeFileSync('README.md', replaceBlock(readFileSync('README.md', 'utf8'), report.readmeBlock));
  }
  process.stdout.write(`${pagePath} and ${report.charts.size} charts written from ${path}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
