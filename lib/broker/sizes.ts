/** Numbers from which on the broker takes its time: for large fan-outs, and before commits. Tests take smaller ones. */
export interface Sizes {
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
  /** A commit that would record so many messages waits for their acknowledgements, for so long. */
  readonly patientFrom: number;
  readonly patienceMs: number;
}

export const usualSizes: Sizes = {
  largeCohortMin: 2000,
  writtenMax: 20_000,
  sliceMax: 1000,
  unwrittenMax: 20_000,
  standingMax: 16,
  patientFrom: 32,
  patienceMs: 2,
};
