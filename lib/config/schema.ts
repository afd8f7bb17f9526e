import { z } from 'zod';
import { CountersignError } from '../base/errors.js';
import { sessionNeverExpires, uint16Max, variableByteIntegerMax } from '../spec/limits.js';
import { isPlainFilter } from '../topic/names.js';
import { accessOptions } from './access-options.js';
import { listFacts, type OptionFacts } from './facts.js';
import { listenerSchema } from './listener-options.js';
import { operationOptions } from './operation-options.js';
import { describeProblems, type Spell } from './problems.js';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
const day = 86_400;
/** Longest duration that an option may name: a hundred years, so that milliseconds since the epoch stay exact. */
const longestSeconds = 36_500 * day;

/** A fixed header with its length in four bytes: the largest packet that MQTT can express has this much more. */
const fixedHeaderMax = 5;

const whole = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER) => z.int().min(minimum).max(maximum);
const seconds = (minimum: number, maximum: number = longestSeconds) => z.number().min(minimum).max(maximum);

/** True for a filter of messages that clients can publish. */
function isTrackable(filter: string): boolean {
  return isPlainFilter(filter) && !/^\$(share|SYS|receipts)(\/|$)/.test(filter);
}

const receiptsSchema = z
  .strictObject({
    enabled: z.boolean().default(true).describe('Whether publishers can ask for delivery receipts.'),
    retention: whole(0, longestSeconds)
      .default(day)
      .describe('How long a record is kept after its final tally, in seconds.'),
    maxPending: whole(1, longestSeconds)
      .default(30 * day)
      .describe('How long a delivery may be without an outcome before it ends as lost, in seconds.'),
    maxRecords: whole(1)
      .default(10_000_000)
      .describe('How many records the store keeps; the oldest finished ones go first.'),
    maxRecordsPerPublisher: whole(1)
      .optional()
      .describe('How many records one publisher may have; a tenth of receipts.maxRecords where not given.'),
    maxWaiting: whole(1)
      .default(10_000)
      .describe('How many receipts wait for one absent publisher before they collapse into tallies.'),
    replay: whole(0)
      .default(1000)
      .describe(
        'How many of the newest messages a subscription with a wildcard for the id is served from the records.',
      ),
    maxHold: whole(1, longestSeconds)
      .default(300)
      .describe('Longest deadline of an end-to-end acknowledgement (receipt-hold), in seconds.'),
    access: z
      .enum(['none', 'tally', 'own', 'all'])
      .default('own')
      .describe('What clients see of receipts where no access file says otherwise.'),
  })
  .transform((receipts) => ({
    ...receipts,
    maxRecordsPerPublisher: receipts.maxRecordsPerPublisher ?? Math.max(1, Math.floor(receipts.maxRecords / 10)),
  }));

const trackingRuleSchema = z.strictObject({
  filter: z
    .string()
    .min(1)
    .refine(
      isTrackable,
      'a topic filter has + and # as whole levels, # only at the end, and is not of $share/, $SYS/ or $receipts/',
    )
    .describe('Topic filter of the messages to track.'),
  receipt: z.enum(['delivered', 'processed']).describe('The state that counts as success.'),
  force: z.boolean().default(false).describe("Whether the rule wins over the publisher's own request."),
});

