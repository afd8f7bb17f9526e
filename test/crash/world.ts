import { deadlineMs, withDeadline } from '../helpers/deadline.js';
import type { Random } from './random.js';

/** How long clients may take to come to rest after a restart: some wait for seconds to pass, on a busy machine. */
const restMs = 3 * deadlineMs;

/**
 * What all clients of a run share: one clock that counts events, chance, and the list of broken promises. All clients
 * live in one process, so that the order of what they sent and received is known.
 */
export class World {
  readonly random: Random;
  readonly violations: string[] = [];
  /** False while there is no broker: then nobody connects. */
  up = false;
  /** True from the end of the load until the next one: clients stay, answer at once and publish nothing. */
  calm = false;
  port = 0;
  /** Packets that clients received: what a run is measured in. */
  packets = 0;
  private events = 0;
  private readonly planned: { at: number; action: () => void }[] = [];
  private wake: () => void = () => undefined;

  constructor(random: Random) {
    this.random = random;
  }

  /** The time, in events. No two events have the same. */
  now(): number {
    return ++this.events;
  }

  violation(text: string): void {
    // Enough to see what is wrong.
    if (this.violations.length < 50) this.violations.push(text);
  }

  /** A packet came: lets time go on. */
  tick(): void {
    this.packets++;
    for (let at = this.planned.length - 1; at >= 0; at--) {
      const { at: due, action } = this.planned[at];
      if (due > this.packets) continue;
      this.planned.splice(at, 1);
      action();
    }
    this.wake();
  }

  /** Does something after so many packets, or when calm begins. */
  after(packets: number, action: () => void): void {
    if (this.calm) action();
    else this.planned.push({ at: this.packets + packets, action });
  }

  /** Ends the load: whatever was put off happens now. */
  calmDown(): void {
    this.calm = true;
    for (const { action } of this.planned.splice(0)) action();
  }

  /** Forgets what was put off: the broker is dead. */
  forgetPlans(): void {
    this.planned.length = 0;
  }

  /** Resolves when it is so, looked at after every packet; rejects with what is missing. */
  async until(isSo: () => boolean, missing: () => string): Promise<void> {
    const waiting = async (): Promise<void> => {
      while (!isSo()) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    };
    await withDeadline(waiting(), missing, restMs);
  }
}
