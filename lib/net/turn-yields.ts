import type { Context } from '../broker/context.js';

/** Between looks whether the store has caught up. */
const storeWaitMs = 1;

/** What can leave the rest of its input to a later turn. */
export interface Yielding {
  /** Goes on with the input that was left. May yield again. */
  goOn(): void;
}

/**
 * Connections whose input was too much for one turn. They go on in the order in which they stopped, as far as each of
 * the following turns allows, so that all of them advance alike.
 */
export class TurnYields {
  private readonly context: Context;
  private waiting: Yielding[] = [];
  /** Those that wait for a large fan-out. */
  private held: Yielding[] = [];
  private isScheduled = false;

  constructor(context: Context) {
    this.context = context;
    context.budget.onRoom = () => this.release();
  }

  /** Connections that are waiting. */
  get size(): number {
    return this.waiting.length + this.held.length;
  }

  /**
   * A connection begins to work on input.
   * @param worker null for the broker, which lets others go on
   * @param bytes that have arrived just now
   */
  enter(worker: Yielding | null, bytes: number): void {
    this.context.turns.begin();
    this.context.turns.nextWorker();
    this.context.budget.enter(worker);
    this.context.budget.bytes(bytes);
  }

  /** Lets it go on in a later turn; where a large fan-out takes no more, when that does. */
  add(yielding: Yielding): void {
    this.context.metrics.turnsYielded++;
    if (this.context.budget.mustWait) {
      this.held.push(yielding);
      return;
    }
    this.waiting.push(yielding);
    this.schedule();
  }

  private release(): void {
    if (this.held.length === 0) return;
    this.waiting.push(...this.held);
    this.held = [];
    this.schedule();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    const { clock, turns } = this.context;
    if (turns.awaitsStore) clock.after(storeWaitMs, () => this.run());
    else clock.endOfTurn(() => this.run());
  }

  private run(): void {
    const { budget } = this.context;
    this.isScheduled = false;
    this.enter(null, 0);
    const turn = this.waiting;
    this.waiting = [];
    let done = 0;
    while (done < turn.length && !budget.isSpent) turn[done++].goOn();
    // Who yielded again is behind those that have not had their turn.
    this.waiting = [...turn.slice(done), ...this.waiting];
    if (this.waiting.length > 0) this.schedule();
  }
}
