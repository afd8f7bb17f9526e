import type { PublishFrame } from '../codec/publish-frame.js';
import type { QoS } from '../spec/packet-types.js';
import type { Delivery } from './delivery.js';
import type { QueueSlab } from './queue-memory.js';

/** Smallest ring; a power of two, as are all of them. */
const smallestRing = 16;
/** A ring that has been emptied is let go of from this size on. */
const keptRing = 1024;

/** A plain message that waits as the packet that will go out. */
export class QueuedFrame {
  readonly sequence: number;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly frame: PublishFrame;
  /** The frame's memory, to be given back by whoever takes it out of the queue. */
  readonly slab: QueueSlab;
  readonly topicName: string;
  readonly payloadBytes: number;

  constructor(
    sequence: number,
    qos: QoS,
    retain: boolean,
    frame: PublishFrame,
    slab: QueueSlab,
    topicName: string,
    payloadBytes: number,
  ) {
    this.sequence = sequence;
    this.qos = qos;
    this.retain = retain;
    this.frame = frame;
    this.slab = slab;
    this.topicName = topicName;
    this.payloadBytes = payloadBytes;
  }
}

/** What a ring knows of its packets beside their memory, by place. */
class FrameColumns {
  readonly topicNames: string[];
  readonly sequences: Float64Array;
  /** Start, end, index of the packet identifier, bytes of the payload. */
  readonly numbers: Int32Array;
  /** QoS and above it RETAIN; 0 where no packet is. */
  readonly flags: Uint8Array;

  constructor(places: number) {
    this.topicNames = new Array(places).fill('');
    this.sequences = new Float64Array(places);
    this.numbers = new Int32Array(places * 4);
    this.flags = new Uint8Array(places);
  }

  put(at: number, { sequence, qos, retain, frame, topicName, payloadBytes }: QueuedFrame): void {
    this.topicNames[at] = topicName;
    this.sequences[at] = sequence;
    const { numbers } = this;
    const first = at << 2;
    numbers[first] = frame.start;
    numbers[first + 1] = frame.end;
    numbers[first + 2] = frame.packetIdAt;
    numbers[first + 3] = payloadBytes;
    this.flags[at] = qos | (retain ? 4 : 0);
  }

  get(at: number, slab: QueueSlab): QueuedFrame {
    const { numbers } = this;
    const first = at << 2;
    const frame = slab.frame(numbers[first], numbers[first + 1], numbers[first + 2]);
    const flags = this.flags[at];
    const qos = (flags & 3) as QoS;
    return new QueuedFrame(this.sequences[at], qos, flags > 3, frame, slab, this.topicNames[at], numbers[first + 3]);
  }

  isAt(at: number): boolean {
    return this.flags[at] !== 0;
  }

  clear(at: number): void {
    this.topicNames[at] = '';
    this.flags[at] = 0;
  }
}

/**
 * Deliveries in memory, oldest first: objects, and packets, of which there is no object while they wait. Thousands do
 * where many publish to one client, and what lives that long costs the collector more than everything else about them.
 *
 *     contents:  …  null | Delivery | slab | slab | null …            from `head` on, round and round
 *     columns:             0          what the packets are            none before the first packet
 */
export class DeliveryRing {
  private contents: (Delivery | QueueSlab | null)[] = [];
  private columns: FrameColumns | null = null;
  private head = 0;
  private count = 0;
  private frames = 0;

  get length(): number {
    return this.count;
  }

  /** How many of them are packets. */
  get frameCount(): number {
    return this.frames;
  }

  push(delivery: Delivery): void {
    const at = this.place();
    this.contents[at] = delivery;
  }

  /** Adds a packet, at QoS 1 or 2. */
  pushFrame(queued: QueuedFrame): void {
    const at = this.place();
    this.columns ??= new FrameColumns(this.contents.length);
    this.contents[at] = queued.slab;
    this.columns.put(at, queued);
    this.frames++;
  }

  /** True if the oldest one is a packet. */
  get startsWithFrame(): boolean {
    return this.columns?.isAt(this.head) === true;
  }

  /** The oldest one; null if there is none. */
  first(): Delivery | QueuedFrame | null {
    return this.count === 0 ? null : this.at(this.head);
  }

  removeFirst(): void {
    this.clear(this.head);
    this.head = (this.head + 1) & (this.contents.length - 1);
    this.count--;
    if (this.count === 0 && this.contents.length >= keptRing) this.removeAll();
  }

  /** Takes out the delivery with this sequence, which is no packet; false if it is not there. */
  remove(sequence: number): boolean {
    const all = this.all();
    const found = all.findIndex((one) => one.sequence === sequence && !(one instanceof QueuedFrame));
    if (found === -1) return false;
    this.removeAll();
    all.splice(found, 1);
    for (const one of all) {
      if (one instanceof QueuedFrame) this.pushFrame(one);
      else this.push(one);
    }
    return true;
  }

  /** Those that are no packets, oldest first. */
  deliveries(): Delivery[] {
    return this.all().filter((one): one is Delivery => !(one instanceof QueuedFrame));
  }

  removeAll(): void {
    this.contents = [];
    this.columns = null;
    this.head = 0;
    this.count = 0;
    this.frames = 0;
  }

  private all(): (Delivery | QueuedFrame)[] {
    return Array.from({ length: this.count }, (_, index) => this.at((this.head + index) & (this.contents.length - 1)));
  }

  private at(place: number): Delivery | QueuedFrame {
    const content = this.contents[place];
    const isFrame = this.columns?.isAt(place) === true;
    return isFrame ? (this.columns as FrameColumns).get(place, content as QueueSlab) : (content as Delivery);
  }

  private clear(place: number): void {
    this.contents[place] = null;
    if (this.columns?.isAt(place) !== true) return;
    this.columns.clear(place);
    this.frames--;
  }

  /** The place behind the last one, which is free. */
  private place(): number {
    if (this.count === this.contents.length) this.grow();
    const place = (this.head + this.count) & (this.contents.length - 1);
    this.count++;
    return place;
  }

  private grow(): void {
    const { contents, columns, head, count } = this;
    const places = Math.max(smallestRing, contents.length * 2);
    this.contents = new Array(places).fill(null);
    if (columns !== null) this.columns = new FrameColumns(places);
    for (let index = 0; index < count; index++) {
      const from = (head + index) & (contents.length - 1);
      const content = contents[from];
      this.contents[index] = content;
      if (columns?.isAt(from)) this.columns?.put(index, columns.get(from, content as QueueSlab));
    }
    this.head = 0;
  }
}
