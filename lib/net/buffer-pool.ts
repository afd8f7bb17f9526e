/** Size of an output buffer: a socket write of this much is as cheap per byte as a larger one. */
export const outputBufferBytes = 16 * 1024;
const sparesMax = 256;

/** Output buffers between uses. One pool serves all connections of a broker. */
export class BufferPool {
  private readonly spares: Buffer[] = [];

  take(): Buffer {
    return this.spares.pop() ?? Buffer.allocUnsafeSlow(outputBufferBytes);
  }

  /** Takes back a buffer that nothing refers to any more. */
  give(buffer: Buffer): void {
    if (buffer.length === outputBufferBytes && this.spares.length < sparesMax) this.spares.push(buffer);
  }
}
