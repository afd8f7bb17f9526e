/** What is kept for a piece of a message besides its bytes, about. */
const pieceBytes = 256;

/** Bits of the first two bytes of a frame, RFC 6455 §5.2. */
const finalBit = 0x80;
const controlBit = 0x08;
const maskBit = 0x80;
const lengthBits = 0x7f;
const length16 = 126;
const length64 = 127;
const maskSize = 4;

/**
 * Follows the frames of one WebSocket to know how much has come of a message that is not whole: that much is held until
 * its end comes, in as many pieces as it came in.
 *
 *     | frame | frame | final frame | ping | frame | begin of a frame
 *                                   ^             └─ held ───────────┘
 */
export class MessageBorders {
  /** Bytes held of a message that is not whole, with what its pieces cost. */
  heldBytes = 0;
  /** Of the frame at hand: what has come of its header, and what is still to come of its payload. */
  private readonly header = Buffer.alloc(10);
  private headerLength = 0;
  private payloadLeft = 0;
  private frameBytes = 0;

  /** Takes what a client has sent. What is no frame leaves nonsense, and the connection is closed for it elsewhere. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.payloadLeft === 0) at = this.takeHeader(chunk, at);
      const taken = Math.min(this.payloadLeft, chunk.length - at);
      if (taken > 0) this.count(taken);
      this.payloadLeft -= taken;
      at += taken;
      if (this.headerLength === 0 || !this.hasHeader || this.payloadLeft > 0) continue;
      this.endFrame();
    }
    if (this.heldBytes > 0) this.heldBytes += pieceBytes;
  }

  private takeHeader(chunk: Buffer, start: number): number {
    let at = start;
    while (at < chunk.length && !this.hasHeader) {
      // Only the mask is behind the first ten bytes.
      if (this.headerLength < this.header.length) this.header[this.headerLength] = chunk[at];
      this.headerLength++;
      at++;
    }
    this.count(at - start);
    if (this.hasHeader) this.payloadLeft = this.payloadLength();
    return at;
  }

  private get hasHeader(): boolean {
    if (this.headerLength < 2) return false;
    const length = this.header[1] & lengthBits;
    const extended = length === length16 ? 2 : length === length64 ? 8 : 0;
    return this.headerLength === 2 + extended + ((this.header[1] & maskBit) === 0 ? 0 : maskSize);
  }

  private payloadLength(): number {
    const length = this.header[1] & lengthBits;
    if (length === length16) return this.header.readUInt16BE(2);
    return length === length64 ? Number(this.header.readBigUInt64BE(2)) : length;
  }

  private count(bytes: number): void {
    this.frameBytes += bytes;
    this.heldBytes += bytes;
  }

  private endFrame(): void {
    const first = this.header[0];
    if ((first & controlBit) !== 0) this.heldBytes -= Math.min(this.heldBytes, this.frameBytes);
    else if ((first & finalBit) !== 0) this.heldBytes = 0;
    else this.heldBytes += pieceBytes;
    this.headerLength = 0;
    this.frameBytes = 0;
  }
}
