import type { BrokerCore } from '../broker/broker-core.js';
import { queueLength } from '../broker/stored-queues.js';
import type { Session } from '../session/session.js';

/** Sessions looked at in one turn. */
const sliceSessions = 2000;
/** One whose queue is in the store since an earlier process, and was not counted yet, takes the time of so many. */
const lookUpSessions = 20;

/** Sums over all sessions. */
export interface Tally {
  connected: number;
  disconnected: number;
  queuedMessages: number;
  queuedBytes: number;
  inflightMessages: number;
  /** QoS 2 messages of publishers that are not released. */
  unreleasedMessages: number;
  wills: number;
}

/** Nothing counted yet. */
export const empty = (): Tally => ({
  connected: 0,
  disconnected: 0,
  queuedMessages: 0,
  queuedBytes: 0,
  inflightMessages: 0,
  unreleasedMessages: 0,
  wills: 0,
});

/** Adds up all sessions when somebody asks, a slice a turn, so that no packet pays for it. */
export class Census {
  private readonly core: BrokerCore;
  private underWay: Promise<Tally> | null = null;

  constructor(core: BrokerCore) {
    this.core = core;
  }

  /** The sums as of now; whoever asks while they are being added up gets the same. */
  async take(): Promise<Tally> {
    this.underWay ??= this.count();
    try {
      return await this.underWay;
    } finally {
      this.underWay = null;
    }
  }

  private async count(): Promise<Tally> {
    const { context } = this.core;
    const { sessions, clock } = context;
    const tally = empty();
    let left = sliceSessions;
    for (const session of sessions.values()) {
      left -= session.queueKnown ? 1 : lookUpSessions;
      add(tally, session, queueLength(context, session));
      if (left > 0) continue;
      left = sliceSessions;
      await new Promise<void>((resolve) => clock.endOfTurn(resolve));
    }
    return tally;
  }
}

function add(tally: Tally, session: Session, queued: number): void {
  if (session.link === null) tally.disconnected++;
  else tally.connected++;
  if (queued > 0) {
    tally.queuedMessages += queued;
    tally.queuedBytes += session.queue.bytes;
  }
  tally.inflightMessages += session.inflightCount;
  tally.unreleasedMessages += session.inboundCount;
  if (session.will !== null) tally.wills++;
}
