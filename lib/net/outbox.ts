import type { Duplex } from 'node:stream';
import type { Metrics } from '../broker/metrics.js';
import { writeAck } from '../codec/acks.js';
import type { PublishFrame } from '../codec/publish-frame.js';
import {
  readVariableByteInteger,
  variableByteIntegerSize,
  writeVariableByteInteger,
} from '../codec/variable-byte-integer.js';
import type { ProtocolVersion } from '../spec/packet-types.js';
import { PropertyId } from '../spec/properties.js';
import type { BufferPool } from './buffer-pool.js';
import { OutboundTopicAliases } from './outbound-topic-aliases.js';
import { type OutputBuffer, smallOutputBufferBytes } from './output-buffer.js';

/** Frames from this size on go out as they are instead of being copied: shared by all their receivers. */
const sharedFrameBytes = 8 * 1024;
/** Room that an acknowledgement needs at most. */
const ackBytesMax = 5;
/** What a connection may hold unsent however much others do. */
const alwaysHeldBytes = 64 * 1024;
/** Size of the property Topic Alias. */
const aliasBytes = 3;
/** What the property adds to a packet at most: itself, and a byte more in either of two lengths. */
const aliasGrowthMax = aliasBytes + 2;

/**
 * One socket's outgoing bytes: packets are copied behind each other into a pooled buffer and written once per turn.
 *
 *     | chunk | chunk | … | buffer: packets …|  free  |
 *       full buffers and large frames, in order
 */
export class Outbox {
  private readonly stream: Duplex;
  private readonly pool: BufferPool;
  private readonly metrics: Pick<Metrics, 'bytesSent' | 'outboxBytes'>;
  private buffer: OutputBuffer | null = null;
  private length = 0;
  private chunks: Buffer[] | null = null;
  private chunkBytes = 0;
  /** Those whose contents are among the chunks. */
  private full: OutputBuffer[] = [];
  /** Bytes held back because the socket has not taken what it was given before. */
  private held = 0;
  private closed = false;
  /** False while the socket has taken all that it was given. To ask its stream for each delivery takes too long. */
  private mayBeUntaken = false;
  /** True if the last flush wrote more than a small buffer holds. */
  private isTalkative = false;
  private aliasMaximum = 0;
  /** Made at first use. */
  private aliases: OutboundTopicAliases | null = null;
  /** Largest packet to which an alias may be added. */
  private largestToGrow = 0;
  packets = 0;

  constructor(stream: Duplex, pool: BufferPool, metrics: Pick<Metrics, 'bytesSent' | 'outboxBytes'>) {
    this.stream = stream;
    this.pool = pool;
    this.metrics = metrics;
  }

  /** What the next flush has to write. */
  get gatheredBytes(): number {
    return this.chunkBytes + this.length;
  }

  /** True if there is something to flush. */
  get hasOutput(): boolean {
    return this.length > 0 || this.chunkBytes > 0;
  }

  /**
   * Sets topic aliases from here on, for a client of version 5.
   * @param maximum most aliases; 0 sets none
   * @param maximumPacketSize the client's, 0 for no limit
   */
  useAliases(maximum: number, maximumPacketSize: number): void {
    this.aliasMaximum = maximum;
    this.largestToGrow = (maximumPacketSize === 0 ? Number.MAX_SAFE_INTEGER : maximumPacketSize) - aliasGrowthMax;
  }

  /** Appends a PUBLISH with its own first byte and packet identifier. */
  publish(frame: PublishFrame, firstByte: number, packetId: number): void {
    // [MQTT-3.1.2-27] none for a client that takes none
    if (this.aliasMaximum > 0 && this.publishAliased(frame, firstByte, packetId)) return;
    this.packet(frame, firstByte, packetId);
  }

