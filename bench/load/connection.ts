import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { disconnectFrame, encodeConnect, encodeSubscribe, type Identity, readReceiveMaximum } from './frames.js';
import type { LoadOptions, ProtocolLevel, QualityOfService } from './options.js';
import { type FrameSink, parseFrames } from './parser.js';
import type { Sender } from './sender.js';
import type { Traffic } from './traffic.js';
import type { Verifier } from './verifier.js';

const packetTypes = { connack: 2, puback: 4, pubrec: 5, pubrel: 6, pubcomp: 7, suback: 9, disconnect: 14 } as const;
const answerTimeoutMs = 30_000;
const noBytes = Buffer.alloc(0);

/** Called for each delivered message, where a scenario needs more than counts. */
export type DeliveryObserver = (publisher: number, sequence: number) => void;

interface Waiting {
  readonly packetType: number;
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** One client of the generator: publisher (`sender`), subscriber (`verifier`) or idle. */
export class LoadConnection implements FrameSink {
  readonly protocol: ProtocolLevel;
  receiveMaximum = 65_535;
  sender: Sender | null = null;
  verifier: Verifier | null = null;
  observer: DeliveryObserver | null = null;
  private readonly traffic: Traffic;
  private readonly socket: Socket;
  private partial = noBytes;
  private partialBytes = 0;
  private ackBytes = 0;
  private waiting: Waiting | null = null;
  private isClosing = false;

  /** Use `openConnection`. */
  constructor(traffic: Traffic, { host, port, protocol, authority }: LoadOptions) {
    this.traffic = traffic;
    this.protocol = protocol;
    const callback = (byteCount: number): boolean => {
      this.onChunk(byteCount);
      return true;
    };
    if (authority === null) {
      this.socket = connect({ host, port, noDelay: true, onread: { buffer: traffic.readView, callback } });
    } else {
      this.socket = connectTls({ host, port, ca: authority }).setNoDelay(true);
      this.socket.on('data', (chunk: Buffer) => this.onPlaintext(chunk));
    }
    this.socket.on('error', (error) => this.fail(error));
    this.socket.on('close', () => this.fail(new Error('the broker closed the connection')));
  }

