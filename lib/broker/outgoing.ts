import { copyOf } from '../base/bytes.js';
import type { Message } from '../base/message.js';
import { forwardableProperties, type PublishView, readCorrelationData } from '../codec/publish.js';
import { encodePassingFrame, encodePublishFrame, type PublishFields, PublishFrame } from '../codec/publish-frame.js';
import type { ReceiptPacket } from '../receipts/receipt-message.js';
import { newReceiptIdProperty, writeIdOfProperty } from '../receipts/receipt-properties.js';
import type { QoS } from '../spec/packet-types.js';
import { encodeMessage, encodeReceivedMessage, MessageRow } from '../store/records-message.js';
import type { MountPoint } from '../topic/mount-point.js';
import type { DeferredDelivery } from './deferred-deliveries.js';
import { SharedDelivery } from './shared-delivery.js';

const noBytes = Buffer.alloc(0);
const messageRow = new MessageRow();

/**
 * One message on its way out to any number of sessions. Its frame is encoded once per layout (version, packet
 * identifier or not, subscription identifiers) and shared; a frame that needs no change is the publisher's own bytes.
 * One object is reused for message after message: nothing of it may be kept but what `message()` returns, and what
 * `lasting()` of a frame does.
 */
export class Outgoing {
  topicName = '';
  qos: QoS = 0;
  retain = false;
  publisherId = '';
  /** Seconds left of the message's life, -1 for unlimited. */
  expirySeconds = -1;
  expiryAtMs = 0;
  tracked = false;
  /** `receipt-id` user property in wire form, appended after the publisher's own. */
  receiptProperty: Buffer | null = null;
  /** Deliveries and other rows of the store that refer to the message. */
  references = 0;
  /** How many of them are rows that most likely stay for long: in long queues, or retained. */
  lasting = 0;
  sequence = 0;
  /** True if deliveries of this message may leave their rows until the turn is written. */
  defers = false;
  /** Those that do, as a list. */
  deferred: DeferredDelivery | null = null;
  /** What waits in the queues of sessions that are not stored, unless it waits as a packet. */
  readonly sharedInMemory = new SharedDelivery();
  /** The same of sessions whose queues are read from the store. */
  readonly sharedInStore = new SharedDelivery();

  private source: Buffer = noBytes;
  private sourceVersion5 = false;
  private sourceFrameStart = -1;
  private sourceEnd = 0;
  private topicStart = 0;
  private topicEnd = 0;
  private payloadStart = 0;
  private rewritten = false;
  private view: PublishView | null = null;
  private properties: Buffer | null = null;
  /** What `encode` encodes. */
  private readonly fields: PublishFields = {
    topic: noBytes,
    topicStart: 0,
    topicEnd: 0,
    properties: noBytes,
    propertiesStart: 0,
    propertiesEnd: 0,
    messageExpirySeconds: -1,
    subscriptionIds: null,
    extraUserProperties: null,
    topicAlias: 0,
    payload: noBytes,
    payloadStart: 0,
    payloadEnd: 0,
  };
  /** Memory for `receiptProperty`. */
  private receiptBytes: Buffer | null = null;
  /** The name encoded last: what comes out of a queue often has the same topic as what came before. */
  private encodedName = '';
  private encodedBytes = noBytes;
  private kept: Message | null = null;
  private readonly plain: (PublishFrame | null)[] = [null, null, null, null];
  /** What `plain` has of a packet that goes on as it came. */
  private readonly received = PublishFrame.ofReceived();
  private bare: (PublishFrame | null)[] = [null, null];
  private identifiedBy: readonly number[] | null = null;
  private readonly identified: (PublishFrame | null)[] = [null, null];
  private mounted: Outgoing | null = null;
  private mountedAt: MountPoint | null = null;

  /** Takes a PUBLISH as it came. `view` must stay as it is until the next `from…`. */
  fromView(
    view: PublishView,
    version5: boolean,
    topicName: string,
    publisherId: string,
    now: number,
    sequence: number,
  ): void {
    this.reset(topicName, view.qos, view.retain, publisherId, sequence);
    // The same buffer for many packets in a row: to compare costs less than to put what is young into what is old.
    if (this.source !== view.buffer) this.source = view.buffer;
    this.view = view;
    this.sourceVersion5 = version5;
    this.rewritten = view.mustRewriteProperties;
    this.sourceFrameStart = this.rewritten || view.topicEnd === view.topicStart ? -1 : view.frameStart;
    this.sourceEnd = view.end;
    this.topicStart = view.topicStart;
    this.topicEnd = view.topicEnd;
    this.payloadStart = view.payloadStart;
    this.expirySeconds = view.messageExpirySeconds;
    this.expiryAtMs = view.messageExpirySeconds < 0 ? 0 : now + view.messageExpirySeconds * 1000;
    if (view.propertiesStart === view.propertiesEnd) this.properties = noBytes;
  }

  /** The client named the topic by another name than `topicName`: the bytes that came are not those to send. */
  renamed(): void {
    this.sourceFrameStart = -1;
    this.topicEnd = this.topicStart;
  }

