import { type Delivery, deliveryBytes } from './delivery.js';
import { DeliveryRing, type QueuedFrame } from './delivery-ring.js';

/** Deliveries kept in memory per queue before the rest of it lives in the store alone. */
const mirrorMax = 64;

/**
 * The deliveries a session has not sent yet, oldest first. For a session that is stored, every one is also a row in the
 * store, and only the front of a long queue is in memory:
 *
 *     | items (in memory) | beyond: rows after `cursor` in the store |
 *
 * A session that is not stored has items only. Limits are the caller's.
 */
export class DeliveryQueue {
  private readonly items = new DeliveryRing();
  /** Rows in the store behind the items. */
  private beyondCount = 0;
  /** Sequence of the last delivery taken into `items`; rows beyond it follow. */
  private cursorSequence = 0;
  /** Payload bytes of all messages in the queue that are measured. */
  private measuredBytes = 0;
  /** Rows after this sequence and up to `restoredTo` were queued by an earlier process and are not measured yet. */
  private measuredSequence = 0;
  private restoredSequence = 0;

  get bytes(): number {
    return this.measuredBytes;
  }

  get measuredTo(): number {
    return this.measuredSequence;
  }

  get restoredTo(): number {
    return this.restoredSequence;
  }

  /** True if no row of an earlier process is still to be measured. */
  get isMeasured(): boolean {
    return this.measuredSequence >= this.restoredSequence;
  }

  /** Rows with sequences above `before` and up to `last` are an earlier process's: their bytes are still to be told. */
  measuresFrom(before: number, last: number): void {
    this.measuredSequence = before;
    this.restoredSequence = last;
  }

  /** So many bytes are in the restored rows up to `sequence` that were not measured before. */
  measured(bytes: number, sequence: number): void {
    this.measuredBytes += bytes;
    this.measuredSequence = sequence;
  }

  /** A message of so many bytes is in the queue now. */
  addBytes(bytes: number): void {
    this.measuredBytes += bytes;
  }

  /** A message of so many bytes has left its place in the queue. */
  removeBytes(sequence: number, bytes: number): void {
    const isMeasured = sequence <= this.measuredSequence || sequence > this.restoredSequence;
    if (isMeasured) this.measuredBytes = Math.max(0, this.measuredBytes - bytes);
  }

  get length(): number {
    return this.items.length + this.beyondCount;
  }

  /** What the queue of a session that is not stored takes, as `memoryBytesOf` counts it. */
  get memoryBytes(): number {
    return this.length * deliveryBytes + this.measuredBytes;
  }

  get beyond(): number {
    return this.beyondCount;
  }

  get cursor(): number {
    return this.cursorSequence;
  }

  /**
   * @param stored true if the delivery has a row, so that memory need not keep it
   * @param wanted true if the session is connected and will soon take it
   */
  append(delivery: Delivery, stored: boolean, wanted: boolean): void {
    if (stored && (!wanted || this.beyondCount > 0 || this.items.length >= mirrorMax)) {
      if (this.length === 0) this.cursorSequence = delivery.sequence - 1;
      this.beyondCount++;
      return;
    }
    this.items.push(delivery);
    this.cursorSequence = delivery.sequence;
  }

  /** Adds a plain message to the queue of a session that is not stored, as a packet. */
  appendFrame(queued: QueuedFrame): void {
    this.measuredBytes += queued.payloadBytes;
    this.items.pushFrame(queued);
  }

  /** True if the oldest one is a packet, which is at QoS 1 or 2. */
  get startsWithFrame(): boolean {
    return this.items.startsWithFrame;
  }

  /** The oldest one in memory, or null: then `beyond` says whether to read on. */
  first(): Delivery | QueuedFrame | null {
    return this.items.first();
  }

  removeFirst(): void {
    this.items.removeFirst();
  }

  /** Takes what was read from the store behind the cursor. */
  fill(deliveries: readonly Delivery[]): void {
    if (deliveries.length === 0) {
      this.beyondCount = 0;
      return;
    }
    for (const delivery of deliveries) this.items.push(delivery);
    this.beyondCount = Math.max(0, this.beyondCount - deliveries.length);
    this.cursorSequence = (deliveries[deliveries.length - 1] as Delivery).sequence;
  }

  /** Forgets what is in memory; the `count` rows after `cursor` in the store are the queue. */
  leaveToStore(count: number, cursor: number): void {
    this.items.removeAll();
    this.beyondCount = count;
    this.cursorSequence = cursor;
  }

  /** A row behind the cursor has gone (expired); the queue is shorter by it. */
  removedBeyond(): void {
    if (this.beyondCount > 0) this.beyondCount--;
  }

  /** Takes one delivery out of memory wherever it stands; false if it is not there. */
  remove(sequence: number): boolean {
    return this.items.remove(sequence);
  }

  /** What is in memory and no packet, oldest first. */
  inMemory(): Delivery[] {
    return this.items.deliveries();
  }

  /** How many packets are in memory. */
  get frameCount(): number {
    return this.items.frameCount;
  }
}
