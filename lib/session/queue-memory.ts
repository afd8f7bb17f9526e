import { copyWords, viewOf } from '../base/words.js';
import { PublishFrame } from '../codec/publish-frame.js';

/** Size of a slab: what it takes to keep one frame of it waiting. */
const slabBytes = 8 * 1024;
/** Larger frames have memory of their own. */
const sharedBytesMax = 2 * 1024;
/** Slabs kept for the frames to come. */
const sparesMax = 512;

/** Memory of frames that wait. */
export class QueueSlab {
  readonly bytes: Buffer;
  /** `bytes` by words. */
  readonly view: DataView;
  /** False if it is a large frame's own. */
  readonly isReused: boolean;
  /** How often its frames wait; a frame that waits in several queues counts for each. */
  held = 0;

  constructor(bytes: Buffer, view: DataView, isReused: boolean) {
    this.bytes = bytes;
    this.view = view;
    this.isReused = isReused;
  }

  static ofUsualSize(): QueueSlab {
    const bytes = Buffer.allocUnsafeSlow(slabBytes);
    return new QueueSlab(bytes, viewOf(bytes), true);
  }

  /** A frame in it; of a slab that is used again, one whose bytes pass. */
  frame(start: number, end: number, packetIdAt: number): PublishFrame {
    const { bytes, view } = this;
    if (this.isReused) return PublishFrame.passing(bytes, view, start, end, packetIdAt);
    return new PublishFrame(bytes, view, start, end, packetIdAt);
  }
}

/**
 * Memory for packets that wait in queues, used again as soon as they are gone: thousands wait where many publish to one
 * client, and memory that was touched moments ago is in the processor's caches. Whoever takes a packet out of a queue
 * gives its memory back; what is forgotten with its queue is left to the collector, slab by slab.
 */
export class QueueMemory {
  /** Where the last frame is. */
  slab = QueueSlab.ofUsualSize();
  /** The slab that is being filled. */
  private current = this.slab;
  private used = 0;
  private readonly spares: QueueSlab[] = [];
  private lastFrame: PublishFrame | null = null;
  private lastSequence = 0;
  private lastStart = 0;
  private readonly place = PublishFrame.passing(this.slab.bytes, this.slab.view, 0, 0, -1);

  /**
   * Keeps a packet. The same one for several queues, one after another, is kept once.
   * @param sequence its message's
   * @returns the packet where it waits, in an object that the next call changes; `slab` is its memory
   */
  hold(frame: PublishFrame, sequence: number): PublishFrame {
    const { start, end, packetIdAt } = frame;
    if (frame !== this.lastFrame || sequence !== this.lastSequence) {
      this.copy(frame);
      this.lastFrame = frame;
      this.lastSequence = sequence;
    }
    const { slab, lastStart, place } = this;
    slab.held++;
    place.bytes = slab.bytes;
    place.view = slab.view;
    place.start = lastStart;
    place.end = place.finalEnd = lastStart + end - start;
    place.packetIdAt = packetIdAt < 0 ? -1 : packetIdAt - start + lastStart;
    return place;
  }

  /** A packet in it waits no more, and nobody looks at its bytes again. */
  release(slab: QueueSlab): void {
    slab.held--;
    if (slab.held > 0) return;
    if (slab === this.slab) {
      this.lastFrame = null;
      this.slab = this.current;
    }
    if (!slab.isReused) return;
    if (slab === this.current) this.used = 0;
    else if (this.spares.length < sparesMax) this.spares.push(slab);
  }

  private copy(frame: PublishFrame): void {
    const { start, end } = frame;
    const size = end - start;
    if (size > sharedBytesMax) {
      const { bytes, view, start: at } = frame.lasting();
      this.slab = new QueueSlab(bytes, view, false);
      this.lastStart = at;
      return;
    }
    if (this.used + size > slabBytes) {
      this.current = this.spares.pop() ?? QueueSlab.ofUsualSize();
      this.used = 0;
    }
    this.slab = this.current;
    this.lastStart = this.used;
    this.used += size;
    copyWords(frame.view, start, end, this.slab.view, this.lastStart);
  }
}

/** One for all queues. */
export const queueMemory = new QueueMemory();
