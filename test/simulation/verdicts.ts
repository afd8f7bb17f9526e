/** An invariant that does not hold. */
export interface Broken {
  /** The invariant's name, the same whatever broke it. */
  readonly invariant: string;
  readonly what: string;
}

/** Collects what is wrong; the first is what matters, for the others may follow from it. */
export class Verdicts {
  readonly found: Broken[] = [];

  broken(invariant: string, what: string): void {
    if (this.found.length < 20) this.found.push({ invariant, what });
  }
}
