import type { Test } from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { systemClock } from '../../lib/base/system-clock.js';
import { BrokerCore } from '../../lib/broker/broker-core.js';
import type { Sizes } from '../../lib/broker/sizes.js';
import { parseOptions, type Settings } from '../../lib/config/schema.js';
import type { Listeners } from '../../lib/net/listeners.js';
import { Table } from '../../lib/store/store.js';
import { CrashStore } from './crash-store.js';
import { listenersOf } from './timed-broker.js';

/**
 * A broker in this process with real sockets, to which a handful of recipients is a large cohort: it offers messages in
 * slices of a few, and every commit takes an iteration of the event loop, so packets arrive between any two of them.
 */
export class SlicedBroker {
  port = 0;
  private readonly settings: Settings = parseOptions({ memory: true, sysInterval: 0 }, '');
  private readonly sizes: Partial<Sizes>;
  private store = new CrashStore();
  private core: BrokerCore | null = null;
  private listeners: Listeners | null = null;
  private disk: NodeJS.Immediate | null = null;

  constructor(sizes: Partial<Sizes>) {
    this.sizes = sizes;
  }

  /** How many rows a table of the store has. */
  rows(table: keyof typeof Table): number {
    return this.store.countRange(Table[table], Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER);
  }

  async start(): Promise<void> {
    this.core = new BrokerCore(this.settings, this.store, systemClock, silentLog, {}, this.sizes);
    this.core.start();
    this.listeners = listenersOf(this.core, this.settings);
    this.port = (await this.listeners.listen({ host: '127.0.0.1', port: 0 }))[0].port;
    this.flush();
  }

  /** Nothing that is decided from here on reaches the disk. */
  private halt(): void {
    if (this.disk !== null) clearImmediate(this.disk);
    this.disk = null;
  }

  /** Dies with what was on the disk, and starts anew on another port. */
  async crash(): Promise<void> {
    const { core, listeners } = this;
    this.halt();
    this.store = this.store.crash(0);
    const closed = listeners?.close();
    await this.start();
    await closed;
    core?.stop();
  }

  async stop(): Promise<void> {
    await this.listeners?.close();
    this.core?.stop();
    this.halt();
  }

  private flush(): void {
    this.store.flush();
    this.disk = setImmediate(() => this.flush());
  }
}

/** Starts such a broker; stopped when the test ends. */
export async function startSlicedBroker(t: Test, sizes: Partial<Sizes> = {}): Promise<SlicedBroker> {
  const broker = new SlicedBroker({
    largeCohortMin: 5,
    writtenMax: 2,
    sliceMax: 1,
    unwrittenMax: 1000,
    standingMax: 16,
    ...sizes,
  });
  await broker.start();
  t.teardown(() => broker.stop());
  return broker;
}