  /** The message as clients of a mount point see it. */
  seenFrom(mountPoint: MountPoint): Outgoing {
    const topicName = mountPoint.shown(this.topicName);
    if (topicName === this.topicName) return this;
    this.mounted ??= new Outgoing();
    const { mounted } = this;
    if (this.mountedAt !== mountPoint) {
      this.mountedAt = mountPoint;
      mounted.fromMessage({ ...this.message(), topicName }, 0);
      mounted.expirySeconds = this.expirySeconds;
      mounted.receiptProperty = this.receiptProperty;
    }
    return mounted;
  }

  /** Takes a message that the broker holds. */
  fromMessage(message: Message, now: number): void {
    this.reset(message.topicName, message.qos, message.retain, message.publisherId, message.sequence);
    this.kept = message;
    this.sourceFrameStart = -1;
    this.properties = message.properties;
    this.tracked = message.tracked;
    this.expireAt(message.expiryAtMs, now);
  }

  /** Takes a message as the store has it. @param topicName where it is known already */
  fromRow(row: Buffer, topicName: string | null, sequence: number, now: number): void {
    messageRow.read(row);
    this.reset(
      topicName ?? messageRow.topicNameOf(row),
      messageRow.qos,
      messageRow.retain,
      messageRow.publisherId,
      sequence,
    );
    this.source = row;
    this.sourceFrameStart = -1;
    this.sourceEnd = row.length;
    this.topicStart = messageRow.topicStart;
    this.topicEnd = messageRow.topicEnd;
    this.payloadStart = messageRow.payloadStart;
    this.properties = messageRow.propertiesOf(row);
    this.tracked = messageRow.tracked;
    this.expireAt(messageRow.expiryAtMs, now);
  }

  private expireAt(expiryAtMs: number, now: number): void {
    this.expiryAtMs = expiryAtMs;
    // [MQTT-3.3.2-6] what is left, rounded up so that a live message never goes out as expired.
    this.expirySeconds = expiryAtMs === 0 ? -1 : Math.max(0, Math.ceil((expiryAtMs - now) / 1000));
  }

  /**
   * Takes a receipt or tally, at QoS 2. Its topic name is in its bytes only, which must stay as they are: it has
   * frames, but is no message.
   */
  fromReceipt({ bytes, topicEnd, end, properties, retain }: ReceiptPacket, sequence: number): void {
    this.reset('', 2, retain, '', sequence);
    this.source = bytes;
    this.sourceFrameStart = -1;
    this.sourceEnd = end;
    this.topicStart = 0;
    this.topicEnd = topicEnd;
    this.payloadStart = topicEnd;
    this.properties = properties;
    this.expiryAtMs = 0;
    this.expirySeconds = -1;
  }

  /** Recipients are told the id by which receipts name the message. @param id in ASCII; copied */
  appendReceiptId(id: Buffer): void {
    this.receiptBytes ??= newReceiptIdProperty();
    writeIdOfProperty(id, this.receiptBytes);
    this.receiptProperty = this.receiptBytes;
  }

  private reset(topicName: string, qos: QoS, retain: boolean, publisherId: string, sequence: number): void {
    this.topicName = topicName;
    this.qos = qos;
    this.retain = retain;
    this.publisherId = publisherId;
    this.sequence = sequence;
    this.tracked = false;
    this.receiptProperty = null;
    this.references = 0;
    this.lasting = 0;
    this.defers = false;
    this.deferred = null;
    this.sharedInMemory.hold(null);
    this.sharedInStore.hold(null);
    this.view = null;
    this.properties = null;
    this.kept = null;
    this.plain[0] = this.plain[1] = this.plain[2] = this.plain[3] = null;
    this.bare[0] = this.bare[1] = null;
    this.identifiedBy = null;
    this.mountedAt = null;
  }

  /** Length of the payload in bytes. */
  get payloadLength(): number {
    return this.kept === null ? this.sourceEnd - this.payloadStart : this.kept.payload.length;
  }

  /** Forwarded properties in wire form. */
  forwardedProperties(): Buffer {
    if (this.properties === null) this.properties = this.view === null ? noBytes : forwardableProperties(this.view);
    return this.properties;
  }

  /** True if the message may have Correlation Data. */
  get mayHaveCorrelationData(): boolean {
    return this.view === null || this.view.correlationDataStart !== -1;
  }

  /** Correlation Data, a copy; null if there is none. */
  correlationData(): Buffer | null {
    const { view } = this;
    if (view === null) {
      const found = readCorrelationData(this.forwardedProperties());
      return found === null ? null : Buffer.from(found);
    }
    const { correlationDataStart, correlationDataEnd } = view;
    return correlationDataStart === -1 ? null : copyOf(this.source, correlationDataStart, correlationDataEnd);
  }

