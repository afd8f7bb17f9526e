import { PacketType } from '../spec/packet-types.js';
import type { TurnClock } from './turn-clock.js';

/** Units of work in a turn: an offer of a message to a session, 128 bytes offered, a packet, a kilobyte received. */
const unitsMax = 50_000;
/** Time that a turn's decisions may take. The writes at its end come on top. */
const turnMs = 15;
/** Units between looks at the clock. */
const lookEvery = 1000;
/** What each connection may do in any turn, however much others have done: small talk never waits. */
const allowanceUnits = 64;

/**
 * How much a turn may still do. Turns grow with the load, because a large turn costs less for each message; but what
 * one of them can hold has an end, or a publisher that floods would have the broker to itself.
 */
export class TurnBudget {
  /** Set by a fan-out that can not take more from the connection at hand for now; `enter` resets it. */
  mustWait = false;
  /** Called when such a fan-out takes messages again. */
  onRoom: () => void = () => undefined;
  private readonly clock: TurnClock;
  private turn = -1;
  private startedAtMs = 0;
  private units = 0;
  private enteredAtUnits = 0;
  private nextLook = lookEvery;
  private isUsedUp = false;

  constructor(clock: TurnClock) {
    this.clock = clock;
  }

  /** True when nothing that can wait should still begin in this turn. */
  get isSpent(): boolean {
    return this.isUsedUp && this.turn === this.clock.turn;
  }

  /** True when the one that entered last should leave the rest of its work to a later turn. */
  get isOver(): boolean {
    return this.isUsedUp && this.units - this.enteredAtUnits >= allowanceUnits;
  }

  /** A connection, or a long task, begins to work. The turn must be open. */
  enter(): void {
    this.mustWait = false;
    if (this.turn !== this.clock.turn) {
      this.turn = this.clock.turn;
      this.startedAtMs = this.clock.exactNow();
      this.units = 0;
      this.nextLook = lookEvery;
      this.isUsedUp = false;
    }
    this.enteredAtUnits = this.units;
  }

  /** A packet has come. Acknowledgements count nothing: there are no more than were sent, and they make room. */
  packet(packetType: number, bytes: number): void {
    if (packetType < PacketType.puback || packetType > PacketType.pubcomp) this.spend(1 + (bytes >> 10));
  }

  /** Messages are offered to sessions. Their bytes count too: the writes at the end of the turn have to carry them. */
  offers(count: number, payloadBytes: number): void {
    this.spend(count * (1 + (payloadBytes >> 7)));
  }

  spend(units: number): void {
    this.units += units;
    if (this.units < this.nextLook) return;
    this.nextLook = this.units + lookEvery;
    this.isUsedUp ||= this.units >= unitsMax || this.clock.exactNow() - this.startedAtMs >= turnMs;
  }
}
