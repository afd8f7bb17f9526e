import t from 'tap';
import { quantileOfBuckets } from '../../../bench/load/commits.js';
import { completeOptions, type LoadResult } from '../../../bench/load/options.js';
import { parseCpuTime } from '../../../bench/load/process-usage.js';
import { formatNumber, type ResultsFile, type RunRecord, spreadOf, summarize } from '../../../bench/load/summary.js';
import { renderReport, replaceBlock } from '../../../bench/report.js';

function resultOf(perSecond: number, cpuMicroseconds: number, changes: Partial<LoadResult> = {}): LoadResult {
  const count = perSecond * 2;
  const brokerCpuSeconds = (count * cpuMicroseconds) / 1e6;
  const phase = { name: 'route', unit: 'message', count, seconds: 2, brokerCpuSeconds } as const;
  return {
    options: completeOptions({}),
    phases: [{ ...phase, generatorCpuSeconds: 0.5, brokerRssBytes: 1 }],
    lost: 0,
    doubled: 0,
    reordered: 0,
    misrouted: 0,
    refused: 0,
    isStalled: false,
    rssBytesEach: null,
    latency: null,
    ...changes,
  };
}

function record(peer: string, run: number, result: LoadResult | null, error: string | null = null): RunRecord {
  return { caseName: 'pairs-q0', group: 'pairs', title: 'QoS 0', peer, run, result, error };
}

const file: ResultsFile = {
  commit: '0123456789abcdef',
  isModified: false,
  date: '2026-01-02T03:04:05.000Z',
  node: 'v20.0.0',
  system: 'Linux 6',
  cpu: 'A <CPU>',
  cores: 2,
  isPinned: true,
  loadAverage: 0.1,
  runs: 3,
  seconds: 2,
  peers: [
    { name: 'countersign', title: 'Countersign', version: '0.1.0', durability: 'nothing' },
    { name: 'mosquitto', title: 'Mosquitto', version: '2.0.11', durability: 'nothing' },
  ],
  records: [
    record('countersign', 1, resultOf(1_000_000, 0.5)),
    record('mosquitto', 1, resultOf(100_000, 7)),
    record('countersign', 2, resultOf(1_200_000, 0.4)),
    record('mosquitto', 2, resultOf(90_000, 8, { lost: 3, isStalled: true })),
    record('countersign', 3, resultOf(800_000, 0.6)),
    record('mosquitto', 3, null, 'it fell over'),
  ],
};

t.test('the report says how many runs were disturbed, where that is known', async (t) => {
  const told = file.records.map((each, at) => ({ ...each, stolenShare: at === 1 ? 0.3 : 0.01 }));
  const page = (records: readonly RunRecord[]): string => renderReport({ ...file, records }, '').markdown;
  t.match(page(told), 'Of 6 runs 1 stayed above that.');
  t.notMatch(page(file.records), 'stayed above that');
});

t.test('a summary has medians, spread, findings and failures of each broker', async (t) => {
  const [ours, mosquitto] = summarize(file.records);
  t.match(ours, { peer: 'countersign', runs: 3, findings: '', failures: [] });
  t.same(ours.phases[0].perSecond, { median: 1_000_000, min: 800_000, max: 1_200_000 });
  t.equal(ours.phases[0].cpuMicroseconds?.median, 0.5);
  t.match(mosquitto, { runs: 2, findings: '3 lost, stalled in 1 of 2 runs', failures: ['it fell over'] });
});

t.test('a generator at its limit is said to be so, unless the broker is too', async (t) => {
  const [phase] = resultOf(100_000, 1).phases;
  const busy = { ...phase, generatorCpuSeconds: 1.95 };
  const isBound = (changes: Partial<typeof phase>) => {
    const result = resultOf(1, 1, { phases: [{ ...busy, ...changes }] });
    return summarize([record('countersign', 1, result)])[0].phases[0].isGeneratorBound;
  };
  t.equal(isBound({}), true);
  t.equal(isBound({ brokerCpuSeconds: 1.9 }), false);
  t.equal(isBound({ generatorCpuSeconds: 1 }), false);
  t.equal(isBound({ name: 'open loop' }), false, 'an open loop spins on purpose');
});

