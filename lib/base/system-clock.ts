import type { Clock, Wakeup } from './clock.js';

/** Longest delay that setTimeout keeps; it fires at once for longer ones. */
const timeoutMax = 2 ** 31 - 1;

/** Wakes up once, however far away: arms a timer for the part of the wait that one timer can take, then the next. */
class TimerWakeup implements Wakeup {
  readonly dueAtMs: number;
  private readonly callback: () => void;
  private timer: NodeJS.Timeout;

  constructor(dueAtMs: number, delayMs: number, callback: () => void) {
    this.dueAtMs = dueAtMs;
    this.callback = callback;
    this.timer = this.arm(delayMs);
  }

  cancel(): void {
    clearTimeout(this.timer);
  }

  private arm(delayMs: number): NodeJS.Timeout {
    const isLast = delayMs <= timeoutMax;
    const onTimeout = isLast ? this.callback : () => this.rearm(delayMs - timeoutMax);
    const timer = setTimeout(onTimeout, Math.min(delayMs, timeoutMax));
    // A pending wake-up is no reason to keep the process alive: sockets and the store are.
    timer.unref();
    return timer;
  }

  private rearm(delayMs: number): void {
    this.timer = this.arm(delayMs);
  }
}

let latestMs = 0;

/** The machine's clock and Node's timers: what a broker runs on outside tests and simulation. */
export const systemClock: Clock = {
  now(): number {
    latestMs = Math.max(latestMs, Date.now());
    return latestMs;
  },

  after(delayMs: number, callback: () => void): Wakeup {
    return new TimerWakeup(this.now() + delayMs, Math.max(0, delayMs), callback);
  },

  cancel(wakeup: Wakeup): void {
    if (wakeup instanceof TimerWakeup) wakeup.cancel();
  },

  endOfTurn(callback: () => void): void {
    setImmediate(callback);
  },
};
