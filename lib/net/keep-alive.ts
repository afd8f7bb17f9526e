import type { Clock } from '../base/clock.js';
import type { Timers } from '../broker/timers.js';
import type { TimerHandle } from '../session/session.js';

/** Whom a keep alive tells. */
export interface SilenceSink {
  /** The client has been silent for too long. */
  onSilence(): void;
}

/** Watches for one and a half times the keep alive without a packet from the client. [MQTT-3.1.2-22] */
export class KeepAlive {
  private readonly clock: Clock;
  private readonly timers: Timers;
  private readonly sink: SilenceSink;
  private timer: TimerHandle | null = null;
  private limitMs = 0;
  private lastPacketAtMs = 0;
  /** True while the broker itself does not read: that is no silence of the client. */
  isPaused = false;

  constructor(clock: Clock, timers: Timers, sink: SilenceSink) {
    this.clock = clock;
    this.timers = timers;
    this.sink = sink;
  }

  /** @param seconds 0 for no limit */
  start(seconds: number): void {
    this.limitMs = seconds * 1500;
    this.lastPacketAtMs = this.clock.now();
    if (this.limitMs > 0) this.arm();
  }

  /** A whole packet has come, of any kind. */
  packet(): void {
    this.lastPacketAtMs = this.clock.now();
  }

  stop(): void {
    this.timers.cancel(this.timer);
    this.timer = null;
  }

  private arm(): void {
    this.timer = this.timers.at(this.lastPacketAtMs + this.limitMs, () => this.check());
  }

  /** Packets only note their time; the timer is set anew when it is due. */
  private check(): void {
    if (this.isPaused) this.packet();
    if (this.clock.now() - this.lastPacketAtMs >= this.limitMs) this.sink.onSilence();
    else this.arm();
  }
}
