import { setTimeout as sleep } from 'node:timers/promises';
import type { Findings, LoadOptions } from './options.js';
import { Stage } from './stage.js';
import { describeFindings } from './summary.js';

/** After this a broker has come to rest: its memory can be read. */
export const settleMs = 500;

/**
 * Does in small what is counted afterwards, for `warmupSeconds` and at least once, so that the counted part does not
 * pay for a broker that compiles its code and grows its young generation: one that was compiled before it was started
 * has no such cost. Each round has counters, topics and clients of its own and ends all of its sessions; what it
 * retained it has to clear itself.
 * @param count units of a round: few, so that little more than the time is used
 * @throws Error when a round finds something wrong
 */
export async function warmUp(
  options: LoadOptions,
  count: number,
  round: (stage: Stage) => Promise<Findings>,
): Promise<void> {
  if (options.warmupSeconds === 0) return;
  const untilMs = performance.now() + options.warmupSeconds * 1000;
  for (let number = 0; number === 0 || performance.now() < untilMs; number++) {
    const stage = new Stage({ ...options, count }, `-warmup${number}`);
    const findings = describeFindings([await round(stage)]);
    if (findings !== '') throw new Error(`the warm-up was not sound: ${findings}`);
    await stage.end();
  }
  await sleep(settleMs);
}
