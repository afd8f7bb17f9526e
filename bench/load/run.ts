// Measures brokers side by side: `node dist/bench/load/run.js --help`.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, type } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { canPin, startBroker } from './brokers.js';
import { type BenchCase, casesOf, concerns, defaultCases } from './cases.js';
import { readCommits } from './commits.js';
import { generate } from './generate.js';
import type { Phase } from './options.js';
import { type Peer, peers, repositoryRoot } from './peers.js';
import { runQuietly, stolenShareMax } from './stolen-time.js';
import {
  type CaseSummary,
  cpuMicrosecondsOf,
  describeFindings,
  formatNumber,
  isGeneratorBound,
  type ResultsFile,
  type RunRecord,
  summarize,
} from './summary.js';

interface FoundPeer {
  readonly peer: Peer;
  readonly program: string;
}

const usage = `node dist/bench/load/run.js [options]
  --scenarios LIST  names or their beginnings: pairs, fanout-100, latency-q1 (default: all)
  --protocols LIST  4 (MQTT 3.1.1), 5; with it every chosen scenario runs at these (default: 4; pairs and fanout also 5)
  --peers LIST      ${peers.map(({ name }) => name).join(', ')} (default: all that are found)
  --runs N          runs of each scenario on each peer, interleaved (default 5)
  --seconds S       timed phase (default 3)      --warmup S   before it (default 1)
  --payload BYTES   (default 64)                 --out FILE   (default bench/results/DATE.json)
`;

const errorCharactersMax = 300;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      scenarios: { type: 'string' },
      protocols: { type: 'string' },
      peers: { type: 'string' },
      runs: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      warmup: { type: 'string', default: '1' },
      payload: { type: 'string', default: '64' },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  return values;
}

type Arguments = ReturnType<typeof readArguments>;

function split(list: string | undefined): string[] | null {
  return list === undefined ? null : list.split(',').filter((name) => name !== '');
}

function chooseCases(given: Arguments): BenchCase[] {
  const protocols = split(given.protocols);
  const all = protocols?.flatMap((protocol) => casesOf(protocol === '5' ? 5 : 4)) ?? defaultCases();
  const wanted = split(given.scenarios);
  const unknown = wanted?.find((name) => !all.some((candidate) => candidate.name.startsWith(name)));
  if (unknown !== undefined) throw new Error(`no scenario starts with ${unknown}: ${all.map(({ name }) => name)}`);
  return all.filter(({ name }) => wanted === null || wanted.some((start) => name.startsWith(start)));
}

function choosePeers(given: Arguments): FoundPeer[] {
  const wanted = split(given.peers);
  const unknown = wanted?.find((name) => !peers.some((peer) => peer.name === name));
  if (unknown !== undefined) throw new Error(`unknown peer ${unknown}: ${peers.map(({ name }) => name)}`);
  const found: FoundPeer[] = [];
  for (const peer of peers) {
    if (wanted !== null && !wanted.includes(peer.name)) continue;
    const program = peer.find();
    if (program !== null) found.push({ peer, program });
    else print(`${peer.title} is not on this machine: skipped`);
  }
  return found;
}

async function runOnce({ peer, program }: FoundPeer, benchCase: BenchCase, run: number, given: Arguments) {
  const record = { caseName: benchCase.name, group: benchCase.group, title: benchCase.title, peer: peer.name, run };
  try {
    const broker = await startBroker(peer, program, benchCase.syncMs);
    try {
      const timing = { seconds: Number(given.seconds), warmupSeconds: Number(given.warmup) };
      const place = { port: broker.port, brokerPid: broker.pid, payloadBytes: Number(given.payload) };
      const result = await generate({ ...timing, ...place, ...benchCase.options });
      const commit = broker.metricsPort === null ? null : await readCommits(broker.metricsPort);
      return { ...record, result, error: null, commit };
    } finally {
      await broker.stop();
    }
  } catch (error) {
    return { ...record, result: null, error: error instanceof Error ? error.message : String(error) };
  }
}

