import { CountersignError } from './base/errors.js';
import { FollowedMessage } from './client/followed-message.js';
import {
  type MqttClientLike,
  type PublishPacketProperties,
  type ReceivedMessage,
  type ReceivedPacket,
  type UserProperties,
  userProperty,
} from './client/mqtt-client.js';
import { OwnSubscription, ownTopics } from './client/own-subscription.js';
import { isTally, type Receipt, type Tally } from './receipts/packets.js';
import { parseReceiptId, receiptId } from './receipts/receipt-id.js';
import { ReceiptStream, type TrackedMessage } from './receipts/tracked-message.js';

export { CountersignError } from './base/errors.js';
export type { MqttClientLike, ReceivedMessage, UserProperties } from './client/mqtt-client.js';
export type { Cause } from './receipts/causes.js';
export type { DeliveryStateName, Receipt, Tally, TallyFailure } from './receipts/packets.js';
export { isTally, succeeded } from './receipts/packets.js';
export type { TrackedMessage } from './receipts/tracked-message.js';

/** How to publish a tracked message. */
export interface TrackedPublishOptions {
  /** 1 where not given. At 0 a publish resolves with the first tally, as there is no PUBACK. */
  readonly qos?: 0 | 1 | 2;
  readonly retain?: boolean;
  /** The state that counts as success; `delivered` where not given. */
  readonly receipt?: 'delivered' | 'processed';
  /** Seconds after which a tally tells what is still pending, from 1 to 2 592 000. */
  readonly deadline?: number;
  /** End-to-end acknowledgement, at QoS 1: `publish` resolves once the message succeeded and rejects if it did not. */
  readonly hold?: boolean;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: string | Uint8Array;
  /** 1 if the payload is UTF-8 text. */
  readonly payloadFormat?: 0 | 1;
  /** Seconds for which the message may wait for a recipient. */
  readonly messageExpiryInterval?: number;
  readonly userProperties?: UserProperties;
}

/** Receipts over one MQTT.js client. */
export interface Receipts {
  /**
   * Publishes a tracked message.
   * @returns once the broker has it: its receipts
   * @throws CountersignError ERR_COUNTERSIGN_REFUSED if the broker refuses it, ERR_COUNTERSIGN_UNTRACKED if it took it
   * without tracking it; NotDeliveredError for one with `hold` that did not succeed
   */
  publish(topic: string, payload: string | Uint8Array, options?: TrackedPublishOptions): Promise<TrackedMessage>;
  /**
   * For subscribers: tells the publisher of a message that the application has processed it, or could not.
   * @param packet the message as MQTT.js' `message` event gives it
   * @param answer goes into the receipt, up to 4 KiB of it
   * @returns true if it was taken, false if the broker knows of nothing that waits for it
   */
  acknowledge(packet: ReceivedMessage, answer?: string | Uint8Array, status?: 'ok' | 'error'): Promise<boolean>;
  /** Ends the subscription to receipts; the MQTT client stays connected. Tallies that have not come reject. */
  close(): Promise<void>;
}

/** A message with `hold` did not reach everyone by its deadline. `tracked` goes on telling about it. */
export class NotDeliveredError extends CountersignError {
  readonly tracked: TrackedMessage;

  constructor(reason: string, tracked: TrackedMessage) {
    super('ERR_COUNTERSIGN_NOT_DELIVERED', reason);
    this.name = 'NotDeliveredError';
    this.tracked = tracked;
  }
}

/**
 * Adds receipts to an MQTT.js client that is connected with `protocolVersion: 5`. Call it once per client.
 *
 * ```ts
 * const receipts = withReceipts(mqttClient);
 * const tracked = await receipts.publish('cmd/7', 'reboot', { receipt: 'delivered' });
 * for await (const { to, state } of tracked) console.log(to, state);
 * const { delivered, failed } = await tracked.tally;
 * ```
 *
 * The first publish subscribes to `$receipts/~/#`, so receipts come by as `message` events of the client too. After a
 * reconnect without a session the broker's records are asked for what was missed.
 */
export function withReceipts(client: MqttClientLike): Receipts {
  return new ReceiptsClient(client);
}

/** Receipts that wait for the PUBACK that tells whose they are; past it those of the oldest message go. */
const earlyMax = 10_000;
/** How long a publish whose PUBACK cannot tell its id waits for the first tally. */
const firstTallyWaitMs = 30_000;

