import type { PublishFrame } from '../codec/publish-frame.js';
import { DeliveryEvent, DeliveryState, nextState, Outcome, outcomeOf, step } from '../delivery/table.js';
import { Cause, reasonOfCause } from '../receipts/causes.js';
import { identityKeyOf } from '../receipts/identities.js';
import { type Delivery, DeliveryKind, deliveryBytes, memoryBytesOf } from '../session/delivery.js';
import { QueuedFrame } from '../session/delivery-ring.js';
import type { Link } from '../session/link.js';
import { queueMemory } from '../session/queue-memory.js';
import type { Session } from '../session/session.js';
import type { Target } from '../session/subscription.js';
import type { QoS } from '../spec/packet-types.js';
import type { DeliveryFacts } from '../store/records.js';
import type { Context } from './context.js';
import { DeferredDelivery } from './deferred-deliveries.js';
import type { Outgoing } from './outgoing.js';
import { fittingFrame, publishFirstByte } from './send-window.js';
import type { SharedDelivery } from './shared-delivery.js';
import type { StandingCohort } from './standing-cohorts.js';
import { queueLength } from './stored-queues.js';

/** What kind of delivery an offer makes; shared by all recipients of a message but those of shared groups. */
export interface Carriage {
  readonly kind: DeliveryKind;
  /** Place in the session's queue; 0 for the message's own sequence. */
  readonly sequence: number;
  /** Key of the record (tracked) or of the receipt. */
  readonly reference: Buffer | null;
  /** Full name of the shared subscription, or null. */
  readonly group: string | null;
  /** What stands for rows of deliveries that are sent, then the others have none yet; or null. */
  readonly cohort: StandingCohort | null;
}

/** An untracked message under its own number: almost all of them. */
export const plainCarriage: Carriage = {
  kind: DeliveryKind.message,
  sequence: 0,
  reference: null,
  group: null,
  cohort: null,
};

/** A stored queue with more bytes holds no further messages in memory. */
const keptBytesMax = 64 * 1024;

/** Offers messages to sessions: each is sent at once, queued or refused, as the delivery table has it. */
export class Offers {
  private readonly context: Context;
  private readonly upgrades: boolean;

  constructor(context: Context) {
    this.context = context;
    this.upgrades = context.settings.upgradeOutgoingQos;
  }

  /** Offers a message to one session. */
  offer(target: Target, out: Outgoing, carriage: Carriage): void {
    const qos = this.qosOf(target, out);
    if (qos === 0) this.offerQos0(target, out, carriage);
    else this.offerAcknowledged(target, out, carriage, qos);
  }

  /** [MQTT-3.8.4-8] unless the operator wants it otherwise */
  qosOf(target: Target, out: Pick<Outgoing, 'qos'>): QoS {
    return this.upgrades ? this.upgradedQos(target, out) : (Math.min(out.qos, target.qos) as QoS);
  }

  /** The granted QoS, whatever the publisher's; but QoS 0 needs no store and goes on without one. */
  private upgradedQos(target: Target, out: Pick<Outgoing, 'qos'>): QoS {
    return out.qos === 0 && !this.context.persistence.healthy ? 0 : target.qos;
  }

  private offerQos0(target: Target, out: Outgoing, carriage: Carriage): void {
    const { session } = target;
    const { link } = session;
    if (link === null) {
      if (this.context.settings.queueQos0Messages && session.stored && carriage.kind !== DeliveryKind.receipt) {
        this.enqueue(target, out, carriage, 0);
        return;
      }
      this.context.metrics.droppedOffline++;
      this.refuse(session, out, carriage, Cause.offline, 0);
      return;
    }
    if (link.slow) {
      this.context.metrics.droppedSlow++;
      this.refuse(session, out, carriage, Cause.slow, 0);
      return;
    }
    const frame = fittingFrame(this.context, link, out, false, target.subscriptionIds);
    if (frame === null) {
      this.refuse(session, out, carriage, Cause.tooLarge, 0);
      return;
    }
    this.tell(session, out, carriage, Outcome.sent, null, 0);
    const firstByte = publishFirstByte(0, this.retainFlag(target, out));
    const isRecorded = carriage.kind === DeliveryKind.message || (carriage.cohort !== null && !session.stored);
    this.context.turns.publish(link, frame, firstByte, 0, !isRecorded);
  }

