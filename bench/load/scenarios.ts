import { setTimeout as sleep } from 'node:timers/promises';
import type { LoadConnection } from './connection.js';
import { measureLatency } from './latency.js';
import type { Findings, LoadOptions, LoadResult, Phase, ScenarioName } from './options.js';
import { PhaseClock, readRssBytes } from './process-usage.js';
import { openMany, Stage } from './stage.js';
import {
  drain,
  fanInTopology,
  fanOutTopology,
  idleSecondsMax,
  inspect,
  measureStream,
  openSenders,
  openStream,
  pairsTopology,
  setLimit,
  type Topology,
} from './stream.js';
import { SequenceVerifier, SetVerifier } from './verifier.js';
import { settleMs, warmUp } from './warm-up.js';

type Scenario = (options: LoadOptions) => Promise<LoadResult>;

const soundFindings: Findings = { lost: 0, doubled: 0, reordered: 0, misrouted: 0, refused: 0, isStalled: false };
const connectAtOnce = 64;
/** NATS 2.9 loses and doubles some of 20 000 that wait when the machine is busy, counted or not; not of so few. */
const warmupMessages = 5000;
const warmupConnections = 500;
const warmupSubscriptions = 2000;

function runStream(topologyOf: (stage: Stage) => Topology): Scenario {
  return async (options) => {
    const stage = new Stage(options);
    const topology = topologyOf(stage);
    return measureStream(options, await openStream(stage, topology), topology.receivers);
  };
}

/**
 * By how much a broker that has done nothing yet grows for each of `count` units, once it has come to rest. Read before
 * anything else is done: what a warm-up has freed is used again, and would hide it.
 */
async function growthPerUnit(
  options: LoadOptions,
  count: number,
  round: (stage: Stage) => Promise<unknown>,
): Promise<number | null> {
  if (options.brokerPid === null) return null;
  const stage = new Stage(options, '-cold');
  const before = readRssBytes(options.brokerPid);
  await round(stage);
  await sleep(settleMs);
  const growth = readRssBytes(options.brokerPid) - before;
  await stage.end();
  await sleep(settleMs);
  return Math.round(growth / count);
}

/** What each publisher has to send, or to subscribe to, so that all together reach the count. */
function shareOf({ count, publishers }: LoadOptions): number {
  return Math.ceil(count / publishers);
}

/** Opens `count` idle connections, a fixed number at a time without a pause between. */
async function openIdle(stage: Stage): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < stage.options.count) await stage.connect('idle', next++);
  };
  await Promise.all(Array.from({ length: connectAtOnce }, worker));
}

/** Memory for each idle connection, and connections per second. */
async function runConnections(options: LoadOptions): Promise<LoadResult> {
  const rssBytesEach = await growthPerUnit(options, options.count, openIdle);
  await warmUp(options, Math.min(options.count, warmupConnections), async (stage) => {
    await openIdle(stage);
    return soundFindings;
  });
  const clock = new PhaseClock(options.brokerPid);
  await openIdle(new Stage(options));
  const phase = clock.finish('connect', 'connection', options.count);
  return { options, phases: [phase], ...soundFindings, rssBytesEach, latency: null };
}

/** `count` subscriptions in all: time and memory of subscribing, then messages over all of their topics. */
async function runSubscriptions(options: LoadOptions): Promise<LoadResult> {
  const span = shareOf(options);
  const rssBytesEach = await growthPerUnit(options, span * options.publishers, (stage) =>
    openStream(stage, pairsTopology(stage, span)),
  );
  await warmUp(options, Math.min(options.count, warmupSubscriptions), async (stage) => {
    const each = shareOf(stage.options);
    const topology = pairsTopology(stage, each);
    const stream = await openStream(stage, topology);
    setLimit(stage.traffic, each);
    await stage.traffic.when(() => stage.traffic.delivered >= each * topology.publishers, idleSecondsMax);
    return drain(stream, topology.receivers);
  });
  const stage = new Stage(options);
  const topology = pairsTopology(stage, span);
  const clock = new PhaseClock(options.brokerPid);
  const stream = await openStream(stage, topology);
  const subscribe = clock.finish('subscribe', 'subscription', span * options.publishers);
  const routed = await measureStream(options, stream, topology.receivers);
  return { ...routed, phases: [subscribe, ...routed.phases], rssBytesEach };
}

/** Sends all messages of all senders; resolves with the phase when the last is acknowledged. */
async function publishAll({ options, traffic }: Stage, each: number, name: string): Promise<Phase> {
  const before = traffic.acked;
  const total = each * options.publishers;
  const clock = new PhaseClock(options.brokerPid);
  setLimit(traffic, each);
  await traffic.when(() => traffic.acked - before >= total, idleSecondsMax);
  return clock.finish(name, 'message', traffic.acked - before);
}

