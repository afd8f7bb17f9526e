import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { BrokerCore } from '../broker/broker-core.js';
import type { Metrics } from '../broker/metrics.js';
import { PacketType } from '../spec/packet-types.js';
import type { StoreFacts } from '../store/lmdb-facts.js';
import { Census, empty } from './census.js';
import { type Durations, MeasuredTurns } from './durations.js';

type CountedField = { [K in keyof Metrics]: Metrics[K] extends number ? K : never }[keyof Metrics];

/** Counters without labels: name, field, what it counts. */
const counters: readonly (readonly [string, CountedField, string])[] = [
  ['connections_accepted', 'connectionsAccepted', 'Connections of any transport'],
  ['connections_refused', 'connectionsRefused', 'Connections that were refused'],
  ['authentications_failed', 'authenticationsFailed', 'CONNECTs refused for their credentials'],
  [
    'authentications_not_checked',
    'authenticationsNotChecked',
    'CONNECTs refused before their credentials were looked at',
  ],
  ['incomplete_packets_refused', 'incompleteRefused', 'Connections closed for holding too much of a packet'],
  ['protocol_errors', 'protocolErrors', 'Connections ended by a protocol error of the client'],
  ['received_bytes', 'bytesReceived', 'Bytes from clients'],
  ['sent_bytes', 'bytesSent', 'Bytes to clients'],
  ['publishes_refused', 'publishesRefused', 'PUBLISH packets answered with a failure, or discarded at QoS 0'],
  ['publishes_not_authorized', 'publishesNotAuthorized', 'Publishes and wills that their client had no right to'],
  [
    'subscriptions_not_authorized',
    'subscriptionsNotAuthorized',
    'Filters of SUBSCRIBE that the client had no right to',
  ],
  ['subscriptions_refused', 'subscriptionsRefused', 'Filters of SUBSCRIBE that were refused'],
  ['sessions_expired', 'sessionsExpired', 'Sessions that ended by their expiry interval'],
  ['takeovers', 'takeovers', 'Connections ended because their client connected again'],
  ['wills_published', 'willsPublished', 'Wills that were published'],
  ['receipts_sent', 'receiptsSent', 'Receipts and tallies on their way to subscribers'],
  ['receipts_collapsed', 'receiptsCollapsed', 'Receipts left out in favour of tallies'],
  ['receipt_requests_refused', 'receiptRequestsRefused', 'Requests for receipts that were refused'],
  ['messages_untracked', 'untrackedForWantOfRecords', 'Messages not tracked because there was no room for records'],
  ['read_pauses', 'readPauses', 'Times that input of a connection paused'],
  ['turns_yielded', 'turnsYielded', 'Times that a connection left the rest of its input to a later turn'],
];

const dropCauses: readonly (readonly [string, CountedField])[] = [
  ['offline', 'droppedOffline'],
  ['slow', 'droppedSlow'],
  ['queue_full', 'droppedQueueFull'],
  ['too_large', 'droppedTooLarge'],
  ['not_authorized', 'droppedNotAuthorized'],
  ['expired', 'expired'],
  ['session_ended', 'droppedSessionEnded'],
];

const packetTypes = Object.entries(PacketType);
const reasonCodes = 256;
const loopResolutionMs = 20;

/** Exports durations that were counted elsewhere. */
class DurationsMetric extends Histogram {
  private readonly exported: () => object;

  constructor(registry: Registry, name: string, help: string, durations: Durations) {
    super({ name, help, buckets: [...durations.bounds], registers: [registry] });
    this.exported = () => exportDurations(name, help, durations);
  }

  /** What the registry asks for. */
  async getForPromString(): Promise<object> {
    return this.exported();
  }
}

function exportDurations(name: string, help: string, { bounds, counts, sum }: Durations): object {
  let below = 0;
  const buckets = [...bounds, '+Inf'].map((le, at) => {
    below += counts[at] as number;
    return { labels: { le }, sharedLabels: {}, value: below, metricName: `${name}_bucket` };
  });
  const ends = [
    { labels: {}, sharedLabels: {}, value: sum, metricName: `${name}_sum` },
    { labels: {}, sharedLabels: {}, value: below, metricName: `${name}_count` },
  ];
  return { name, help, type: 'histogram', values: [...buckets, ...ends] };
}

/**
 * What Prometheus is told of a broker. Labels are the broker's own words: no name that a client chose is among them, so
 * the number of series is fixed.
 */
