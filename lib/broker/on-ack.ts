import { ProtocolError } from '../base/errors.js';
import { DeliveryEvent, Effect, effectsOf, nextState, Outcome, outcomeOf, step } from '../delivery/table.js';
import { type Delivery, DeliveryKind } from '../session/delivery.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import { PacketType } from '../spec/packet-types.js';
import { firstFailureCode, ReasonCode } from '../spec/reason-codes.js';
import type { DeliveryFacts } from '../store/records.js';
import type { Context } from './context.js';
import { DeferredDelivery } from './deferred-deliveries.js';
import { HeldIdentifier } from './held-identifier.js';
import { removeRow, type SendWindow } from './send-window.js';
import { type SoleRecipients, soleOf } from './sole-recipients.js';
import { nothing, theCommit } from './turn-output.js';

/** Characters of a recipient's reason string that are recorded. */
const reasonCharactersMax = 1024;

/** A reason string as it is recorded: not more than its beginning, and no character cut in two. */
function cutReason(text: string): string {
  if (text.length <= reasonCharactersMax) return text;
  const isPair = /[\ud800-\udbff]/.test(text.charAt(reasonCharactersMax - 1));
  return text.slice(0, isPair ? reasonCharactersMax - 1 : reasonCharactersMax);
}

function eventOf(packetType: number, reasonCode: number): DeliveryEvent {
  const failed = reasonCode >= firstFailureCode;
  if (packetType === PacketType.puback) return failed ? DeliveryEvent.pubackFailure : DeliveryEvent.pubackSuccess;
  if (packetType === PacketType.pubrec) return failed ? DeliveryEvent.pubrecFailure : DeliveryEvent.pubrecSuccess;
  return DeliveryEvent.pubcomp;
}

/** The rules of PUBACK, PUBREC and PUBCOMP from a subscriber, and of PUBREL from a publisher. @see MQTT 5 §4.3 */
export class OnAck {
  private readonly context: Context;
  private readonly window: SendWindow;
  private readonly soles: SoleRecipients;

  constructor(context: Context, window: SendWindow, soles: SoleRecipients) {
    this.context = context;
    this.window = window;
    this.soles = soles;
  }

  /** A subscriber acknowledges a delivery. */
  acknowledge(
    session: Session,
    link: Link,
    packetType: number,
    packetId: number,
    reasonCode: number,
    reasonString: string | null,
  ): void {
    const { outbound } = session;
    const state = outbound.state(packetId);
    const transition = step(state, eventOf(packetType, reasonCode));
    const effects = effectsOf(transition);
    if (effects & Effect.protocolError) {
      throw new ProtocolError(
        ReasonCode.protocolError,
        `acknowledgement ${packetType} does not fit packet ${packetId}`,
      );
    }
    if (effects & Effect.replyNotFound) {
      this.context.turns.pubrel(link, packetId, ReasonCode.packetIdentifierNotFound, false);
      return;
    }
    if (effects === Effect.none) return;
    const sequence = outbound.sequence(packetId);
    const delivery = outbound.detail(packetId);
    if (effects & Effect.put) {
      outbound.setState(packetId, nextState(transition));
      if (session.stored) this.storeState(session, packetId, sequence, delivery);
    }
    if (effects & Effect.delete) removeRow(this.context, session, sequence, delivery);
    if (effects & Effect.free) {
      outbound.release(packetId);
      session.inflightBytes?.remove(packetId);
      const paid = session.unpaidIds === null || !session.unpaidIds.delete(packetId);
      if (paid && session.sendQuota < session.sendQuotaMax) session.sendQuota++; // [MQTT-4.9.0-2]
    }
    const outcome = outcomeOf(transition);
    if (outcome !== Outcome.none && delivery !== null) this.tell(session, delivery, outcome, reasonCode, reasonString);
    // PUBREL says that the broker has forgotten the message's body: only once that is recorded. [MQTT-4.3.3-4]
    if (effects & Effect.pubrel) this.context.turns.pubrel(link, packetId, ReasonCode.success, session.stored);
    if (effects & Effect.free && session.queueLength + (session.resendIds?.length ?? 0) > 0)
      this.window.refill(session);
  }

  /** A publisher releases a QoS 2 packet identifier. [MQTT-4.3.3-11] */
  release(session: Session, link: Link, packetId: number): void {
    const held = session.inboundCount > 0 ? session.inbound.release(packetId) : null;
    if (held instanceof HeldIdentifier) held.release();
    else if (held !== null && session.stored) this.context.persistence.deleteInbound(session.number, packetId);
    const reasonCode = held === null ? ReasonCode.packetIdentifierNotFound : ReasonCode.success;
    // PUBCOMP frees the identifier at the client: a restart must not find it held.
    const isRecorded = held !== null && session.stored;
    this.context.turns.answer(link, PacketType.pubcomp, packetId, reasonCode, null, isRecorded ? theCommit : nothing);
  }

  private storeState(session: Session, packetId: number, sequence: number, delivery: Delivery | null): void {
    const state = session.outbound.state(packetId);
    if (delivery instanceof DeferredDelivery && delivery.advance(state)) return;
    // Of a plain message only its number matters from here on: it is not sent again.
    const facts: DeliveryFacts = delivery ?? {
      sequence,
      messageSequence: sequence,
      qos: 2,
      retain: false,
      subscriptionIds: null,
      kind: DeliveryKind.message,
      reference: null,
      group: null,
    };
    this.context.persistence.putDelivery(session.number, facts, state, packetId);
  }

  private tell(
    session: Session,
    delivery: Delivery,
    outcome: Outcome,
    reasonCode: number,
    reasonString: string | null,
  ): void {
    if (delivery.kind !== DeliveryKind.tracked || delivery.reference === null) return;
    this.context.budget.tracked(1);
    if (outcome === Outcome.delivered && reasonCode === ReasonCode.success && reasonString === null) {
      const sole = soleOf(delivery);
      if (sole !== null && this.soles.delivered(sole)) return;
    }
    this.context.tracker.outcome(delivery.reference, delivery.messageSequence, session, delivery.group, {
      outcome,
      reasonCode,
      cause: null,
      reasonString: reasonString === null ? null : cutReason(reasonString),
    });
  }
}