  private offerAcknowledged(target: Target, out: Outgoing, carriage: Carriage, qos: QoS): void {
    const { session } = target;
    const { link } = session;
    const { inflightBytes } = session;
    const isFree = this.isFree(session, out.payloadLength);
    if (link === null || !isFree) {
      this.enqueue(target, out, carriage, qos);
      return;
    }
    const frame = fittingFrame(this.context, link, out, true, target.subscriptionIds);
    if (frame === null) {
      this.refuse(session, out, carriage, Cause.tooLarge, qos);
      return;
    }
    if (out.defers && this.mayDefer(carriage, session)) {
      this.sendDeferred(target, out, carriage, qos, link, frame);
      return;
    }
    // A plain delivery needs no object: the message's own sequence says it all.
    const { cohort } = carriage;
    const retain = this.retainFlag(target, out);
    // What was sent is read again only for another member of its group.
    const isKept = !session.stored && carriage.group !== null;
    const detail =
      carriage === plainCarriage
        ? null
        : (cohort?.deliver(target, carriage.sequence, qos, retain) ??
          this.delivery(target, out, carriage, qos, isKept));
    const sequence = detail === null ? out.sequence : detail.sequence;
    const event = qos === 1 ? DeliveryEvent.sendQos1 : DeliveryEvent.sendQos2;
    const state = nextState(step(DeliveryState.new, event));
    const packetId = session.outbound.take(state, sequence, detail);
    session.sendQuota--;
    inflightBytes?.add(packetId, out.payloadLength);
    if (session.stored) {
      if (carriage.kind !== DeliveryKind.receipt) out.references++;
      const facts = detail ?? this.facts(target, out, carriage, qos);
      this.context.persistence.putNewDelivery(session.number, facts, state, packetId);
    } else if (cohort === null) {
      this.putTransientRow(session, sequence, out, carriage);
    }
    if (carriage.kind === DeliveryKind.tracked && carriage.reference !== null && cohort === null) {
      this.context.tracker.sent(carriage.reference, out.sequence, session, carriage.group, qos);
    }
    // What must not be repeated leaves once it is recorded.
    const isLasting = carriage.kind !== DeliveryKind.message || (qos === 2 && session.stored);
    const recordedFirst = isLasting && (cohort === null || session.stored);
    this.context.turns.publish(link, frame, publishFirstByte(qos, retain), packetId, recordedFirst);
  }

  /** True if a message at QoS 1 or 2 would go to the session's connection at once. */
  isFree(session: Session, payloadLength: number): boolean {
    const { unrecorded } = this.context;
    if (unrecorded.size > 0) unrecorded.record(session);
    const { link } = session;
    if (link === null || session.sendQuota === 0 || link.slow || queueLength(this.context, session) > 0) return false;
    return session.inflightBytes === null || session.inflightBytes.hasRoom(payloadLength);
  }

  /** True for messages under their own numbers, where there is something to record. */
  private mayDefer({ kind, sequence, group }: Carriage, session: Session): boolean {
    if (sequence !== 0 || group !== null) return false;
    if (session.stored) return kind !== DeliveryKind.receipt;
    return kind === DeliveryKind.tracked && this.context.persistence.keepsTransients;
  }

  /** Sends what most likely is acknowledged before it has to be a row. */
  private sendDeferred(
    target: Target,
    out: Outgoing,
    carriage: Carriage,
    qos: QoS,
    link: Link,
    frame: PublishFrame,
  ): void {
    const { session } = target;
    const record = carriage.reference;
    const retain = this.retainFlag(target, out);
    const { sequence } = out;
    const state = nextState(step(DeliveryState.new, qos === 1 ? DeliveryEvent.sendQos1 : DeliveryEvent.sendQos2));
    const delivery = this.defer(target, out, state, retain, record);
    session.sendQuota--;
    session.inflightBytes?.add(delivery.packetId, out.payloadLength);
    if (record !== null) this.context.tracker.sent(record, sequence, session, null, qos);
    // What must not be repeated leaves once it is recorded.
    const waits = record !== null || qos === 2;
    this.context.turns.publish(link, frame, publishFirstByte(qos, retain), delivery.packetId, waits);
  }

