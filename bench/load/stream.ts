import { setTimeout as sleep } from 'node:timers/promises';
import type { LoadConnection } from './connection.js';
import type { Findings, LoadOptions, LoadResult } from './options.js';
import { PhaseClock } from './process-usage.js';
import { Sender } from './sender.js';
import { openMany, type Stage } from './stage.js';
import type { Traffic } from './traffic.js';
import { SequenceVerifier } from './verifier.js';

/** Seconds without any progress after which the run counts as stalled. */
export const idleSecondsMax = 3;

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

/** Pairs: publisher and subscriber of the same number. */
export function pairsTopology(stage: Stage, topicSpan = 1): Topology {
  const { publishers } = stage.options;
  const subscribers = Array.from({ length: publishers }, (_, publisher) => {
    const topicFilters = Array.from({ length: topicSpan }, (_, index) => stage.topicOf(publisher, topicSpan, index));
    return { topicFilters, firstPublisher: publisher, publisherCount: 1 };
  });
  return { publishers, subscribers, receivers: 1, topicSpan };
}

/** One publisher, many subscribers to its topic. */
export function fanOutTopology(stage: Stage): Topology {
  const receivers = stage.options.subscribers;
  const subscriber = { topicFilters: [stage.topicOf(0, 1)], firstPublisher: 0, publisherCount: 1 };
  const subscribers = Array.from({ length: receivers }, () => subscriber);
  return { publishers: 1, subscribers, receivers, topicSpan: 1 };
}

/** Many publishers on topics of their own, one subscriber with a wildcard. */
export function fanInTopology(stage: Stage): Topology {
  const { publishers } = stage.options;
  const subscriber = { topicFilters: [`${stage.topicPrefix}+`], firstPublisher: 0, publisherCount: publishers };
  return { publishers, subscribers: [subscriber], receivers: 1, topicSpan: 1 };
}

/** What the publishers of a stage have in common. `receivers` 0: nothing but their own window holds them back. */
export interface SendersPlan extends Pick<Topology, 'publishers' | 'receivers' | 'topicSpan'> {
  readonly isRetained?: boolean;
  /** Instead of what the options say. */
  readonly payloadBytes?: number;
}

/** Opens publishers, which take the place of those that the stage has. */
export async function openSenders(stage: Stage, plan: SendersPlan, role = 'publisher'): Promise<void> {
  const { options, traffic, topicPrefix } = stage;
  await openMany(plan.publishers, async (number) => {
    const connection = await stage.connect(role, number);
    if (options.tracked) await connection.subscribe(['$receipts/~/+/+'], 0);
    const sender = new Sender(connection, {
      number,
      topicPrefix,
      topicFirst: number * plan.topicSpan,
      topicSpan: plan.topicSpan,
      qos: options.qos,
      isRetained: plan.isRetained ?? false,
      isTracked: options.tracked,
      payloadBytes: plan.payloadBytes ?? options.payloadBytes,
      window: options.window,
      receivers: plan.receivers,
    });
    connection.sender = sender;
    traffic.senders[number] = sender;
  });
}

/** Opens all connections of a topology. */
export async function openStream(stage: Stage, topology: Topology): Promise<Stream> {
  const { options, traffic } = stage;
  const subscribers = await openMany(topology.subscribers.length, async (index) => {
    const { topicFilters, firstPublisher, publisherCount } = topology.subscribers[index];
    const connection = await stage.connect('subscriber', index, options.durable);
    connection.verifier = new SequenceVerifier(firstPublisher, publisherCount);
    const filtersAtOnce = 500;
    for (let first = 0; first < topicFilters.length; first += filtersAtOnce) {
      await connection.subscribe(topicFilters.slice(first, first + filtersAtOnce), options.qos);
    }
    return connection;
  });
  await openSenders(stage, topology);
  return { traffic, subscribers };
}

/** Lets each sender send up to `limit` messages in all. */
export function setLimit(traffic: Traffic, limit: number): void {
  for (const sender of traffic.senders) {
    sender.limit = limit;
    traffic.schedule(sender);
  }
}

/** Stops the senders and waits until all that is owed has come and is released, or nothing comes any more. */
export async function drain({ traffic, subscribers }: Stream, receivers: number): Promise<Findings> {
  for (const sender of traffic.senders) sender.limit = sender.sent;
  const total = (count: (sender: Sender) => number) => traffic.senders.reduce((sum, sender) => sum + count(sender), 0);
  const sent = total((sender) => sender.sent);
  const acked = traffic.senders.some((sender) => sender.plan.qos > 0) ? sent : 0;
  const isSettled = () =>
    traffic.delivered >= sent * receivers && traffic.unreleased === 0 && total((sender) => sender.acked) >= acked;
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
