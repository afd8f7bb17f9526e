import { PacketType } from '../spec/packet-types.js';
import type { Turns } from './turn.js';
import type { TurnClock } from './turn-clock.js';

/** Units of work in a turn: an offer of a message to a session, 128 bytes offered, a packet, a kilobyte received. */
const unitsMax = 50_000;
/** Time that a turn's decisions may take. The writes at its end come on top. */
const turnMs = 15;
/** The same while others wait for the turn to end. */
const sharedTurnMs = 3;
/** How long after two have worked by turns it is taken for granted that they go on. */
const sharedForMs = 100;
/** What the record of a delivery comes to, or of its outcome. */
const trackedUnits = 30;
/** What a CONNECT comes to. */
const connectUnits = 150;
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
  private readonly turns: Pick<Turns, 'isBehind'>;
  private turn = -1;
  private startedAtMs = 0;
  private limitMs = turnMs;
  private worker: object | null = null;
  /** The last client whose work counted, and when it was another's last. */
  private counted: object | null = null;
  private sharedAtMs = -sharedForMs;
  private units = 0;
  private enteredAtUnits = 0;
  private nextLook = lookEvery;
  private isUsedUp = false;

  constructor(clock: TurnClock, turns: Pick<Turns, 'isBehind'>) {
    this.clock = clock;
    this.turns = turns;
  }

  /** True when nothing that can wait should still begin in this turn. */
  get isSpent(): boolean {
    return this.isUsedUp && this.turn === this.clock.turn;
  }

  /** True when the one that entered last should leave the rest of its work to a later turn. */
  get isOver(): boolean {
    return this.isUsedUp && this.units - this.enteredAtUnits >= allowanceUnits;
  }

  /**
   * A connection, or a long task, begins to work. The turn must be open.
   * @param worker the connection; null for a task of the broker
   */
  enter(worker: object | null): void {
    this.mustWait = false;
    this.worker = worker;
    this.open();
    this.enteredAtUnits = this.units;
  }

  /** Begins anew if this is another turn than the last, for work that goes on whoever has entered. */
  open(): void {
    if (this.turn === this.clock.turn) return;
    this.turn = this.clock.turn;
    this.startedAtMs = this.clock.exactNow();
    this.limitMs = this.startedAtMs - this.sharedAtMs < sharedForMs ? sharedTurnMs : turnMs;
    this.units = 0;
    this.enteredAtUnits = 0;
    this.nextLook = lookEvery;
    // What has been decided is written first.
    this.isUsedUp = this.turns.isBehind;
  }

  /** A packet has come. Acknowledgements by themselves count nothing: there are no more than were sent. */
  packet(packetType: number): void {
    if (packetType >= PacketType.puback && packetType <= PacketType.pubcomp) return;
    if (packetType !== PacketType.pingreq) this.count();
    this.spend(packetType === PacketType.connect ? connectUnits : 1);
  }

  /** Bytes have come, of whole packets or not. */
  bytes(count: number): void {
    if (count < 1024) return;
    this.count();
    this.spend(count >> 10);
  }

  /** Whoever keeps a connection alive, or acknowledges, is not held up by longer turns: others are. */
  private count(): void {
    if (this.worker === this.counted || this.worker === null) return;
    if (this.counted !== null) this.sharedAtMs = this.startedAtMs;
    this.counted = this.worker;
  }

  /** Messages are offered to sessions. Their bytes count too: the writes at the end of the turn have to carry them. */
  offers(count: number, payloadBytes: number): void {
    this.spend(count * (1 + (payloadBytes >> 7)));
  }

  /** So many deliveries are recorded, or their outcomes. */
  tracked(count: number): void {
    this.spend(count * trackedUnits);
  }

  spend(units: number): void {
    this.units += units;
    if (this.units < this.nextLook) return;
    this.nextLook = this.units + lookEvery;
    this.isUsedUp ||= this.units >= unitsMax || this.clock.exactNow() - this.startedAtMs >= this.limitMs;
  }
}