function describePhase(phase: Phase): string {
  const cpu = cpuMicrosecondsOf(phase);
  const broker = cpu === null ? '' : ` ${formatNumber(cpu)} µs`;
  const shares = `broker ${percent((phase.brokerCpuSeconds ?? 0) / phase.seconds)} generator ${percent(
    phase.generatorCpuSeconds / phase.seconds,
  )}`;
  const bound = isGeneratorBound(phase) ? ' GENERATOR BOUND' : '';
  return `${phase.name} ${formatNumber(phase.count / phase.seconds)}/s${broker} (${shares})${bound}`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function describeRecord({ caseName, peer, run, result, error, commit, stolenShare }: RunRecord): string {
  const head = `${caseName.padEnd(20)} ${peer.padEnd(21)} ${run}  `;
  if (result === null) return `${head}FAILED: ${error?.replaceAll(/\s+/g, ' ').slice(0, errorCharactersMax)}`;
  const parts = result.phases.map(describePhase);
  if (result.rssBytesEach !== null) parts.push(`${formatNumber(result.rssBytesEach)} B each`);
  if (result.latency !== null) {
    const { p50Ms, p99Ms, sendLatenessP99Ms } = result.latency;
    parts.push(
      `p50 ${formatNumber(p50Ms)} p99 ${formatNumber(p99Ms)} ms, sent ${formatNumber(sendLatenessP99Ms)} late`,
    );
  }
  if (commit) parts.push(`commit p50 ${formatNumber(commit.p50Ms)} p99 ${formatNumber(commit.p99Ms)} ms`);
  if ((stolenShare ?? 0) > stolenShareMax) parts.push(`others had ${percent(stolenShare ?? 0)} of the processors`);
  const findings = describeFindings([result]);
  return head + parts.join('; ') + (findings === '' ? '' : `  UNSOUND: ${findings}`);
}

function describeSummary(summary: CaseSummary): string {
  const parts = summary.phases.map(({ name, perSecond, cpuMicroseconds }) => {
    const range = `${formatNumber(perSecond.min)}–${formatNumber(perSecond.max)}`;
    const cpu = cpuMicroseconds;
    const micros = cpu && ` ${formatNumber(cpu.median)} µs (${formatNumber(cpu.min)}–${formatNumber(cpu.max)})`;
    return `${name} ${formatNumber(perSecond.median)}/s (${range})${micros ?? ''}`;
  });
  if (summary.p50Ms !== null) parts.push(`p50 ${formatNumber(summary.p50Ms.median)} ms`);
  if (summary.p99Ms !== null) parts.push(`p99 ${formatNumber(summary.p99Ms.median)} ms`);
  if (summary.commitP50Ms !== null) parts.push(`commit p50 ${formatNumber(summary.commitP50Ms.median)} ms`);
  if (summary.commitP99Ms !== null) parts.push(`p99 ${formatNumber(summary.commitP99Ms.median)} ms`);
  if (summary.rssBytesEach !== null) parts.push(`${formatNumber(summary.rssBytesEach.median)} B each`);
  if (summary.findings !== '') parts.push(`UNSOUND: ${summary.findings}`);
  if (summary.failures.length > 0) parts.push(`${summary.failures.length} runs failed`);
  return `${summary.caseName.padEnd(20)} ${summary.peer.padEnd(21)} ${parts.join('; ')}`;
}

function git(...args: string[]): string {
  try {
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    return execFileSync('git', args, { cwd: repositoryRoot, encoding: 'utf8', stdio }).trim();
  } catch {
    // An installed package has no repository, and a new repository no commit.
    return '';
  }
}

function describeMachine(found: readonly FoundPeer[], given: Arguments): Omit<ResultsFile, 'records'> {
  return {
    commit: git('rev-parse', 'HEAD'),
    isModified: git('status', '--porcelain', '--untracked-files=no') !== '',
    date: new Date().toISOString(),
    node: process.version,
    system: `${type()} ${release()}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    isPinned: canPin,
    loadAverage: loadavg()[0],
    runs: Number(given.runs),
    seconds: Number(given.seconds),
    peers: found.map(({ peer, program }) => {
      const { name, title, durability } = peer;
      return { name, title, durability, version: peer.version(program) };
    }),
  };
}

async function main(): Promise<void> {
  const given = readArguments();
  if (given.help) return print(usage);
  const cases = chooseCases(given);
  const found = choosePeers(given);
  const machine = describeMachine(found, given);
  const records: RunRecord[] = [];
  const out = given.out ?? join('bench/results', `${machine.date.slice(0, 16).replace(':', '')}.json`);
  mkdirSync(dirname(out), { recursive: true });
  for (const benchCase of cases) {
    const comparable = found.filter(({ peer }) => concerns(benchCase, peer));
    for (let run = 1; run <= machine.runs; run++) {
      for (const candidate of comparable) {
        const { result, stolenShare } = await runQuietly(() => runOnce(candidate, benchCase, run, given));
        const record = { ...result, stolenShare };
        records.push(record);
        print(describeRecord(record));
      }
    }
    // After each case, so that a run that is broken off has left something.
    writeFileSync(out, `${JSON.stringify({ ...machine, records }, null, 1)}\n`);
  }
  print(`\nmedians (least–greatest) of ${machine.runs} runs`);
  for (const summary of summarize(records)) print(describeSummary(summary));
  print(`\nwritten: ${out}`);
  if (records.some(({ error }) => error !== null)) process.exitCode = 1;
}

// Whoever reads has seen enough: what was measured so far is written, and the broker ends with this process.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 141 : 1));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
});
