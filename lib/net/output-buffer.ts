import { copyWords, viewOf } from '../base/words.js';
import type { PublishFrame } from '../codec/publish-frame.js';

/** Size of an output buffer: a socket write of this much is as cheap per byte as a larger one. */
export const outputBufferBytes = 16 * 1024;
/** Size of one for little output: those of a thousand sockets that get a few packets each lie closer together. */
export const smallOutputBufferBytes = 4 * 1024;
/** Above this length the engine's own copying is quicker than a loop, if it needs no object for a part of a buffer. */
const loopBytesMax = 128;
/** What is copied at once of packets that came behind each other. */
const aheadBytes = 4096;

/**
 * Memory for output. Packets that came one behind the other, and go on so, are copied many at a time:
 *
 *     source:  | frame 1 | frame 2 | frame 3 | frame 4 | …   as received
 *     bytes:   | frame 1 | frame 2   frame 3   fra             frame 1 alone, from frame 2 on more than that one
 *                                  ↑ the end of the output: what lies behind it is frame 3 if that is next
 */
export class OutputBuffer {
  /** Bytes that it has room for. */
  readonly size: number;
  readonly bytes: Buffer;
  readonly view: DataView;
  /** What was copied last; index `at` of it belongs at `at + shift` here. */
  private source: Buffer | null = null;
  private shift = 0;
  /** Up to here of the source is copied. */
  private copiedEnd = 0;

  constructor(size: number) {
    this.size = size;
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.view = viewOf(this.bytes);
  }

  /** Puts a frame with its own first byte and packet identifier at `at`, the end of the output; it must fit. */
  put(
    { bytes, view, start, end, finalEnd, packetIdAt }: PublishFrame,
    at: number,
    firstByte: number,
    id: number,
  ): void {
    const follows = bytes === this.source && start + this.shift === at;
    if (!follows || end > this.copiedEnd) {
      const ahead = Math.min(start + aheadBytes, finalEnd, start + this.size - at);
      const copyEnd = follows && ahead > end ? ahead : end;
      const isWhole = start === 0 && copyEnd === bytes.length;
      if (isWhole && copyEnd > loopBytesMax) this.bytes.set(bytes, at);
      else copyWords(view, start, copyEnd, this.view, at);
      this.source = bytes;
      this.shift = at - start;
      this.copiedEnd = copyEnd;
    }
    this.view.setUint8(at, firstByte);
    if (packetIdAt >= 0) this.view.setUint16(packetIdAt + this.shift, id);
  }

  /** Lets go of what was copied last. */
  endRun(): void {
    this.source = null;
  }
}
