import { Cause } from '../receipts/causes.js';
import { Session, transientSessionBase } from '../session/session.js';
import type { ProtocolVersion } from '../spec/packet-types.js';
import type { Context } from './context.js';
import type { Holds } from './holds.js';
import type { LargeFanOuts } from './large-fan-outs.js';
import type { SessionSweeps } from './session-sweeps.js';
import type { Subscriptions } from './subscriptions.js';
import { neverExpires, type Wills } from './wills.js';

/** Sessions begin, are left, expire and end. @see MQTT 5 §4.1 */
export class SessionLifecycle {
  private readonly context: Context;
  private readonly wills: Wills;
  private readonly subscriptions: Subscriptions;
  private readonly holds: Holds;
  private readonly largeFanOuts: LargeFanOuts;
  private readonly sweeps: SessionSweeps;
  private nextTransient = transientSessionBase;
  /** The turn in which a stored session ended last: until that is committed, a restart brings the session back. */
  private endedInTurn = 0;

  constructor(
    context: Context,
    wills: Wills,
    subscriptions: Subscriptions,
    holds: Holds,
    largeFanOuts: LargeFanOuts,
    sweeps: SessionSweeps,
  ) {
    this.context = context;
    this.wills = wills;
    this.subscriptions = subscriptions;
    this.holds = holds;
    this.largeFanOuts = largeFanOuts;
    this.sweeps = sweeps;
  }

  /** True while the end of a stored session is not recorded: nobody may be told yet that there is none. */
  get isEnding(): boolean {
    return this.endedInTurn > this.context.turns.released;
  }

  begin(clientId: string, userName: string | null, version: ProtocolVersion, expirySeconds: number): Session {
    const { persistence, sessions } = this.context;
    const stored = expirySeconds > 0;
    const number = stored ? persistence.nextSessionNumber() : this.nextTransientNumber();
    const session = new Session(number, clientId, userName, stored, version, expirySeconds);
    session.queueKnown = true;
    sessions.set(clientId, session);
    if (stored) this.context.storedSessions.set(number, session);
    return session;
  }

  /** Rows of sessions that are not stored were swept at the start, so their numbers begin anew in each process. */
  private nextTransientNumber(): number {
    const number = this.nextTransient++;
    if (this.nextTransient > 0xffffffff) this.nextTransient = transientSessionBase;
    return number;
  }

  /**
   * The session's connection is gone. Ends the session if it has no expiry, else waits for the client.
   * @param withWill false after a DISCONNECT that drops the will [MQTT-3.14.4-3]
   */
  connectionGone(session: Session, withWill: boolean, cause: Cause): void {
    const { clock, persistence, unrecorded, cohorts } = this.context;
    unrecorded.record(session);
    cohorts.leave(session);
    session.link = null;
    session.sendQuota = 0;
    session.resendIds = null;
    this.holds.connectionGone(session);
    // Not when the turn began, which may be long before: the session would end too early.
    session.disconnectedAtMs = clock.exactNow();
    if (withWill) this.wills.connectionLost(session);
    else this.wills.cancel(session);
    if (session.expirySeconds === 0) {
      this.end(session, cause);
      return;
    }
    session.clearOutbound();
    if (session.queueLength > 0) {
      const first = session.queue.first();
      session.queue.leaveToStore(session.queue.length, first === null ? session.queue.cursor : first.sequence - 1);
    }
    if (session.stored) persistence.restartRows.putSession(session);
    this.armExpiry(session);
  }

  /** Starts the expiry of a session that is not connected. [MQTT-4.1.0-2] */
  armExpiry(session: Session): void {
    if (neverExpires(session.expirySeconds)) return;
    const dueAtMs = session.disconnectedAtMs + session.expirySeconds * 1000;
    session.expiryTimer = this.context.timers.at(dueAtMs, () => {
      this.context.turns.begin();
      this.context.metrics.sessionsExpired++;
      this.end(session, Cause.sessionExpired);
    });
  }

  /** Ends a session: its subscriptions and deliveries with it, its will before it. [MQTT-3.1.2-4] [MQTT-4.1.0-2] */
  end(session: Session, cause: Cause): void {
    if (session.ended) return;
    const { sessions, timers, persistence, unrecorded, cohorts } = this.context;
    unrecorded.record(session);
    cohorts.leave(session);
    session.ended = true;
    timers.cancel(session.expiryTimer);
    this.subscriptions.unindexAll(session);
    this.holds.forget(session);
    this.largeFanOuts.ended(session, cause);
    if (sessions.get(session.clientId) === session) sessions.delete(session.clientId);
    this.context.storedSessions.delete(session.number);
    // The session's end is the latest moment for a will that is still to come. [MQTT-3.1.2-8]
    this.wills.publishNow(session);
    if (session.stored) {
      this.endedInTurn = this.context.turns.number;
      persistence.retireSession(session, cause);
      this.sweeps.ofStored(session.number, session.clientId, session.userName, cause);
    } else {
      this.sweeps.inMemory(session, cause);
    }
  }
}