/** A publish that the broker has not answered. */
interface Outstanding {
  readonly topic: string;
  readonly requested: 'delivered' | 'processed';
  /** Hex of the Correlation Data by which the first tally is known; null if PUBACK tells the id. */
  readonly correlation: string | null;
  readonly resolve: (tracked: TrackedMessage) => void;
  readonly reject: (error: Error) => void;
  timer: NodeJS.Timeout | null;
}

interface EarlyPacket {
  readonly packet: Receipt | Tally;
  readonly dup: boolean;
}

class ReceiptsClient implements Receipts {
  private readonly client: MqttClientLike;
  private readonly followed = new Map<string, FollowedMessage>();
  private readonly outstanding = new Set<Outstanding>();
  /** Receipts that came before their message's PUBACK, by id. */
  private readonly early = new Map<string, EarlyPacket[]>();
  private earlyCount = 0;
  /** PUBACK and PUBREC by packet identifier, from their arrival to MQTT.js' callback. */
  private readonly answers = new Map<number, ReceivedPacket>();
  private callsOpen = 0;
  private readonly subscription: OwnSubscription;
  private lastId: string | null = null;
  private closed = false;

  constructor(client: MqttClientLike) {
    this.client = client;
    this.subscription = new OwnSubscription(client);
    client.on('packetreceive', this.onPacket);
    client.on('message', this.onMessage);
    client.on('connect', this.onConnect);
    client.on('close', this.onClose);
    client.on('end', this.onEnd);
  }

  async publish(
    topic: string,
    payload: string | Uint8Array,
    options: TrackedPublishOptions = {},
  ): Promise<TrackedMessage> {
    if (this.client.options.protocolVersion !== 5) {
      throw new CountersignError('ERR_COUNTERSIGN_CLIENT', 'receipts need MQTT 5: connect with protocolVersion: 5');
    }
    this.checkOpen();
    await this.subscription.ready();
    const { qos = 1, retain = false, receipt = 'delivered' } = options;
    const properties = this.propertiesOf(options, qos);
    const { correlationData } = properties;
    const correlation = this.answersTellId(qos) ? null : (correlationData?.toString('hex') ?? null);
    return new Promise((resolve, reject) => {
      const publish: Outstanding = { topic, requested: receipt, correlation, resolve, reject, timer: null };
      this.outstanding.add(publish);
      this.send(topic, payload, { qos, retain, properties }, (error, answer) => this.onAnswer(publish, error, answer));
    });
  }

  async acknowledge(
    { properties }: ReceivedMessage,
    answer: string | Uint8Array = '',
    status: 'ok' | 'error' = 'ok',
  ): Promise<boolean> {
    this.checkOpen();
    const id = userProperty(properties?.userProperties, 'receipt-id');
    const { responseTopic, correlationData } = properties ?? {};
    const userProperties: Record<string, string> = { status };
    if (id !== undefined) userProperties['receipt-id'] = id;
    const byCorrelation = id === undefined && responseTopic?.startsWith('$receipts/ack/') && correlationData;
    if (id === undefined && !byCorrelation) {
      throw new CountersignError('ERR_COUNTERSIGN_UNTRACKED', 'the message is not tracked: nobody waits for an answer');
    }
    const topic = id === undefined && responseTopic !== undefined ? responseTopic : '$receipts/ack';
    const packet = byCorrelation
      ? { userProperties, correlationData: Buffer.from(correlationData) }
      : { userProperties };
    return new Promise((resolve, reject) => {
      this.send(topic, answer, { qos: 1, retain: false, properties: packet }, (error, puback) => {
        if (error !== null) reject(refusal(error, puback));
        else resolve(puback !== null && (puback.reasonCode ?? 0) === 0);
      });
    });
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const { client } = this;
    client.removeListener('packetreceive', this.onPacket);
    client.removeListener('message', this.onMessage);
    client.removeListener('connect', this.onConnect);
    client.removeListener('close', this.onClose);
    client.removeListener('end', this.onEnd);
    const ended = this.subscription.end();
    this.fail(new CountersignError('ERR_COUNTERSIGN_CLOSED', 'receipts are no longer followed: close() was called'));
    await ended;
  }

