import { clockMarginMs } from './peer.js';
import type { World } from './world.js';

/** `back in time`: before the delay was over; `back`: perhaps after. */
type Ending = 'open' | 'cut' | 'goodbye' | 'goodbye taken' | 'never connected' | 'back in time' | 'back';

interface Will {
  readonly clientId: string;
  readonly qos: number;
  readonly delayMs: number;
  ending: Ending;
  /** When the connection ended, by the client's clock: for the broker that is no earlier. */
  endedAtMs: number;
  arrived: number;
  /** True if the watcher had its subscription before this connection was made: then the will has somebody to go to. */
  watched: boolean;
}

/**
 * The will of each connection of a durable session: published once if it was cut and its client was not back within the
 * delay, never if it said goodbye.
 */
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

  onConnecting(name: string, clientId: string, qos: number, delaySeconds: number): void {
    const facts = { ending: 'never connected' as const, arrived: 0, endedAtMs: 0, watched: this.isWatched };
    this.wills.set(name, { clientId, qos, delayMs: delaySeconds * 1000, ...facts });
  }

  /** CONNACK came: a goodbye before it, of the same client and broker process, has been taken. */
  onConnected(name: string, clientId: string): void {
    for (const will of this.wills.values()) {
      if (will.clientId !== clientId) continue;
      if (will.ending === 'goodbye') will.ending = 'goodbye taken';
      if (will.ending === 'cut' && will.delayMs > 0 && will.arrived === 0) {
        const isInTime = performance.now() < will.endedAtMs + will.delayMs - clockMarginMs;
        will.ending = isInTime ? 'back in time' : 'back';
      }
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
    if (will.ending === 'back in time') this.world.violation(`the will of ${name} came although it was back`);
    if (will.ending === 'cut' && performance.now() < will.endedAtMs + will.delayMs - clockMarginMs) {
      this.world.violation(`the will of ${name} came before its delay was over`);
    }
    if (will.ending === 'open') this.world.violation(`the will of ${name} came while it was connected`);
    if (will.ending === 'goodbye taken') this.world.violation(`the will of ${name} came although it said goodbye`);
    if (will.arrived > 1 && will.qos === 2) this.world.violation(`the will of ${name} came twice at QoS 2`);
  }

  /** True if the will of this connection must still come while its client is away. */
  owes(name: string): boolean {
    const will = this.wills.get(name);
    return will?.watched === true && will.ending === 'cut' && will.arrived === 0;
  }

  /** Wills of cut connections that have not come, in words. */
  missing(): string[] {
    const owed = [...this.wills].filter(([name]) => this.owes(name));
    return owed.map(([name]) => `the will of ${name} has not come`);
  }

  settle(): void {
    for (const [name, { ending, arrived }] of this.wills) {
      const isOver = arrived > 0 || ending === 'goodbye taken' || ending === 'back in time';
      if (ending !== 'open' && isOver) this.wills.delete(name);
    }
  }

  private end(name: string, ending: Ending): void {
    const will = this.wills.get(name);
    if (will === undefined) return;
    will.ending = ending;
    will.endedAtMs = performance.now();
  }
}
