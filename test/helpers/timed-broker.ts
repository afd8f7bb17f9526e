import assert from 'node:assert/strict';
import type { Test } from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { BrokerCore } from '../../lib/broker/broker-core.js';
import type { Hooks } from '../../lib/broker/hooks.js';
import type { Metrics } from '../../lib/broker/metrics.js';
import { TopicCache } from '../../lib/codec/topic-cache.js';
import { type BrokerOptions, parseOptions, type Settings } from '../../lib/config/schema.js';
import { BufferPool } from '../../lib/net/buffer-pool.js';
import { sharedViews } from '../../lib/net/connection-parts.js';
import { IncompletePackets } from '../../lib/net/incomplete-packets.js';
import { Listeners } from '../../lib/net/listeners.js';
import { TurnYields } from '../../lib/net/turn-yields.js';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { type Store, Table } from '../../lib/store/store.js';
import { FakeClock } from './fake-clock.js';

const writes = new Set<string | symbol>(['put', 'putNew', 'delete', 'commit']);

/** A store that can be cut off from one broker, as a crash does: nothing that broker still does reaches it. */
class Cable {
  readonly end: Store;
  private cut = false;

  constructor(store: Store) {
    this.end = new Proxy(store, {
      get: (target, name) => {
        if (this.cut && writes.has(name)) return () => undefined;
        const member: unknown = Reflect.get(target, name);
        return typeof member === 'function' ? member.bind(target) : member;
      },
      set: (target, name, value) => (this.cut ? true : Reflect.set(target, name, value)),
    });
  }

  sever(): void {
    this.cut = true;
  }
}

/** Real sockets for a broker without. */
export function listenersOf(core: BrokerCore, settings: Settings): Listeners {
  const yields = new TurnYields(core.context);
  const incomplete = new IncompletePackets(core.context.metrics, settings.maximumIncompleteBytes);
  const shared = { pool: new BufferPool(), topics: new TopicCache(16), yields, incomplete, ...sharedViews() };
  return new Listeners({ core, log: silentLog, ...shared });
}

/** A broker in this process with real sockets, on a clock that only the test moves and a store that restarts keep. */
export class TimedBroker {
  readonly clock = new FakeClock();
  port = 0;
  private readonly settings: Settings;
  private readonly hooks: Hooks;
  private readonly store = new MemoryStore(true);
  private cable = new Cable(this.store);
  private core: BrokerCore | null = null;
  private listeners: Listeners | null = null;

  constructor(options: BrokerOptions, hooks: Hooks = {}) {
    this.hooks = hooks;
    // Without $SYS topics, years can be let pass.
    this.settings = parseOptions({ memory: true, sysInterval: 0, ...options }, '');
  }

  /** What the broker that runs now has counted. */
  get metrics(): Readonly<Metrics> {
    return this.context.metrics;
  }

  /** The parts of the broker that runs now, for tests of upkeep that no packet shows. */
  get context(): BrokerCore['context'] {
    assert(this.core !== null, 'the broker was started');
    return this.core.context;
  }

  /** How many rows a table of the store has. */
  rows(table: keyof typeof Table): number {
    return this.store.countRange(Table[table], Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER);
  }

  /** Resolves when the broker has noticed that all but `left` of its connections are gone. */
  async settleConnections(left: number): Promise<void> {
    while (this.metrics.connectionsOpen > left) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Ends a session as an operator does. */
  endSession(clientId: string): void {
    const session = this.context.sessions.get(clientId);
    assert(session !== undefined, 'there is such a session');
    this.core?.endByOperator(session, true);
  }

  async start(): Promise<void> {
    this.cable = new Cable(this.store);
    this.core = new BrokerCore(this.settings, this.cable.end, this.clock, silentLog, this.hooks);
    this.core.start();
    this.listeners = listenersOf(this.core, this.settings);
    this.port = (await this.listeners.listen({ host: '127.0.0.1', port: 0 }))[0].port;
  }

  async stop(): Promise<void> {
    // The turn under way keeps the time at which it began: the end is to happen at the time that is now.
    await new Promise((resolve) => setImmediate(resolve));
    const closed = this.listeners?.close();
    // A client that does not close its side is cut off after a grace, which here is the fake clock's.
    const ticks = setInterval(() => this.clock.advance(0), 50);
    await closed;
    clearInterval(ticks);
    this.core?.stop();
  }

  /** Stops in order and starts anew, on another port. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Dies with what was committed, and starts anew on another port. */
  async crash(): Promise<void> {
    // Reading makes rows of what the dying broker could still settle.
    this.store.countRange(Table.deliveries, Buffer.alloc(0), null, 1);
    this.cable.sever();
    await this.restart();
  }
}

/** Starts a broker whose time stands still until `clock.advance`; stopped when the test ends. */
export async function startTimedBroker(t: Test, options: BrokerOptions = {}, hooks: Hooks = {}): Promise<TimedBroker> {
  const broker = new TimedBroker(options, hooks);
  await broker.start();
  t.teardown(() => broker.stop());
  return broker;
}
