/** From which size on a fan-out is divided, and how much of it may wait; tests take smaller numbers. */
export interface FanOutSizes {
  /** Cohorts from this size on are offered to slice by slice, so that no turn stalls the event loop. */
  readonly largeCohortMin: number;
  /** Recipients in a turn at most when the cohort is written down. */
  readonly writtenMax: number;
  /** Offers in a slice at most. */
  readonly sliceMax: number;
  /** Deliveries that cohorts may stand for; beyond them deliveries have rows again. */
  readonly unwrittenMax: number;
  /** Cohorts that may stand when all have been offered the message; beyond them the oldest give way to rows. */
  readonly standingMax: number;
}

export const fanOutSizes: FanOutSizes = {
  largeCohortMin: 2000,
  writtenMax: 20_000,
  sliceMax: 1000,
  unwrittenMax: 20_000,
  standingMax: 16,
};