  /** Appends any packet with its own first byte and packet identifier. */
  packet(frame: PublishFrame, firstByte: number, packetId: number): void {
    const size = frame.end - frame.start;
    this.packets++;
    if (size >= sharedFrameBytes) {
      this.publishShared(frame, firstByte, packetId);
      return;
    }
    const at = this.reserve(size);
    (this.buffer as OutputBuffer).put(frame, at, firstByte, packetId);
    this.length = at + size;
  }

  /** The head is copied and patched, the rest of the frame is shared. */
  private publishShared(frame: PublishFrame, firstByte: number, packetId: number): void {
    const { bytes, start, end, packetIdAt } = frame.lasting();
    const headEnd = packetIdAt >= 0 ? packetIdAt + 2 : start + 1;
    const head = Buffer.from(bytes.subarray(start, headEnd));
    head[0] = firstByte;
    if (packetIdAt >= 0) head.writeUInt16BE(packetId, packetIdAt - start);
    this.append(head);
    this.append(bytes.subarray(headEnd, end));
  }

  /**
   * The same with an alias beside or in place of the topic name; false if the topic gets none.
   *
   *     firstByte | length | topic | packetId | length | alias | properties, payload …
   *                  new     or ''              new      new     rest of the frame
   */
  private publishAliased(frame: PublishFrame, firstByte: number, packetId: number): boolean {
    this.aliases ??= new OutboundTopicAliases(this.aliasMaximum);
    const { aliases } = this;
    const { bytes, start, end, packetIdAt } = frame;
    const topicAt = start + 1 + variableByteIntegerSize(readVariableByteInteger(bytes, start + 1, end));
    const topicEnd = topicAt + 2 + bytes.readUInt16BE(topicAt);
    const alias = aliases.aliasFor(bytes, topicAt + 2, topicEnd, end - start <= this.largestToGrow);
    if (alias === 0) return false;
    const withPacketId = packetIdAt >= 0;
    const propertiesAt = withPacketId ? topicEnd + 2 : topicEnd;
    const propertiesSize = readVariableByteInteger(bytes, propertiesAt, end);
    const restAt = propertiesAt + variableByteIntegerSize(propertiesSize);
    const topicSize = aliases.isNew ? topicEnd - topicAt : 2;
    const newSize = propertiesSize + aliasBytes;
    const headSize = topicSize + (withPacketId ? 2 : 0) + variableByteIntegerSize(newSize) + aliasBytes;
    const remaining = headSize + end - restAt;
    const size = 1 + variableByteIntegerSize(remaining) + remaining;
    const isShared = size >= sharedFrameBytes;
    const target = isShared ? Buffer.allocUnsafe(size - (end - restAt)) : null;
    let at = target === null ? this.reserve(size) : 0;
    const buffer = target ?? (this.buffer as OutputBuffer).bytes;
    buffer[at] = firstByte;
    at = writeVariableByteInteger(buffer, at + 1, remaining);
    if (aliases.isNew) at += bytes.copy(buffer, at, topicAt, topicEnd);
    else at = buffer.writeUInt16BE(0, at);
    if (withPacketId) at = buffer.writeUInt16BE(packetId, at);
    at = writeVariableByteInteger(buffer, at, newSize);
    buffer[at] = PropertyId.topicAlias;
    at = buffer.writeUInt16BE(alias, at + 1);
    this.packets++;
    if (target === null) this.length = at + bytes.copy(buffer, at, restAt, end);
    else {
      this.append(target);
      const lasting = frame.lasting();
      this.append(lasting.bytes.subarray(lasting.end - (end - restAt), lasting.end));
    }
    return true;
  }

  ack(packetType: number, packetId: number, reasonCode: number, version: ProtocolVersion): void {
    this.packets++;
    const at = this.reserve(ackBytesMax);
    this.length = writeAck((this.buffer as OutputBuffer).bytes, at, packetType, packetId, reasonCode, version);
  }

  /** Appends whole packets. */
  bytes(packets: Buffer): void {
    this.packets++;
    if (packets.length >= sharedFrameBytes) {
      this.append(packets);
      return;
    }
    const at = this.reserve(packets.length);
    packets.copy((this.buffer as OutputBuffer).bytes, at);
    this.length = at + packets.length;
  }