/** Every option of a broker: its type, bounds, default and description, from which documentation is generated. */
export const optionsSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address or host name to listen on.'),
  port: whole(0, uint16Max).default(1883).describe('TCP port to listen on; 0 takes a free one.'),
  listeners: z
    .array(listenerSchema)
    .default([])
    .describe('Where to listen and for what; where the list is empty, host and port are one TCP listener.'),
  data: z.string().min(1).default('./countersign-data').describe('Directory of the durable store.'),
  memory: z.boolean().default(false).describe('Keep everything in memory only: nothing survives the process.'),
  durability: z
    .enum(['flushed', 'committed'])
    .default('flushed')
    .describe('When to acknowledge: flushed to disk (survives power loss) or committed (survives kill -9).'),
  logLevel: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('Least severe log lines to write.'),

  ...operationOptions,
  ...accessOptions,

  maximumConnections: whole(1).default(100_000).describe('How many connections may be open; more are refused.'),
  maximumSessions: whole(1).default(1_000_000).describe('How many sessions may exist, connected or not.'),
  connectTimeout: seconds(0.1, 3600).default(10).describe('How long a connection may wait with CONNECT, in seconds.'),
  maximumKeepAlive: whole(1, uint16Max)
    .default(uint16Max)
    .describe('Longest keep alive a client may have, in seconds; 65535 imposes none.'),
  maximumSessionExpiry: whole(0, sessionNeverExpires)
    .default(sessionNeverExpires)
    .describe('Longest session expiry interval a client gets, in seconds; 4294967295 lets sessions live for ever.'),
  allowEmptyClientId: z
    .boolean()
    .default(true)
    .describe('Whether a client may leave its client identifier to the broker.'),
  maximumClientIdLength: whole(23, uint16Max).default(kibibyte).describe('Longest client identifier, in bytes.'),

  maximumPacketSize: whole(64, variableByteIntegerMax + fixedHeaderMax)
    .default(2 * mebibyte)
    .describe('Largest packet the broker accepts, in bytes.'),
  maximumMessageSize: whole(0, variableByteIntegerMax)
    .default(0)
    .describe('Largest payload of a message that clients may publish, in bytes; 0 for no bound but the packet size.'),
  maximumQos: z.literal([0, 1, 2]).default(2).describe('Highest QoS that a client may publish at or is granted.'),
  receiveMaximum: whole(1, uint16Max)
    .default(1024)
    .describe('How many QoS 1 and 2 messages a client may have in flight to the broker.'),
  maximumInflightMessages: whole(1, uint16Max)
    .default(1024)
    .describe("How many QoS 1 and 2 messages are in flight to a client; caps the client's Receive Maximum."),
  maximumInflightBytes: whole(0)
    .default(0)
    .describe('How many bytes of QoS 1 and 2 messages are in flight to a client; 0 for no bound. The rest waits.'),
  maximumQueuedMessages: whole(0)
    .default(100_000)
    .describe('How many messages wait for one session; 0 for no bound. More are dropped.'),
  maximumQueuedBytes: whole(0)
    .default(256 * mebibyte)
    .describe('How many bytes of messages wait for one session; 0 for no bound. More are dropped.'),
  maximumQueuedBytesInMemory: whole(0)
    .default(512 * mebibyte)
    .describe('How many bytes wait in memory for all sessions without expiry; 0 for no bound. More are dropped.'),
  queueQos0Messages: z
    .boolean()
    .default(false)
    .describe('Whether QoS 0 messages are queued for sessions that are not connected.'),
  upgradeOutgoingQos: z
    .boolean()
    .default(false)
    .describe('Whether messages go out at the QoS of the subscription, even if they were published at a lower one.'),
  maximumOutboxBytes: whole(4 * kibibyte)
    .default(16 * mebibyte)
    .describe('Unsent bytes of one connection, past which QoS 0 messages are dropped and others wait.'),
  maximumOutboxBytesTotal: whole(64 * kibibyte)
    .default(512 * mebibyte)
    .describe('Unsent bytes of all connections that are behind, past which each of them counts as slow.'),
  maximumIncompleteBytes: whole(64 * kibibyte)
    .default(256 * mebibyte)
    .describe('Bytes of packets begun and not complete, over all connections; past it those with the most are closed.'),
  topicAliasMaximum: whole(0, uint16Max).default(32).describe('How many topic aliases a client may set; 0 for none.'),
  outboundTopicAliasMaximum: whole(0, uint16Max)
    .default(32)
    .describe('How many topic aliases the broker sets towards a client that accepts them; 0 for none.'),

  maximumTopicLevels: whole(1, uint16Max).default(200).describe('How many levels a topic name or filter may have.'),
  maximumSubscriptionsPerSession: whole(1).default(10_000).describe('How many subscriptions one session may have.'),
  maximumSubscriptionBytesPerSession: whole(1)
    .default(4 * mebibyte)
    .describe('How many bytes the topic filters of one session may have together.'),
  maximumRetainedTopicBytes: whole(0)
    .default(256 * mebibyte)
    .describe('How many bytes the topics of all retained messages may have, which are in memory; 0 for no bound.'),
  maximumRetainedMessages: whole(0).default(1_000_000).describe('How many retained messages are kept; 0 for no bound.'),
  retainAvailable: z.boolean().default(true).describe('Whether clients may publish retained messages.'),
  wildcardSubscriptionAvailable: z.boolean().default(true).describe('Whether filters may have wildcards.'),
  sharedSubscriptionAvailable: z.boolean().default(true).describe('Whether clients may share subscriptions.'),
  subscriptionIdentifiersAvailable: z.boolean().default(true).describe('Whether subscriptions may have identifiers.'),
  noMatchingSubscribers: z
    .boolean()
    .default(false)
    .describe('Answer a message that nobody subscribes to with reason code 0x10, even if no receipt was asked for.'),

  responseTopicPrefix: z
    .string()
    .min(1)
    .optional()
    .describe('Start of the Response Information that clients may ask for; their identifier follows.'),
  redirect: z
    .strictObject({
      to: z.string().min(1).describe('Server reference, such as other.example:1883.'),
      permanent: z.boolean().default(false).describe('Whether clients should go there from now on.'),
    })
    .optional()
    .describe('Where all clients are sent instead of being accepted.'),

  sysInterval: seconds(0, day)
    .default(10)
    .describe('Time between publications of $SYS topics, in seconds; 0 for none.'),
  nodeNumber: whole(0, 1023).default(0).describe('Number of this broker in its deployment, part of receipt ids.'),
  receipts: receiptsSchema.prefault({}).describe('Delivery receipts.'),
  tracking: z
    .array(trackingRuleSchema)
    .default([])
    .describe('Rules that track messages by topic, for publishers that do not ask for receipts themselves.'),
});

