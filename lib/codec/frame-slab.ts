import { viewOf } from '../base/words.js';

/** Size of a slab: what it takes to keep one frame of it alive. */
const slabBytes = 8 * 1024;
/** Larger frames have memory of their own. */
const sharedBytesMax = 2 * 1024;

/**
 * Memory for frames, several to a slab: an object of its own for the bytes of each would cost more than copying them.
 * A slab is never used twice; it goes with the last frame that refers to it.
 */
export class FrameSlab {
  private slab: Buffer = Buffer.allocUnsafeSlow(slabBytes);
  private slabView = viewOf(this.slab);
  private used = 0;
  /** Where the memory is that `take` found. */
  bytes: Buffer = this.slab;
  /** The same by words. */
  view = this.slabView;

  /** Finds room for `size` bytes. @returns where in `bytes` it begins */
  take(size: number): number {
    if (size > sharedBytesMax) {
      this.bytes = Buffer.allocUnsafeSlow(size);
      this.view = viewOf(this.bytes);
      return 0;
    }
    if (this.used + size > slabBytes) {
      this.slab = Buffer.allocUnsafeSlow(slabBytes);
      this.slabView = viewOf(this.slab);
      this.used = 0;
    }
    this.bytes = this.slab;
    this.view = this.slabView;
    const start = this.used;
    this.used = start + size;
    return start;
  }
}

/** One for all: frames of different connections are made one after another. */
export const frameSlab = new FrameSlab();
