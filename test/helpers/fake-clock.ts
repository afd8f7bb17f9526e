import type { Clock, Wakeup } from '../../lib/base/clock.js';

interface Pending extends Wakeup {
  readonly callback: () => void;
}

/** A clock that stands still until a test advances it. Turns end with the event loop's, or before time passes. */
export class FakeClock implements Clock {
  private nowMs = Date.UTC(2030, 0, 1);
  private readonly pending = new Set<Pending>();
  private turns: (() => void)[] = [];

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
    this.turns.push(callback);
    setImmediate(() => this.endTurns());
  }

  /** Lets time pass: what falls due on the way happens in order, each at its own time. */
  advance(ms: number): void {
    const untilMs = this.nowMs + ms;
    this.endTurns();
    for (let next = this.earliest(untilMs); next !== null; next = this.earliest(untilMs)) {
      this.pending.delete(next);
      this.nowMs = Math.max(this.nowMs, next.dueAtMs);
      next.callback();
      this.endTurns();
    }
    this.nowMs = untilMs;
  }

  /** Jumps ahead, as after a machine's sleep: what fell due meanwhile happens now. For spans of years. */
  leap(ms: number): void {
    this.endTurns();
    this.nowMs += ms;
    this.advance(0);
  }

  /** What is decided is committed before time passes; what that begins is ended too. */
  private endTurns(): void {
    for (let callback = this.turns.shift(); callback !== undefined; callback = this.turns.shift()) callback();
  }

  private earliest(untilMs: number): Pending | null {
    let earliest: Pending | null = null;
    for (const wakeup of this.pending) {
      if (wakeup.dueAtMs <= untilMs && (earliest === null || wakeup.dueAtMs < earliest.dueAtMs)) earliest = wakeup;
    }
    return earliest;
  }
}
