import type { CommitFigures } from './summary.js';

const bucketPattern = /^countersign_commit_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm;

/**
 * Value below which the share `quantile` of the observations lies, in the unit of the bounds; within a bucket they are
 * taken to be spread evenly. What is above the last bound counts as the bound.
 * @param buckets upper bounds, rising, each with the number of all observations up to it; the last is infinite
 */
export function quantileOfBuckets(buckets: readonly (readonly [number, number])[], quantile: number): number {
  const wanted = (buckets.at(-1)?.[1] ?? 0) * quantile;
  let [below, belowCount] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= wanted && count > belowCount) {
      if (bound === Number.POSITIVE_INFINITY) return below;
      return below + ((bound - below) * (wanted - belowCount)) / (count - belowCount);
    }
    [below, belowCount] = [bound, count];
  }
  return below;
}

/** How long commits took since the broker began, from its `/metrics`. */
export async function readCommits(metricsPort: number): Promise<CommitFigures> {
  const page = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const buckets = Array.from(page.matchAll(bucketPattern), ([, bound, count]) => {
    return [bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound), Number(count)] as const;
  });
  return { p50Ms: quantileOfBuckets(buckets, 0.5) * 1000, p99Ms: quantileOfBuckets(buckets, 0.99) * 1000 };
}