/** Stores retained messages on topics of their own. */
async function storeRetained(stage: Stage): Promise<Phase> {
  const each = shareOf(stage.options);
  await openSenders(stage, { publishers: stage.options.publishers, receivers: 0, topicSpan: each, isRetained: true });
  return publishAll(stage, each, 'store');
}

/** One new subscriber takes all that is retained, at QoS 0; false when it does not come. */
async function replayRetained(stage: Stage, subscribers: LoadConnection[]): Promise<boolean> {
  const { options, traffic, topicPrefix } = stage;
  const each = shareOf(options);
  const connection = await stage.connect('subscriber', subscribers.length);
  connection.verifier = new SetVerifier(options.publishers, each);
  subscribers.push(connection);
  const target = traffic.delivered + each * options.publishers;
  await connection.subscribe([`${topicPrefix}#`], 0);
  return traffic.when(() => traffic.delivered >= target, idleSecondsMax);
}

/** Takes back what `storeRetained` has stored, when nobody is subscribed any more. */
async function clearRetained(stage: Stage): Promise<Findings> {
  const { publishers } = stage.options;
  const each = shareOf(stage.options);
  const plan = { publishers, receivers: 0, topicSpan: each, isRetained: true, payloadBytes: 0 };
  await openSenders(stage, plan, 'clearer');
  const { count } = await publishAll(stage, each, 'clear');
  return { ...soundFindings, refused: stage.traffic.refused, isStalled: count < each * publishers };
}

/** Stores `count` retained messages at QoS 1 or 2, then new subscribers take all of them at QoS 0, one by one. */
async function runRetained(given: LoadOptions): Promise<LoadResult> {
  const options: LoadOptions = { ...given, qos: given.qos === 0 ? 1 : given.qos };
  await warmUp(options, warmupMessages, async (stage) => {
    await storeRetained(stage);
    const subscribers: LoadConnection[] = [];
    const isDone = await replayRetained(stage, subscribers);
    const findings = { ...inspect(stage.traffic, subscribers), isStalled: !isDone };
    await Promise.all(subscribers.map((subscriber) => subscriber.disconnect()));
    const cleared = await clearRetained(stage);
    return { ...findings, refused: cleared.refused, isStalled: !isDone || cleared.isStalled };
  });
  const stage = new Stage(options);
  const store = await storeRetained(stage);
  const subscribers: LoadConnection[] = [];
  const untilMs = performance.now() + options.seconds * 1000;
  const clock = new PhaseClock(options.brokerPid);
  let isDone = true;
  while (isDone && performance.now() < untilMs) isDone = await replayRetained(stage, subscribers);
  const replay = clock.finish('replay', 'message', stage.traffic.delivered);
  const findings = { ...inspect(stage.traffic, subscribers), isStalled: !isDone };
  return { options, phases: [store, replay], ...findings, rssBytesEach: null, latency: null };
}

/** Queues messages for sessions whose clients are away; then they come back and take them. */
async function queueAndTake(stage: Stage): Promise<Findings & { readonly phases: readonly Phase[] }> {
  const { options, traffic } = stage;
  const { publishers, qos } = options;
  const each = shareOf(options);
  await openMany(publishers, async (index) => {
    const connection = await stage.connect('subscriber', index, true);
    await connection.subscribe([stage.topicOf(index, 1)], qos);
    await connection.disconnect();
  });
  await openSenders(stage, { publishers, receivers: 0, topicSpan: 1 });
  const enqueue = await publishAll(stage, each, 'enqueue');
  const clock = new PhaseClock(options.brokerPid);
  const subscribers = await openMany(publishers, (index) => {
    return stage.connect('subscriber', index, true, (connection) => {
      connection.verifier = new SequenceVerifier(index, 1);
    });
  });
  const isDone = await traffic.when(() => traffic.delivered >= each * publishers, idleSecondsMax);
  const phase = clock.finish('drain', 'message', traffic.delivered);
  const findings = await drain({ traffic, subscribers }, 1);
  return { ...findings, isStalled: !isDone || findings.isStalled, phases: [enqueue, phase] };
}

async function runOffline(given: LoadOptions): Promise<LoadResult> {
  const options: LoadOptions = { ...given, qos: given.qos === 0 ? 1 : given.qos };
  await warmUp(options, warmupMessages, queueAndTake);
  return { options, ...(await queueAndTake(new Stage(options))), rssBytesEach: null, latency: null };
}

const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  pairs: runStream(pairsTopology),
  fanout: runStream(fanOutTopology),
  fanin: runStream(fanInTopology),
  window1: runStream(pairsTopology),
  connections: runConnections,
  subscriptions: runSubscriptions,
  retained: runRetained,
  offline: runOffline,
  latency: measureLatency,
};

/** Runs one scenario against a broker that is up. */
export function runScenario(options: LoadOptions): Promise<LoadResult> {
  const adjusted = options.scenario === 'window1' ? { ...options, window: 1 } : options;
  return scenarios[options.scenario](adjusted);
}
