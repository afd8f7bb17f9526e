/** Lets so many pieces of work through at a time, has so many wait, and turns the rest away. */
export class Turnstile {
  private readonly underWayMax: number;
  private readonly waitingMax: number;
  private underWay = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(underWayMax: number, waitingMax: number) {
    this.underWayMax = underWayMax;
    this.waitingMax = waitingMax;
  }

  /** Pieces of work under way and waiting. */
  get pending(): number {
    return this.underWay + this.waiting.length;
  }

  /** Does the work when its turn comes; null if too much waits already. */
  async pass<T>(work: () => Promise<T>): Promise<T | null> {
    if (this.waiting.length >= this.waitingMax) return null;
    if (this.underWay >= this.underWayMax) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.underWay++;
    try {
      return await work();
    } finally {
      // Who waits takes over the place.
      const next = this.waiting.shift();
      if (next === undefined) this.underWay--;
      else next();
    }
  }
}
