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

type Ending = 'open' | 'cut' | 'goodbye' | 'goodbye taken' | 'never connected';

interface Will {
  readonly clientId: string;
  readonly qos: number;
  ending: Ending;
  arrived: number;
  /** True if the watcher had its subscription before this connection was made: then the will has somebody to go to. */
  watched: boolean;
}

/** The will of each connection of a durable session: published once if it was cut, never if it said goodbye. */
export class WillFacts {
  private readonly world: World;
  private readonly wills = new Map<string, Will>();
  private isWatched = false;

  constructor(world: World) {
    this.world = world;
  }

  /** The subscription to wills was acknowledged: it is there from now on. */
  onWatched(): void {
    this.isWatched = true;
  }

  onConnecting(name: string, clientId: string, qos: number): void {
    this.wills.set(name, { clientId, qos, ending: 'never connected', arrived: 0, watched: this.isWatched });
  }

  /** CONNACK came: a goodbye before it, of the same client and broker process, has been taken. */
  onConnected(name: string, clientId: string): void {
    for (const will of this.wills.values()) {
      if (will.clientId === clientId && will.ending === 'goodbye') will.ending = 'goodbye taken';
    }
    this.end(name, 'open');
  }

  onEnded(name: string, saidGoodbye: boolean): void {
    if (this.wills.get(name)?.ending === 'open') this.end(name, saidGoodbye ? 'goodbye' : 'cut');
  }

  /** The broker died: which goodbyes it had taken cannot be known. */
  onKilled(): void {
    for (const [name, { ending }] of this.wills) if (ending === 'goodbye') this.end(name, 'never connected');
  }

  onArrived(name: string): void {
    const will = this.wills.get(name);
    if (will === undefined) {
      this.world.violation(`the will of ${name} came, long after it was settled or out of nowhere`);
      return;
    }
    will.arrived++;
    if (will.ending === 'open') this.world.violation(`the will of ${name} came while it was connected`);
    if (will.ending === 'goodbye taken') this.world.violation(`the will of ${name} came although it said goodbye`);
    if (will.arrived > 1 && will.qos === 2) this.world.violation(`the will of ${name} came twice at QoS 2`);
  }

  /** Wills of cut connections that have not come, in words. */
  missing(): string[] {
    const owed = [...this.wills].filter(([, will]) => will.watched && will.ending === 'cut' && will.arrived === 0);
    return owed.map(([name]) => `the will of ${name} has not come`);
  }

  settle(): void {
    for (const [name, { ending, arrived }] of this.wills) {
      if (ending !== 'open' && (arrived > 0 || ending === 'goodbye taken')) this.wills.delete(name);
    }
  }

  private end(name: string, ending: Ending): void {
    const will = this.wills.get(name);
    if (will !== undefined) will.ending = ending;
  }
}
