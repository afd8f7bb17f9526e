import { isDeepStrictEqual } from 'node:util';
import { Access } from './access/access.js';
import { refuseExposure } from './access/exposure.js';
import { CountersignError } from './base/errors.js';
import { type Log, silentLog } from './base/log.js';
import { systemClock } from './base/system-clock.js';
import { BrokerCore } from './broker/broker-core.js';
import type { Hooks } from './broker/hooks.js';
import type { Metrics } from './broker/metrics.js';
import type { Published, PublishRequest, TrackedPublishRequest } from './broker/server-publish.js';
import { TopicCache } from './codec/topic-cache.js';
import { type BrokerOptions, parseOptions, type Settings } from './config/schema.js';
import { BufferPool } from './net/buffer-pool.js';
import { sharedViews } from './net/connection-parts.js';
import { IncompletePackets } from './net/incomplete-packets.js';
import type { Address, ListenerAddress } from './net/listener.js';
import { Listeners } from './net/listeners.js';
import { TurnYields } from './net/turn-yields.js';
import { Operation, type OperationAddresses } from './operation/operation.js';
import type { TrackedMessage } from './receipts/tracked-message.js';
import { lmdbFacts } from './store/lmdb-facts.js';
import { LmdbStore } from './store/lmdb-store.js';
import { MemoryStore } from './store/memory-store.js';
import type { Store } from './store/store.js';

const cachedTopics = 4096;

/** Options that change without a restart. The contents of files do too. */
const reloadable: ReadonlySet<string> = new Set<keyof Settings>(['tracking', 'logLevel']);

/** What came of a reload: keys of options that have changed. */
export interface Reloaded {
  /** In force now. */
  readonly changed: readonly string[];
  /** In force after a restart. */
  readonly needRestart: readonly string[];
}

/**
 * An MQTT broker. Several in one process share nothing.
 *
 * ```ts
 * const broker = new Broker({ port: 1883, data: './data' });
 * await broker.listen();
 * …
 * await broker.close();
 * ```
 */
export class Broker {
  /** Options as they are in force. */
  settings: Settings;
  private readonly log: Log;
  private readonly hooks: Hooks;
  private state: 'new' | 'open' | 'closed' = 'new';
  private store: Store | null = null;
  private core: BrokerCore | null = null;
  private access: Access | null = null;
  private listeners: Listeners | null = null;
  private readonly operation: Operation;
  private operationPlaces: OperationAddresses = { metrics: null, admin: null };
  private listening: readonly ListenerAddress[] = [];

  /** @throws CountersignError ERR_COUNTERSIGN_CONFIG that names each wrong option and what is allowed */
  constructor(options: BrokerOptions & { readonly log?: Log; readonly hooks?: Hooks } = {}) {
    const { log, hooks, ...rest } = options;
    this.hooks = hooks ?? {};
    this.settings = parseOptions(rest, '');
    this.log = log ?? silentLog;
    this.operation = new Operation(this.settings, this.log);
  }

  /** Counters since the start. */
  get metrics(): Readonly<Metrics> {
    if (this.core === null) throw new CountersignError('ERR_COUNTERSIGN_STATE', 'the broker is not listening');
    return this.core.context.metrics;
  }

  /** Where the broker is watched and governed, as far as that is configured. */
  get operationAddresses(): OperationAddresses {
    return this.operationPlaces;
  }

  /** Where the broker listens, in the order of the configuration. */
  get addresses(): readonly ListenerAddress[] {
    return this.listening;
  }