  /** Sends the packet and resolves with the body of its answer. */
  ask(packet: Buffer, answerType: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const overdue = () => this.fail(new Error(`no packet of type ${answerType} within ${answerTimeoutMs} ms`));
      const timer = setTimeout(overdue, answerTimeoutMs);
      const settled = <T>(settle: (value: T) => void) => {
        return (value: T): void => {
          clearTimeout(timer);
          settle(value);
        };
      };
      this.waiting = { packetType: answerType, resolve: settled(resolve), reject: settled(reject) };
      this.socket.write(packet);
    });
  }

  /** CONNECT; throws unless the broker accepts. */
  async connect(identity: Identity): Promise<void> {
    const body = await this.ask(encodeConnect(this.protocol, identity), packetTypes.connack);
    if (body[1] !== 0) throw new Error(`the broker refused CONNECT with reason code ${body[1]}`);
    if (this.protocol === 5) this.receiveMaximum = readReceiveMaximum(body);
  }

  /** SUBSCRIBE; throws unless the broker grants all filters. */
  async subscribe(topicFilters: readonly string[], qos: QualityOfService): Promise<void> {
    const body = await this.ask(encodeSubscribe(this.protocol, 1, topicFilters, qos), packetTypes.suback);
    const reasonCodes = body.subarray(-topicFilters.length);
    if (reasonCodes.some((reasonCode) => reasonCode > 2)) throw new Error('the broker refused a subscription');
  }

  /** Writes the first `byteCount` bytes; false while the socket still holds them, so that they must not change. */
  write(bytes: Buffer, byteCount: number): boolean {
    this.socket.write(bytes.subarray(0, byteCount));
    return this.socket.writableLength === 0;
  }

  /** Sends DISCONNECT and resolves when the connection is closed, at once if it is. */
  async disconnect(): Promise<void> {
    if (this.socket.destroyed) return;
    this.isClosing = true;
    const closed = new Promise((resolve) => this.socket.once('close', resolve));
    this.socket.end(disconnectFrame);
    await closed;
  }

  /** Drops the connection with a reset, which leaves no port in TIME_WAIT. */
  reset(): void {
    this.isClosing = true;
    this.socket.resetAndDestroy();
  }

  onPublish(buffer: Buffer, qos: number, packetId: number, start: number, end: number): void {
    if (this.verifier === null && this.sender?.plan.isTracked) {
      this.traffic.receipts++;
      return;
    }
    if (end - start < 8) throw new Error('the broker delivered a payload that nobody sent');
    const publisher = buffer.readUInt32BE(start);
    const sequence = buffer.readUInt32BE(start + 4);
    if (this.verifier?.accept(publisher, sequence)) {
      this.traffic.delivered++;
      const sender = this.traffic.senders[publisher];
      sender.received++;
      this.traffic.schedule(sender);
      if (this.observer !== null) this.observer(publisher, sequence);
    }
    if (qos === 1) this.acknowledge(0x40, packetId);
    else if (qos === 2) {
      this.traffic.unreleased++;
      this.acknowledge(0x50, packetId);
    }
  }

  onAck(packetType: number, packetId: number, reasonCode: number): void {
    if (packetType === packetTypes.pubrel) {
      this.traffic.unreleased--;
      this.acknowledge(0x70, packetId);
      return;
    }
    const isRefused = reasonCode >= 0x80;
    if (isRefused) this.traffic.refused++;
    if (packetType === packetTypes.pubrec && !isRefused) {
      this.acknowledge(0x62, packetId);
      return;
    }
    this.traffic.acked++;
    if (this.sender === null) return;
    this.sender.acked++;
    this.traffic.schedule(this.sender);
  }

  onControl(packetType: number, buffer: Buffer, start: number, end: number): void {
    if (packetType === packetTypes.disconnect) {
      this.fail(new Error(`the broker disconnected with reason code ${end > start ? buffer[start] : 0}`));
    } else if (this.waiting?.packetType === packetType) {
      const { resolve } = this.waiting;
      this.waiting = null;
      resolve(Buffer.from(buffer.subarray(start, end)));
    }
  }

  private acknowledge(first: number, packetId: number): void {
    const { ackBuffer } = this.traffic;
    const at = this.ackBytes;
    ackBuffer[at] = first;
    ackBuffer[at + 1] = 2;
    ackBuffer[at + 2] = packetId >>> 8;
    ackBuffer[at + 3] = packetId;
    this.ackBytes = at + 4;
  }

  /** What TLS has decrypted has a buffer of its own. */
  private onPlaintext(chunk: Buffer): void {
    const { readView } = this.traffic;
    for (let at = 0; at < chunk.length; at += readView.length) {
      this.onChunk(chunk.copy(readView, 0, at, at + readView.length));
    }
  }

  private onChunk(byteCount: number): void {
    const { buffer, headroomBytes } = this.traffic;
    const start = headroomBytes - this.partialBytes;
    if (this.partialBytes > 0) this.partial.copy(buffer, start, 0, this.partialBytes);
    const end = headroomBytes + byteCount;
    const rest = parseFrames(buffer, start, end, this.protocol, this);
    this.partialBytes = end - rest;
    if (this.partialBytes > this.traffic.headroomBytes) throw new Error('the broker sent a frame longer than any sent');
    if (this.partialBytes > 0) {
      if (this.partial.length < this.partialBytes) this.partial = Buffer.allocUnsafeSlow(this.partialBytes);
      buffer.copy(this.partial, 0, rest, end);
    }
    if (this.ackBytes > 0) {
      const isFree = this.write(this.traffic.ackBuffer, this.ackBytes);
      this.ackBytes = 0;
      if (!isFree) this.traffic.ackBuffer = Buffer.allocUnsafeSlow(buffer.length);
    }
    this.traffic.afterChunk();
  }

  private fail(error: Error): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.socket.destroy();
    const waiting = this.waiting;
    this.waiting = null;
    if (waiting === null) throw error;
    waiting.reject(error);
  }
}

/** Connects and introduces itself; `prepare` may set the roles before the first packet arrives. */
export async function openConnection(
  traffic: Traffic,
  options: LoadOptions,
  identity: Identity,
  prepare?: (connection: LoadConnection) => void,
): Promise<LoadConnection> {
  const connection = new LoadConnection(traffic, options);
  prepare?.(connection);
  await connection.connect(identity);
  return connection;
}