t.test('the report has the figures, their ratios, the checks and charts', async (t) => {
  const { markdown, charts, readmeBlock } = renderReport(file);
  t.match(markdown, '| QoS 0 | Countersign | 1 000 000 (800 000–1 200 000) | 1 × | 0.5 (0.4–0.6) | 1 × | sound |');
  t.match(markdown, /Mosquitto \| 95 000 .* 15 × \| 3 lost, stalled in 1 of 2 runs, 1 runs failed/);
  t.match(markdown, 'commit `0123456789ab`');
  t.same([...charts.keys()], ['pairs-cpu.svg', 'pairs-rate.svg']);
  for (const svg of charts.values()) {
    t.match(svg, /^<svg [^>]*>\n<title>/);
    t.match(svg, 'prefers-color-scheme: dark');
    t.match(svg, '>Mosquitto</text>');
  }
  t.match(readmeBlock, '| 10 publishers to 10 subscribers, window 100: QoS 0 | 1 000 000 | 0.5 | 7.5 |');
});

t.test('notes that a person wrote stay when the page is written anew', async (t) => {
  const previous = renderReport(file).markdown.replace('<!-- note:pairs -->\n', '<!-- note:pairs -->\nBound by $1.\n');
  t.match(renderReport(file, previous).markdown, '<!-- note:pairs -->\nBound by $1.\n<!-- /note -->');
  const profiles = '<!-- note:profiles -->\n| before | after |\n';
  const profiled = renderReport(file).markdown.replace('<!-- note:profiles -->\n', profiles);
  t.match(renderReport(file, profiled).markdown, `## What gained most\n\n${profiles}<!-- /note -->`);
});

t.test('only the block between the markers of the README is replaced', async (t) => {
  const readme = 'a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n';
  t.equal(replaceBlock(readme, 'new $& 1'), 'a\n<!-- bench:begin -->\nnew $& 1\n<!-- bench:end -->\nb\n');
  t.equal(replaceBlock('no block', 'new'), 'no block');
});

t.test('numbers are short, medians of even counts lie between, ps times are read', async (t) => {
  t.same([1_234_567, 1234, 99.96, 0.123_45, 0].map(formatNumber), ['1 234 567', '1 234', '100', '0.123', '0']);
  t.same(spreadOf([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4 });
  t.equal(spreadOf([]), null);
  t.same(['0:01.50', '01:02:03', '2-00:00:01'].map(parseCpuTime), [1.5, 3723, 172_801]);
});

t.test('options that make no sense are refused by name', async (t) => {
  t.equal(completeOptions({ qos: 2 }).window, 100);
  t.throws(() => completeOptions({ publishers: 0 }), { message: /publishers/ });
  t.throws(() => completeOptions({ payloadBytes: 4 }), { message: /payloadBytes/ });
  t.throws(() => completeOptions({ seconds: 0 }), { message: /seconds/ });
  t.throws(() => completeOptions({ window: 70_000 }), { message: /window/ });
});

t.test('quantiles of a histogram lie within the bucket they fall into', async (t) => {
  const buckets = [
    [1, 10],
    [2, 30],
    [5, 40],
    [Number.POSITIVE_INFINITY, 40],
  ] as const;
  t.equal(quantileOfBuckets(buckets, 0.25), 1);
  t.equal(quantileOfBuckets(buckets, 0.5), 1.5);
  t.equal(quantileOfBuckets(buckets, 1), 5);
  t.equal(
    quantileOfBuckets(
      [
        [1, 0],
        [Number.POSITIVE_INFINITY, 4],
      ],
      0.5,
    ),
    1,
    'above the last bound nothing is known',
  );
  t.equal(quantileOfBuckets([], 0.5), 0);
});

t.test('the time of commits has columns where it was measured', async (t) => {
  const commit = { p50Ms: 1.5, p99Ms: 6 };
  const records = file.records.slice(0, 2).map((record, at) => (at === 0 ? { ...record, commit } : record));
  t.match(renderReport({ ...file, records }).markdown, '| 1.5 (1.5–1.5) | 6 (6–6) |');
  t.notMatch(renderReport(file).markdown, 'commit p50');
});