/** Options as an embedder or a configuration file gives them: all optional. */
export type BrokerOptions = z.input<typeof optionsSchema>;
/** Options as the broker uses them: checked, every default filled in. */
export type Settings = z.output<typeof optionsSchema>;
/** One place to listen at. */
export type ListenerSettings = Settings['listeners'][number];
/** A rule that tracks messages by topic. */
export type TrackingRule = Settings['tracking'][number];

/**
 * Checks options and fills in the defaults.
 *
 * @param input what was given; nothing about it is assumed
 * @param source where it comes from, put before each problem, such as a file's name; may be empty
 * @param spell how a key's path, such as `receipts.retention`, is written there
 * @throws CountersignError `ERR_COUNTERSIGN_CONFIG`, one line per problem: the key, what was given, what is allowed
 */
export function parseOptions(input: unknown, source: string, spell: Spell = asIs): Settings {
  const result = optionsSchema.safeParse(input, { reportInput: true });
  if (result.success) return result.data;
  const lines = describeProblems(result.error.issues, optionFacts(), spell);
  const prefix = source === '' ? '' : `${source}: `;
  throw new CountersignError('ERR_COUNTERSIGN_CONFIG', lines.map((line) => prefix + line).join('\n'));
}

const asIs: Spell = (path) => path;

let facts: readonly OptionFacts[] | undefined;

/** Every option by its path, in the order of the schema, groups before their members. */
export function optionFacts(): readonly OptionFacts[] {
  facts ??= listFacts(optionsJsonSchema());
  return facts;
}

/** The schema of options as a JSON Schema (draft 2020-12), for editors and for everything that lists the options. */
export function optionsJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(optionsSchema, { io: 'input' });
}
