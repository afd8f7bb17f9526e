import { DeliveryEvent, DeliveryState, nextState, step } from '../delivery/table.js';
import { ReceiptKind } from '../receipts/reference.js';
import { SoleRecord } from '../receipts/sole-record.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import type { Context } from './context.js';
import { DeferredDelivery } from './deferred-deliveries.js';
import type { Offers } from './offers.js';
import type { Outgoing } from './outgoing.js';
import type { ReceiptDelivery } from './receipt-delivery.js';
import type { Route } from './routes.js';
import { publishFirstByte } from './send-window.js';
import type { Tracking } from './tracking.js';

/** The sole record of a delivery; null if it has none. */
export function soleOf(delivery: unknown): SoleRecord | null {
  if (delivery instanceof SoleRecord) return delivery;
  return delivery instanceof DeferredDelivery ? delivery.sole : null;
}

/**
 * The short way of a tracked message with one recipient that can be handed to its connection now, and of its
 * acknowledgement. Whatever is not as it mostly is takes the way of all others: `FanOut` and `Tracker`.
 */
export class SoleRecipients {
  private readonly context: Context;
  private readonly offers: Offers;
  private readonly receipts: ReceiptDelivery;
  private readonly answerBytes: number;
  private readonly onFinished: (durationMs: number) => void;

  /**
   * @param answerBytes of an answer with an id
   * @param onFinished told how long a message took to its outcome
   */
  constructor(
    context: Context,
    offers: Offers,
    receipts: ReceiptDelivery,
    answerBytes: number,
    onFinished: (durationMs: number) => void,
  ) {
    this.answerBytes = answerBytes;
    this.onFinished = onFinished;
    this.context = context;
    this.offers = offers;
    this.receipts = receipts;
  }

  /**
   * Sends a message, if it is to take this way.
   * @param out with its `receipt-id`
   * @returns what stands for its record; null if nothing was done
   */
  publish(out: Outgoing, { targets, groups }: Route, publisher: Session, tracking: Tracking): SoleRecord | null {
    if (targets.length !== 1 || groups.length > 0 || out.retain) return null;
    const { requested, deadlineSeconds, hold } = tracking;
    if (requested !== 'delivered' || deadlineSeconds > 0 || hold || out.mayHaveCorrelationData) return null;
    const [target] = targets;
    if (target === undefined || target.session === publisher || this.offers.qosOf(target, out) !== 1 || out.qos !== 1)
      return null;
    const { session, subscriptionIds } = target;
    const { link } = session;
    if (link === null || link.mountPoint !== null || !this.offers.isFree(session, out.payloadLength)) return null;
    if (!this.receipts.tellsPublisherAlone(publisher)) return null;
    const frame = out.passingFrame(link.version === 5, subscriptionIds);
    if (link.maximumPacketSize > 0 && frame.end - frame.start > link.maximumPacketSize) return null;
    const { clock, records, turns, persistence } = this.context;
    const retain = false;
    const topicName = publisher.mountPoint?.shown(out.topicName) ?? out.topicName;
    const sole = new SoleRecord(out.sequence, publisher, session, topicName, clock.now(), retain, subscriptionIds);
    const state = nextState(step(DeliveryState.new, DeliveryEvent.sendQos1));
    let packetId: number;
    if (session.stored || persistence.keepsTransients) {
      const delivery = this.offers.defer(target, out, state, retain, sole.publisherKey);
      delivery.sole = sole;
      if (persistence.keepsTransients) sole.carrier = delivery;
      packetId = delivery.packetId;
    } else {
      packetId = session.outbound.take(state, out.sequence, sole);
    }
    session.sendQuota--;
    session.inflightBytes?.add(packetId, out.payloadLength);
    // Nothing that must not be repeated leaves before it is recorded.
    turns.publish(link, frame, publishFirstByte(1, retain), packetId, true);
    records.createSole(sole);
    this.receipts.emitSole(sole, ReceiptKind.firstTally);
    return sole;
  }

  /**
   * Answers the publisher with the id of its message. @returns false if it takes no properties, or no such packet
   */
  answer(link: Link, packetId: number, sole: SoleRecord): boolean {
    if (link.version !== 5 || !link.problemInformation) return false;
    if (link.maximumPacketSize > 0 && link.maximumPacketSize < this.answerBytes) return false;
    this.context.turns.answerSole(link, packetId, sole);
    return true;
  }

  /** The recipient has acknowledged a delivery without any reason. @returns false if nothing was done */
  delivered(sole: SoleRecord): boolean {
    if (!sole.stands || !this.receipts.tellsPublisherAlone(sole.publisher)) return false;
    const { clock, records } = this.context;
    sole.deliveredAtMs = clock.now();
    records.deliverSole(sole);
    this.receipts.emitSole(sole, ReceiptKind.delivery);
    this.receipts.emitSole(sole, ReceiptKind.finalTally);
    this.onFinished(sole.deliveredAtMs - sole.sentAtMs);
    return true;
  }
}