  /** Takes an identifier for a delivery that has no row for now. */
  defer(target: Target, out: Outgoing, state: DeliveryState, retain: boolean, record: Buffer | null): DeferredDelivery {
    const { session, subscriptionIds } = target;
    const recipientKey = session.stored || record === null ? null : identityKeyOf(session);
    const { sequence, deferred } = out;
    const delivery = new DeferredDelivery(
      session.number,
      sequence,
      state,
      retain,
      subscriptionIds,
      record,
      recipientKey,
      deferred,
    );
    out.deferred = delivery;
    delivery.packetId = session.outbound.take(state, sequence, delivery);
    return delivery;
  }

  /** Puts a delivery at the end of the session's queue, or refuses it if that is full. */
  private enqueue(target: Target, out: Outgoing, carriage: Carriage, qos: QoS): void {
    const { settings, metrics, persistence, tracker } = this.context;
    const { session } = target;
    const length = queueLength(this.context, session);
    const { queue } = session;
    const { maximumQueuedMessages, maximumQueuedBytes } = settings;
    const full =
      (!session.stored && !this.hasMemoryFor(out)) ||
      (maximumQueuedMessages > 0 && length - session.waitingReceipts >= maximumQueuedMessages) ||
      (maximumQueuedBytes > 0 && queue.bytes + out.payloadLength > maximumQueuedBytes);
    if (full && carriage.kind !== DeliveryKind.receipt) {
      metrics.droppedQueueFull++;
      this.refuse(session, out, carriage, Cause.queueFull, qos);
      return;
    }
    if (!session.stored && session.link !== null && carriage === plainCarriage && out.expiryAtMs === 0) {
      this.enqueueFrame(target, out, qos, session.link);
      return;
    }
    // A stored queue is read again when it is long, and what comes to it then stays for a while.
    const isKept = !session.stored || (session.link !== null && queue.bytes < keptBytesMax);
    const isShared = carriage === plainCarriage && (!session.stored || !isKept);
    const delivery = isShared
      ? this.sharedDelivery(target, out, qos, session.stored ? out.sharedInStore : out.sharedInMemory)
      : this.delivery(target, out, carriage, qos, isKept);
    if (!session.stored) metrics.queuedBytesInMemory += memoryBytesOf(delivery);
    if (carriage.kind === DeliveryKind.receipt) session.waitingReceipts++;
    else queue.addBytes(out.payloadLength);
    queue.append(delivery, session.stored, session.link !== null);
    if (session.stored) {
      if (carriage.kind !== DeliveryKind.receipt) out.references++;
      if (carriage.kind !== DeliveryKind.receipt && !isKept) out.lasting++;
      if (isShared) persistence.putSharedDelivery(session.number, out.sharedInStore, out.payloadLength);
      else persistence.putQueuedDelivery(session.number, delivery, out.payloadLength, !isKept);
      if (out.expiryAtMs > 0) persistence.putDeliveryExpiry(out.expiryAtMs, session.number, delivery.sequence);
    } else {
      this.putTransientRow(session, delivery.sequence, out, carriage);
    }
    if (carriage.kind === DeliveryKind.tracked && carriage.reference !== null) {
      this.joinUnsent(session, out, carriage);
      tracker.queued(carriage.reference, out.sequence, session, carriage.group, qos, session.link === null);
    }
  }

