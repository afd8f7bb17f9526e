import type { World } from './world.js';

interface RetainedTopic {
  /** Last message sent, and last one acknowledged, by number. */
  sent: number;
  taken: number;
}

/** True for the numbers whose message clears the topic. */
export function clears(n: number): boolean {
  return n % 5 === 0;
}

/** What must be retained: nothing older than the last message acknowledged. */
export class RetainedFacts {
  private readonly world: World;
  private readonly topics = new Map<string, RetainedTopic>();

  constructor(world: World) {
    this.world = world;
  }

  onSent(topic: string, n: number): void {
    const known = this.topics.get(topic);
    if (known === undefined) this.topics.set(topic, { sent: n, taken: 0 });
    else known.sent = n;
  }

  onTaken(topic: string, n: number): void {
    const known = this.topics.get(topic);
    if (known !== undefined) known.taken = Math.max(known.taken, n);
  }

  /** @param found numbers by topic, as a subscriber has just been sent them */
  check(found: ReadonlyMap<string, number>, when: string): void {
    for (const [topic, { sent, taken }] of this.topics) {
      const n = found.get(topic);
      // Any state from the last one acknowledged to the last one sent; before the first, nothing is retained.
      let isRight = n === undefined && taken === 0;
      for (let state = taken; state <= sent; state++) {
        if (state > 0 && (clears(state) ? n === undefined : n === state)) isRight = true;
      }
      if (!isRight) this.world.violation(`${when}: ${topic} retains ${n}, acknowledged ${taken}, sent ${sent}`);
    }
  }
}
