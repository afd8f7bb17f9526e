import { setTimeout as sleep } from 'node:timers/promises';
import { type LoadConnection, openConnection } from './connection.js';
import { type Identity, numberedTopic } from './frames.js';
import type { Findings, LoadOptions, LoadResult } from './options.js';
import { PhaseClock } from './process-usage.js';
import { Sender } from './sender.js';
import { Traffic } from './traffic.js';
import { SequenceVerifier } from './verifier.js';

/** Seconds without any progress after which the run counts as stalled. */
export const idleSecondsMax = 3;
const frameOverheadBytes = 256;
const openAtOnce = 50;
/** Topics of this process only: what an earlier run left retained on the broker does not disturb. */
export const topicPrefix = `${numberedTopic('bench/', process.pid)}/`;
const sessionExpirySeconds = 3600;

/** Who publishes to whom. */
export interface Topology {
  readonly publishers: number;
  readonly subscribers: readonly {
    readonly topicFilters: readonly string[];
    readonly firstPublisher: number;
    readonly publisherCount: number;
  }[];
  /** Subscribers that receive each message. */
  readonly receivers: number;
  /** Topics of each publisher: its messages go round them. */
  readonly topicSpan: number;
}

/** Open connections, ready to send. */
export interface Stream {
  readonly traffic: Traffic;
  readonly subscribers: readonly LoadConnection[];
}

/** Runs `open` for 0 to `count - 1`, some at a time, and returns the results in order. */
export async function openMany<T>(count: number, open: (index: number) => Promise<T>): Promise<T[]> {
  const opened: T[] = [];
  for (let first = 0; first < count; first += openAtOnce) {
    const indexes = Array.from({ length: Math.min(openAtOnce, count - first) }, (_, index) => first + index);
    opened.push(...(await Promise.all(indexes.map(open))));
  }
  return opened;
}

/** A client id of its own in each generator process; a session that is kept only where asked. */
export function identify(role: string, index: number, isDurable = false): Identity {
  const clientId = `${role}-${process.pid}-${index}`;
  return { clientId, cleanStart: !isDurable, sessionExpirySeconds: isDurable ? sessionExpirySeconds : 0 };
}

/** The shared buffers for messages of these options. */
export function openTraffic(options: LoadOptions): Traffic {
  return new Traffic(options.payloadBytes + frameOverheadBytes);
}

/** The topics of a publisher are numbered from here. */
export function topicOf(publisher: number, topicSpan: number, index = 0): string {
  return numberedTopic(topicPrefix, publisher * topicSpan + index);
}

/** Pairs: publisher and subscriber of the same number. */
export function pairsTopology(options: LoadOptions, topicSpan = 1): Topology {
  const subscribers = Array.from({ length: options.publishers }, (_, publisher) => {
    const topicFilters = Array.from({ length: topicSpan }, (_, index) => topicOf(publisher, topicSpan, index));
    return { topicFilters, firstPublisher: publisher, publisherCount: 1 };
  });
  return { publishers: options.publishers, subscribers, receivers: 1, topicSpan };
}

/** One publisher, many subscribers to its topic. */
export function fanOutTopology(options: LoadOptions): Topology {
  const subscriber = { topicFilters: [topicOf(0, 1)], firstPublisher: 0, publisherCount: 1 };
  const subscribers = Array.from({ length: options.subscribers }, () => subscriber);
  return { publishers: 1, subscribers, receivers: options.subscribers, topicSpan: 1 };
}

/** Many publishers on topics of their own, one subscriber with a wildcard. */
export function fanInTopology(options: LoadOptions): Topology {
  const subscriber = { topicFilters: [`${topicPrefix}+`], firstPublisher: 0, publisherCount: options.publishers };
  return { publishers: options.publishers, subscribers: [subscriber], receivers: 1, topicSpan: 1 };
}

