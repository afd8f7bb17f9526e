import { uint16Max } from '../spec/limits.js';
import { DeliveryState } from './table.js';

const initialSlots = 16;

/**
 * The packet identifiers a session has open towards its client, one slot each: state, delivery sequence and, where the
 * broker must know more than that, a detail object. Slots are parallel arrays that grow with use, so an idle session
 * has none and a busy one allocates nothing per message.
 *
 *     id      1   2   3   4 …
 *     state   3   0   2   0        0 = free (DeliveryState.new)
 *     free  [ 2, 4 ]               identifiers to hand out again, last freed first
 */
export class PacketIds<Detail> {
  private states = new Uint8Array(initialSlots + 1);
  private sequences = new Float64Array(initialSlots + 1);
  private details: (Detail | null)[] = new Array(initialSlots + 1).fill(null);
  private free = new Uint16Array(initialSlots);
  private freeCount = 0;
  private highest = 0;
  private open = 0;

  /** Identifiers in use. */
  get size(): number {
    return this.open;
  }

  /** Takes an unused identifier, or 0 if all 65 535 are in use. [MQTT-2.2.1-4] */
  take(state: DeliveryState, sequence: number, detail: Detail | null): number {
    let packetId: number;
    if (this.freeCount > 0) {
      packetId = this.free[--this.freeCount] as number;
    } else {
      if (this.highest === uint16Max) return 0;
      packetId = ++this.highest;
      if (packetId >= this.states.length) this.grow(packetId);
    }
    this.open++;
    this.states[packetId] = state;
    this.sequences[packetId] = sequence;
    this.details[packetId] = detail;
    return packetId;
  }

  /** Puts back an identifier known from the store: only while the table is being rebuilt, before any `take`. */
  restore(packetId: number, state: DeliveryState, sequence: number, detail: Detail | null): void {
    if (packetId >= this.states.length) this.grow(packetId);
    while (this.highest < packetId) {
      this.highest++;
      if (this.highest !== packetId) this.pushFree(this.highest);
    }
    if (this.states[packetId] === DeliveryState.new) {
      this.removeFree(packetId);
      this.open++;
    }
    this.states[packetId] = state;
    this.sequences[packetId] = sequence;
    this.details[packetId] = detail;
  }

  release(packetId: number): void {
    this.states[packetId] = DeliveryState.new;
    this.details[packetId] = null;
    this.pushFree(packetId);
    this.open--;
  }

  /** State of an identifier; `new` for one that is not in use. */
  state(packetId: number): DeliveryState {
    return (packetId < this.states.length ? this.states[packetId] : DeliveryState.new) as DeliveryState;
  }

  setState(packetId: number, state: DeliveryState): void {
    this.states[packetId] = state;
  }

  sequence(packetId: number): number {
    return this.sequences[packetId] as number;
  }

  detail(packetId: number): Detail | null {
    return this.details[packetId] as Detail | null;
  }

  /** Identifiers in use, in the order their deliveries were accepted. Allocates: for session ends and tests. */
  inOrder(): number[] {
    const ids: number[] = [];
    for (let id = 1; id <= this.highest; id++) if (this.states[id] !== DeliveryState.new) ids.push(id);
    return ids.sort((a, b) => this.sequence(a) - this.sequence(b));
  }

  private pushFree(packetId: number): void {
    if (this.freeCount === this.free.length) {
      const larger = new Uint16Array(Math.min(uint16Max, this.free.length * 2));
      larger.set(this.free);
      this.free = larger;
    }
    this.free[this.freeCount++] = packetId;
  }

  private removeFree(packetId: number): void {
    for (let at = 0; at < this.freeCount; at++) {
      if (this.free[at] !== packetId) continue;
      this.free[at] = this.free[--this.freeCount] as number;
      return;
    }
  }

  private grow(packetId: number): void {
    let length = this.states.length;
    while (length <= packetId) length = Math.min(uint16Max + 1, length * 2);
    const states = new Uint8Array(length);
    states.set(this.states);
    const sequences = new Float64Array(length);
    sequences.set(this.sequences);
    this.states = states;
    this.sequences = sequences;
    while (this.details.length < length) this.details.push(null);
  }
}
