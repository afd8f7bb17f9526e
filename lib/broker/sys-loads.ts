import type { Metrics } from './metrics.js';

const minutes = [1, 5, 15] as const;

const counted: Readonly<Record<string, (metrics: Metrics) => number>> = {
  'messages/received': (metrics) => metrics.packetsReceived,
  'messages/sent': (metrics) => metrics.packetsSent,
  'publish/received': (metrics) => metrics.publishesReceived,
  'publish/sent': (metrics) => metrics.publishesSent,
  'publish/dropped': (metrics) => metrics.publishesDropped,
  'bytes/received': (metrics) => metrics.bytesReceived,
  'bytes/sent': (metrics) => metrics.bytesSent,
  connections: (metrics) => metrics.connectionsAccepted,
};

interface Load {
  last: number;
  readonly averages: number[];
}

/** Moving averages per minute of what the broker counts, for `$SYS/broker/load/…`. */
export class SysLoads {
  private readonly loads = new Map<string, Load>();

  /** Takes the counters as they are now. @param seconds since the last call; 0 for the first */
  update(metrics: Metrics, seconds: number): [string, string][] {
    const values: [string, string][] = [];
    for (const [name, read] of Object.entries(counted)) {
      const now = read(metrics);
      const load = this.loads.get(name) ?? { last: 0, averages: minutes.map(() => 0) };
      this.loads.set(name, load);
      const perMinute = seconds > 0 ? ((now - load.last) * 60) / seconds : 0;
      load.last = seconds > 0 ? now : load.last;
      minutes.forEach((minute, at) => {
        const weight = 1 - Math.exp(-seconds / (minute * 60));
        const average = load.averages[at] as number;
        load.averages[at] = average + weight * (perMinute - average);
        values.push([`load/${name}/${minute}min`, (load.averages[at] as number).toFixed(2)]);
      });
    }
    return values;
  }
}
