import type { LoadConnection } from './connection.js';
import { encodePublish, numberedTopic, type PublishTemplate, topicNumberDigits } from './frames.js';
import type { QualityOfService } from './options.js';

/** What one publisher sends. */
export interface SenderPlan {
  /** Written into each payload, so that receivers know whose message it is. */
  readonly number: number;
  readonly topicPrefix: string;
  /** The topics are `topicPrefix` and `topicFirst` up to `topicFirst + topicSpan - 1`; a span of 1 is a fixed topic. */
  readonly topicFirst: number;
  readonly topicSpan: number;
  readonly qos: QualityOfService;
  readonly isRetained: boolean;
  readonly isTracked: boolean;
  /** 0 sends empty payloads, which bear no numbers: with `isRetained` they clear what is retained. */
  readonly payloadBytes: number;
  readonly window: number;
  /** Deliveries of each message. 0: receipts do not hold the publisher back, only its window does. */
  readonly receivers: number;
}

/** Bytes that one write takes at most, unless a single frame is larger. */
const blockBytesMax = 65_536;
const packetIdMax = 65_535;
/** Topics of a span are visited in strides of this prime, so that neighbours are not sent together. */
const topicStride = 7919;
/** At QoS 1 and 2 the slowest receivers may be this many windows behind. */
const lagWindows = 4;

/** One publisher: sends what its window permits, in blocks of frames that are encoded once and patched. */
export class Sender {
  readonly plan: SenderPlan;
  sent = 0;
  acked = 0;
  /** Receipts of all receivers together. */
  received = 0;
  /** Messages it may send in all. */
  limit = 0;
  isDue = false;
  private readonly connection: LoadConnection;
  private readonly template: PublishTemplate;
  private readonly window: number;
  private readonly framesPerBlock: number;
  private block: Buffer;

  constructor(connection: LoadConnection, plan: SenderPlan) {
    this.plan = plan;
    this.connection = connection;
    this.window = plan.qos === 0 ? plan.window : Math.min(plan.window, connection.receiveMaximum);
    const topicName = numberedTopic(plan.topicPrefix, plan.topicFirst);
    this.template = encodePublish(
      connection.protocol,
      topicName,
      plan.qos,
      plan.isRetained,
      plan.payloadBytes,
      plan.isTracked,
    );
    const frame = this.template.frame;
    if (plan.payloadBytes > 0) frame.writeUInt32BE(plan.number, this.template.payloadOffset);
    this.framesPerBlock = Math.max(1, Math.min(plan.window, Math.floor(blockBytesMax / frame.length)));
    this.block = Buffer.concat(Array.from({ length: this.framesPerBlock }, () => frame));
  }

  /** Sends all that is permitted now. */
  pump(): void {
    let permits = this.permits();
    while (permits > 0) {
      const count = Math.min(permits, this.framesPerBlock);
      for (let index = 0; index < count; index++) this.patch(index * this.template.frame.length);
      // A block that the kernel did not take at once still belongs to the socket: continue with a copy.
      if (!this.connection.write(this.block, count * this.template.frame.length)) this.block = Buffer.from(this.block);
      permits -= count;
    }
  }

  private permits(): number {
    const { qos, receivers } = this.plan;
    const rest = this.limit - this.sent;
    const lag = receivers === 0 ? 0 : this.sent - Math.floor(this.received / receivers);
    if (qos === 0) return Math.min(rest, this.window - lag);
    return Math.min(rest, this.window - (this.sent - this.acked), this.window * lagWindows - lag);
  }

  private patch(offset: number): void {
    const { block, template, plan } = this;
    const sequence = this.sent++;
    if (plan.payloadBytes > 0) {
      const payload = offset + template.payloadOffset + 4;
      block[payload] = sequence >>> 24;
      block[payload + 1] = sequence >>> 16;
      block[payload + 2] = sequence >>> 8;
      block[payload + 3] = sequence;
    }
    if (template.packetIdOffset > 0) {
      const packetId = 1 + (sequence % packetIdMax);
      block[offset + template.packetIdOffset] = packetId >>> 8;
      block[offset + template.packetIdOffset + 1] = packetId;
    }
    if (plan.topicSpan > 1) {
      let number = plan.topicFirst + ((sequence * topicStride) % plan.topicSpan);
      let digit = offset + template.topicOffset + plan.topicPrefix.length + topicNumberDigits;
      for (let left = topicNumberDigits; left > 0; left--) {
        const rest = Math.floor(number / 10);
        block[--digit] = 48 + number - rest * 10;
        number = rest;
      }
    }
  }
}
