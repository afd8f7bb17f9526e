/** The kinds of load that the generator knows. */
export const scenarioNames = [
  'pairs',
  'fanout',
  'fanin',
  'window1',
  'connections',
  'subscriptions',
  'retained',
  'offline',
  'latency',
] as const;
export type ScenarioName = (typeof scenarioNames)[number];

/** Protocol level byte of CONNECT: 4 is MQTT 3.1.1, 5 is MQTT 5. */
export type ProtocolLevel = 4 | 5;
export type QualityOfService = 0 | 1 | 2;

/** What one generator process does; given to it as JSON. */
export interface LoadOptions {
  readonly scenario: ScenarioName;
  readonly host: string;
  readonly port: number;
  readonly protocol: ProtocolLevel;
  readonly qos: QualityOfService;
  readonly publishers: number;
  readonly subscribers: number;
  /** Messages of one publisher under way: received by nobody yet at QoS 0, unacknowledged at QoS 1 and 2. */
  readonly window: number;
  readonly payloadBytes: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** Idle connections, subscriptions, retained topics or queued messages. */
  readonly count: number;
  /** All publishers together, in `latency`. */
  readonly ratePerSecond: number;
  /** Subscribers keep their session, so that the broker has to record what it owes them. */
  readonly durable: boolean;
  /** Publishers ask for receipts, and take them at QoS 0. MQTT 5 only. */
  readonly tracked: boolean;
  /** In PEM, who vouches for the broker's certificate; null speaks without TLS. */
  readonly authority: string | null;
  /** The process whose CPU time and memory are measured; null measures none. */
  readonly brokerPid: number | null;
}

/** One timed part of a scenario; rates follow from it (see summary.ts). */
export interface Phase {
  readonly name: string;
  readonly unit: 'message' | 'connection' | 'subscription';
  readonly count: number;
  readonly seconds: number;
  readonly brokerCpuSeconds: number | null;
  readonly generatorCpuSeconds: number;
  readonly brokerRssBytes: number | null;
}

/** Milliseconds from the intended send time to the receipt. */
export interface LatencyFigures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** How late the generator itself sent, 99th percentile: contained in the figures above. */
  readonly sendLatenessP99Ms: number;
}

/** What the checks of a run found: all zero in a sound run. */
export interface Findings {
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
  readonly misrouted: number;
  /** Acknowledgements with a reason code of 0x80 or more. */
  readonly refused: number;
  /** Nothing moved for some seconds while messages were owed. */
  readonly isStalled: boolean;
}

/** The one JSON line that the generator prints. */
export interface LoadResult extends Findings {
  readonly options: LoadOptions;
  readonly phases: readonly Phase[];
  /** Broker memory for each idle connection or subscription. */
  readonly rssBytesEach: number | null;
  readonly latency: LatencyFigures | null;
}

const payloadBytesMin = 8;

const defaults: LoadOptions = {
  scenario: 'pairs',
  host: '127.0.0.1',
  port: 1883,
  protocol: 4,
  qos: 0,
  publishers: 10,
  subscribers: 10,
  window: 100,
  payloadBytes: 64,
  warmupSeconds: 1,
  seconds: 3,
  count: 100_000,
  ratePerSecond: 5000,
  durable: false,
  tracked: false,
  authority: null,
  brokerPid: null,
};

/**
 * Completes options with the defaults.
 * @throws Error naming the option that makes no sense
 */
export function completeOptions(given: Partial<LoadOptions>): LoadOptions {
  const options = { ...defaults, ...given };
  for (const name of ['port', 'publishers', 'subscribers', 'window', 'count'] as const) {
    if (!Number.isInteger(options[name]) || options[name] < 1) throw new Error(`${name} must be a positive integer`);
  }
  if (!scenarioNames.includes(options.scenario)) throw new Error(`unknown scenario ${options.scenario}`);
  if (options.protocol !== 4 && options.protocol !== 5) throw new Error('protocol must be 4 (MQTT 3.1.1) or 5');
  if (![0, 1, 2].includes(options.qos)) throw new Error('qos must be 0, 1 or 2');
  if (!(options.payloadBytes >= payloadBytesMin)) throw new Error(`payloadBytes must be ${payloadBytesMin} or more`);
  if (!(options.seconds > 0 && options.seconds <= 600)) throw new Error('seconds must be above 0, at most 600');
  if (options.window > 65_535) throw new Error('window must be at most 65535: there are no more packet ids');
  return options;
}
