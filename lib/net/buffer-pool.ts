import { viewOf } from '../base/words.js';

/** Size of an output buffer: a socket write of this much is as cheap per byte as a larger one. */
export const outputBufferBytes = 16 * 1024;
const sparesMax = 256;

/** Memory for output, and a view of it by words. */
export interface OutputBuffer {
  readonly bytes: Buffer;
  readonly view: DataView;
}

function newBuffer(): OutputBuffer {
  const bytes = Buffer.allocUnsafeSlow(outputBufferBytes);
  return { bytes, view: viewOf(bytes) };
}

/** Output buffers between uses. One pool serves all connections of a broker. */
export class BufferPool {
  private readonly spares: OutputBuffer[] = [];

  take(): OutputBuffer {
    return this.spares.pop() ?? newBuffer();
  }

  /** Takes back a buffer that nothing refers to any more. */
  give(buffer: OutputBuffer): void {
    if (this.spares.length < sparesMax) this.spares.push(buffer);
  }
}