  /**
   * Opens the store, brings back what it holds, and begins to listen.
   * @param address in place of `host` and `port`; without effect where `listeners` are configured
   * @returns the first listener's address, with the port that was taken where `port` is 0
   * @throws CountersignError ERR_COUNTERSIGN_DATA_…, ERR_COUNTERSIGN_LISTEN, or ERR_COUNTERSIGN_CONFIG if a file is
   * wrong or everybody would be let in from other machines without `allowAnonymous: true`
   */
  async listen(address: Partial<Address> = {}): Promise<Address> {
    if (this.state !== 'new') {
      throw new CountersignError('ERR_COUNTERSIGN_STATE', `the broker is ${this.state}: make a new one`);
    }
    this.state = 'open';
    const { settings, log } = this;
    const { memory, data, durability } = settings;
    const access = await Access.open(settings, this.hooks, systemClock);
    this.access = access;
    const { host = settings.host, port = settings.port } = address;
    try {
      refuseExposure(settings, access.hooks, { host });
      this.operationPlaces = await this.operation.open();
      const options = { directory: data, durability, clock: systemClock };
      const store = memory ? new MemoryStore() : await LmdbStore.open(options);
      this.store = store;
      const core = withWayOut(data, () => {
        const made = new BrokerCore(settings, store, systemClock, log, access.hooks);
        access.attach(made);
        made.start();
        return made;
      });
      this.core = core;
      this.operation.started(core, () => (store instanceof LmdbStore ? lmdbFacts(store) : null));
      const yields = new TurnYields(core.context);
      const incomplete = new IncompletePackets(core.context.metrics, settings.maximumIncompleteBytes);
      const shared = {
        pool: new BufferPool(),
        topics: new TopicCache(cachedTopics),
        yields,
        incomplete,
        ...sharedViews(),
      };
      const parts = { core, log, ...shared };
      this.listeners = new Listeners(parts);
      this.listening = await this.listeners.listen({ host, port });
      this.operation.listening();
      return { host: this.listening[0].host, port: this.listening[0].port };
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /**
   * Publishes a message as the publisher `$server`.
   *
   * ```ts
   * const tracked = await broker.publish({ topic: 'cmd/7', payload: 'reboot', receipt: 'delivered' });
   * for await (const { to, state } of tracked) console.log(to, state);
   * const { delivered, failed } = await tracked.tally;
   * ```
   * @returns once it is committed: its receipts if they were asked for, else how many recipients it had
   * @throws CountersignError ERR_COUNTERSIGN_PUBLISH if something about it is not allowed, ERR_COUNTERSIGN_STORE if it
   * cannot be recorded, ERR_COUNTERSIGN_STATE if the broker is not open
   */
  publish(request: TrackedPublishRequest): Promise<TrackedMessage>;
  publish(request: PublishRequest): Promise<Published | TrackedMessage>;
  async publish(request: PublishRequest): Promise<Published | TrackedMessage> {
    if (this.core === null || this.state !== 'open') {
      throw new CountersignError('ERR_COUNTERSIGN_STATE', 'the broker is not open');
    }
    return this.core.publishFromServer(request);
  }

  /**
   * Takes up new options and the present contents of all files without dropping a client: passwords, access rules,
   * certificates, tracking rules and, in the program, the log level. If anything is wrong, nothing changes; otherwise
   * connections end whose user was deleted or has another password.
   * @param options all options, as for the constructor; where left out, those in force
   * @returns which options have changed, and which of those are not in force before a restart
   * @throws CountersignError ERR_COUNTERSIGN_CONFIG that names what is wrong
   */
  async reload(options: BrokerOptions = this.settings): Promise<Reloaded> {
    const next = parseOptions(options, '');
    const differing = changedKeys(this.settings, next);
    const applyAccess = await this.access?.prepareReload();
    const applyOperation = await this.operation.prepareReload();
    const applyCertificates = this.listeners?.prepareReload();
    applyAccess?.();
    applyOperation();
    applyCertificates?.();
    const { tracking, logLevel } = next;
    this.settings = { ...this.settings, tracking, logLevel };
    this.core?.reload(this.settings);
    const isReloadable = (key: string): boolean => reloadable.has(key);
    return {
      changed: differing.filter(isReloadable),
      needRestart: differing.filter((key) => !isReloadable(key)),
    };
  }

  /** What the hook `authorize` or `receiptAccess` says has changed: it is asked again, from the next message on. */
  rightsChanged(): void {
    this.core?.rightsChanged();
  }

  /** Stops accepting, sends clients away (0x8B), commits and closes the store. Safe to call twice. */
  async close(): Promise<void> {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.operation.stopping();
    await this.listeners?.close();
    this.core?.stop();
    try {
      await this.operation.close();
      await this.store?.close();
    } finally {
      this.core?.abandon(new CountersignError('ERR_COUNTERSIGN_STATE', 'the broker was closed'));
    }
  }
}

function changedKeys(before: Settings, after: Settings): string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]) as ReadonlySet<keyof Settings>;
  return [...keys].filter((key) => !isDeepStrictEqual(before[key], after[key]));
}

/** Does what reads the store at the start; where a row of it is damaged, the error says what can be done. */
function withWayOut<T>(directory: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof CountersignError) || error.code !== 'ERR_COUNTERSIGN_DATA_CORRUPT') throw error;
    const wayOut =
      `run \`countersign store check ${directory}\` to have every damaged row named, ` +
      `\`countersign store export ${directory}\` to save the others, or restore the directory from a copy`;
    throw new CountersignError(error.code, `data directory ${directory}: ${error.message}; ${wayOut}`, {
      cause: error,
    });
  }
}
