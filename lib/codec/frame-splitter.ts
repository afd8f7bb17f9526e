import { copyOf } from '../base/bytes.js';
import { ProtocolError } from '../base/errors.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { malformed } from './violations.js';

/** Takes the packets a FrameSplitter finds. */
export interface FrameSink {
  /**
   * One whole packet: `buffer[frameStart, end)`; its body is `buffer[bodyStart, end)`. Return false to stop: the rest
   * waits for `resume()`. Must not call the splitter. The buffer is read into again: no view of it may be kept.
   */
  onFrame(buffer: Buffer, frameStart: number, bodyStart: number, end: number): boolean;
}

/** First byte and up to four bytes of remaining length. */
const longestHeader = 5;
/** Room given at once to a packet whose end has not arrived. */
const smallestStorage = 256;
/** Parts from this size on have memory of their own until the packet is whole. */
const pieceBytes = 16 * 1024;
const nothing = Buffer.alloc(0);
/** Shared by all splitters that hold nothing back. Never changed. */
const noChunks: Buffer[] = [];

/**
 * Cuts a byte stream into packets. Packets that lie whole in one chunk are passed on as they lie; only a packet that
 * crosses chunks is copied together, into storage that grows with what has really arrived. Chunks are not kept:
 *
 *     chunk 1: | packet | packet | begin of packet |         → two views, the rest copied to `partial`
 *     chunk 2: | end of packet | packet |                    → completed in `partial`, one view
 *
 * After a throw the stream is lost and the splitter must not be used again.
 * @see MQTT 5 §2.1
 */
export class FrameSplitter {
  /** Largest packet accepted, fixed header included; read afresh for every packet. */
  maximumPacketSize: number;
  /** Begin of a packet that crosses chunks: the pieces, then `partial[0, pieceLength)`; its length in all. */
  private pieces: Buffer[];
  private partial: Buffer;
  private pieceLength: number;
  private partialLength: number;
  /** Of the packet at hand: bytes before its body, and in all. 0 while its header is not complete. */
  private headerSize: number;
  private frameSize: number;
  /** Chunks not looked at since the sink stopped; the first one only from `waitingOffset`. */
  private waiting: Buffer[];
  private waitingOffset: number;
  private waitingBytes: number;
  private isStopped: boolean;

  /** @param maximumPacketSize in bytes, fixed header included */
  constructor(maximumPacketSize: number) {
    this.maximumPacketSize = maximumPacketSize;
    this.pieces = noChunks;
    this.partial = nothing;
    this.pieceLength = 0;
    this.partialLength = 0;
    this.headerSize = 0;
    this.frameSize = 0;
    this.waiting = noChunks;
    this.waitingOffset = 0;
    this.waitingBytes = 0;
    this.isStopped = false;
  }

  /** True from the moment the sink returned false until `resume()`. */
  get stopped(): boolean {
    return this.isStopped;
  }

  /** Bytes held back: begin of a packet, and what waits while stopped. The caller bounds it by pausing its source. */
  get bufferedBytes(): number {
    return this.partialLength + this.waitingBytes;
  }

  /**
   * Takes the next bytes of the stream; keeps a copy of them if stopped.
   * @throws ProtocolError 0x81 for an impossible header, 0x95 for a packet above the maximum (from its header alone);
   *   and whatever the sink throws
   */
  push(chunk: Buffer, sink: FrameSink): void {
    if (this.isStopped) {
      this.hold(chunk, 0);
      return;
    }
    const consumed = this.consume(chunk, 0, sink);
    if (consumed < chunk.length) {
      this.hold(chunk, consumed);
    }
  }

  /** Lets go of everything held back, for good. */
  discard(): void {
    this.forgetPartial();
    this.waiting = noChunks;
    this.waitingBytes = 0;
  }

  private hold(chunk: Buffer, start: number): void {
    if (this.waiting === noChunks) this.waiting = [];
    this.waiting.push(copyOf(chunk, start, chunk.length));
    this.waitingBytes += chunk.length - start;
  }

  /** Goes on after a stop with what waits; may stop again. Throws like `push`. */
  resume(sink: FrameSink): void {
    this.isStopped = false;
    let done = 0;
    while (done < this.waiting.length && !this.isStopped) {
      const chunk = this.waiting[done];
      const consumed = this.consume(chunk, this.waitingOffset, sink);
      this.waitingBytes -= consumed - this.waitingOffset;
      this.waitingOffset = consumed;
      if (consumed < chunk.length) break;
      this.waitingOffset = 0;
      done++;
    }
    if (done === this.waiting.length) this.waiting = noChunks;
    else this.waiting.splice(0, done);
  }

