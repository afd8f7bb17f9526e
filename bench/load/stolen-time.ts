import { readFileSync } from 'node:fs';

/** A run during which others took more of what the processors were to do says more about them than about a broker. */
export const stolenShareMax = 0.05;
/** Runs made at most to have one that is quiet. */
const triesMax = 3;

/** What the processors have done, all together, in ticks of the system's clock. */
export interface ProcessorTime {
  /** Work, and waiting to be let do it. */
  readonly wanted: number;
  /** The part of it in which the hypervisor ran others. */
  readonly stolen: number;
}

/** Reads the first line of `/proc/stat`; null if it is another text. @see proc(5) */
export function parseProcessorTime(text: string): ProcessorTime | null {
  const ticks = /^cpu +([\d ]+)/.exec(text)?.[1].split(' ').map(Number);
  if (ticks === undefined || ticks.length < 8) return null;
  const [user, nice, system, , , irq, softirq, stolen] = ticks;
  return { wanted: user + nice + system + irq + softirq + stolen, stolen };
}

function readProcessorTime(): ProcessorTime | null {
  try {
    return parseProcessorTime(readFileSync('/proc/stat', 'utf8'));
  } catch {
    // Not Linux.
    return null;
  }
}

/** The part of what was wanted between two moments that others had; null where nobody tells. */
export function stolenShareOf(from: ProcessorTime | null, to: ProcessorTime | null): number | null {
  if (from === null || to === null) return null;
  return to.wanted === from.wanted ? 0 : (to.stolen - from.stolen) / (to.wanted - from.wanted);
}

/**
 * Does `run`, and again where others had too much of the processors meanwhile.
 * @returns the quietest one, and what others had of it; null where nobody tells
 */
export async function runQuietly<Result>(
  run: () => Promise<Result>,
  readTime: () => ProcessorTime | null = readProcessorTime,
): Promise<{ readonly result: Result; readonly stolenShare: number | null }> {
  let quietest: { readonly result: Result; readonly stolenShare: number | null } | null = null;
  for (let tries = 0; tries < triesMax; tries++) {
    const from = readTime();
    const result = await run();
    const stolenShare = stolenShareOf(from, readTime());
    if (quietest === null || (stolenShare ?? 0) < (quietest.stolenShare ?? 0)) quietest = { result, stolenShare };
    if (stolenShare === null || stolenShare <= stolenShareMax) break;
  }
  if (quietest === null) throw new Error('nothing was run');
  return quietest;
}
