import type { Message } from '../base/message.js';
import type { PublishFrame } from '../codec/publish-frame.js';
import {
  DeliveryEvent,
  DeliveryState,
  Effect,
  effectsOf,
  nextState,
  Outcome,
  outcomeOf,
  step,
} from '../delivery/table.js';
import { Cause, reasonOfCause } from '../receipts/causes.js';
import { messageOf } from '../receipts/receipt-message.js';
import { decodeReference } from '../receipts/reference.js';
import { type Delivery, DeliveryKind, deliveryBytes, memoryBytesOf } from '../session/delivery.js';
import { QueuedFrame } from '../session/delivery-ring.js';
import type { Link } from '../session/link.js';
import { queueMemory } from '../session/queue-memory.js';
import type { Session } from '../session/session.js';
import type { QoS } from '../spec/packet-types.js';
import { ReasonCode } from '../spec/reason-codes.js';
import type { Context } from './context.js';
import { DeferredDelivery } from './deferred-deliveries.js';
import { Outgoing } from './outgoing.js';
import { mayReadReceipts, receiptAccess } from './receipt-access.js';
import { CohortDelivery } from './standing-cohorts.js';
import { queueLength } from './stored-queues.js';

/** Rows read from a stored queue at a time. */
const queueSlice = 128;

const dupBit = 8;

/** First byte of a PUBLISH that is not a repeat. */
export function publishFirstByte(qos: QoS, retain: boolean): number {
  return 0x30 | (qos << 1) | (retain ? 1 : 0);
}

/** The frame for a link, or null if it is larger than its client takes. [MQTT-3.1.2-24] */
export function fittingFrame(
  context: Context,
  link: Link,
  out: Outgoing,
  withPacketId: boolean,
  subscriptionIds: readonly number[] | null,
): PublishFrame | null {
  if (link.mountPoint !== null) out = out.seenFrom(link.mountPoint);
  const version5 = link.version === 5;
  const frame = out.frame(version5, withPacketId, subscriptionIds);
  const limit = link.maximumPacketSize;
  if (limit === 0 || frame.end - frame.start <= limit) return frame;
  if (version5 && out.receiptProperty !== null) {
    const bare = out.frameWithoutReceipt(withPacketId, subscriptionIds);
    if (bare.end - bare.start <= limit) return bare;
  }
  context.metrics.droppedTooLarge++; // [MQTT-3.1.2-25]
  return null;
}

/** True if a delivery from a stored queue may be sent before its row says so. */
function mayGoUnrecorded({ rights }: Context, { queue }: Session, delivery: Delivery): boolean {
  const { qos, kind, group, sequence } = delivery;
  if (qos !== 1 || kind !== DeliveryKind.message || group !== null) return false;
  // A hook that is asked for rights may publish, and what it publishes would be recorded before this.
  if (rights.isLimited) return false;
  // What is recorded as waiting counts where a queue is measured, and is read again behind the cursor.
  return queue.isMeasured && sequence <= queue.cursor;
}

/** Takes a finished delivery off the store: its row and its hold on the message. */
export function removeRow(context: Context, session: Session, sequence: number, detail: Delivery | null): void {
  const { persistence } = context;
  if (detail instanceof DeferredDelivery && detail.settle()) return;
  if (detail instanceof CohortDelivery && detail.settle() && !session.stored) return;
  if (session.stored) {
    persistence.deleteDelivery(session.number, sequence);
    if (detail === null) persistence.releaseMessage(sequence);
    else if (detail.kind !== DeliveryKind.receipt) persistence.releaseMessage(detail.messageSequence);
  } else if (detail !== null && detail.kind === DeliveryKind.tracked) {
    persistence.deleteTransient(session.number, sequence);
  }
}

/** Sends what waits: a session's queue as its window has room, and open flows when it comes back. */
export class SendWindow {
  private readonly context: Context;
  /** Encodes what comes out of queues; separate from the message being fanned out. */
  private readonly out = new Outgoing();

  constructor(context: Context) {
    this.context = context;
  }

