import { connect as openSocket, type Socket } from 'node:net';
import { type FrameSink, parseFrames } from '../../bench/load/parser.js';

const noBytes = Buffer.alloc(0);

/** What a `StreamClient` got, where somebody wants to know. Offsets are valid during the call only. */
export interface StreamEvents {
  onPublish?(client: StreamClient, packetId: number, payload: Buffer, qos: number): void;
  /** PUBACK, PUBREC, PUBREL, PUBCOMP by packet type. */
  onAck?(client: StreamClient, packetType: number, packetId: number, reasonCode: number): void;
  /** Any other packet: its type and its body. */
  onControl?(client: StreamClient, packetType: number, body: Buffer): void;
  /** The connection is gone, whoever ended it. */
  onClose?(client: StreamClient): void;
}

/**
 * A client of MQTT 5 for tests with thousands of connections: raw bytes out, packets in as callbacks. Nothing is
 * answered of itself.
 */
export class StreamClient implements FrameSink {
  readonly socket: Socket;
  events: StreamEvents;
  isClosed = false;
  private partial: Buffer = noBytes;

  constructor(port: number, events: StreamEvents = {}) {
    this.events = events;
    this.socket = openSocket({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('data', (chunk: Buffer) => this.take(chunk));
    // A reset is a close like another: 'close' follows.
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.isClosed = true;
      this.events.onClose?.(this);
    });
  }

  /** False when the socket holds bytes back. */
  send(bytes: Buffer): boolean {
    return this.socket.write(bytes);
  }

  reset(): void {
    if (!this.socket.destroyed) this.socket.resetAndDestroy();
  }

  onPublish(buffer: Buffer, qos: number, packetId: number, start: number, end: number): void {
    this.events.onPublish?.(this, packetId, buffer.subarray(start, end), qos);
  }

  onAck(packetType: number, packetId: number, reasonCode: number): void {
    this.events.onAck?.(this, packetType, packetId, reasonCode);
  }

  onControl(packetType: number, buffer: Buffer, start: number, end: number): void {
    this.events.onControl?.(this, packetType, buffer.subarray(start, end));
  }

  private take(chunk: Buffer): void {
    const bytes = this.partial.length === 0 ? chunk : Buffer.concat([this.partial, chunk]);
    const rest = parseFrames(bytes, 0, bytes.length, 5, this);
    this.partial = rest === bytes.length ? noBytes : Buffer.from(bytes.subarray(rest));
  }
}

/** The next packet of a type that a client gets, its body copied; rejects when the connection ends before. */
export function nextControl(client: StreamClient, packetType: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const { events } = client;
    client.events = {
      ...events,
      onControl: (from, type, body) => {
        events.onControl?.(from, type, body);
        if (type !== packetType) return;
        client.events = events;
        resolve(Buffer.from(body));
      },
      onClose: (from) => {
        events.onClose?.(from);
        reject(new Error(`the connection ended before a packet of type ${packetType}`));
      },
    };
  });
}

/** Does `work` for 0 to `count` - 1, so many at a time. */
export async function concurrently(count: number, atOnce: number, work: (index: number) => Promise<void>) {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
}
