import type { Metrics } from '../broker/metrics.js';
import type { FrameSplitter } from '../codec/frame-splitter.js';
import { ReasonCode } from '../spec/reason-codes.js';

/** Whose bytes they are. */
export interface IncompleteHolder {
  /** Ends the connection. */
  giveUp(reasonCode: number, reason: string): void;
}

interface Holding {
  bytes: number;
  readonly holder: IncompleteHolder;
}

/** Of the maximum: a little at a time, so that closing connections does not stall the others. */
const relievedTo = 31 / 32;
/** What every connection may hold without being counted. */
const uncountedBytes = 4 * 1024;

/**
 * Bytes of packets begun and not complete, over all connections. A packet may be large and connections many: when they
 * hold too much together, those that hold the most are closed, so that small packets always get through.
 */
export class IncompletePackets {
  private readonly metrics: Metrics;
  private readonly maximum: number;
  private readonly held = new Map<object, Holding>();

  /** @param maximum bytes in all */
  constructor(metrics: Metrics, maximum: number) {
    this.metrics = metrics;
    this.maximum = maximum;
  }

  /**
   * A connection has taken in bytes, or dealt with them.
   * @param buffer where they are: a connection may have several
   * @param bytes in it now
   */
  changed(buffer: object, bytes: number, holder: IncompleteHolder): void {
    if (bytes <= uncountedBytes) {
      if (this.held.size > 0) this.forget(buffer);
      return;
    }
    const known = this.held.get(buffer);
    this.metrics.incompleteBytes += bytes - (known?.bytes ?? 0);
    if (known === undefined) this.held.set(buffer, { bytes, holder });
    else known.bytes = bytes;
    if (this.metrics.incompleteBytes > this.maximum) this.relieve();
  }

  /** The connection is closed: nothing of what it holds is needed. */
  release(splitter: FrameSplitter): void {
    this.forget(splitter);
    splitter.discard();
  }

  /** What was in the buffer is gone, or about to. */
  forget(buffer: object): void {
    this.metrics.incompleteBytes -= this.held.get(buffer)?.bytes ?? 0;
    this.held.delete(buffer);
  }

  /** Makes room for some time: the largest are not looked for with every packet. */
  private relieve(): void {
    const largestFirst = [...this.held.values()].sort((one, other) => other.bytes - one.bytes);
    for (const { holder } of largestFirst) {
      if (this.metrics.incompleteBytes <= this.maximum * relievedTo) return;
      this.metrics.incompleteRefused++;
      holder.giveUp(ReasonCode.quotaExceeded, 'packets that are not complete hold too much memory');
    }
  }
}
