import type { Clock } from './clock.js';

/** Sequence numbers per millisecond of the clock before they run ahead of it. */
const perMillisecond = 512;

/**
 * Gives every message its number: strictly rising, roughly `ms since the epoch × 512`, so that numbers sort by time of
 * acceptance over restarts and never go back with the clock. Stays below 2^53 until the year 2527.
 */
export class SequenceSource {
  private readonly clock: Clock;
  private last: number;

  /** @param floor no number at or below this is given out */
  constructor(clock: Clock, floor: number) {
    this.clock = clock;
    this.last = floor;
  }

  /** The last number given out. */
  get current(): number {
    return this.last;
  }

  next(): number {
    const byClock = this.clock.now() * perMillisecond;
    this.last = byClock > this.last ? byClock : this.last + 1;
    return this.last;
  }
}

/** How far ahead of use the store reserves numbers, so that a restart with a clock set back still only goes forward. */
export const sequenceReserveBlock = perMillisecond * 60_000;

/** The first number that a message may get at a time. */
export function firstSequenceAt(ms: number): number {
  return ms * perMillisecond;
}