  /** Sends from the queue while the client has quota and its connection keeps up. [MQTT-3.3.4-9] */
  refill(session: Session): void {
    const link = session.link;
    if (link === null) return;
    if (session.resendIds !== null) this.resend(session, link);
    while (!link.slow && !link.closed && queueLength(this.context, session) > 0) {
      if (session.sendQuota === 0 && session.queue.startsWithFrame) return;
      const delivery = session.queue.first() ?? this.readOn(session);
      if (delivery === null) return;
      if (delivery.qos > 0 && (session.sendQuota === 0 || !this.hasRoom(session, delivery))) return;
      if (delivery instanceof QueuedFrame) this.sendFrame(session, link, delivery);
      else this.sendQueued(session, link, delivery);
    }
  }

  /** True if the bytes in flight leave room for a delivery; one whose message is gone needs none. */
  private hasRoom(session: Session, delivery: Delivery | QueuedFrame): boolean {
    const { inflightBytes } = session;
    if (inflightBytes === null) return true;
    if (delivery instanceof QueuedFrame) return inflightBytes.hasRoom(delivery.payloadBytes);
    return inflightBytes.hasRoom(this.load(session, delivery, false) ? this.out.payloadLength : 0);
  }

  /** Rebuilds the window of a session that is back, and repeats what was open, oldest first. [MQTT-4.4.0-1] */
  resume(session: Session): void {
    const { persistence, unrecorded, cohorts } = this.context;
    unrecorded.record(session);
    cohorts.leave(session);
    session.clearOutbound();
    session.resendIds = null;
    if (!session.stored) return;
    queueLength(this.context, session);
    const inflight = persistence.readInflight(session.number);
    for (const row of inflight) session.outbound.restore(row.packetId, row.state, row.sequence, row);
    session.resendIds = inflight.map((row) => row.packetId);
    session.unpaidIds = inflight.length === 0 ? null : new Set(session.resendIds);
    this.refill(session);
  }

  /** Repeats open flows as far as the quota goes; those of PUBREL do not need any. */
  private resend(session: Session, link: Link): void {
    const ids = session.resendIds ?? [];
    const { outbound } = session;
    let at = 0;
    for (; at < ids.length; at++) {
      const packetId = ids[at] as number;
      const transition = step(outbound.state(packetId), DeliveryEvent.resume);
      const effects = effectsOf(transition);
      if (effects & Effect.pubrel) this.context.turns.pubrel(link, packetId, ReasonCode.success, false);
      if (!(effects & Effect.send)) continue;
      if (session.sendQuota === 0) break;
      this.repeat(session, link, packetId);
    }
    session.resendIds = at === ids.length ? null : ids.slice(at);
  }

  private repeat(session: Session, link: Link, packetId: number): void {
    const { outbound } = session;
    const delivery = outbound.detail(packetId);
    if (delivery === null || !this.load(session, delivery, true)) {
      this.abandon(session, link, packetId, DeliveryEvent.bodyGone, Cause.deleted);
      return;
    }
    if (!this.isPermitted(session, delivery)) {
      // Like one too large: the client may have it, and will not get it again.
      this.abandon(session, link, packetId, DeliveryEvent.tooLarge, Cause.notAuthorized);
      return;
    }
    const frame = fittingFrame(this.context, link, this.out, true, delivery.subscriptionIds);
    if (frame === null) {
      this.abandon(session, link, packetId, DeliveryEvent.tooLarge, Cause.tooLarge);
      return;
    }
    session.sendQuota--;
    session.inflightBytes?.add(packetId, this.out.payloadLength);
    session.unpaidIds?.delete(packetId);
    // [MQTT-3.3.1-1] a repeat says so
    const firstByte = publishFirstByte(delivery.qos, delivery.retain) | dupBit;
    this.context.turns.publish(link, frame, firstByte, packetId, false);
  }

