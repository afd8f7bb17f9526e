import { setTimeout as sleep } from 'node:timers/promises';
import { type LoadConnection, openConnection } from './connection.js';
import { measureLatency } from './latency.js';
import type { Findings, LoadOptions, LoadResult, Phase, ScenarioName } from './options.js';
import { PhaseClock, readRssBytes } from './process-usage.js';
import {
  drain,
  fanInTopology,
  fanOutTopology,
  identify,
  idleSecondsMax,
  inspect,
  measureStream,
  openMany,
  openSenders,
  openStream,
  openTraffic,
  pairsTopology,
  setLimit,
  type Topology,
  topicOf,
  topicPrefix,
} from './stream.js';
import { Traffic } from './traffic.js';
import { SequenceVerifier, SetVerifier } from './verifier.js';

type Scenario = (options: LoadOptions) => Promise<LoadResult>;

const soundFindings: Findings = { lost: 0, doubled: 0, reordered: 0, misrouted: 0, refused: 0, isStalled: false };
const connectAtOnce = 64;
const warmupConnections = 200;
const memorySettleMs = 500;

function runStream(topologyOf: (options: LoadOptions) => Topology): Scenario {
  return async (options) => {
    const topology = topologyOf(options);
    return measureStream(options, await openStream(options, topology), topology.receivers);
  };
}

/** The broker's growth since `before`, after it has come to rest. */
async function growthPerUnit(options: LoadOptions, before: number, count: number): Promise<number | null> {
  if (options.brokerPid === null) return null;
  await sleep(memorySettleMs);
  return Math.round((readRssBytes(options.brokerPid) - before) / count);
}

function rssBefore(options: LoadOptions): number {
  return options.brokerPid === null ? 0 : readRssBytes(options.brokerPid);
}

/** Opens `count` idle connections, a fixed number at a time without a pause between. */
async function openIdle(traffic: Traffic, options: LoadOptions, role: string, count: number) {
  const opened: LoadConnection[] = [];
  let next = 0;
  const worker = async () => {
    while (next < count) opened.push(await openConnection(traffic, options, identify(role, next++)));
  };
  await Promise.all(Array.from({ length: connectAtOnce }, worker));
  return opened;
}

/** Memory for each idle connection, and connections per second. */
async function runConnections(options: LoadOptions): Promise<LoadResult> {
  const traffic = new Traffic(1024);
  // The first connections make a broker load and compile code: that is no cost of a connection.
  const warmup = await openIdle(traffic, options, 'warmup', Math.min(warmupConnections, options.count));
  for (const connection of warmup) connection.reset();
  await sleep(memorySettleMs);
  const before = rssBefore(options);
  const clock = new PhaseClock(options.brokerPid);
  await openIdle(traffic, options, 'idle', options.count);
  const phase = clock.finish('connect', 'connection', options.count);
  const rssBytesEach = await growthPerUnit(options, before, options.count);
  return { options, phases: [phase], ...soundFindings, rssBytesEach, latency: null };
}

/** `count` subscriptions in all: time and memory of subscribing, then messages over all of their topics. */
async function runSubscriptions(options: LoadOptions): Promise<LoadResult> {
  const span = Math.ceil(options.count / options.publishers);
  const topology = pairsTopology(options, span);
  const before = rssBefore(options);
  const clock = new PhaseClock(options.brokerPid);
  const stream = await openStream(options, topology);
  const subscribe = clock.finish('subscribe', 'subscription', span * options.publishers);
  const rssBytesEach = await growthPerUnit(options, before, span * options.publishers);
  const routed = await measureStream(options, stream, topology.receivers);
  return { ...routed, phases: [subscribe, ...routed.phases], rssBytesEach };
}

/** Sends all messages of all senders; resolves with the phase when the last is acknowledged. */
async function publishAll(options: LoadOptions, traffic: Traffic, each: number, name: string): Promise<Phase> {
  const total = each * options.publishers;
  const clock = new PhaseClock(options.brokerPid);
  setLimit(traffic, each);
  await traffic.when(() => traffic.acked >= total, idleSecondsMax);
  return clock.finish(name, 'message', traffic.acked);
}

/** Stores `count` retained messages at QoS 1 or 2, then new subscribers take all of them at QoS 0, one by one. */
async function runRetained(given: LoadOptions): Promise<LoadResult> {
  const options: LoadOptions = { ...given, qos: given.qos === 0 ? 1 : given.qos };
  const traffic = openTraffic(options);
  const each = Math.ceil(options.count / options.publishers);
  await openSenders(traffic, options, { receivers: 0, topicSpan: each, isRetained: true });
  const store = await publishAll(options, traffic, each, 'store');
  const subscribers: LoadConnection[] = [];
  const untilMs = performance.now() + options.seconds * 1000;
  const clock = new PhaseClock(options.brokerPid);
  let isDone = true;
  while (isDone && performance.now() < untilMs) {
    const connection = await openConnection(traffic, options, identify('subscriber', subscribers.length));
    connection.verifier = new SetVerifier(options.publishers, each);
    subscribers.push(connection);
    const target = traffic.delivered + each * options.publishers;
    await connection.subscribe([`${topicPrefix}#`], 0);
    isDone = await traffic.when(() => traffic.delivered >= target, idleSecondsMax);
  }
  const replay = clock.finish('replay', 'message', traffic.delivered);
  const findings = { ...inspect(traffic, subscribers), isStalled: !isDone };
  return { options, phases: [store, replay], ...findings, rssBytesEach: null, latency: null };
}

/** Queues `count` messages for sessions whose clients are away; then they come back and take them. */
async function runOffline(given: LoadOptions): Promise<LoadResult> {
  const options: LoadOptions = { ...given, qos: given.qos === 0 ? 1 : given.qos };
  const traffic = openTraffic(options);
  const each = Math.ceil(options.count / options.publishers);
  await openMany(options.publishers, async (index) => {
    const connection = await openConnection(traffic, options, identify('subscriber', index, true));
    await connection.subscribe([topicOf(index, 1)], options.qos);
    await connection.disconnect();
  });
  await openSenders(traffic, options, { receivers: 0, topicSpan: 1 });
  const enqueue = await publishAll(options, traffic, each, 'enqueue');
  const clock = new PhaseClock(options.brokerPid);
  const subscribers = await openMany(options.publishers, (index) => {
    return openConnection(traffic, options, identify('subscriber', index, true), (connection) => {
      connection.verifier = new SequenceVerifier(index, 1);
    });
  });
  const isDone = await traffic.when(() => traffic.delivered >= each * options.publishers, idleSecondsMax);
  const phase = clock.finish('drain', 'message', traffic.delivered);
  const findings = await drain({ traffic, subscribers }, 1);
  const isStalled = !isDone || findings.isStalled;
  return { options, phases: [enqueue, phase], ...findings, isStalled, rssBytesEach: null, latency: null };
}

const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  pairs: runStream(pairsTopology),
  fanout: runStream(fanOutTopology),
  fanin: runStream(fanInTopology),
  window1: runStream((options) => pairsTopology(options)),
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
