import type { LoadOptions, ProtocolLevel } from './options.js';
import type { Peer } from './peers.js';

/** One line of the report: a scenario with its options. */
export interface BenchCase {
  readonly name: string;
  /** Cases of a group share a table and a chart. */
  readonly group: string;
  readonly title: string;
  readonly options: Partial<LoadOptions>;
  /** Measured with the peers that record what they acknowledge, instead of those that do not. */
  readonly isDurable: boolean;
  /** How much longer each sync of our data file takes than it does here. */
  readonly syncMs: number;
}

/** Heading of each group in the report, in its order. */
export const groupTitles: Readonly<Record<string, string>> = {
  pairs: '10 publishers to 10 subscribers, window 100',
  fanout: '1 publisher to many subscribers',
  fanin: '100 publishers to 1 subscriber',
  window1: '100 pairs, window 1: nothing to batch',
  subscriptions: '100 000 distinct subscriptions',
  retained: '100 000 retained messages',
  offline: '100 000 messages for offline sessions',
  connections: '10 000 idle connections',
  latency: '5 000 messages a second, open loop',
  durable: '10 pairs between durable sessions',
  slowdisk: 'The same on a disk whose syncs take 5 ms longer',
  retaineddisk: '100 000 retained messages, on the disk',
  offlinedisk: '100 000 messages for offline sessions, on the disk',
  tracked: '10 pairs at QoS 1 with and without receipts, MQTT 5',
};

const durablePeers = new Set(['countersign-flushed', 'countersign-committed', 'mosquitto-persistent', 'nats']);
const volatilePeers = new Set(['countersign', 'mosquitto', 'aedes', 'flashmq', 'nanomq', 'nats']);

const slowSyncMs = 5;

function benchCase(group: string, title: string, options: Partial<LoadOptions>, isOnDisk = false): BenchCase {
  const { qos = 0, protocol = 4, subscribers, window } = options;
  const size = group === 'fanout' ? `-${subscribers}` : group === 'fanin' ? `-${window}` : '';
  const version = protocol === 5 ? '-v5' : '';
  const suffix = protocol === 5 ? ', MQTT 5' : '';
  const isDurable = isOnDisk || (options.durable ?? false);
  const syncMs = group === 'slowdisk' ? slowSyncMs : 0;
  return { name: `${group}${size}-q${qos}${version}`, group, title: title + suffix, options, isDurable, syncMs };
}

/** All cases at one protocol level. */
export function casesOf(protocol: ProtocolLevel): readonly BenchCase[] {
  const cases: BenchCase[] = [];
  for (const qos of [0, 1, 2] as const) {
    cases.push(benchCase('pairs', `QoS ${qos}`, { scenario: 'pairs', protocol, qos }));
  }
  for (const subscribers of [100, 1000]) {
    for (const qos of [0, 1] as const) {
      const options = { scenario: 'fanout', protocol, qos, subscribers } as const;
      cases.push(benchCase('fanout', `1 → ${subscribers}, QoS ${qos}`, options));
    }
  }
  for (const window of [100, 10]) {
    for (const qos of [0, 1] as const) {
      const fanIn = { scenario: 'fanin', protocol, qos, publishers: 100, window } as const;
      cases.push(benchCase('fanin', `QoS ${qos}, window ${window}`, fanIn));
    }
  }
  for (const qos of [0, 1] as const) {
    const window1 = { scenario: 'window1', protocol, qos, publishers: 100 } as const;
    cases.push(benchCase('window1', `QoS ${qos}`, window1));
  }
  const retained = { scenario: 'retained', protocol, qos: 1, count: 100_000 } as const;
  const offline = { scenario: 'offline', protocol, qos: 1, count: 100_000 } as const;
  cases.push(
    benchCase('subscriptions', 'QoS 0', { scenario: 'subscriptions', protocol, count: 100_000 }),
    benchCase('retained', 'stored at QoS 1', retained),
    benchCase('offline', 'QoS 1', offline),
    benchCase('connections', '', { scenario: 'connections', protocol, count: 10_000 }),
    benchCase('latency', 'QoS 1', { scenario: 'latency', protocol, qos: 1, ratePerSecond: 5000 }),
  );
  for (const group of ['durable', 'slowdisk']) {
    for (const qos of [1, 2] as const) {
      cases.push(benchCase(group, `QoS ${qos}`, { scenario: 'pairs', protocol, qos, durable: true }));
    }
  }
  cases.push(
    benchCase('retaineddisk', 'stored at QoS 1', retained, true),
    benchCase('offlinedisk', 'QoS 1', offline, true),
  );
  if (protocol === 5) cases.push(...trackedCases());
  return cases;
}

/**
 * The cost of receipts: the same pairs with and without, between sessions that end with their connection and durable.
 */
function trackedCases(): BenchCase[] {
  return [false, true].flatMap((durable) =>
    [false, true].map((tracked) => ({
      name: `tracked-${durable ? 'durable' : 'memory'}-${tracked ? 'receipts' : 'plain'}`,
      group: 'tracked',
      title: `${durable ? 'durable sessions, flushed' : 'in memory'}: ${tracked ? 'tracked' : 'untracked'}`,
      options: { scenario: 'pairs', protocol: 5, qos: 1, durable, tracked },
      isDurable: durable,
      syncMs: 0,
    })),
  );
}

/** What runs unless asked otherwise: everything at MQTT 3.1.1, pairs and fan-out at MQTT 5 too. */
export function defaultCases(): readonly BenchCase[] {
  return [...casesOf(4), ...casesOf(5).filter(({ group }) => ['pairs', 'fanout', 'tracked'].includes(group))];
}

/** Whether this case says something about the peer: it speaks the protocol and promises what the case is about. */
export function concerns({ options, isDurable, group, syncMs }: BenchCase, peer: Peer): boolean {
  const isOurs = peer.name.startsWith('countersign');
  // Only our own data file is known to what slows a disk down.
  if (syncMs > 0 && !isOurs) return false;
  if ((options.qos ?? 0) > peer.maximumQos) return false;
  if (group === 'tracked' && (!isOurs || peer.name === 'countersign-committed')) return false;
  const isComparable = (isDurable ? durablePeers : volatilePeers).has(peer.name);
  return isComparable && peer.protocols.includes(options.protocol ?? 4);
}
