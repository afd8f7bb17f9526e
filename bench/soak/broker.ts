// The broker of a soak, in a process of its own: says its port, then a sample for each message from its parent.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { BrokerCore } from '../../lib/broker/broker-core.js';
import { Broker } from '../../lib/index.js';
import { lmdbFacts } from '../../lib/store/lmdb-facts.js';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { Table } from '../../lib/store/store.js';

/** What is measured at one time, when no client is connected and nothing is under way. */
export interface Sample {
  /** Seconds since the start. */
  readonly seconds: number;
  /** What must come back to the same level: sessions, subscriptions, rows of each table, sizes of maps. */
  readonly counts: Readonly<Record<string, number>>;
  /** Bytes; `fileUsed` is the file's pages that are in use. */
  readonly bytes: { readonly rss: number; readonly heap: number; readonly buffers: number; readonly file: number };
  /** Of the event loop since the last sample, ms. */
  readonly delayP99Ms: number;
  readonly messages: number;
}

/** Few records are kept, so that their number does not depend on how quickly the rounds go. */
const receipts = { maxRecords: 240, maxRecordsPerPublisher: 40 };
/** Rows that count the broker's life, not its load. */
const uncounted = new Set(['meta', 'log']);
const everything = Buffer.alloc(0);

async function main(directory: string): Promise<void> {
  const broker = new Broker({ host: '127.0.0.1', port: 0, data: directory, sysInterval: 0, receipts });
  const { port } = await broker.listen();
  // The parts of a running broker that a sample counts are no API.
  const { core } = broker as unknown as { readonly core: BrokerCore };
  const delays = monitorEventLoopDelay({ resolution: 10 });
  delays.enable();
  process.on('message', () => {
    globalThis.gc?.();
    const sample = takeSample(core, delays.percentile(99) / 1e6);
    delays.reset();
    process.send?.(sample);
  });
  process.once('disconnect', () => void broker.close().then(() => process.exit(0)));
  process.send?.({ port });
}

function takeSample(core: BrokerCore, delayP99Ms: number): Sample {
  const { context } = core;
  const { store } = context.persistence;
  const counts: Record<string, number> = {
    'sessions in memory': context.sessions.size,
    'subscriptions in memory': context.routes.size,
    'timers in memory': context.timers.size,
    'connections open': context.metrics.connectionsOpen,
  };
  for (const [name, table] of Object.entries(Table)) {
    if (!uncounted.has(name)) {
      counts[`rows of ${name}`] = store.countRange(table, everything, null, Number.MAX_SAFE_INTEGER);
    }
  }
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  const file = store instanceof LmdbStore ? lmdbFacts(store).fileBytes : 0;
  return {
    seconds: process.uptime(),
    counts,
    bytes: { rss, heap: heapUsed, buffers: arrayBuffers, file },
    delayP99Ms,
    messages: context.metrics.publishesReceived,
  };
}

await main(process.argv[2] ?? '');
