import type { Clock, Wakeup } from '../base/clock.js';
import { DeliveryState } from '../delivery/table.js';
import type { Session } from '../session/session.js';
import type { Persistence } from './persistence.js';
import type { Turns } from './turn.js';

/** What has not been acknowledged for so long, and at most twice that, is recorded as sent. */
const heldMs = 10;
/** Sends held at most, of all sessions. */
const heldMax = 10_000;

/** Of one session, oldest first. */
class Held {
  readonly packetIds: number[] = [];
  readonly sequences: number[] = [];
  /** So many were there at the last look. */
  aged = 0;
}

/**
 * Plain messages at QoS 1 that were sent from stored queues and whose rows still say that they wait: most are
 * acknowledged within milliseconds, and then there is nothing to change but to delete them.
 *
 * A restart finds what waits behind all that was sent, and no more of it than may wait, so nothing later of a session
 * may be recorded as sent, or as waiting, before these: whoever does that, or reads the session's rows, calls `record`
 * first. Then a process that dies meanwhile leaves what it would have left a moment before.
 */
export class UnrecordedSends {
  /** How many are held, with those that were acknowledged since the last look. */
  size = 0;
  private readonly sessions = new Map<Session, Held>();
  private readonly clock: Clock;
  private readonly turns: Turns;
  private readonly persistence: Persistence;
  private wakeup: Wakeup | null = null;

  constructor(clock: Clock, turns: Turns, persistence: Persistence) {
    this.clock = clock;
    this.turns = turns;
    this.persistence = persistence;
  }

  /** A delivery of a stored session was sent as `packetId`. */
  add(session: Session, packetId: number, sequence: number): void {
    let held = this.sessions.get(session);
    if (held === undefined) {
      held = new Held();
      this.sessions.set(session, held);
    }
    held.packetIds.push(packetId);
    held.sequences.push(sequence);
    this.size++;
    if (this.size >= heldMax) this.recordAll();
    else this.wakeup ??= this.clock.after(heldMs, this.look);
  }

  /** Records a session's. */
  record(session: Session): void {
    const held = this.sessions.get(session);
    if (held === undefined) return;
    this.recordOldest(session, held, held.packetIds.length);
    this.sessions.delete(session);
  }

  recordAll(): void {
    for (const session of [...this.sessions.keys()]) this.record(session);
  }

  private readonly look = (): void => {
    this.wakeup = null;
    if (this.sessions.size === 0) return;
    this.turns.begin();
    for (const [session, held] of this.sessions) {
      this.recordOldest(session, held, held.aged);
      held.aged = held.packetIds.length;
      if (held.aged === 0) this.sessions.delete(session);
    }
    if (this.sessions.size > 0) this.wakeup = this.clock.after(heldMs, this.look);
  };

  private recordOldest({ number, outbound }: Session, held: Held, count: number): void {
    const { packetIds, sequences } = held;
    for (let at = 0; at < count; at++) {
      const packetId = packetIds[at];
      const isOpen = outbound.state(packetId) === DeliveryState.awaitPuback;
      if (!isOpen || outbound.sequence(packetId) !== sequences[at]) continue;
      const delivery = outbound.detail(packetId);
      if (delivery !== null) {
        this.persistence.putDelivery(number, delivery, DeliveryState.awaitPuback, packetId);
      }
    }
    packetIds.splice(0, count);
    sequences.splice(0, count);
    this.size -= count;
  }
}
