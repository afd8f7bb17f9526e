import type { Duplex } from 'node:stream';
import type { Context } from '../broker/context.js';
import type { ConnectionParts } from './connection-parts.js';
import type { KeepAlive } from './keep-alive.js';
import type { TurnYields, Yielding } from './turn-yields.js';

/** Why a socket is not read from. Bits, so that a connection without reason costs no set. */
export const PauseReason = { drain: 1, relief: 2, hook: 4, turn: 8 } as const;
export type PauseReason = (typeof PauseReason)[keyof typeof PauseReason];

/** Stops reading from a socket while there is a reason to, and goes on when the last one is gone. */
export class ReadPauses {
  private readonly stream: Duplex;
  private readonly context: Context;
  private readonly yields: TurnYields;
  private readonly keepAlive: KeepAlive;
  private reasons = 0;

  constructor(stream: Duplex, parts: ConnectionParts, keepAlive: KeepAlive) {
    this.stream = stream;
    this.context = parts.core.context;
    this.yields = parts.yields;
    this.keepAlive = keepAlive;
  }

  /** True while a hook decides about this connection. */
  get isForHook(): boolean {
    return (this.reasons & PauseReason.hook) !== 0;
  }

  /** Pauses after input while too much waits for the disk, or for this client to read, or has come in this turn. */
  check(isSlow: boolean, connection: Yielding): void {
    if (isSlow) this.add(PauseReason.drain);
    const { turns, budget } = this.context;
    if (budget.isOver && (this.reasons & (PauseReason.turn | PauseReason.hook)) === 0) this.yield(connection);
    if (!turns.congested || (this.reasons & PauseReason.relief) !== 0) return;
    this.add(PauseReason.relief);
    turns.onRelief(() => this.remove(PauseReason.relief));
  }

  /** False if the connection leaves the rest of its input: a hook decides, or this turn has done enough for it. */
  takesMore(connection: Yielding): boolean {
    if (this.isForHook) return false;
    const { budget } = this.context;
    if (!budget.isOver && !budget.mustWait) return true;
    this.yield(connection);
    return false;
  }

  private yield(connection: Yielding): void {
    this.add(PauseReason.turn);
    this.yields.add(connection);
  }

  add(reason: PauseReason): void {
    if ((this.reasons & reason) !== 0) return;
    this.reasons |= reason;
    if (reason !== PauseReason.turn) this.context.metrics.readPauses++;
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
