import type { LatencyFigures, LoadOptions, LoadResult } from './options.js';
import { PhaseClock } from './process-usage.js';
import { Stage } from './stage.js';
import { drain, openStream, pairsTopology, type Stream } from './stream.js';

const windowMax = 65_535;

/** Value at or below which the share `quantile` of the sorted values lies. */
export function quantileOf(sorted: Float64Array, quantile: number): number {
  return sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * quantile) - 1)];
}

interface Schedule {
  readonly startMs: number;
  readonly perMs: number;
  readonly total: number;
  /** Messages before this one warm up. */
  readonly first: number;
}

/** Sends each message at its time, however the broker fares; spins, because timers are a millisecond coarse. */
function sendOnSchedule(stream: Stream, schedule: Schedule, lateness: Float64Array, onWarm: () => void): Promise<void> {
  const { senders } = stream.traffic;
  let released = 0;
  return new Promise((resolve) => {
    const spin = (): void => {
      const due = Math.min(schedule.total, Math.floor((performance.now() - schedule.startMs) * schedule.perMs));
      while (released < due) {
        if (released === schedule.first) onWarm();
        const sender = senders[released % senders.length];
        sender.limit++;
        sender.pump();
        const latenessMs = performance.now() - (schedule.startMs + released / schedule.perMs);
        if (released >= schedule.first) lateness[released - schedule.first] = latenessMs;
        released++;
      }
      if (released < schedule.total) setImmediate(spin);
      else resolve();
    };
    spin();
  });
}

/** Open loop at a fixed rate: the time from when a message should have been sent to its receipt. */
export async function measureLatency(given: LoadOptions): Promise<LoadResult> {
  const options: LoadOptions = { ...given, window: windowMax };
  const stage = new Stage(options);
  const topology = pairsTopology(stage);
  const stream = await openStream(stage, topology);
  const first = Math.floor(options.ratePerSecond * options.warmupSeconds);
  const total = first + Math.floor(options.ratePerSecond * options.seconds);
  const perMs = options.ratePerSecond / 1000;
  const latencies = new Float64Array(total - first);
  const lateness = new Float64Array(total - first);
  const startMs = performance.now() + 10;
  let receivedCount = 0;
  for (const subscriber of stream.subscribers) {
    subscriber.observer = (publisher, sequence) => {
      const index = sequence * options.publishers + publisher;
      if (index >= first) latencies[receivedCount++] = performance.now() - (startMs + index / perMs);
    };
  }
  let clock = new PhaseClock(options.brokerPid);
  const onWarm = () => {
    clock = new PhaseClock(options.brokerPid);
  };
  await sendOnSchedule(stream, { startMs, perMs, total, first }, lateness, onWarm);
  const phase = clock.finish('open loop', 'message', total - first);
  const findings = await drain(stream, topology.receivers);
  const latency = summarize(latencies.subarray(0, receivedCount), lateness);
  return { options, phases: [phase], ...findings, rssBytesEach: null, latency };
}

function summarize(latencies: Float64Array, lateness: Float64Array): LatencyFigures {
  latencies.sort();
  lateness.sort();
  return {
    p50Ms: quantileOf(latencies, 0.5),
    p99Ms: quantileOf(latencies, 0.99),
    p999Ms: quantileOf(latencies, 0.999),
    maxMs: quantileOf(latencies, 1),
    sendLatenessP99Ms: quantileOf(lateness, 0.99),
  };
}
