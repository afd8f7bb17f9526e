import type { Clock, Wakeup } from '../base/clock.js';

/** A clock that is read once a turn: while a turn is open, its time stands still. Asking the system costs 0.1 µs. */
export class TurnClock implements Clock {
  private readonly inner: Clock;
  private isOpen = false;
  private openedAtMs = 0;
  private turns = 0;
  private isStopped = false;

  constructor(inner: Clock) {
    this.inner = inner;
  }

  /** Number of the turn that is open or was last. */
  get turn(): number {
    return this.turns;
  }

  /** A turn begins. */
  open(): void {
    this.turns++;
    this.openedAtMs = this.inner.now();
    this.isOpen = true;
  }

  /** A timer fires: whatever it does sees a time at which it was due, though the turn may have begun before. */
  catchUp(): void {
    if (this.isOpen) this.openedAtMs = this.inner.now();
  }

  /** The turn has ended: time goes on. */
  close(): void {
    this.isOpen = false;
  }

  now(): number {
    return this.isOpen ? this.openedAtMs : this.inner.now();
  }

  /** The time whatever the turn, for what measures its own duration. */
  exactNow(): number {
    return this.inner.now();
  }

  after(delayMs: number, callback: () => void): Wakeup {
    return this.inner.after(delayMs, callback);
  }

  cancel(wakeup: Wakeup): void {
    this.inner.cancel(wakeup);
  }

  endOfTurn(callback: () => void): void {
    this.inner.endOfTurn(() => {
      if (!this.isStopped) callback();
    });
  }

  /** What is left for later turns does not come any more: the store is about to close. */
  stop(): void {
    this.isStopped = true;
  }
}
