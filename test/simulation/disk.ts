import type { Random } from '../crash/random.js';
import { CrashStore } from '../helpers/crash-store.js';
import type { SimulatedTime } from './time.js';

/** How long a store that failed waits before it tries again. */
const retryMs = 1000;

/** The disk under a broker: commits and flushes what the store seals, each a while later; fails; loses what it must. */
export class SimulatedDisk {
  store: CrashStore;
  /** True while nothing can be committed. */
  isFull = false;
  private readonly time: SimulatedTime;
  private readonly random: Random;
  private isCommitting = false;
  private isFlushing = false;
  private process = 0;

  constructor(time: SimulatedTime, random: Random, durability: 'flushed' | 'committed') {
    this.time = time;
    this.random = random;
    this.store = new CrashStore(undefined, durability);
  }

  /** Number of the last batch that the store has reported to be as durable as it is to be. */
  get reported(): number {
    return this.store.durability === 'flushed' ? this.store.durableBatch : this.store.committedBatch;
  }

  private get sealed(): number {
    return this.store.batch - 1;
  }

  /** Plans what is to be done. Call after every event. */
  watch(): void {
    const { store, sealed } = this;
    if (store.durability === 'committed' && !this.isCommitting && store.committedBatch < sealed) {
      this.isCommitting = true;
      this.later(this.random.below(4), () => {
        this.isCommitting = false;
        if (this.mayWrite()) this.store.commitNext();
      });
    }
    if (this.isFlushing || store.durableBatch >= sealed) return;
    this.isFlushing = true;
    this.later(this.random.pick([0, 1, 3, 30]), () => {
      this.isFlushing = false;
      if (store.durability === 'committed') this.flush(store.committedBatch);
      else if (this.mayWrite()) this.flush(this.random.chance(0.5) ? this.sealed : store.durableBatch + 1);
    });
  }

  /**
   * The machine stops.
   * @param losesPower true if only what was flushed is sure to be there
   * @returns the number of the last batch that survives
   */
  crash(losesPower: boolean): number {
    const { store } = this;
    const sure = losesPower ? store.durableBatch : store.committedBatch;
    const possible = this.isFull ? Math.max(sure, store.committedBatch) : this.sealed;
    const last = sure + this.random.below(possible - sure + 1);
    const { onDurable } = store;
    this.store = store.crash(last - store.durableBatch);
    this.store.onDurable = onDurable;
    this.process++;
    this.isCommitting = false;
    this.isFlushing = false;
    return last;
  }

  private flush(until: number): void {
    const { store } = this;
    while (store.durableBatch < until && store.flush());
  }

  private mayWrite(): boolean {
    if (!this.isFull) return true;
    this.store.fail();
    return false;
  }

  private later(delayMs: number, callback: () => void): void {
    const { process } = this;
    const wait = this.isFull && !this.store.healthy ? retryMs : delayMs;
    this.time.after(wait, () => {
      if (this.process === process) callback();
    });
  }
}