/** Opens the publishers. `receivers` 0: nothing but their own window holds them back. */
export async function openSenders(
  traffic: Traffic,
  options: LoadOptions,
  plan: { readonly receivers: number; readonly topicSpan: number; readonly isRetained?: boolean },
): Promise<void> {
  await openMany(options.publishers, async (number) => {
    const connection = await openConnection(traffic, options, identify('publisher', number));
    if (options.tracked) await connection.subscribe(['$receipts/~/+/+'], 0);
    const sender = new Sender(connection, {
      number,
      topicPrefix,
      topicFirst: number * plan.topicSpan,
      topicSpan: plan.topicSpan,
      qos: options.qos,
      isRetained: plan.isRetained ?? false,
      isTracked: options.tracked,
      payloadBytes: options.payloadBytes,
      window: options.window,
      receivers: plan.receivers,
    });
    connection.sender = sender;
    traffic.senders[number] = sender;
  });
}

/** Opens all connections of a topology. */
export async function openStream(options: LoadOptions, topology: Topology): Promise<Stream> {
  const traffic = openTraffic(options);
  const subscribers = await openMany(topology.subscribers.length, async (index) => {
    const { topicFilters, firstPublisher, publisherCount } = topology.subscribers[index];
    const identity = identify('subscriber', index, options.durable);
    const connection = await openConnection(traffic, options, identity);
    connection.verifier = new SequenceVerifier(firstPublisher, publisherCount);
    const filtersAtOnce = 500;
    for (let first = 0; first < topicFilters.length; first += filtersAtOnce) {
      await connection.subscribe(topicFilters.slice(first, first + filtersAtOnce), options.qos);
    }
    return connection;
  });
  await openSenders(traffic, { ...options, publishers: topology.publishers }, topology);
  return { traffic, subscribers };
}

/** Lets each sender send up to `limit` messages in all. */
export function setLimit(traffic: Traffic, limit: number): void {
  for (const sender of traffic.senders) {
    sender.limit = limit;
    traffic.schedule(sender);
  }
}

/** Stops the senders and waits until all that is owed has come, or nothing comes any more. */
export async function drain({ traffic, subscribers }: Stream, receivers: number): Promise<Findings> {
  for (const sender of traffic.senders) sender.limit = sender.sent;
  const total = (count: (sender: Sender) => number) => traffic.senders.reduce((sum, sender) => sum + count(sender), 0);
  const sent = total((sender) => sender.sent);
  const acked = traffic.senders.some((sender) => sender.plan.qos > 0) ? sent : 0;
  const isSettled = () => traffic.delivered >= sent * receivers && total((sender) => sender.acked) >= acked;
  const isDone = await traffic.when(isSettled, idleSecondsMax);
  // What comes after all was delivered can only be doubled.
  await sleep(50);
  return { ...inspect(traffic, subscribers), isStalled: !isDone };
}

/** Sums up what the verifiers of the subscribers found. */
export function inspect(traffic: Traffic, subscribers: readonly LoadConnection[]): Omit<Findings, 'isStalled'> {
  const findings = { lost: 0, doubled: 0, reordered: 0, misrouted: 0, refused: traffic.refused };
  for (const { verifier } of subscribers) {
    if (verifier === null) continue;
    findings.lost += verifier.countLost((publisher) => traffic.senders[publisher].sent);
    findings.doubled += verifier.doubled;
    findings.reordered += verifier.reordered;
    findings.misrouted += verifier.misrouted;
  }
  return findings;
}

/** Sends as fast as the windows allow for the duration; counts what is delivered meanwhile. */
export async function measureStream(options: LoadOptions, stream: Stream, receivers: number): Promise<LoadResult> {
  const { traffic } = stream;
  setLimit(traffic, Number.MAX_SAFE_INTEGER);
  await sleep(options.warmupSeconds * 1000);
  const clock = new PhaseClock(options.brokerPid);
  const before = traffic.delivered;
  await sleep(options.seconds * 1000);
  const phase = clock.finish('route', 'message', traffic.delivered - before);
  const findings = await drain(stream, receivers);
  return { options, phases: [phase], ...findings, rssBytesEach: null, latency: null };
}