  private checkOpen(): void {
    if (this.closed) throw new CountersignError('ERR_COUNTERSIGN_CLOSED', 'close() was called');
  }

  /** False if PUBACK may come without properties, or does not come: then the first tally tells the id. */
  private answersTellId(qos: 0 | 1 | 2): boolean {
    const { requestProblemInformation, maximumPacketSize } = this.client.options.properties ?? {};
    return qos > 0 && requestProblemInformation !== false && maximumPacketSize === undefined;
  }

  private propertiesOf(options: TrackedPublishOptions, qos: 0 | 1 | 2): PublishPacketProperties {
    const { receipt = 'delivered', deadline, hold, contentType, responseTopic, payloadFormat } = options;
    const userProperties: Record<string, string | string[]> = { receipt };
    if (deadline !== undefined) userProperties['receipt-deadline'] = String(deadline);
    if (hold) userProperties['receipt-hold'] = 'true';
    for (const [name, value] of Object.entries(options.userProperties ?? {})) {
      userProperties[name] = typeof value === 'string' ? value : [...value];
    }
    const properties: PublishPacketProperties = { userProperties };
    if (contentType !== undefined) properties.contentType = contentType;
    if (responseTopic !== undefined) properties.responseTopic = responseTopic;
    if (payloadFormat !== undefined) properties.payloadFormatIndicator = payloadFormat === 1;
    if (options.messageExpiryInterval !== undefined) properties.messageExpiryInterval = options.messageExpiryInterval;
    if (options.correlationData !== undefined) properties.correlationData = bufferOf(options.correlationData);
    else if (!this.answersTellId(qos)) properties.correlationData = Buffer.from(crypto.randomUUID());
    return properties;
  }

  /** Publishes, and finds the PUBACK or PUBREC that answers: MQTT.js tells it only in `packetreceive`. */
  private send(
    topic: string,
    payload: string | Uint8Array,
    options: { qos: 0 | 1 | 2; retain: boolean; properties: PublishPacketProperties },
    done: (error: Error | null, answer: ReceivedPacket | null) => void,
  ): void {
    this.callsOpen++;
    const bytes = typeof payload === 'string' ? payload : bufferOf(payload);
    this.client.publish(topic, bytes, options, (error, packet) => {
      const messageId = packet?.messageId ?? 0;
      const answer = this.answers.get(messageId) ?? null;
      this.answers.delete(messageId);
      // What is left belongs to publishes that others made over the same client.
      if (--this.callsOpen === 0) this.answers.clear();
      done(error ?? null, answer);
    });
  }

  private onAnswer(publish: Outstanding, error: Error | null, answer: ReceivedPacket | null): void {
    if (!this.outstanding.has(publish)) return;
    const properties = answer?.properties?.userProperties;
    const id = userProperty(properties, 'receipt-id');
    if (id !== undefined) {
      const stream = this.follow(publish, id, Number(userProperty(properties, 'receipt-matched')));
      if (error === null) publish.resolve(stream);
      else publish.reject(new NotDeliveredError(answer?.properties?.reasonString ?? error.message, stream));
    } else if (error !== null) {
      this.forget(publish);
      publish.reject(refusal(error, answer));
    } else if (publish.correlation !== null) {
      publish.timer = setTimeout(() => this.giveUp(publish), firstTallyWaitMs);
    } else {
      this.giveUp(publish);
    }
  }

  private giveUp(publish: Outstanding): void {
    this.forget(publish);
    const message = 'the broker took the message without tracking it: it has receipts switched off, or has none';
    publish.reject(new CountersignError('ERR_COUNTERSIGN_UNTRACKED', message));
  }

  private forget(publish: Outstanding): void {
    if (publish.timer !== null) clearTimeout(publish.timer);
    this.outstanding.delete(publish);
    if (this.outstanding.size > 0) return;
    this.early.clear();
    this.earlyCount = 0;
  }

  /** The broker has named the message: what came before goes to it. */
  private follow(publish: Outstanding, id: string, matched: number): ReceiptStream {
    const stream = new ReceiptStream(id, publish.requested, () => this.followed.delete(id));
    stream.matched = matched;
    const message = new FollowedMessage(stream);
    const early = this.early.get(id) ?? [];
    this.early.delete(id);
    this.earlyCount -= early.length;
    this.lastId = id;
    this.followed.set(id, message);
    for (const { packet, dup } of early) message.take(packet, false, dup);
    if (stream.isEnded) this.followed.delete(id);
    this.forget(publish);
    return stream;
  }

