import type { Clock, Wakeup } from '../../lib/base/clock.js';

/** Something that will happen. */
interface Planned extends Wakeup {
  /** Of two at the same time, the one that was planned first comes first. */
  readonly order: number;
  readonly callback: () => void;
}

/** The time of a simulated world: it jumps from one event to the next, and nothing happens but by its events. */
export class SimulatedTime {
  nowMs = Date.UTC(2030, 0, 1);
  /** Events so far: a time for facts, no two of which have the same. */
  events = 0;
  private planned: Planned[] = [];
  private order = 0;

  /** Plans an event `delayMs` from now. */
  after(delayMs: number, callback: () => void): Wakeup {
    const event = { dueAtMs: this.nowMs + Math.max(0, delayMs), order: this.order++, callback };
    // Most events are the latest yet: the list is in order, the next one last.
    let at = this.planned.length;
    while (at > 0 && isBefore(this.planned[at - 1], event)) at--;
    this.planned.splice(at, 0, event);
    return event;
  }

  cancel(wakeup: Wakeup): void {
    const at = this.planned.indexOf(wakeup as Planned);
    if (at >= 0) this.planned.splice(at, 1);
  }

  /** Lets the next event happen; false if none is due up to `untilMs`, which then is now. */
  step(untilMs: number): boolean {
    const next = this.planned.at(-1);
    if (next === undefined || next.dueAtMs > untilMs) {
      this.nowMs = Math.max(this.nowMs, untilMs);
      return false;
    }
    this.planned.pop();
    this.nowMs = Math.max(this.nowMs, next.dueAtMs);
    this.events++;
    next.callback();
    return true;
  }
}

function isBefore(one: Planned, other: Planned): boolean {
  return one.dueAtMs < other.dueAtMs || (one.dueAtMs === other.dueAtMs && one.order < other.order);
}

/** The clock of one broker process: when that dies, what it had planned never happens. */
export class ProcessClock implements Clock {
  private readonly time: SimulatedTime;
  private readonly turnMs: () => number;
  private isDead = false;

  /** @param turnMs how long the turn that begins goes on gathering what arrives */
  constructor(time: SimulatedTime, turnMs: () => number) {
    this.time = time;
    this.turnMs = turnMs;
  }

  now(): number {
    return this.time.nowMs;
  }

  after(delayMs: number, callback: () => void): Wakeup {
    return this.time.after(delayMs, () => this.run(callback));
  }

  cancel(wakeup: Wakeup): void {
    this.time.cancel(wakeup);
  }

  endOfTurn(callback: () => void): void {
    this.after(this.turnMs(), callback);
  }

  kill(): void {
    this.isDead = true;
  }

  private run(callback: () => void): void {
    if (!this.isDead) callback();
  }
}
