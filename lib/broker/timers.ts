import type { Wakeup } from '../base/clock.js';
import type { TimerHandle } from '../session/session.js';
import type { TurnClock } from './turn-clock.js';

interface Timer extends TimerHandle {
  readonly dueAtMs: number;
  readonly callback: () => void;
}

/** Fewer cancelled timers than this are left where they are. */
const sweepMin = 64;

/** All timers of a broker in one binary heap with one wake-up of the clock: a timer costs an entry, not an OS timer. */
export class Timers {
  private readonly clock: TurnClock;
  private readonly heap: Timer[] = [];
  private wakeup: Wakeup | null = null;
  /** Timers in the heap that are cancelled. */
  private cancelledCount = 0;

  constructor(clock: TurnClock) {
    this.clock = clock;
  }

  /** Timers pending, and some that were cancelled: no more than there are pending ones, or a few. */
  get size(): number {
    return this.heap.length;
  }

  /** Calls `callback` once the clock shows `dueAtMs` or later. */
  at(dueAtMs: number, callback: () => void): TimerHandle {
    const timer: Timer = { dueAtMs, callback, cancelled: false };
    this.heap.push(timer);
    this.siftUp(this.heap.length - 1);
    this.arm();
    return timer;
  }

  after(delayMs: number, callback: () => void): TimerHandle {
    return this.at(this.clock.exactNow() + delayMs, callback);
  }

  cancel(timer: TimerHandle | null): void {
    if (timer === null || timer.cancelled) return;
    timer.cancelled = true;
    this.cancelledCount++;
    if (this.cancelledCount > sweepMin && this.cancelledCount * 2 > this.heap.length) this.sweep();
  }

  /** Drops every timer. */
  stop(): void {
    this.heap.length = 0;
    this.cancelledCount = 0;
    if (this.wakeup !== null) this.clock.cancel(this.wakeup);
    this.wakeup = null;
  }

  private arm(): void {
    const next = this.heap[0];
    if (next === undefined) return;
    if (this.wakeup !== null) {
      if (this.wakeup.dueAtMs <= next.dueAtMs) return;
      this.clock.cancel(this.wakeup);
    }
    this.wakeup = this.clock.after(Math.max(0, next.dueAtMs - this.clock.exactNow()), () => this.run());
  }

  private run(): void {
    this.wakeup = null;
    this.clock.catchUp();
    const now = this.clock.exactNow();
    for (let next = this.heap[0]; next !== undefined && next.dueAtMs <= now; next = this.heap[0]) {
      this.removeFirst();
      if (next.cancelled) this.cancelledCount--;
      else {
        // Nothing is left to cancel.
        next.cancelled = true;
        next.callback();
      }
    }
    this.arm();
  }

  /** Drops what is cancelled: a keep alive may be due in a day, and its connection long gone. */
  private sweep(): void {
    const pending = this.heap.filter(({ cancelled }) => !cancelled).sort((one, other) => one.dueAtMs - other.dueAtMs);
    for (const [at, timer] of pending.entries()) this.heap[at] = timer;
    this.heap.length = pending.length;
    this.cancelledCount = 0;
  }

  private removeFirst(): void {
    const last = this.heap.pop() as Timer;
    if (this.heap.length === 0) return;
    this.heap[0] = last;
    let at = 0;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.heap.length && this.dueAt(child) < this.dueAt(least)) least = child;
      }
      if (least === at) return;
      this.swap(at, least);
      at = least;
    }
  }

  private siftUp(start: number): void {
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.dueAt(parent) <= this.dueAt(at)) return;
      this.swap(at, parent);
      at = parent;
    }
  }

  private dueAt(at: number): number {
    return (this.heap[at] as Timer).dueAtMs;
  }

  private swap(a: number, b: number): void {
    const timer = this.heap[a] as Timer;
    this.heap[a] = this.heap[b] as Timer;
    this.heap[b] = timer;
  }
}