  /**
   * True if too much is unsent.
   * @param maximum bytes of this connection
   * @param maximumTotal bytes of all that are behind, past which a connection may hold a little and no more
   */
  isBehind(maximum: number, maximumTotal: number): boolean {
    if (this.gatheredBytes + this.untakenBytes > maximum) return true;
    return this.held > alwaysHeldBytes && this.metrics.outboxBytes > maximumTotal;
  }

  private get untakenBytes(): number {
    if (!this.mayBeUntaken) return 0;
    const { writableLength } = this.stream;
    this.mayBeUntaken = writableLength > 0;
    return writableLength;
  }

  /**
   * Writes everything to the socket; while that is behind, keeps it: a write of each turn would hold a whole buffer
   * for a few bytes.
   * @param isLast true to hand over everything, whatever the socket has
   */
  flush(isLast = false): void {
    const { stream } = this;
    if (this.closed || stream.destroyed || !this.hasOutput) return;
    if (stream.writableNeedDrain && !isLast) {
      this.hold(this.gatheredBytes);
      // For as long as the socket is behind, nothing is to be kept but what it is to have.
      this.buffer?.endRun();
      return;
    }
    this.hold(0);
    const { gatheredBytes, chunks, buffer, full } = this;
    this.metrics.bytesSent += gatheredBytes;
    this.isTalkative = gatheredBytes > smallOutputBufferBytes;
    if (chunks !== null) {
      this.chunks = null;
      this.chunkBytes = 0;
      stream.cork();
      for (const chunk of chunks) stream.write(chunk);
    }
    if (this.length > 0 && buffer !== null) {
      stream.write(buffer.bytes.subarray(0, this.length));
      this.length = 0;
      this.buffer = null;
      full.push(buffer);
    }
    if (chunks !== null) stream.uncork();
    this.mayBeUntaken = stream.writableLength > 0;
    // If the kernel has taken all of it, the buffers are free at once. Otherwise the socket keeps them.
    if (!this.mayBeUntaken) for (let at = 0; at < full.length; at++) this.pool.give(full[at] as OutputBuffer);
    full.length = 0;
  }

  /** Drops what was not flushed. */
  discard(): void {
    this.closed = true;
    if (this.buffer !== null) this.pool.give(this.buffer);
    this.buffer = null;
    this.length = 0;
    this.chunks = null;
    this.chunkBytes = 0;
    this.full.length = 0;
    this.hold(0);
  }

  private hold(bytes: number): void {
    this.metrics.outboxBytes += bytes - this.held;
    this.held = bytes;
  }

  /** Makes room for `size` bytes, less than half a large buffer, and returns where they begin. */
  private reserve(size: number): number {
    const { buffer } = this;
    if (buffer === null) this.buffer = this.pool.take(!this.isTalkative && size <= smallOutputBufferBytes);
    else if (this.length + size > buffer.size) this.enlarge(buffer);
    return this.length;
  }

  /** What is in a small buffer moves to a large one, which has room for any packet beside it; a large one is full. */
  private enlarge(buffer: OutputBuffer): void {
    const larger = this.pool.take(false);
    if (buffer.size === smallOutputBufferBytes) {
      buffer.bytes.copy(larger.bytes, 0, 0, this.length);
      this.pool.give(buffer);
    } else this.appendBuffer();
    this.buffer = larger;
  }

  private append(chunk: Buffer): void {
    this.appendBuffer();
    this.push(chunk);
  }

  private appendBuffer(): void {
    if (this.buffer === null || this.length === 0) return;
    this.push(this.buffer.bytes.subarray(0, this.length));
    this.full.push(this.buffer);
    this.buffer = null;
    this.length = 0;
  }

  private push(chunk: Buffer): void {
    this.chunks ??= [];
    this.chunks.push(chunk);
    this.chunkBytes += chunk.length;
  }
}
