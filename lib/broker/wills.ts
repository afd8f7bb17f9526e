import type { Message } from '../base/message.js';
import { readUserProperties } from '../codec/publish.js';
import { ownerKeyOf } from '../receipts/identities.js';
import type { Owner } from '../receipts/record.js';
import { parseRequest } from '../receipts/request.js';
import type { Session, Will } from '../session/session.js';
import { sessionNeverExpires } from '../spec/limits.js';
import type { Context } from './context.js';
import type { OnPublish } from './on-publish.js';
import { applyRules, type Tracking } from './tracking.js';

/** Publishes wills when their time has come. @see MQTT 5 §3.1.2.5, §3.1.3.2.2 */
export class Wills {
  private readonly context: Context;
  private readonly publish: OnPublish;

  constructor(context: Context, publish: OnPublish) {
    this.context = context;
    this.publish = publish;
  }

  /**
   * The connection ended without a DISCONNECT that drops the will: it is due after its delay or with the session,
   * whichever is first. [MQTT-3.1.2-8]
   */
  connectionLost(session: Session): void {
    const { will } = session;
    if (will === null) return;
    const delayMs = will.delaySeconds * 1000;
    if (delayMs === 0 || session.expirySeconds === 0) {
      this.publishNow(session);
      return;
    }
    this.arm(session, this.context.clock.now() + delayMs);
  }

  /** Sets the timer of a will that is due later; also for those read at the start. */
  arm(session: Session, dueAtMs: number): void {
    session.willDueAtMs = dueAtMs;
    session.willTimer = this.context.timers.at(dueAtMs, () => this.publishNow(session));
  }

  /** The client is back in time, or took its will back. [MQTT-3.1.3-9] */
  cancel(session: Session): void {
    this.context.timers.cancel(session.willTimer);
    session.willTimer = null;
    session.willDueAtMs = 0;
    session.will = null;
  }

  /** Publishes the will, once. [MQTT-3.1.2-10] */
  publishNow(session: Session): void {
    const { will } = session;
    if (will === null) return;
    this.cancel(session);
    if (session.stored && !session.ended) this.context.persistence.restartRows.putSession(session);
    const { turns, metrics, sequences, settings, rights, log } = this.context;
    turns.begin();
    // Rights are those of the moment: nobody is left to be told.
    if (!rights.mayPublish(session, will.topicName)) {
      metrics.publishesNotAuthorized++;
      log.warn({ client: session.clientId, topic: will.topicName }, 'will dropped: its client may not publish there');
      return;
    }
    metrics.willsPublished++;
    const { clientId, userName } = session;
    const message = this.messageOf(will, clientId, sequences.next());
    const owner = { clientId, userName, byServer: false };
    const tracking = settings.receipts.enabled ? this.trackingOf(will, owner) : null;
    this.publish.publishMessage(message, owner, session, tracking);
  }

  private messageOf(will: Will, publisherId: string, sequence: number): Message {
    const { topicName, payload, properties, qos, messageExpirySeconds } = will;
    return {
      sequence,
      topicName,
      payload,
      properties,
      qos,
      retain: will.retain, // [MQTT-3.1.2-14] [MQTT-3.1.2-15]
      expiryAtMs: messageExpirySeconds < 0 ? 0 : this.context.clock.now() + messageExpirySeconds * 1000,
      publisherId,
      tracked: false,
    };
  }

  /** A will's request was checked at CONNECT, but the rules may have changed; one may track it without a request. */
  private trackingOf(will: Will, owner: Owner): Tracking | null {
    const { housekeeping, metrics, log } = this.context;
    const request = parseRequest(readUserProperties(will.properties, 0, will.properties.length), will.qos, true);
    const decided = typeof request === 'string' ? request : applyRules(this.context, request, will.topicName);
    if (decided === null) return null;
    if (typeof decided === 'string') {
      metrics.receiptRequestsRefused++;
      log.info({ client: owner.clientId, topic: will.topicName }, `receipt request refused: ${decided}`);
      return null;
    }
    if (housekeeping.makeRoom(ownerKeyOf(owner))) return decided;
    metrics.untrackedForWantOfRecords++;
    log.warn({ topic: will.topicName }, 'not tracked: the broker keeps no more records of tracked messages');
    return null;
  }
}

/** True if a session with this expiry never ends by itself. */
export function neverExpires(expirySeconds: number): boolean {
  return expirySeconds === sessionNeverExpires;
}