  /** Passes on packets of `chunk` from `offset` until it is used up or the sink stops; returns the offset reached. */
  private consume(chunk: Buffer, offset: number, sink: FrameSink): number {
    let position = this.partialLength > 0 ? this.complete(chunk, offset, sink) : offset;
    const length = chunk.length;
    while (position < length && !this.isStopped) {
      this.readHeader(chunk, position, length);
      const frameEnd = position + this.frameSize;
      if (this.frameSize === 0 || frameEnd > length) {
        this.keep(chunk, position, length);
        return length;
      }
      this.isStopped = !sink.onFrame(chunk, position, position + this.headerSize, frameEnd);
      position = frameEnd;
    }
    return position;
  }

  /** Adds to the packet in `partial`, and passes it on once it is whole; returns the offset reached. */
  private complete(chunk: Buffer, offset: number, sink: FrameSink): number {
    let position = offset;
    while (this.frameSize === 0) {
      if (position === chunk.length) return position;
      this.keep(chunk, position, position + 1);
      position++;
      this.readHeader(this.partial, 0, this.partialLength);
    }
    const frameSize = this.frameSize;
    const taken = Math.min(frameSize - this.partialLength, chunk.length - position);
    this.keep(chunk, position, position + taken);
    position += taken;
    if (this.partialLength === frameSize) {
      const frame = this.pieces === noChunks ? this.partial : this.joined();
      this.forgetPartial();
      this.isStopped = !sink.onFrame(frame, 0, this.headerSize, frameSize);
    }
    return position;
  }

  /** Appends `chunk[start, end)` to the packet begun; the announced size only ever limits the storage. */
  private keep(chunk: Buffer, start: number, end: number): void {
    const size = end - start;
    if (size >= pieceBytes) {
      this.endPiece();
      this.pieces.push(copyOf(chunk, start, end));
      this.partialLength += size;
      return;
    }
    const needed = this.pieceLength + size;
    if (needed > this.partial.length) {
      const doubled = Math.max(needed, 2 * this.partial.length, smallestStorage);
      const announced = this.frameSize === 0 ? longestHeader : this.frameSize;
      const grown = Buffer.allocUnsafe(Math.min(doubled, announced - this.partialLength + this.pieceLength));
      this.partial.copy(grown, 0, 0, this.pieceLength);
      this.partial = grown;
    }
    chunk.copy(this.partial, this.pieceLength, start, end);
    this.pieceLength = needed;
    this.partialLength += size;
  }

  private endPiece(): void {
    if (this.pieces === noChunks) this.pieces = [];
    if (this.pieceLength > 0) this.pieces.push(this.partial.subarray(0, this.pieceLength));
    this.partial = nothing;
    this.pieceLength = 0;
  }

  /** The packet whose last byte has come. */
  private joined(): Buffer {
    this.endPiece();
    return Buffer.concat(this.pieces, this.frameSize);
  }

  private forgetPartial(): void {
    this.pieces = noChunks;
    this.partial = nothing;
    this.pieceLength = 0;
    this.partialLength = 0;
  }

  /** Sets `headerSize` and `frameSize` for the packet at `start`; `frameSize` is 0 if its header is not complete. */
  private readHeader(buffer: Buffer, start: number, end: number): void {
    this.frameSize = 0;
    // packet type 0 is reserved, §2.1.2
    if (buffer[start] < 0x10) throw malformed('packet type 0, §2.1.2');
    let remaining = 0;
    for (let index = 1; index < longestHeader; index++) {
      if (start + index >= end) return;
      const byte = buffer[start + index];
      remaining |= (byte & 0x7f) << (7 * (index - 1));
      if (byte < 0x80) {
        // [MQTT-1.5.5-1]
        if (byte === 0 && index > 1) throw malformed('the remaining length is not minimal, §2.1.4');
        this.headerSize = index + 1;
        this.frameSize = index + 1 + remaining;
        // [MQTT-3.2.2-15]
        if (this.frameSize > this.maximumPacketSize) {
          throw new ProtocolError(ReasonCode.packetTooLarge, `packet of ${this.frameSize} bytes, §3.2.2.3.6`);
        }
        return;
      }
    }
    throw malformed('the remaining length has more than four bytes, §2.1.4');
  }
}
