import { OutputBuffer, outputBufferBytes, smallOutputBufferBytes } from './output-buffer.js';

/** Buffers kept of either size: 4 MB each. */
const sparesMax = 256;
const smallSparesMax = 1024;

/** Output buffers between uses. One pool serves all connections of a broker. */
export class BufferPool {
  private readonly spares: OutputBuffer[] = [];
  private readonly smallSpares: OutputBuffer[] = [];

  /** @param isSmall true for one with little room */
  take(isSmall: boolean): OutputBuffer {
    if (isSmall) return this.smallSpares.pop() ?? new OutputBuffer(smallOutputBufferBytes);
    return this.spares.pop() ?? new OutputBuffer(outputBufferBytes);
  }

  /** Takes back a buffer that nothing refers to any more. */
  give(buffer: OutputBuffer): void {
    buffer.endRun();
    if (buffer.size === smallOutputBufferBytes) {
      if (this.smallSpares.length < smallSparesMax) this.smallSpares.push(buffer);
    } else if (this.spares.length < sparesMax) this.spares.push(buffer);
  }
}