  /** Ends a flow that can not be repeated on this connection; at QoS 2 PUBCOMP frees its identifier. */
  private abandon(session: Session, link: Link, packetId: number, event: DeliveryEvent, cause: Cause): void {
    const { outbound } = session;
    const { persistence, turns } = this.context;
    const delivery = outbound.detail(packetId);
    const sequence = outbound.sequence(packetId);
    const transition = step(outbound.state(packetId), event);
    const effects = effectsOf(transition);
    if (effects & Effect.put && delivery !== null) {
      outbound.setState(packetId, nextState(transition));
      persistence.putDelivery(session.number, delivery, nextState(transition), packetId);
    }
    if (effects & Effect.delete) removeRow(this.context, session, sequence, delivery);
    if (effects & Effect.free) {
      outbound.release(packetId);
      session.inflightBytes?.remove(packetId);
      session.unpaidIds?.delete(packetId);
    }
    if (effects & Effect.pubrel) turns.pubrel(link, packetId, ReasonCode.success, true);
    if (delivery !== null) this.tell(session, delivery, outcomeOf(transition), cause);
  }

  private sendQueued(session: Session, link: Link, delivery: Delivery): void {
    const { context } = this;
    const { turns, persistence, unrecorded, tracker, metrics, clock } = context;
    session.queue.removeFirst();
    if (!session.stored) metrics.queuedBytesInMemory -= memoryBytesOf(delivery);
    if (delivery.kind === DeliveryKind.receipt && session.waitingReceipts > 0) session.waitingReceipts--;
    if (!this.load(session, delivery, false)) {
      removeRow(context, session, delivery.sequence, delivery);
      return;
    }
    const { expiryAtMs, payloadLength } = this.out;
    if (delivery.kind !== DeliveryKind.receipt) session.queue.removeBytes(delivery.sequence, payloadLength);
    // [MQTT-3.3.2-5] what expired before its first send is not sent
    if (expiryAtMs > 0 && expiryAtMs <= clock.now()) {
      metrics.expired++;
      removeRow(context, session, delivery.sequence, delivery);
      this.tell(session, delivery, outcomeOf(step(DeliveryState.queued, DeliveryEvent.expire)), null);
      return;
    }
    if (!this.isPermitted(session, delivery)) {
      removeRow(context, session, delivery.sequence, delivery);
      this.tell(session, delivery, Outcome.dropped, Cause.notAuthorized);
      return;
    }
    const frame = fittingFrame(context, link, this.out, delivery.qos > 0, delivery.subscriptionIds);
    if (frame === null) {
      removeRow(context, session, delivery.sequence, delivery);
      this.tell(session, delivery, Outcome.dropped, Cause.tooLarge);
      return;
    }
    const firstByte = publishFirstByte(delivery.qos, delivery.retain);
    const record = delivery.kind === DeliveryKind.tracked ? delivery.reference : null;
    if (delivery.qos === 0) {
      removeRow(context, session, delivery.sequence, delivery);
      this.tell(session, delivery, Outcome.sent, null);
      turns.publish(link, frame, firstByte, 0, record !== null || delivery.kind === DeliveryKind.receipt);
      return;
    }
    const event = delivery.qos === 1 ? DeliveryEvent.sendQos1 : DeliveryEvent.sendQos2;
    const state = nextState(step(DeliveryState.queued, event));
    // Others may have a plain one in their queues too; of what was sent the message's own sequence says it all.
    const isShared = !session.stored && delivery.kind === DeliveryKind.message && delivery.group === null;
    const packetId = session.outbound.take(state, delivery.sequence, isShared ? null : delivery);
    session.sendQuota--;
    session.inflightBytes?.add(packetId, payloadLength);
    // What was sent is read again only for another member of its group.
    if (!isShared && (session.stored || delivery.group === null)) delivery.message = null;
    if (session.stored) {
      if (expiryAtMs === 0 && mayGoUnrecorded(context, session, delivery)) {
        unrecorded.add(session, packetId, delivery.sequence);
      } else {
        unrecorded.record(session);
        persistence.putDelivery(session.number, delivery, state, packetId);
      }
      if (expiryAtMs > 0) persistence.deleteDeliveryExpiry(expiryAtMs, session.number, delivery.sequence);
    }
    if (record !== null) {
      tracker.sent(record, delivery.messageSequence, session, delivery.group, delivery.qos);
    }
    const waits = delivery.kind !== DeliveryKind.message || (session.stored && delivery.qos === 2);
    turns.publish(link, frame, firstByte, packetId, waits);
  }

