import type { Findings, LoadResult, Phase } from './options.js';

/** Milliseconds from the end of a turn to its commit. */
export interface CommitFigures {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** One run of one case on one peer: its result or why there is none. */
export interface RunRecord {
  readonly caseName: string;
  readonly group: string;
  readonly title: string;
  readonly peer: string;
  readonly run: number;
  readonly result: LoadResult | null;
  readonly error: string | null;
  /** Absent or null where the broker does not tell. */
  readonly commit?: CommitFigures | null;
  /** What others had of the processors' time meanwhile; absent or null where nobody tells. */
  readonly stolenShare?: number | null;
}

/** A results file. */
export interface ResultsFile {
  readonly commit: string;
  /** Whether files differed from that commit. */
  readonly isModified: boolean;
  readonly date: string;
  readonly node: string;
  readonly system: string;
  readonly cpu: string;
  readonly cores: number;
  readonly isPinned: boolean;
  /** Of the last minute before the start: well above 0, others were at work and the rates are too low. */
  readonly loadAverage: number;
  readonly runs: number;
  readonly seconds: number;
  readonly peers: readonly {
    readonly name: string;
    readonly title: string;
    readonly version: string;
    readonly durability: string;
  }[];
  readonly records: readonly RunRecord[];
}

/** Middle of several values and their spread. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** A phase of a case on one peer over all runs. */
export interface PhaseSummary {
  readonly name: string;
  readonly unit: Phase['unit'];
  readonly perSecond: Spread;
  /** Broker CPU per unit. */
  readonly cpuMicroseconds: Spread | null;
  /** In at least half of the runs the generator, not the broker, was at its limit. */
  readonly isGeneratorBound: boolean;
}

/** A case on one peer over all runs. */
export interface CaseSummary {
  readonly caseName: string;
  readonly group: string;
  readonly title: string;
  readonly peer: string;
  readonly runs: number;
  readonly failures: readonly string[];
  readonly phases: readonly PhaseSummary[];
  readonly rssBytesEach: Spread | null;
  readonly p50Ms: Spread | null;
  readonly p99Ms: Spread | null;
  readonly commitP50Ms: Spread | null;
  readonly commitP99Ms: Spread | null;
  /** What the checks found in all runs together, in words; empty when all was sound. */
  readonly findings: string;
}

const generatorShareMax = 0.9;
const brokerShareMin = 0.75;

/** Median, least and greatest; null of no values. */
export function spreadOf(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1] };
}

/** Broker CPU in µs per unit; null where it was not measured or nothing was done. */
export function cpuMicrosecondsOf({ brokerCpuSeconds, count }: Phase): number | null {
  return brokerCpuSeconds === null || count === 0 ? null : (brokerCpuSeconds / count) * 1e6;
}

/** Whether the generator used its whole core while the broker had time left. An open loop spins on purpose. */
export function isGeneratorBound(phase: Phase): boolean {
  if (phase.name === 'open loop') return false;
  const brokerShare = (phase.brokerCpuSeconds ?? 0) / phase.seconds;
  return phase.generatorCpuSeconds / phase.seconds > generatorShareMax && brokerShare < brokerShareMin;
}

/** What the checks found, in words; empty when all was sound. */
export function describeFindings(results: readonly Findings[]): string {
  const parts: string[] = [];
  for (const kind of ['lost', 'doubled', 'reordered', 'misrouted', 'refused'] as const) {
    const total = results.reduce((sum, result) => sum + result[kind], 0);
    if (total > 0) parts.push(`${total} ${kind}`);
  }
  const stalls = results.filter(({ isStalled }) => isStalled).length;
  if (stalls > 0) parts.push(`stalled in ${stalls} of ${results.length} runs`);
  return parts.join(', ');
}

function isNumber(value: number | null | undefined): value is number {
  return value !== null && value !== undefined;
}

function summarizePhase(phases: readonly Phase[]): PhaseSummary {
  const { name, unit } = phases[0];
  const perSecond = spreadOf(phases.map(({ count, seconds }) => count / seconds)) ?? { median: 0, min: 0, max: 0 };
  const cpuMicroseconds = spreadOf(phases.map(cpuMicrosecondsOf).filter(isNumber));
  const boundCount = phases.filter(isGeneratorBound).length;
  return { name, unit, perSecond, cpuMicroseconds, isGeneratorBound: boundCount * 2 >= phases.length };
}

function summarizeCase(records: readonly RunRecord[]): CaseSummary {
  const { caseName, group, title, peer } = records[0];
  const results = records.map(({ result }) => result).filter((result): result is LoadResult => result !== null);
  const phases = (results[0]?.phases ?? []).map((_, index) =>
    summarizePhase(results.map(({ phases }) => phases[index])),
  );
  return {
    caseName,
    group,
    title,
    peer,
    runs: results.length,
    failures: records.map(({ error }) => error).filter((error): error is string => error !== null),
    phases,
    rssBytesEach: spreadOf(results.map(({ rssBytesEach }) => rssBytesEach).filter(isNumber)),
    p50Ms: spreadOf(results.map(({ latency }) => latency?.p50Ms).filter(isNumber)),
    p99Ms: spreadOf(results.map(({ latency }) => latency?.p99Ms).filter(isNumber)),
    commitP50Ms: spreadOf(records.map(({ commit }) => commit?.p50Ms).filter(isNumber)),
    commitP99Ms: spreadOf(records.map(({ commit }) => commit?.p99Ms).filter(isNumber)),
    findings: describeFindings(results),
  };
}

/** Medians and spread of each case and peer, in the order of the records. */
export function summarize(records: readonly RunRecord[]): CaseSummary[] {
  const groups = new Map<string, RunRecord[]>();
  for (const record of records) {
    const key = `${record.caseName} ${record.peer}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [record]);
    else group.push(record);
  }
  return Array.from(groups.values(), summarizeCase);
}

/** 1 234 567; three significant digits below 100. */
export function formatNumber(value: number): string {
  if (value < 100) return String(Number(value.toPrecision(3)));
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ' ');
}
