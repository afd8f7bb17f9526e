import { CountersignError } from '../base/errors.js';
import { encodeForwardedProperties } from '../codec/forwarded-properties.js';
import { ownerKeyOf } from '../receipts/identities.js';
import { ackTopic, isReceiptsTopic, serverSegment } from '../receipts/names.js';
import type { Owner } from '../receipts/record.js';
import { parseRequest, type Requested } from '../receipts/request.js';
import type { TrackedMessage } from '../receipts/tracked-message.js';
import { uint16Max } from '../spec/limits.js';
import type { QoS } from '../spec/packet-types.js';
import { countLevels, isTopicName } from '../topic/names.js';
import type { Context } from './context.js';
import type { OnPublish } from './on-publish.js';
import type { Retained } from './retained.js';
import type { ServerReceipts } from './server-receipts.js';
import { applyRules, type Tracking } from './tracking.js';

/** Properties of a message as MQTT 5 has them; all optional. */
export interface PublishProperties {
  readonly contentType?: string;
  readonly responseTopic?: string;
  /** At most 65 535 bytes. */
  readonly correlationData?: string | Uint8Array;
  /** 1 if the payload is UTF-8 text. */
  readonly payloadFormat?: 0 | 1;
  /** Seconds for which the message may wait for a recipient. */
  readonly messageExpiryInterval?: number;
  /** Pairs, or names with one or more values each. */
  readonly userProperties?:
    | Readonly<Record<string, string | readonly string[]>>
    | readonly (readonly [string, string])[];
}

/** A message of the embedding program. */
export interface PublishRequest {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  /** Highest QoS at which subscribers get it; 1 where not given. */
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: PublishProperties;
  /** The state that counts as success, which tracks the message; `none` keeps a rule from tracking it. */
  readonly receipt?: Requested | 'none';
  /** Seconds after which a tally tells what is still pending, from 1 to 2 592 000; needs `receipt`. */
  readonly deadline?: number;
}

/** A message that asks for receipts. */
export interface TrackedPublishRequest extends PublishRequest {
  readonly receipt: Requested;
}

/** What became of a message whose receipts were not asked for. */
export interface Published {
  /** Id of its record if a rule tracks it, else null. */
  readonly id: string | null;
  /** How many recipients it had. */
  readonly matched: number;
}

const server: Owner = { clientId: serverSegment, userName: null, byServer: true };
const longestExpirySeconds = 0xffffffff;
/** Bytes of a PUBLISH besides topic, properties and payload, at most: header, lengths, packet identifier, expiry. */
const overheadBytes = 5 + 2 + 2 + 4 + 5;

/** A request that was checked, in wire form. */
interface Checked {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly properties: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly expirySeconds: number;
  readonly tracking: Tracking | null;
}

/** Publishes messages of the embedding program, which is the publisher `$server`. */
export class ServerPublish {
  private readonly context: Context;
  private readonly onPublish: OnPublish;
  private readonly retained: Retained;
  private readonly receipts: ServerReceipts;
  /** Publishes whose commit is under way. */
  private readonly uncommitted = new Set<(error: CountersignError) => void>();

  constructor(context: Context, onPublish: OnPublish, retained: Retained, receipts: ServerReceipts) {
    this.context = context;
    this.onPublish = onPublish;
    this.retained = retained;
    this.receipts = receipts;
  }

  /**
   * Publishes a message.
   * @returns once it is committed; what follows its receipts if they were asked for
   * @throws CountersignError ERR_COUNTERSIGN_PUBLISH if something about it is not allowed, ERR_COUNTERSIGN_STORE if it
   * cannot be recorded
   */
  publish(request: PublishRequest): Promise<Published | TrackedMessage> {
    const { turns, sequences, clock } = this.context;
    const { tracking, expirySeconds, ...message } = this.check(request);
    turns.begin();
    const sequence = sequences.next();
    const stream = tracking?.asked ? this.receipts.follow(sequence, tracking.requested) : null;
    const expiryAtMs = expirySeconds === 0 ? 0 : clock.now() + expirySeconds * 1000;
    const answer = this.onPublish.publishMessage(
      { ...message, sequence, expiryAtMs, publisherId: serverSegment, tracked: tracking !== null },
      server,
      null,
      tracking,
    );
    const { matched } = answer;
    if (stream !== null) stream.matched = matched;
    const id = tracking === null ? null : this.context.tracker.id(sequence);
    return this.committed(stream ?? { id, matched });
  }

  /** The broker has stopped: what is not committed never will be. */
  close(error: CountersignError): void {
    for (const reject of this.uncommitted) reject(error);
    this.uncommitted.clear();
  }

