import type { Log } from '../base/log.js';
import type { BrokerCore } from '../broker/broker-core.js';
import type { Settings } from '../config/schema.js';
import type { StoreFacts } from '../store/lmdb-facts.js';
import type { HttpPlace } from './http-listener.js';
import { MetricsPage } from './metrics-page.js';
import { WatchListener } from './watch-listener.js';

/** What an operator has of a running broker besides its log. Everything in it is off unless it is configured. */
export class Operation {
  private readonly settings: Settings;
  private readonly watch: WatchListener | null;
  private core: BrokerCore | null = null;
  private isListening = false;

  constructor(settings: Settings, log: Log) {
    this.settings = settings;
    this.watch = settings.metrics === undefined ? null : new WatchListener(() => this.unreadiness(), log);
  }

  /**
   * Begins to answer, before there is a broker: it is not ready then.
   * @returns where metrics are found, null for nowhere
   * @throws CountersignError ERR_COUNTERSIGN_LISTEN
   */
  async open(): Promise<HttpPlace | null> {
    const { metrics } = this.settings;
    return this.watch === null || metrics === undefined ? null : this.watch.listen(metrics);
  }

  /** The broker has what its store holds. */
  started(core: BrokerCore, storeFacts: () => StoreFacts | null): void {
    this.core = core;
    this.watch?.show(new MetricsPage(core, storeFacts));
  }

  /** Clients can connect. */
  listening(): void {
    this.isListening = true;
  }

  /** Clients can not connect any more. */
  stopping(): void {
    this.isListening = false;
  }

  async close(): Promise<void> {
    await this.watch?.close();
  }

  private unreadiness(): string | null {
    if (this.core === null) return 'the broker is starting';
    if (!this.isListening) return 'the broker does not listen';
    return this.core.context.persistence.healthy ? null : 'the store can not record';
  }
}
