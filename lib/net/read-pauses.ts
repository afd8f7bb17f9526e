import type { Duplex } from 'node:stream';
import type { Metrics } from '../broker/metrics.js';
import type { Turns } from '../broker/turn.js';
import type { KeepAlive } from './keep-alive.js';

/** Stops reading from a socket while there is a reason to, and goes on when the last one is gone. */
export class ReadPauses {
  private readonly stream: Duplex;
  private readonly turns: Turns;
  private readonly metrics: Metrics;
  private readonly keepAlive: KeepAlive;
  private readonly reasons = new Set<'drain' | 'relief' | 'hook'>();

  constructor(stream: Duplex, turns: Turns, metrics: Metrics, keepAlive: KeepAlive) {
    this.stream = stream;
    this.turns = turns;
    this.metrics = metrics;
    this.keepAlive = keepAlive;
  }

  /** True while a hook decides about this connection. */
  get isForHook(): boolean {
    return this.reasons.has('hook');
  }

  /** Pauses while too much waits for the disk, or for this client to read. */
  check(isSlow: boolean): void {
    if (isSlow) this.add('drain');
    if (!this.turns.congested || this.reasons.has('relief')) return;
    this.add('relief');
    this.turns.onRelief(() => this.remove('relief'));
  }

  add(reason: 'drain' | 'relief' | 'hook'): void {
    if (this.reasons.has(reason)) return;
    this.reasons.add(reason);
    this.metrics.readPauses++;
    this.keepAlive.isPaused = true;
    this.stream.pause();
  }

  remove(reason: 'drain' | 'relief' | 'hook'): void {
    if (!this.reasons.delete(reason) || this.reasons.size > 0) return;
    this.keepAlive.isPaused = false;
    this.stream.resume();
  }
}
