import { OutputBuffer } from './output-buffer.js';

const sparesMax = 256;

/** Output buffers between uses. One pool serves all connections of a broker. */
export class BufferPool {
  private readonly spares: OutputBuffer[] = [];

  take(): OutputBuffer {
    return this.spares.pop() ?? new OutputBuffer();
  }

  /** Takes back a buffer that nothing refers to any more. */
  give(buffer: OutputBuffer): void {
    buffer.endRun();
    if (this.spares.length < sparesMax) this.spares.push(buffer);
  }
}
