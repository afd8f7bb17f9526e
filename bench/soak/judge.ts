import type { Sample } from './broker.js';

/** One thing that was watched, early and late. */
export interface Finding {
  readonly name: string;
  readonly early: number;
  readonly late: number;
  readonly isGrowing: boolean;
}

/** Counts may differ by what the load happens to leave at rest; memory and delay also by chance. */
const tolerances = {
  count: { share: 0.1, least: 32 },
  rss: { share: 0.25, least: 24 * 1024 * 1024 },
  heap: { share: 0.25, least: 8 * 1024 * 1024 },
  buffers: { share: 0.25, least: 16 * 1024 * 1024 },
  file: { share: 0.25, least: 4 * 1024 * 1024 },
  delay: { share: 1, least: 20 },
} as const;

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/**
 * Compares the last quarter of the samples with the second one (in the first, a broker warms up): the medians.
 * @param isStructural leaves out what depends on the machine: memory and delays
 * @throws Error with fewer than eight samples
 */
export function judge(samples: readonly Sample[], isStructural: boolean): Finding[] {
  if (samples.length < 8) throw new Error(`${samples.length} samples say nothing: run for longer`);
  const quarter = Math.floor(samples.length / 4);
  const early = samples.slice(quarter, 2 * quarter);
  const late = samples.slice(-quarter);
  const compare = (name: string, kind: keyof typeof tolerances, read: (sample: Sample) => number): Finding => {
    const from = medianOf(early.map(read));
    const to = medianOf(late.map(read));
    const { share, least } = tolerances[kind];
    return { name, early: from, late: to, isGrowing: to > from + Math.max(from * share, least) };
  };
  const names = Object.keys(samples[0]?.counts ?? {});
  const findings = names.map((name) => compare(name, 'count', ({ counts }) => counts[name] ?? 0));
  findings.push(compare('bytes of the data file', 'file', ({ bytes }) => bytes.file));
  if (isStructural) return findings;
  return [
    ...findings,
    compare('bytes resident', 'rss', ({ bytes }) => bytes.rss),
    compare('bytes of the heap', 'heap', ({ bytes }) => bytes.heap),
    compare('bytes of buffers', 'buffers', ({ bytes }) => bytes.buffers),
    compare('event-loop delay p99, ms', 'delay', ({ delayP99Ms }) => delayP99Ms),
  ];
}
