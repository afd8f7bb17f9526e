import t from 'tap';
import type { Sample } from '../../../bench/soak/broker.js';
import { judge } from '../../../bench/soak/judge.js';

const megabyte = 1024 * 1024;

function samples(change: (at: number) => Partial<Sample>): Sample[] {
  return Array.from({ length: 40 }, (_, at) => ({
    seconds: at,
    counts: { sessions: 100 + (at % 3) },
    bytes: { rss: 100 * megabyte, heap: 20 * megabyte, buffers: megabyte, file: 10 * megabyte },
    delayP99Ms: 12,
    messages: at * 1000,
    ...change(at),
  }));
}

function growing(list: readonly Sample[], isStructural = false): string[] {
  return judge(list, isStructural)
    .filter(({ isGrowing }) => isGrowing)
    .map(({ name }) => name);
}

t.test('a level run is level', async (t) => {
  t.strictSame(growing(samples(() => ({}))), []);
  t.strictSame(growing(samples((at) => ({ counts: { sessions: at < 10 ? at * 10 : 100 } }))), [], 'after a warm-up');
});

t.test('what grows is named', async (t) => {
  t.strictSame(growing(samples((at) => ({ counts: { sessions: 100 + 5 * at } }))), ['sessions']);
  const bytes = (at: number) => ({ rss: (100 + 4 * at) * megabyte, heap: 0, buffers: 0, file: (10 + at) * megabyte });
  t.strictSame(growing(samples((at) => ({ bytes: bytes(at) }))), ['bytes of the data file', 'bytes resident']);
  t.strictSame(
    growing(
      samples((at) => ({ bytes: bytes(at) })),
      true,
    ),
    ['bytes of the data file'],
    'structural only',
  );
});

t.test('a run that is too short is no evidence', async (t) => {
  t.throws(() => judge(samples(() => ({})).slice(0, 7), false), /run for longer/);
});
