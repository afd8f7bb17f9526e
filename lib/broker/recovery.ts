import { DeliveryState } from '../delivery/table.js';
import { Cause } from '../receipts/causes.js';
import { Session } from '../session/session.js';
import { Subscription } from '../session/subscription.js';
import type { ProtocolVersion } from '../spec/packet-types.js';
import type { Context } from './context.js';
import type { LargeFanOuts } from './large-fan-outs.js';
import type { ReceiptReplays } from './receipt-replays.js';
import type { Retained } from './retained.js';
import type { SessionLifecycle } from './session-lifecycle.js';
import type { SessionSweeps } from './session-sweeps.js';
import type { Subscriptions } from './subscriptions.js';
import type { Wills } from './wills.js';

interface Parts {
  readonly lifecycle: SessionLifecycle;
  readonly sweeps: SessionSweeps;
  readonly subscriptions: Subscriptions;
  readonly retained: Retained;
  readonly wills: Wills;
  readonly replays: ReceiptReplays;
  readonly largeFanOuts: LargeFanOuts;
}

/** Brings back what the store holds at the start of a broker. Message bodies and queues stay where they are. */
export function recover(context: Context, parts: Parts): void {
  const { persistence } = context;
  for (const { topicName, sequence } of persistence.restartRows.retained()) parts.retained.load(topicName, sequence);
  const restored: { session: Session; willDueAtMs: number }[] = [];
  for (const stored of persistence.restartRows.sessions()) {
    const { number, clientId, userName, expirySeconds, protocolVersion } = stored;
    const session = new Session(number, clientId, userName, true, protocolVersion as ProtocolVersion, expirySeconds);
    session.will = stored.will;
    session.restored = true;
    session.disconnectedAtMs = stored.disconnectedAtMs;
    context.sessions.set(clientId, session);
    context.storedSessions.set(number, session);
    restored.push({ session, willDueAtMs: stored.willDueAtMs });
  }
  for (const { session, subscription } of persistence.restartRows.subscriptions()) {
    const owner = context.storedSessions.get(session);
    if (owner === undefined) continue;
    const { topicFilter, subscriptionId } = subscription;
    parts.subscriptions.restore(new Subscription(owner, topicFilter, subscription, subscriptionId));
  }
  parts.replays.restore();
  parts.largeFanOuts.restore();
  // Everybody is there before anything happens to anybody: wills go out, and deliveries move to other members.
  for (const { session, willDueAtMs } of restored) goOn(context, parts, session, willDueAtMs);
  sweep(context, parts.sweeps);
}

/** A session that was connected when the broker died is as if its connection had just been lost. */
function goOn(context: Context, parts: Parts, session: Session, willDueAtMs: number): void {
  const wasConnected = session.disconnectedAtMs === 0;
  if (wasConnected) {
    session.disconnectedAtMs = context.clock.now();
    if (session.expirySeconds === 0) {
      parts.lifecycle.end(session, Cause.brokerRestart);
      return;
    }
    parts.wills.connectionLost(session);
    context.persistence.restartRows.putSession(session);
  } else if (session.will !== null && willDueAtMs > 0) {
    parts.wills.arm(session, willDueAtMs);
  }
  parts.lifecycle.armExpiry(session);
}

/** Ends what sessions left behind that are no more. */
function sweep(context: Context, sweeps: SessionSweeps): void {
  const { persistence, tracker } = context;
  for (const { number, clientId, userName, cause } of [...persistence.retired()]) {
    sweeps.ofStored(number, clientId, userName, cause);
  }
  for (const { session, row } of persistence.transientDeliveries()) {
    persistence.deleteDelivery(session, row.sequence);
    if (row.reference === null || row.state !== DeliveryState.queued) continue;
    tracker.lose(row.reference, row.messageSequence, Cause.brokerRestart);
  }
}