  /** The message as an object of its own, made at first need; bytes are copied out of the receive buffer. */
  message(): Message {
    if (this.kept !== null) return this.kept;
    this.kept = {
      sequence: this.sequence,
      topicName: this.topicName,
      payload: copyOf(this.source, this.payloadStart, this.sourceEnd),
      properties: this.forwardedProperties().length === 0 ? noBytes : Buffer.from(this.forwardedProperties()),
      qos: this.qos,
      retain: this.retain,
      expiryAtMs: this.expiryAtMs,
      publisherId: this.publisherId,
      tracked: this.tracked,
    };
    return this.kept;
  }

  /** The message's row in the store. */
  row(): Buffer {
    if (this.kept !== null || this.topicEnd === this.topicStart) {
      return encodeMessage(this.message());
    }
    const { source, topicStart, topicEnd, payloadStart, sourceEnd } = this;
    const properties = this.forwardedProperties();
    return encodeReceivedMessage(this, properties, source, topicStart, topicEnd, payloadStart, sourceEnd);
  }

  /** The PUBLISH for one layout; first byte and packet identifier are patched where it is copied. */
  frame(version5: boolean, withPacketId: boolean, subscriptionIds: readonly number[] | null): PublishFrame {
    if (version5 && subscriptionIds !== null) return this.identifiedFrame(withPacketId, subscriptionIds);
    const layout = (version5 ? 2 : 0) | (withPacketId ? 1 : 0);
    const known = this.plain[layout];
    if (known) return known;
    const frame = this.asReceived(version5, withPacketId) ?? this.encode(version5, withPacketId, null, true);
    this.plain[layout] = frame;
    return frame;
  }

  /** The same without `receipt-id`, for a client whose Maximum Packet Size that alone would exceed. */
  frameWithoutReceipt(withPacketId: boolean, subscriptionIds: readonly number[] | null): PublishFrame {
    if (subscriptionIds !== null) return this.encode(true, withPacketId, subscriptionIds, false);
    const at = withPacketId ? 1 : 0;
    this.bare[at] ??= this.encode(true, withPacketId, null, false);
    return this.bare[at] as PublishFrame;
  }

  /** The PUBLISH with a packet identifier for one recipient alone: it is there until any other is asked for. */
  passingFrame(version5: boolean, subscriptionIds: readonly number[] | null): PublishFrame {
    this.gather(subscriptionIds, true);
    return encodePassingFrame(this.fields, version5, true);
  }

  private identifiedFrame(withPacketId: boolean, subscriptionIds: readonly number[]): PublishFrame {
    if (this.identifiedBy !== subscriptionIds) {
      this.identifiedBy = subscriptionIds;
      this.identified[0] = this.identified[1] = null;
    }
    const at = withPacketId ? 1 : 0;
    this.identified[at] ??= this.encode(true, withPacketId, subscriptionIds, true);
    return this.identified[at] as PublishFrame;
  }

  private asReceived(version5: boolean, withPacketId: boolean): PublishFrame | null {
    if (this.sourceFrameStart < 0 || version5 !== this.sourceVersion5) return null;
    if (withPacketId !== this.qos > 0 || (version5 && this.receiptProperty !== null)) return null;
    const packetIdAt = withPacketId ? this.topicEnd : -1;
    this.received.receive(this.source, this.sourceFrameStart, this.sourceEnd, packetIdAt);
    return this.received;
  }

  private encode(
    version5: boolean,
    withPacketId: boolean,
    subscriptionIds: readonly number[] | null,
    withReceipt: boolean,
  ): PublishFrame {
    this.gather(subscriptionIds, withReceipt);
    return encodePublishFrame(this.fields, version5, withPacketId);
  }

  /** Gathers what is to be encoded. */
  private gather(subscriptionIds: readonly number[] | null, withReceipt: boolean): void {
    const { kept, source } = this;
    const isTopicThere = kept === null && this.topicEnd > this.topicStart;
    const topic = isTopicThere ? source : this.encodedTopic();
    const { view } = this;
    const arePropertiesThere = this.properties === null && view !== null && !this.rewritten;
    const properties = arePropertiesThere ? source : this.forwardedProperties();
    const { fields } = this;
    fields.topic = topic;
    fields.topicStart = isTopicThere ? this.topicStart : 0;
    fields.topicEnd = isTopicThere ? this.topicEnd : topic.length;
    fields.properties = properties;
    fields.propertiesStart = arePropertiesThere ? view.propertiesStart : 0;
    fields.propertiesEnd = arePropertiesThere ? view.propertiesEnd : properties.length;
    fields.messageExpirySeconds = this.expirySeconds;
    fields.subscriptionIds = subscriptionIds;
    fields.extraUserProperties = withReceipt ? this.receiptProperty : null;
    fields.payload = kept === null ? source : kept.payload;
    fields.payloadStart = kept === null ? this.payloadStart : 0;
    fields.payloadEnd = kept === null ? this.sourceEnd : kept.payload.length;
  }

  private encodedTopic(): Buffer {
    if (this.encodedName !== this.topicName) {
      this.encodedName = this.topicName;
      this.encodedBytes = Buffer.from(this.topicName);
    }
    return this.encodedBytes;
  }
}
