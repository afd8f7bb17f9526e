import t from 'tap';
import { completeOptions } from '../../../bench/load/options.js';
import { summarize } from '../../../bench/load/summary.js';
import { describeTls, replaceTlsBlock } from '../../../bench/tls/table.js';

const facts = { date: '2026-01-02', place: 'a machine', loadAverage: 1.5, runs: 2, payloadBytes: 64 };

function record(peer: string, run: number, brokerCpuSeconds: number) {
  const usage = { brokerCpuSeconds, generatorCpuSeconds: 1, brokerRssBytes: 0 };
  const phase = { name: 'route', unit: 'message', count: 1000, seconds: 2, ...usage } as const;
  const findings = { lost: 0, doubled: 0, reordered: 0, misrouted: 0, refused: 0, isStalled: false };
  const result = { options: completeOptions({}), phases: [phase], ...findings, rssBytesEach: null, latency: null };
  return { caseName: 'pairs', group: 'tls', title: 'a message', peer, run, result, error: null };
}

t.test('the table of TLS has a row for each case and two columns for each broker', async (t) => {
  const records = [record('Ours', 1, 0.001), record('Theirs', 1, 0.003), record('Ours', 2, 0.003)];
  const text = describeTls(summarize(records), facts);
  t.match(text, '|  | Ours, CPU µs | per second of CPU | Theirs, CPU µs | per second of CPU |');
  t.match(text, '| a message | 2 (1–3) | 500 000 | 3 (3–3) | 333 333 |');
  t.match(text, /Medians of 2 runs.*\n2026-01-02, a machine, load average 1\.5\./);
});

t.test('the table of TLS replaces what was between its markers', async (t) => {
  const page = 'a\n<!-- bench:tls:begin -->\nold\n<!-- bench:tls:end -->\nb';
  t.equal(replaceTlsBlock(page, '$& new'), 'a\n<!-- bench:tls:begin -->\n$& new\n<!-- bench:tls:end -->\nb');
  t.equal(replaceTlsBlock('no markers', 'new'), 'no markers');
});