  /** Sends what waited as a packet. */
  private sendFrame(
    session: Session,
    link: Link,
    { sequence, qos, retain, frame, slab, topicName, payloadBytes }: QueuedFrame,
  ): void {
    const { turns, metrics, rights } = this.context;
    session.queue.removeFirst();
    session.queue.removeBytes(sequence, payloadBytes);
    metrics.queuedBytesInMemory -= deliveryBytes + payloadBytes;
    if (!rights.mayReceive(session, topicName)) {
      metrics.droppedNotAuthorized++;
      queueMemory.release(slab);
      return;
    }
    const event = qos === 1 ? DeliveryEvent.sendQos1 : DeliveryEvent.sendQos2;
    const packetId = session.outbound.take(nextState(step(DeliveryState.queued, event)), sequence, null);
    session.sendQuota--;
    session.inflightBytes?.add(packetId, payloadBytes);
    turns.publish(link, frame, publishFirstByte(qos, retain), packetId, false);
    queueMemory.release(slab);
  }

  /** False if the client has lost the right to a message, or a receipt, since it was queued. */
  private isPermitted(session: Session, { kind }: Delivery): boolean {
    const { rights, metrics } = this.context;
    const { topicName } = this.out;
    const isReceipt = kind === DeliveryKind.receipt;
    const permitted = isReceipt
      ? mayReadReceipts(receiptAccess(this.context, session), topicName)
      : rights.mayReceive(session, topicName);
    if (!permitted) metrics.droppedNotAuthorized++;
    return permitted;
  }

  /** Makes `out` what a delivery carries. @returns false if that is gone */
  private load(session: Session, delivery: Delivery, wasSent: boolean): boolean {
    const { persistence, clock, tracker } = this.context;
    const { kind, messageSequence } = delivery;
    if (delivery.message === null && kind !== DeliveryKind.receipt) {
      const row = persistence.readMessageRow(messageSequence);
      if (row === null) return false;
      this.out.fromRow(row, null, messageSequence, clock.now());
    } else {
      const message = delivery.message ?? this.receiptOf(session, delivery, wasSent);
      if (message === null) return false;
      this.out.fromMessage(message, clock.now());
    }
    if (kind === DeliveryKind.tracked) this.out.appendReceiptId(tracker.idBytes(messageSequence));
    return true;
  }

  /** The receipt or tally that a delivery is about, written now. */
  private receiptOf(session: Session, { reference }: Delivery, wasSent: boolean): Message | null {
    if (reference === null) return null;
    const decoded = decodeReference(reference);
    const brief = decoded.brief || receiptAccess(this.context, session) === 'tally';
    const maximumBytes = session.link?.maximumPacketSize ?? 0;
    const packet = this.context.tracker.render(brief ? { ...decoded, brief } : decoded, wasSent, maximumBytes);
    return packet === null ? null : messageOf(packet);
  }

  private tell(session: Session, delivery: Delivery, outcome: Outcome, cause: Cause | null): void {
    if (delivery.kind !== DeliveryKind.tracked || delivery.reference === null) return;
    this.context.tracker.outcome(delivery.reference, delivery.messageSequence, session, delivery.group, {
      outcome,
      reasonCode: reasonOfCause(cause),
      cause,
      reasonString: null,
    });
  }

  /** Brings the next slice of a stored queue into memory and returns its first delivery. */
  private readOn(session: Session): Delivery | QueuedFrame | null {
    const { queue } = session;
    if (queue.beyond === 0) return null;
    queue.fill(this.context.persistence.readQueued(session.number, queue.cursor, queueSlice));
    return queue.first();
  }
}
