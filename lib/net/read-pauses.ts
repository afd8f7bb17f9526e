import type { Duplex } from 'node:stream';
import type { Metrics } from '../broker/metrics.js';
import type { Turns } from '../broker/turn.js';
import type { KeepAlive } from './keep-alive.js';

/** Why a socket is not read from. Bits, so that a connection without reason costs no set. */
export const PauseReason = { drain: 1, relief: 2, hook: 4 } as const;
export type PauseReason = (typeof PauseReason)[keyof typeof PauseReason];

/** Stops reading from a socket while there is a reason to, and goes on when the last one is gone. */
export class ReadPauses {
  private readonly stream: Duplex;
  private readonly turns: Turns;
  private readonly metrics: Metrics;
  private readonly keepAlive: KeepAlive;
  private reasons = 0;

  constructor(stream: Duplex, turns: Turns, metrics: Metrics, keepAlive: KeepAlive) {
    this.stream = stream;
    this.turns = turns;
    this.metrics = metrics;
    this.keepAlive = keepAlive;
  }

  /** True while a hook decides about this connection. */
  get isForHook(): boolean {
    return (this.reasons & PauseReason.hook) !== 0;
  }

  /** Pauses while too much waits for the disk, or for this client to read. */
  check(isSlow: boolean): void {
    if (isSlow) this.add(PauseReason.drain);
    if (!this.turns.congested || (this.reasons & PauseReason.relief) !== 0) return;
    this.add(PauseReason.relief);
    this.turns.onRelief(() => this.remove(PauseReason.relief));
  }

  add(reason: PauseReason): void {
    if ((this.reasons & reason) !== 0) return;
    this.reasons |= reason;
    this.metrics.readPauses++;
    this.keepAlive.isPaused = true;
    this.stream.pause();
  }

  remove(reason: PauseReason): void {
    if ((this.reasons & reason) === 0) return;
    this.reasons &= ~reason;
    if (this.reasons !== 0) return;
    this.keepAlive.isPaused = false;
    this.stream.resume();
  }
}
