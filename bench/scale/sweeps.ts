import type { LoadOptions, LoadResult } from '../load/options.js';
import { cpuMicrosecondsOf } from '../load/summary.js';
import { deepTopic, type MatchResult, measureMatch } from './match.js';

/** A curve's points come from one measurement for each size; it may give several curves. */
export type Measured = Readonly<Record<string, number>>;

/** One kind of load at growing sizes. */
export interface Sweep {
  readonly name: string;
  readonly title: string;
  readonly caption: string;
  readonly sizes: readonly number[];
}

/** Measured with a broker and the generator. */
export interface LoadSweep extends Sweep {
  options(size: number): Partial<LoadOptions>;
  read(result: LoadResult): Measured;
}

/** Measured in this process. */
export interface MatchSweep extends Sweep {
  measure(size: number): Measured;
}

const decadesTo = (largest: number, first = 1): number[] => {
  const sizes: number[] = [];
  for (let size = first; size <= largest; size *= 10) sizes.push(size);
  return sizes;
};

/** Of fewer, what a process grows by anyway is the most. */
const processWeighedMin = 10_000;

/** CPU of each phase by its name, and memory where the scenario has it. */
function costs({ options, phases, rssBytesEach }: LoadResult): Measured {
  const measured: Record<string, number> = {};
  for (const phase of phases) {
    const cpu = cpuMicrosecondsOf(phase);
    if (cpu !== null) measured[`${phase.name}, µs`] = cpu;
  }
  if (rssBytesEach !== null && options.count >= processWeighedMin) measured['memory, bytes each'] = rssBytesEach;
  return measured;
}

/** Connections that share a count which must not be less than they are. */
const sharing = (size: number, each: number): number => Math.max(1, Math.min(100, Math.ceil(size / each)));

export const loadSweeps: readonly LoadSweep[] = [
  {
    name: 'connections',
    title: 'Pairs of a publisher and a subscriber, QoS 0',
    caption: 'broker CPU µs per message against pairs',
    sizes: [10, 100, 1000, 5000],
    options: (size) => ({ scenario: 'pairs', publishers: size, window: size > 100 ? 10 : 100 }),
    read: costs,
  },
  {
    name: 'subscriptions',
    title: 'Distinct subscriptions, each topic in turn',
    caption: 'broker CPU µs to subscribe and per message, memory, against subscriptions',
    sizes: decadesTo(1_000_000, 100),
    options: (size) => ({ scenario: 'subscriptions', publishers: sharing(size, 10_000), count: size }),
    read: costs,
  },
  {
    name: 'payload',
    title: '10 pairs, QoS 0, by payload',
    caption: 'broker CPU µs per message against bytes of payload',
    sizes: [16, 128, 1024, 8192, 65_536, 1_048_576],
    options: (size) => ({ scenario: 'pairs', payloadBytes: size, window: size > 10_000 ? 4 : 100 }),
    read: costs,
  },
  {
    name: 'retained',
    title: 'Retained messages: store, and replay to a subscriber of all',
    caption: 'broker CPU µs per message against retained messages',
    sizes: decadesTo(1_000_000, 1000),
    options: (size) => ({ scenario: 'retained', qos: 1, count: size }),
    read: costs,
  },
  {
    name: 'queued',
    title: 'Messages queued for ten absent sessions, and taken by them',
    caption: 'broker CPU µs per message against queued messages',
    sizes: decadesTo(1_000_000, 1000),
    options: (size) => ({ scenario: 'offline', qos: 1, count: size }),
    read: costs,
  },
  {
    name: 'tracked',
    title: '10 pairs at QoS 1 with receipts, by the time the records pile up',
    caption: 'broker CPU µs per message against seconds of load',
    sizes: [1, 2, 4, 8],
    options: (size) => ({ scenario: 'pairs', protocol: 5, qos: 1, tracked: true, seconds: size }),
    read: costs,
  },
];

/** Fewer filters than this weigh less than what else the heap does meanwhile. */
const weighedMin = 1000;

function measured(name: string, size: number, { nanoseconds, bytesEach }: MatchResult): Measured {
  const time = { [`${name}, ns`]: nanoseconds };
  return size < weighedMin ? time : { ...time, [`${name}, bytes each`]: bytesEach };
}

export const matchSweeps: readonly MatchSweep[] = [
  {
    name: 'match',
    title: 'Matching one topic name against many filters',
    caption: 'ns per match and heap bytes per filter against filters',
    sizes: decadesTo(1_000_000),
    measure: (size) => ({
      ...measured(
        'exact',
        size,
        measureMatch(
          size,
          (at) => `site/${at % 100}/${at}/t`,
          (at) => `site/${at % 100}/${at}/t`,
        ),
      ),
      ...measured(
        '+',
        size,
        measureMatch(
          size,
          (at) => `site/+/${at}/t`,
          (at) => `site/${at % 100}/${at}/t`,
        ),
      ),
      ...measured(
        '#',
        size,
        measureMatch(
          size,
          (at) => `site/${at % 100}/${at}/#`,
          (at) => `site/${at % 100}/${at}/t/u`,
        ),
      ),
    }),
  },
  {
    name: 'depth',
    title: 'Levels of the topic name, 1 000 filters',
    caption: 'ns per match against levels',
    sizes: [1, 2, 4, 8, 16, 32, 64, 128],
    measure: (size) => ({
      'exact, ns': measureMatch(
        1000,
        (at) => deepTopic(size, at),
        (at) => deepTopic(size, at),
      ).nanoseconds,
      '#, ns': measureMatch(
        1000,
        (at) => `${deepTopic(size, at)}/#`,
        (at) => deepTopic(size, at),
      ).nanoseconds,
    }),
  },
  {
    name: 'wildcards',
    title: 'Filters that match the same topic name',
    caption: 'ns per match against matching filters',
    sizes: [1, 2, 4, 8, 16, 32, 64],
    measure: (size) => {
      const levels = Array.from({ length: 6 }, (_, at) => `l${at}`);
      // Each filter has another set of its levels replaced by +.
      const filter = (at: number) => levels.map((name, level) => ((at >> level) & 1 ? '+' : name)).join('/');
      return { 'match, ns': measureMatch(size, filter, () => levels.join('/')).nanoseconds };
    },
  },
];