  private committed<Result>(result: Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.uncommitted.add(reject);
      this.context.turns.afterCommit(() => {
        this.uncommitted.delete(reject);
        resolve(result);
      });
    });
  }

  private check(request: PublishRequest): Checked {
    const { settings, persistence } = this.context;
    const { topic: topicName, qos = 1, retain = false, properties = {} } = request;
    this.checkTopic(topicName);
    if (qos !== 0 && qos !== 1 && qos !== 2) throw wrong(`qos is ${String(qos)}: it must be 0, 1 or 2`);
    if (retain && !settings.retainAvailable) throw wrong('retain: retainAvailable is off in this broker');
    if (retain && !this.retained.hasRoomFor(topicName)) throw wrong('the broker keeps no more retained messages');
    const userProperties = [...this.requestProperties(request), ...pairsOf(properties.userProperties)];
    const encoded = encodeProperties(properties, userProperties);
    const tracking = this.trackingOf(topicName, qos, properties, userProperties);
    if ((qos > 0 || tracking !== null) && !persistence.healthy) {
      throw new CountersignError('ERR_COUNTERSIGN_STORE', 'the store can not record messages now: try again later');
    }
    const expirySeconds = properties.messageExpiryInterval ?? 0;
    if (!Number.isInteger(expirySeconds) || expirySeconds < 0 || expirySeconds > longestExpirySeconds) {
      throw wrong('messageExpiryInterval must be whole seconds');
    }
    const payload = Buffer.from(request.payload as Uint8Array);
    const size = overheadBytes + Buffer.byteLength(topicName) + encoded.length + payload.length;
    if (size > settings.maximumPacketSize) {
      throw wrong(`the packet would have ${size} bytes: maximumPacketSize is ${settings.maximumPacketSize}`);
    }
    return { topicName, payload, properties: encoded, qos, retain, expirySeconds, tracking };
  }

  private checkTopic(topicName: string): void {
    const { settings } = this.context;
    if (!isTopicName(topicName) || /\p{Surrogate}/u.test(topicName)) {
      throw wrong('topic must be a topic name: not empty, without wildcards, at most 65535 bytes');
    }
    if (countLevels(topicName) > settings.maximumTopicLevels) {
      throw wrong(`a topic name may have ${settings.maximumTopicLevels} levels`);
    }
    const isReserved = (settings.receipts.enabled && isReceiptsTopic(topicName)) || topicName.startsWith('$SYS/');
    if (isReserved) throw wrong(`${topicName} is published by the broker itself`);
  }

  /** The request for receipts, as user properties like those of any other publisher. */
  private requestProperties({ receipt, deadline }: PublishRequest): [string, string][] {
    if (receipt === undefined && deadline === undefined) return [];
    if (!this.context.settings.receipts.enabled) throw wrong('receipt: receipts.enabled is off in this broker');
    const pairs: [string, string][] = receipt === undefined ? [] : [['receipt', String(receipt)]];
    if (deadline !== undefined) pairs.push(['receipt-deadline', String(deadline)]);
    return pairs;
  }

  private trackingOf(
    topicName: string,
    qos: QoS,
    { responseTopic }: PublishProperties,
    pairs: readonly [string, string][],
  ): Tracking | null {
    const { settings, housekeeping, metrics } = this.context;
    if (!settings.receipts.enabled) return null;
    const request = parseRequest(pairs, qos, false);
    const decided = typeof request === 'string' ? request : applyRules(this.context, request, topicName);
    if (typeof decided === 'string') throw wrong(decided);
    if (decided === null) return null;
    if (decided.hold) throw wrong('receipt-hold is for clients: await the tally instead');
    if (responseTopic?.startsWith(`${ackTopic}/`) && responseTopic !== `${ackTopic}/${serverSegment}`) {
      throw wrong(`a response topic under ${ackTopic}/ must be ${ackTopic}/${serverSegment}`);
    }
    if (housekeeping.makeRoom(ownerKeyOf(server))) return decided;
    if (decided.asked) {
      throw new CountersignError('ERR_COUNTERSIGN_STORE', 'the broker keeps no more records of tracked messages');
    }
    metrics.untrackedForWantOfRecords++;
    return null;
  }
}

function wrong(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_PUBLISH', message);
}

function pairsOf(given: PublishProperties['userProperties']): [string, string][] {
  if (given === undefined) return [];
  if (isPairs(given)) return given.map(([name, value]) => [name, value]);
  return Object.entries(given).flatMap(([name, values]) =>
    (typeof values === 'string' ? [values] : values).map((value): [string, string] => [name, value]),
  );
}

function isPairs(
  given: NonNullable<PublishProperties['userProperties']>,
): given is readonly (readonly [string, string])[] {
  return Array.isArray(given);
}

function encodeProperties(given: PublishProperties, userProperties: readonly [string, string][]): Buffer {
  const { payloadFormat = null, contentType = null, responseTopic = null, correlationData } = given;
  if (payloadFormat !== null && payloadFormat !== 0 && payloadFormat !== 1) throw wrong('payloadFormat must be 0 or 1');
  if (contentType !== null) checkText('contentType', contentType);
  if (responseTopic !== null && !isTopicName(responseTopic)) throw wrong('responseTopic must be a topic name');
  for (const [name, value] of userProperties) {
    checkText('the name of a user property', name);
    checkText(`user property ${name}`, value);
  }
  const bytes = correlationData === undefined ? null : Buffer.from(correlationData as Uint8Array);
  if (bytes !== null && bytes.length > uint16Max) throw wrong(`correlationData may have ${uint16Max} bytes`);
  return encodeForwardedProperties({
    payloadFormat,
    contentType,
    responseTopic,
    correlationData: bytes,
    userProperties,
  });
}

/** [MQTT-1.5.4-1] [MQTT-1.5.4-2] */
function checkText(what: string, text: unknown): void {
  if (typeof text !== 'string') throw wrong(`${what} must be a string`);
  if (text.includes('\0') || /\p{Surrogate}/u.test(text)) throw wrong(`${what} must be well-formed, without U+0000`);
  if (Buffer.byteLength(text) > uint16Max) throw wrong(`${what} may have ${uint16Max} bytes`);
}
