// Imported by the broker that is measured: tells its parent how long its event loop stood still at most.
import { monitorEventLoopDelay } from 'node:perf_hooks';

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
process.on('message', () => {
  process.send?.(delay.max / 1e6);
  delay.reset();
});
// The broker may end as if nobody watched.
process.channel?.unref();