export class MetricsPage {
  private readonly registry = new Registry();
  private readonly core: BrokerCore;
  private readonly storeFacts: () => StoreFacts | null;
  private readonly census: Census;
  private readonly loopDelay: IntervalHistogram;
  private facts: StoreFacts | null = null;
  private tally = empty();
  private underWay: Promise<string> | null = null;

  /** Begins to measure. @param storeFacts null where there is no file */
  constructor(core: BrokerCore, storeFacts: () => StoreFacts | null) {
    this.core = core;
    this.storeFacts = storeFacts;
    this.census = new Census(core);
    this.loopDelay = monitorEventLoopDelay({ resolution: loopResolutionMs });
    this.loopDelay.enable();
    this.addCounters();
    this.addGauges();
    this.addStore();
    this.addDurations();
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** The page in Prometheus' text format; whoever asks while one is being made gets the same, however many ask. */
  async render(): Promise<string> {
    this.underWay ??= this.make();
    try {
      return await this.underWay;
    } finally {
      this.underWay = null;
    }
  }

  private async make(): Promise<string> {
    this.facts = this.storeFacts();
    this.tally = await this.census.take();
    return this.registry.metrics();
  }

  stop(): void {
    this.loopDelay.disable();
    this.core.context.turns.watch = null;
    this.core.onTrackedFinished = null;
  }

  private addCounters(): void {
    const { metrics } = this.core.context;
    for (const [name, field, help] of counters) this.counter(name, `${help}.`, [], (set) => set({}, metrics[field]));
    this.counter(
      'messages_dropped',
      'Deliveries that ended because the recipient did not get them.',
      ['cause'],
      (set) => {
        for (const [cause, field] of dropCauses) set({ cause }, metrics[field]);
      },
    );
    for (const direction of ['received', 'sent'] as const) {
      const counts = metrics[direction];
      this.counter(`packets_${direction}`, `Packets ${direction}, by type.`, ['type'], (set) => {
        for (const [type, number] of packetTypes) set({ type }, this.packets(direction, number));
      });
      const help = `Packets ${direction} with a reason code that is not 0x00, by type and code.`;
      this.counter(`reason_codes_${direction}`, help, ['type', 'code'], (set) => {
        for (const [type, number] of packetTypes) {
          const from = number * reasonCodes;
          setCodes(type, counts.subarray(from, from + reasonCodes), set);
        }
        if (direction === 'received') return;
        // These have a code for each filter.
        setCodes('suback', metrics.subscribed, set);
        setCodes('unsuback', metrics.unsubscribed, set);
      });
    }
  }

  private packets(direction: 'received' | 'sent', packetType: number): number {
    const { metrics } = this.core.context;
    const isPublish = direction === 'sent' && packetType === PacketType.publish;
    const from = packetType * reasonCodes;
    const counts = metrics[direction].subarray(from, from + reasonCodes);
    return counts.reduce((sum, count) => sum + count, isPublish ? metrics.publishesSent : 0);
  }

  private addGauges(): void {
    const { metrics, routes, records, timers } = this.core.context;
    const { loopDelay } = this;
    this.gauge('connections', 'Connections that are open.', () => metrics.connectionsOpen);
    this.gauge('incomplete_packet_bytes', 'Bytes of packets begun and not complete.', () => metrics.incompleteBytes);
    this.gauge('outbox_bytes', 'Unsent bytes of connections that are behind.', () => metrics.outboxBytes);
    const inMemory = 'Bytes that wait in memory for sessions without expiry.';
    this.gauge('queued_memory_bytes', inMemory, () => metrics.queuedBytesInMemory);
    this.gauge('sessions_connected', 'Sessions with a connection.', () => this.tally.connected);
    this.gauge('sessions_disconnected', 'Sessions without a connection.', () => this.tally.disconnected);
    this.gauge('queued_messages', 'Messages that wait for their sessions.', () => this.tally.queuedMessages);
    this.gauge('queued_bytes', 'Payload bytes of them, as far as known.', () => this.tally.queuedBytes);
    this.gauge('inflight_messages', 'QoS 1 and 2 messages in flight to clients.', () => this.tally.inflightMessages);
    const unreleased = 'QoS 2 messages of publishers that are not released.';
    this.gauge('unreleased_messages', unreleased, () => this.tally.unreleasedMessages);
    this.gauge('wills', 'Wills that are kept.', () => this.tally.wills);
    this.gauge('subscriptions', 'Subscriptions of all sessions.', () => routes.size);
    this.gauge('retained_messages', 'Retained messages.', () => this.core.retainedMessages);
    this.gauge(
      'large_fan_outs',
      'Messages that are being offered slice by slice.',
      () => this.core.largeFanOutsUnderWay,
    );
    const unwritten = 'Deliveries of large cohorts of which no record says yet that they were sent.';
    this.gauge('cohort_deliveries', unwritten, () => this.core.cohortDeliveries);
    const unrecorded = 'Messages sent from stored queues whose rows do not say so yet.';
    this.gauge('unrecorded_sends', unrecorded, () => this.core.unrecordedSends);
    const ending = 'Sessions that have ended and whose deliveries are still to be.';
    this.gauge('sessions_ending', ending, () => this.core.sessionsEnding);
    this.gauge('records', 'Records of tracked messages.', () => records.size);
    this.gauge('timers', 'Timers that are pending.', () => timers.size);
    this.gauge('event_loop_delay_p50_seconds', 'Median delay of the event loop since the last read.', () =>
      nanoseconds(loopDelay.percentile(50)),
    );
    this.gauge('event_loop_delay_p99_seconds', '99th percentile of it.', () => nanoseconds(loopDelay.percentile(99)));
    this.gauge('event_loop_delay_max_seconds', 'Longest delay since the last read.', () => {
      const longest = nanoseconds(loopDelay.max);
      loopDelay.reset();
      return longest;
    });
    this.gauge('resident_memory_bytes', 'Memory of the process.', () => process.memoryUsage.rss());
    this.gauge('heap_used_bytes', 'JavaScript objects of the process.', () => process.memoryUsage().heapUsed);
    this.counter('cpu_seconds', 'Processor time of the process.', [], (set) => {
      const { user, system } = process.cpuUsage();
      set({}, (user + system) / 1_000_000);
    });
  }

  private addStore(): void {
    const { store } = this.core.context.persistence;
    this.gauge('store_healthy', '1 while the store can record, else 0.', () => (store.healthy ? 1 : 0));
    this.gauge('store_uncommitted_writes', 'Writes that wait for the next commit.', () => store.uncommitted);
    this.gauge('store_commits_in_flight', 'Commits under way.', () => store.commitsInFlight);
    if (this.storeFacts() === null) return;
    const { gauge } = this;
    gauge.call(this, 'store_file_bytes', 'Size of the store.', () => this.facts?.fileBytes ?? 0);
    gauge.call(this, 'store_free_pages', 'Pages of it that hold nothing.', () => this.facts?.freePages ?? 0);
    gauge.call(this, 'store_page_bytes', 'Size of a page.', () => this.facts?.pageBytes ?? 0);
    this.counter('store_transactions', 'Transactions since the store was made.', [], (set) =>
      set({}, this.facts?.transactions ?? 0),
    );
  }

  private addDurations(): void {
    const { registry } = this;
    const measured = new MeasuredTurns();
    const add = (name: string, help: string, durations: Durations): void => {
      new DurationsMetric(registry, `countersign_${name}_seconds`, help, durations);
    };
    add('commit', 'From the end of a turn to its commit, one per turn.', measured.commit);
    const acknowledge =
      'From the first input of a turn to PUBACK or PUBREC where these waited for a commit, one per turn.';
    add('publish_to_acknowledge', acknowledge, measured.acknowledge);
    add('tracked_message', 'From a tracked message to its final tally.', measured.tracked);
    this.core.context.turns.watch = measured;
    this.core.onTrackedFinished = (durationMs) => measured.tracked.observe(Math.max(0, durationMs) / 1000);
  }

  private gauge(name: string, help: string, read: () => number): void {
    const collect = function (this: Gauge): void {
      this.set(read());
    };
    new Gauge({ name: `countersign_${name}`, help, registers: [this.registry], collect });
  }

  private counter(
    name: string,
    help: string,
    labelNames: readonly string[],
    read: (set: (labels: Record<string, string>, value: number) => void) => void,
  ): void {
    const collect = function (this: Counter): void {
      this.reset();
      read((labels, value) => this.inc(labels, value));
    };
    new Counter({ name: `countersign_${name}_total`, help, labelNames, registers: [this.registry], collect });
  }
}

/** Counts of packets of a type, or of filters in them, by reason code; but for 0x00. */
function setCodes(type: string, counts: Float64Array, set: (labels: Record<string, string>, value: number) => void) {
  for (let code = 1; code < reasonCodes; code++) {
    const count = counts[code] as number;
    if (count > 0) set({ type, code: `0x${code.toString(16).padStart(2, '0')}` }, count);
  }
}

function nanoseconds(value: number): number {
  return Number.isFinite(value) ? value / 1e9 : 0;
}
