/** A pending wake-up; `clock.cancel` takes it back. */
export interface Wakeup {
  readonly dueAtMs: number;
}

/** The broker's only source of time and of turns, injected so that tests and the simulator own both. */
export interface Clock {
  /** Milliseconds since the epoch; never goes backwards within a process. */
  now(): number;
  /** Calls `callback` once, `delayMs` from now. */
  after(delayMs: number, callback: () => void): Wakeup;
  cancel(wakeup: Wakeup): void;
  /** Calls `callback` once when everything that arrived in this turn of the event loop has been handled. */
  endOfTurn(callback: () => void): void;
}
