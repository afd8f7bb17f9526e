import type { BrokerOptions } from '../../lib/config/schema.js';
import type { Facts } from './attacks.js';

/** What is done to a broker, and what must come of it. */
export interface Case {
  /** Of the attack. */
  readonly name: string;
  readonly title: string;
  /** How much of it: in `npm test` (0 for none), and in the long run. */
  readonly size: readonly [small: number, full: number];
  /** What the size counts. */
  readonly unit: string;
  /** Options of the broker in `npm test`, where limits are lower; the long run has the defaults. */
  readonly small: BrokerOptions;
  /** Most memory that the broker may have at any time of the long run, in MB. */
  readonly megabytes: number;
  /** Whether the broker asks for passwords. */
  readonly withPasswords?: boolean;
  /** What is wrong with the outcome; nothing if the limit was kept, by its policy, and its metric says so. */
  check(facts: Facts, metric: (name: string) => number, isLong: boolean): readonly string[];
}

const dropped = (cause: string): string => `messages_dropped_total{cause="${cause}"}`;

function expected(...claims: readonly (readonly [holds: boolean, claim: string])[]): string[] {
  return claims.filter(([holds]) => !holds).map(([, claim]) => claim);
}

/** All cases, quick ones first. */
export const cases: readonly Case[] = [
  {
    name: 'announced',
    title: 'packets that announce 256 MB, before and after CONNECT',
    ...{ size: [20, 2000], unit: 'connections', small: {}, megabytes: 250 },
    check: ({ announced, refused }, metric) =>
      expected(
        [refused === announced, 'each is refused at its header'],
        [metric('protocol_errors_total') === announced, 'and counted'],
      ),
  },
  {
    name: 'halfPackets',
    title: 'connections that send half a CONNECT of 60 kB',
    ...{ size: [50, 10_000], unit: 'connections', small: { maximumIncompleteBytes: 1_000_000 }, megabytes: 600 },
    check: (_facts, metric, isLong) =>
      expected(
        [metric('incomplete_packets_refused_total') > 0, 'some are closed, and counted'],
        [metric('incomplete_packet_bytes') <= (isLong ? 256 * 2 ** 20 : 1_000_000), 'the limit holds'],
      ),
  },
  {
    name: 'unfinished',
    title: 'connected clients that send all but the end of a packet of 2 MB',
    ...{ size: [10, 1000], unit: 'connections', small: { maximumIncompleteBytes: 10_000_000 }, megabytes: 700 },
    check: (_facts, metric, isLong) =>
      expected(
        [metric('incomplete_packets_refused_total') > 0, 'some are closed, and counted'],
        [metric('incomplete_packet_bytes') <= (isLong ? 256 * 2 ** 20 : 10_000_000), 'the limit holds'],
      ),
  },
  {
    name: 'filters',
    title: 'a client that subscribes to a million filters',
    ...{ size: [3000, 1_000_000], unit: 'filters', small: { maximumSubscriptionsPerSession: 1000 }, megabytes: 250 },
    check: ({ asked = 0, granted = 0, quotaExceeded = 0 }, metric, isLong) =>
      expected(
        [granted === (isLong ? 10_000 : 1000), 'as many as the limit are granted'],
        [quotaExceeded === asked - granted, 'the others get 0x97'],
        [metric('subscriptions') <= granted + 10, 'and are not kept'],
        [metric('subscriptions_refused_total') === quotaExceeded, 'and counted'],
      ),
  },
  {
    name: 'retained',
    title: 'a million retained topics, and more',
    ...{ size: [1200, 1_010_000], unit: 'topics', small: { maximumRetainedMessages: 1000 }, megabytes: 900 },
    check: ({ published = 0, refused = 0 }, metric, isLong) =>
      expected(
        [refused === published - (isLong ? 1_000_000 : 1000), 'what is above the limit is refused'],
        [metric('retained_messages') === published - refused, 'and not kept'],
        [metric('publishes_refused_total') === refused, 'and counted'],
      ),
  },
  {
    name: 'receipts',
    title: 'a publisher that never acknowledges its receipts',
    ...{ size: [2000, 300_000], unit: 'tracked messages', small: { receipts: { maxWaiting: 100 } }, megabytes: 600 },
    check: ({ published = 0, receipts = 0 }, metric, isLong) =>
      expected(
        [receipts <= 1024, 'no more are sent than may be in flight'],
        [metric('receipts_collapsed_total') > 0, 'the rest collapses into tallies'],
        [
          metric('queued_messages') <= published + (isLong ? 10_000 : 100),
          'so no more than one for each message waits',
        ],
      ),
  },
  {
    name: 'passwords',
    title: 'a flood of CONNECTs with wrong passwords',
    ...{ size: [0, 20], unit: 'seconds', small: {}, megabytes: 250, withPasswords: true },
    check: (_facts, metric) =>
      expected(
        [metric('authentications_failed_total') > 0, 'refusals are counted'],
        [metric('authentications_not_checked_total') > 0, 'most are not looked at'],
        [metric('sessions_connected') <= 2, 'none got in'],
      ),
  },
  {
    name: 'topics',
    title: 'topics of 65 535 bytes and 30 000 levels against 8192 filters that all match',
    ...{ size: [60, 9000], unit: 'messages', small: {}, megabytes: 900 },
    check: ({ published = 0, refused = 0 }, metric) =>
      expected(
        [refused === published / 3, 'a topic with too many levels is refused'],
        [metric('publishes_refused_total') === refused, 'and counted'],
      ),
  },
  {
    name: 'stalled',
    title: 'subscribers (QoS 0, transient, durable) that stop reading while 1 GB is published to each',
    ...{ size: [20, 1000], unit: 'MB', megabytes: 900 },
    small: { maximumOutboxBytes: 65_536, maximumQueuedBytes: 500_000 },
    check: (_facts, metric, isLong) =>
      expected(
        [metric(dropped('slow')) > 0, 'QoS 0 is dropped'],
        [metric(dropped('queue_full')) > 0, 'queues are bounded'],
        [metric('queued_bytes') <= 2 * (isLong ? 256 * 2 ** 20 : 500_000), 'by their bytes'],
      ),
  },
  {
    name: 'stalledMany',
    title: 'a thousand subscribers at QoS 0 that stop reading, 12 MB to each',
    ...{ size: [20, 1000], unit: 'connections', small: { maximumOutboxBytesTotal: 3_000_000 }, megabytes: 900 },
    check: (_facts, metric, isLong) =>
      expected(
        [metric(dropped('slow')) > 0, 'what does not fit is dropped'],
        [metric('outbox_bytes') <= (isLong ? 600 * 2 ** 20 : 8_000_000), 'and the rest is bounded'],
      ),
  },
  {
    name: 'unacknowledged',
    title: 'sessions that never acknowledge what they are sent, 3 MB to each',
    // Most of it is garbage: V8 lets the heap grow to some three times what is alive before it collects.
    ...{ size: [20, 1000], unit: 'sessions', small: { maximumQueuedBytesInMemory: 1_000_000 }, megabytes: 1100 },
    check: ({ published = 0, arrived = 0 }, metric, isLong) =>
      expected(
        [
          metric('inflight_messages') <= 1024 * (isLong ? 1000 : 20),
          'no more are in flight than the window has room for',
        ],
        [metric('inflight_messages') >= arrived && arrived < published * 1000, 'so no more arrive'],
        [metric(dropped('queue_full')) > 0, 'what waits is bounded'],
        [metric('queued_memory_bytes') <= (isLong ? 513 * 2 ** 20 : 1_002_000), 'in memory too'],
      ),
  },
];