  /** What waits in memory for one connection waits as the packet that it will be. */
  private enqueueFrame(target: Target, out: Outgoing, qos: QoS, link: Link): void {
    const { session } = target;
    const fitting = fittingFrame(this.context, link, out, true, target.subscriptionIds);
    if (fitting === null) return;
    const frame = queueMemory.hold(fitting, out.sequence);
    const { slab } = queueMemory;
    const retain = this.retainFlag(target, out);
    const { payloadLength } = out;
    this.context.metrics.queuedBytesInMemory += deliveryBytes + payloadLength;
    session.queue.appendFrame(new QueuedFrame(out.sequence, qos, retain, frame, slab, out.topicName, payloadLength));
  }

  /** A delivery of a tracked message to a session that is not stored leaves a row that only a restart reads. */
  private putTransientRow(session: Session, sequence: number, out: Outgoing, carriage: Carriage): void {
    if (carriage.kind !== DeliveryKind.tracked || carriage.reference === null) return;
    this.context.persistence.putTransient(session, sequence, out.sequence, carriage.reference, carriage.group);
  }

  private facts(target: Target, out: Outgoing, carriage: Carriage, qos: QoS): DeliveryFacts {
    return {
      sequence: carriage.sequence === 0 ? out.sequence : carriage.sequence,
      messageSequence: out.sequence,
      qos,
      retain: this.retainFlag(target, out),
      subscriptionIds: target.subscriptionIds,
      kind: carriage.kind,
      reference: carriage.reference,
      group: carriage.group,
    };
  }

  /** True if one more message may wait in memory. */
  private hasMemoryFor(out: Outgoing): boolean {
    const { maximumQueuedBytesInMemory: maximum } = this.context.settings;
    return maximum === 0 || this.context.metrics.queuedBytesInMemory + out.payloadLength <= maximum;
  }

  /** A plain delivery, the same for all who get the message alike. @param shared where the last one is */
  private sharedDelivery(target: Target, out: Outgoing, qos: QoS, shared: SharedDelivery): Delivery {
    const { delivery } = shared;
    const isSame =
      delivery !== null &&
      delivery.qos === qos &&
      delivery.retain === this.retainFlag(target, out) &&
      delivery.subscriptionIds === target.subscriptionIds;
    if (isSame) return delivery;
    const own = this.delivery(target, out, plainCarriage, qos, shared === out.sharedInMemory);
    shared.hold(own);
    return own;
  }

  /** @param isKept true if the delivery holds the message itself */
  private delivery(target: Target, out: Outgoing, carriage: Carriage, qos: QoS, isKept: boolean): Delivery {
    const { subscriptionIds } = target;
    return {
      sequence: carriage.sequence === 0 ? out.sequence : carriage.sequence,
      messageSequence: out.sequence,
      kind: carriage.kind,
      message: isKept && carriage.kind !== DeliveryKind.receipt ? out.message() : null,
      qos,
      retain: this.retainFlag(target, out),
      subscriptionIds,
      group: carriage.group,
      reference: carriage.reference,
    };
  }

  /** [MQTT-3.3.1-12] [MQTT-3.3.1-13] */
  private retainFlag(target: Target, out: Outgoing): boolean {
    return target.retainAsPublished && out.retain;
  }

  /** Of who is not sent the message at QoS 1 or 2 the cohort does not speak. */
  private joinUnsent(session: Session, out: Outgoing, { reference, cohort }: Carriage): void {
    if (cohort !== null && reference !== null) this.context.tracker.joinLater(reference, out.sequence, session, null);
  }

  private refuse(session: Session, out: Outgoing, carriage: Carriage, cause: Cause, qos: QoS): void {
    this.tell(session, out, carriage, outcomeOf(step(DeliveryState.new, DeliveryEvent.refuse)), cause, qos);
  }

  private tell(
    session: Session,
    out: Outgoing,
    carriage: Carriage,
    outcome: Outcome,
    cause: Cause | null,
    qos: QoS,
  ): void {
    if (carriage.kind !== DeliveryKind.tracked || carriage.reference === null) return;
    this.joinUnsent(session, out, carriage);
    this.context.tracker.outcome(carriage.reference, out.sequence, session, carriage.group, {
      outcome,
      reasonCode: reasonOfCause(cause),
      cause,
      reasonString: null,
      qos,
    });
  }
}
