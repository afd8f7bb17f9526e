import type { Message } from '../base/message.js';
import { version } from '../base/version.js';
import type { Context } from './context.js';
import type { FanOut } from './fan-out.js';
import { Outgoing } from './outgoing.js';
import type { Retained } from './retained.js';
import { SysLoads } from './sys-loads.js';

const noBytes = Buffer.alloc(0);

/** Publishes what the broker counts under `$SYS/broker/…`, by the names that Mosquitto made known. */
export class SysTopics {
  private readonly context: Context;
  private readonly fanOut: FanOut;
  private readonly retained: Retained;
  private readonly out = new Outgoing();
  private readonly startedAtMs: number;
  private readonly told = new Map<string, string>();
  private readonly loads = new SysLoads();
  private updatedAtMs = 0;
  private mostConnected = 0;

  constructor(context: Context, fanOut: FanOut, retained: Retained) {
    this.context = context;
    this.fanOut = fanOut;
    this.retained = retained;
    this.startedAtMs = context.clock.now();
  }

  /** Publishes now and then every `sysInterval` seconds. */
  start(): void {
    const { settings, timers, turns } = this.context;
    if (settings.sysInterval === 0) return;
    turns.begin();
    for (const [name, value] of this.values()) this.tell(`$SYS/broker/${name}`, String(value));
    timers.after(settings.sysInterval * 1000, () => this.start());
  }

  private values(): [string, string | number][] {
    const { metrics, sessions, routes, clock } = this.context;
    const connected = metrics.connectionsOpen;
    const disconnected = Math.max(0, sessions.size - connected);
    this.mostConnected = Math.max(this.mostConnected, connected);
    const now = clock.now();
    const seconds = this.updatedAtMs === 0 ? 0 : (now - this.updatedAtMs) / 1000;
    this.updatedAtMs = now;
    return [
      ['version', `countersign ${version}`],
      ['uptime', `${Math.floor((now - this.startedAtMs) / 1000)} seconds`],
      ['clients/connected', connected],
      ['clients/active', connected],
      ['clients/disconnected', disconnected],
      ['clients/inactive', disconnected],
      ['clients/maximum', this.mostConnected],
      ['clients/total', sessions.size],
      ['clients/expired', metrics.sessionsExpired],
      ['bytes/received', metrics.bytesReceived],
      ['bytes/sent', metrics.bytesSent],
      ['messages/received', metrics.packetsReceived],
      ['messages/sent', metrics.packetsSent],
      ['publish/messages/received', metrics.publishesReceived],
      ['publish/messages/sent', metrics.publishesSent],
      ['publish/messages/dropped', metrics.publishesDropped],
      ['retained messages/count', this.retained.size],
      ['subscriptions/count', routes.size],
      ['receipts/sent', metrics.receiptsSent],
      ...this.loads.update(metrics, seconds),
    ];
  }

  /** Publishes a value that has changed, and keeps it for later subscribers; never in the store. */
  private tell(topicName: string, value: string): void {
    if (this.told.get(topicName) === value) return;
    this.told.set(topicName, value);
    const { context } = this;
    const message: Message = {
      sequence: context.sequences.next(),
      topicName,
      payload: Buffer.from(value),
      properties: noBytes,
      qos: 0,
      retain: true,
      expiryAtMs: 0,
      publisherId: '',
      tracked: false,
    };
    this.retained.keepInMemory(message);
    this.out.fromMessage(message, context.clock.now());
    this.fanOut.publish(this.out, context.routes.route(topicName), null, null);
    if (this.out.references > 0) context.persistence.putMessage(message, this.out.references);
  }
}
