import { performance } from 'node:perf_hooks';
import type { TurnWatch } from '../broker/turn.js';

/** How often durations fell between bounds, in seconds: a histogram that costs a few comparisons per observation. */
export class Durations {
  /** Upper bounds, rising; durations above the last are counted behind it. */
  readonly bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(seconds: number): void {
    let at = 0;
    while (at < this.bounds.length && seconds > (this.bounds[at] as number)) at++;
    this.counts[at]++;
    this.sum += seconds;
  }
}

const quick = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const slow = [0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21_600, 86_400];

/** Turns sealed and not released: beyond a few the store is stuck, and their durations are not worth keeping. */
const sealedMax = 64;

/** Measures turns, one by one: no packet costs anything. */
export class MeasuredTurns implements TurnWatch {
  /** From sealing a turn to its commit. */
  readonly commit = new Durations(quick);
  /** From the first input of a turn to the answers to its publishers, where these waited for a commit. */
  readonly acknowledge = new Durations(quick);
  /** From a tracked message to its final tally. */
  readonly tracked = new Durations(slow);
  private beganAtMs = 0;
  private readonly sealedTurns = new Map<number, { readonly beganAtMs: number; readonly sealedAtMs: number }>();

  began(): void {
    if (this.beganAtMs === 0) this.beganAtMs = performance.now();
  }

  sealed(number: number): void {
    const { beganAtMs } = this;
    this.beganAtMs = 0;
    if (this.sealedTurns.size < sealedMax) this.sealedTurns.set(number, { beganAtMs, sealedAtMs: performance.now() });
  }

  released(number: number, answers: boolean): void {
    const turn = this.sealedTurns.get(number);
    if (turn === undefined) return;
    this.sealedTurns.delete(number);
    const nowMs = performance.now();
    this.commit.observe((nowMs - turn.sealedAtMs) / 1000);
    if (answers && turn.beganAtMs > 0) this.acknowledge.observe((nowMs - turn.beganAtMs) / 1000);
  }
}
