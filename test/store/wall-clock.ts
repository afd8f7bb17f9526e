import type { Clock, Wakeup } from '../../lib/base/clock.js';

const timers = new WeakMap<Wakeup, NodeJS.Timeout>();

/** The system's clock, for tests that wait for a disk. */
export const wallClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    const wakeup = { dueAtMs: Date.now() + delayMs };
    timers.set(wakeup, setTimeout(callback, delayMs));
    return wakeup;
  },
  cancel(wakeup) {
    clearTimeout(timers.get(wakeup));
  },
  endOfTurn(callback) {
    setImmediate(callback);
  },
};
