import { perform } from './actions.js';
import { judge } from './judge.js';
import { type Action, type Plan, planOf } from './plan.js';
import type { Broken } from './verdicts.js';
import { World } from './world.js';

/** What came of a run. */
export interface Result {
  readonly plan: Plan;
  /** The first invariant that did not hold, or null. */
  readonly broken: Broken | null;
  /** What happened, line by line, if it was asked for. */
  readonly trace: readonly string[];
  readonly steps: number;
  /** Time that passed in the world, ms. */
  readonly simulatedMs: number;
  readonly crashes: number;
  readonly acknowledged: number;
  readonly arrivals: number;
  readonly receipts: number;
  /** Tracked deliveries by outcome and cause. */
  readonly outcomes: ReadonlyMap<string, number>;
}

/** Lets a plan happen in a new world. @param withTrace keeps what happened, for people */
export function play(plan: Plan, withTrace = false): Result {
  const world = new World(plan);
  const trace: string[] = [];
  const beganAtMs = world.time.nowMs;
  const at = (): string => `${((world.time.nowMs - beganAtMs) / 1000).toFixed(3)} s`.padStart(12);
  if (withTrace) world.onEvent = (text) => trace.push(`${at()}    ${text}`);
  for (const action of plan.actions) {
    world.pass(action.gapMs);
    if (world.verdicts.found.length > 0) break;
    const happened = perform(world, action);
    if (withTrace && happened !== null) trace.push(`${at()}  ${happened}`);
  }
  if (world.verdicts.found.length === 0) {
    if (withTrace) trace.push(`${at()}  the end: all faults are over, everybody comes back`);
    judge(world);
  }
  const { deliveries, receipts, steps, crashes, verdicts } = world;
  return {
    ...{ plan, broken: verdicts.found[0] ?? null, trace, steps, simulatedMs: world.time.nowMs - beganAtMs, crashes },
    ...{ ...deliveries.counts, receipts: receipts.count, outcomes: world.outcomes },
  };
}

export function playSeed(seed: number): Result {
  return play(planOf(seed));
}

/**
 * The shortest history found that breaks the same invariant: drops actions, more at a time at first, and keeps those
 * without which all is well.
 * @param playsMax how many histories to try at most
 */
export function shrink(failed: Result, playsMax = 1500): Result {
  let best = failed;
  let plays = 0;
  const tries = (actions: readonly Action[]): boolean => {
    plays++;
    const result = play({ ...best.plan, actions });
    if (result.broken?.invariant !== failed.broken?.invariant) return false;
    best = result;
    return true;
  };
  for (let size = Math.ceil(best.plan.actions.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let end = best.plan.actions.length; end > 0 && plays < playsMax; end -= size) {
      const { actions } = best.plan;
      const from = Math.max(0, Math.min(end, actions.length) - size);
      const kept = [...actions.slice(0, from), ...actions.slice(Math.min(end, actions.length))];
      // The time that passed before what is dropped passes before what follows.
      if (kept.length < actions.length) tries(kept);
    }
  }
  return best;
}
