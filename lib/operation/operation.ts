import type { Log } from '../base/log.js';
import type { BrokerCore } from '../broker/broker-core.js';
import type { Settings } from '../config/schema.js';
import type { StoreFacts } from '../store/lmdb-facts.js';
import { AdminListener } from './admin-listener.js';
import type { HttpPlace } from './http-listener.js';
import { MetricsPage } from './metrics-page.js';
import { WatchListener } from './watch-listener.js';

/** Where a broker is watched and governed; null for nowhere. */
export interface OperationAddresses {
  readonly metrics: HttpPlace | null;
  readonly admin: HttpPlace | null;
}

/** What an operator has of a running broker besides its log. Everything in it is off unless it is configured. */
export class Operation {
  private readonly settings: Settings;
  private readonly watch: WatchListener | null;
  private readonly admin: AdminListener | null;
  private core: BrokerCore | null = null;
  private isListening = false;

  constructor(settings: Settings, log: Log) {
    this.settings = settings;
    this.watch = settings.metrics === undefined ? null : new WatchListener(() => this.unreadiness(), log);
    this.admin = settings.admin === undefined ? null : new AdminListener(settings.admin, log);
  }

  /**
   * Begins to answer, before there is a broker: it is not ready then.
   * @throws CountersignError ERR_COUNTERSIGN_LISTEN, or ERR_COUNTERSIGN_CONFIG if the admin's token can not be read
   */
  async open(): Promise<OperationAddresses> {
    const { metrics } = this.settings;
    return {
      metrics: this.watch === null || metrics === undefined ? null : await this.watch.listen(metrics),
      admin: this.admin === null ? null : await this.admin.listen(),
    };
  }

  /** Reads what a reload reads, and returns what puts it in force. @throws CountersignError ERR_COUNTERSIGN_CONFIG */
  async prepareReload(): Promise<() => void> {
    return (await this.admin?.prepareReload()) ?? (() => undefined);
  }

  /** The broker has what its store holds. */
  started(core: BrokerCore, storeFacts: () => StoreFacts | null): void {
    this.core = core;
    this.watch?.show(new MetricsPage(core, storeFacts));
    this.admin?.show(core);
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
    await this.admin?.close();
  }

  private unreadiness(): string | null {
    if (this.core === null) return 'the broker is starting';
    if (!this.isListening) return 'the broker does not listen';
    return this.core.context.persistence.healthy ? null : 'the store can not record';
  }
}
