import type { Clock, Wakeup } from '../../lib/base/clock.js';

interface Pending extends Wakeup {
  readonly callback: () => void;
}

/** A clock that stands still until a test advances it. Turns still end with the event loop's. */
export class FakeClock implements Clock {
  private nowMs = Date.UTC(2030, 0, 1);
  private readonly pending = new Set<Pending>();

  now(): number {
    return this.nowMs;
  }

  after(delayMs: number, callback: () => void): Wakeup {
    const wakeup: Pending = { dueAtMs: this.nowMs + Math.max(0, delayMs), callback };
    this.pending.add(wakeup);
    return wakeup;
  }

  cancel(wakeup: Wakeup): void {
    this.pending.delete(wakeup as Pending);
  }

  endOfTurn(callback: () => void): void {
    setImmediate(callback);
  }

  /** Lets time pass: what falls due on the way happens in order, each at its own time. */
  advance(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (let next = this.earliest(untilMs); next !== null; next = this.earliest(untilMs)) {
      this.pending.delete(next);
      this.nowMs = Math.max(this.nowMs, next.dueAtMs);
      next.callback();
    }
    this.nowMs = untilMs;
  }

  /** Jumps ahead, as after a machine's sleep: what fell due meanwhile happens now. For spans of years. */
  leap(ms: number): void {
    this.nowMs += ms;
    this.advance(0);
  }

  private earliest(untilMs: number): Pending | null {
    let earliest: Pending | null = null;
    for (const wakeup of this.pending) {
      if (wakeup.dueAtMs <= untilMs && (earliest === null || wakeup.dueAtMs < earliest.dueAtMs)) earliest = wakeup;
    }
    return earliest;
  }
}
