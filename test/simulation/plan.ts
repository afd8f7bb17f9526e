import { type Sizes, usualSizes } from '../../lib/broker/sizes.js';
import type { BrokerOptions } from '../../lib/config/schema.js';
import { Random } from '../crash/random.js';
import type { Role } from './role.js';

/** What may happen in a world, and how often beside each other. */
const weights = {
  ...{
    publish: 30,
    burst: 3,
    backlog: 0.5,
    subscribe: 6,
    unsubscribe: 3,
    connect: 9,
    takeOver: 4,
    cut: 4,
    disconnect: 3,
  },
  ...{ stall: 2, goOn: 3, stopReading: 0.7, readOn: 2, process: 8, violate: 0.7, pass: 3 },
  ...{ crash: 1.5, loseDisk: 0.3, healDisk: 2, probe: 2, audit: 1 },
} as const;
export type ActionName = keyof typeof weights;

/** One thing that happens. All that it decides follows from its own salt: without the others it is the same. */
export interface Action {
  /** Time since the action before, ms. */
  readonly gapMs: number;
  readonly what: ActionName;
  /** Which client; taken modulo their number. */
  readonly who: number;
  readonly salt: number;
}

/** A world and what happens in it: all there is to know of a run. */
export interface Plan {
  readonly seed: number;
  readonly durability: 'flushed' | 'committed';
  readonly options: BrokerOptions;
  readonly sizes: Sizes;
  /** Part of the messages of version 5 that ask for receipts. */
  readonly tracked: number;
  readonly roles: readonly Role[];
  readonly actions: readonly Action[];
}

const saltMax = 2 ** 32;
/** Room for a message without requests, and for no receipt. */
const smallPacketBytes = 64;

function newRole(random: Random, at: number): Role {
  const version = random.pick([5, 5, 5, 4] as const);
  const is5 = version === 5;
  const maximumPacketSize = is5 ? random.pick([0, 0, 0, 0, 0, smallPacketBytes]) : 0;
  return {
    clientId: `c${at}`,
    version,
    receiveMaximum: is5 ? random.pick([1, 2, 3, 65_535, 65_535]) : 65_535,
    topicAliasMaximum: is5 ? random.pick([0, 0, 2]) : 0,
    maximumPacketSize,
    answerMs: random.pick([0, 5, 50]),
    refusesOneIn: random.pick([0, 0, 4]),
    // A receipt is larger than such a packet.
    followsReceipts: is5 && maximumPacketSize === 0 && random.chance(0.6),
    followsTallies: at % 2 === 0,
    expirySeconds: random.pick([0, 20, 600, 1_000_000, 1_000_000]),
  };
}

/** Bounds that a few clients can fill: most worlds have none of them. */
function newBounds(random: Random): BrokerOptions {
  const [maximumQueuedMessages, maximumQueuedBytes] = random.pick([
    ...[[0, 0] as const, [0, 0] as const, [0, 0] as const, [0, 0] as const],
    ...[[3, 0] as const, [0, 30] as const],
  ]);
  const maxRecords = random.pick([1_000_000, 1_000_000, 1_000_000, 8]);
  return {
    ...{ maximumQueuedMessages, maximumQueuedBytes },
    maximumInflightBytes: random.pick([0, 0, 0, 20]),
    receipts: {
      ...{ maxPending: 3600, retention: 1_000_000, maxRecords, maxRecordsPerPublisher: Math.ceil(maxRecords / 2) },
      maxWaiting: random.pick([10_000, 10_000, 10_000, 5]),
    },
  };
}

function newOptions(random: Random): BrokerOptions {
  return {
    ...{ memory: true, sysInterval: 0 },
    receiveMaximum: random.pick([1024, 1024, 80]),
    maximumInflightMessages: random.pick([1024, 1024, 2]),
    maximumOutboxBytes: 4096,
    ...newBounds(random),
  };
}

/** In half of the worlds any handful of recipients is a large cohort. */
function newCohortSizes(random: Random): Omit<Sizes, 'patientFrom' | 'patienceMs'> {
  if (random.chance(0.5)) return usualSizes;
  const largeCohortMin = random.pick([1, 2, 3]);
  const sliceMax = random.pick([1, 2]);
  return {
    largeCohortMin,
    writtenMax: sliceMax,
    sliceMax,
    unwrittenMax: random.pick([2, 4, 1000]),
    standingMax: random.pick([0, 1, 16]),
  };
}

/** Each seed has its own mixture, so that what is rare among everything is common somewhere. */
function newMixture(random: Random): [ActionName, number][] {
  const names = Object.keys(weights) as ActionName[];
  return names.map((name) => [name, weights[name] * random.pick([0, 0.5, 1, 1, 1, 3])]);
}

/** True if the broker may have no room for the record of one more message. */
export function keepsFewRecords({ options }: Plan): boolean {
  return (options.receipts?.maxRecords ?? Number.POSITIVE_INFINITY) < 1000;
}

/** The plan that belongs to a seed. */
export function planOf(seed: number): Plan {
  const random = new Random(seed);
  const roles = Array.from({ length: 2 + random.below(5) }, (_, at) => newRole(random, at));
  const mixture = newMixture(random);
  const total = mixture.reduce((sum, [, weight]) => sum + weight, 0);
  const pick = (): ActionName => {
    let at = random.next() * total;
    for (const [name, weight] of mixture) {
      at -= weight;
      if (at < 0) return name;
    }
    return 'publish';
  };
  const salt = (): number => random.below(saltMax);
  const beginning = roles.flatMap((_, who): Action[] => [
    { gapMs: random.below(5), what: 'connect', who, salt: salt() },
    { gapMs: 20 + random.below(100), what: 'subscribe', who, salt: salt() },
    { gapMs: random.below(5), what: 'subscribe', who, salt: salt() },
  ]);
  const length = 20 + random.below(100);
  const rest = Array.from({ length }, (): Action => {
    const what = pick();
    const gapMs = what === 'pass' ? random.pick([1000, 5000, 25_000, 70_000]) : random.below(random.pick([2, 20, 200]));
    return { gapMs, what, who: random.below(roles.length), salt: salt() };
  });
  const options = newOptions(random);
  const durability = random.pick(['flushed', 'flushed', 'committed'] as const);
  const tracked = random.pick([0.35, 0.35, 0.9]);
  const cohortSizes = newCohortSizes(random);
  const sizes = { ...cohortSizes, patientFrom: random.pick([1, 3, 32]), patienceMs: random.pick([2, 20, 100]) };
  return { seed, durability, options, sizes, tracked, roles, actions: [...beginning, ...rest] };
}