  private readonly onPacket = (packet: ReceivedPacket): void => {
    const { cmd, messageId = 0 } = packet;
    if ((cmd === 'puback' || cmd === 'pubrec') && this.callsOpen > 0) this.answers.set(messageId, packet);
    this.subscription.look(packet);
  };

  /** Without the session that it had, the client asks the records for what it missed. */
  private readonly onConnect = (): void => {
    if (!this.subscription.mustResume) return;
    for (const message of this.followed.values()) message.replayBegins();
    const [oldest = null] = [...this.followed.keys()].sort();
    this.subscription
      .resume(oldest === null ? this.lastId : idBefore(oldest))
      .catch((error: CountersignError) => this.fail(error));
  };

  private readonly onClose = (): void => {
    // MQTT.js reconnects by itself, unless it was told not to.
    if (this.client.options.reconnectPeriod === 0) this.onEnd();
  };

  private readonly onEnd = (): void => {
    this.fail(new CountersignError('ERR_COUNTERSIGN_CLOSED', 'the connection to the broker has ended'));
  };

  private readonly onMessage = (topic: string, payload: Buffer, message: ReceivedMessage): void => {
    if (!topic.startsWith(ownTopics)) return;
    const retain = message.retain === true;
    const dup = message.dup === true;
    const packet = parsePacket(payload);
    if (packet === null || (this.subscription.isResuming && !retain)) return;
    const { id } = packet;
    const known = this.followed.get(id);
    if (known === undefined) {
      this.keepEarly(packet, dup, message.properties?.correlationData);
      return;
    }
    this.lastId = id;
    known.take(packet, retain, dup);
    if (known.stream.isEnded) this.followed.delete(id);
  };

  /** A receipt of a message whose PUBACK has not come, or of one that was not published here. */
  private keepEarly(packet: Receipt | Tally, dup: boolean, correlationData: Uint8Array | undefined): void {
    const sameTopic = [...this.outstanding].filter(({ topic }) => topic === packet.topic);
    if (sameTopic.length === 0) return;
    const { id } = packet;
    const packets = this.early.get(id) ?? [];
    this.early.set(id, packets);
    packets.push({ packet, dup });
    this.earlyCount++;
    if (this.earlyCount > earlyMax) this.dropEarly();
    if (!isTally(packet) || correlationData === undefined) return;
    const hex = bufferOf(correlationData).toString('hex');
    const publish = sameTopic.find(({ correlation }) => correlation === hex);
    if (publish !== undefined) publish.resolve(this.follow(publish, id, packet.matched));
  }

  private dropEarly(): void {
    const [oldest] = this.early;
    if (oldest === undefined) return;
    this.early.delete(oldest[0]);
    this.earlyCount -= oldest[1].length;
  }

  /** Nothing more will come. */
  private fail(error: CountersignError): void {
    for (const publish of [...this.outstanding]) {
      this.forget(publish);
      publish.reject(error);
    }
    for (const { stream } of this.followed.values()) stream.fail(error);
    this.followed.clear();
    this.subscription.forget();
  }
}

function bufferOf(data: string | Uint8Array): Buffer {
  return typeof data === 'string' ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

/** A receipt or tally; null for anything else that came under its topic. */
function parsePacket(payload: Buffer): Receipt | Tally | null {
  try {
    const packet: unknown = JSON.parse(payload.toString());
    return typeof packet === 'object' && packet !== null && 'id' in packet ? (packet as Receipt | Tally) : null;
  } catch {
    return null;
  }
}

/** An id just before another's: what is after it begins with that. */
function idBefore(id: string): string | null {
  const parsed = parseReceiptId(id);
  return parsed === null || parsed.sequence === 0 ? null : receiptId(parsed.sequence - 1, parsed.nodeNumber);
}

function refusal(error: Error, answer: ReceivedPacket | null): CountersignError {
  const reason = answer?.properties?.reasonString;
  const message = reason === undefined ? error.message : `${error.message}: ${reason}`;
  return new CountersignError('ERR_COUNTERSIGN_REFUSED', message, { cause: error });
}
