import { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import type { IncompleteHolder, IncompletePackets } from './incomplete-packets.js';
import { MessageBorders } from './message-borders.js';

/** Close codes of RFC 6455 §7.4.1. */
const CloseCode = { normal: 1000, unsupportedData: 1003 } as const;
/** Unsent bytes from which on a ping is not worth an answer: its sender does not read. */
const unsentBytesMax = 64 * 1024;

/**
 * The bytes in the binary frames of one WebSocket, as a stream: borders of frames mean nothing. [MQTT-6.0.0-2]
 *
 *     client's frames ──message──▶ readable buffer ──▶ Connection      full: the socket is paused
 *     client's frames ◀───send──── writable buffer ◀── Outbox          one write at a time, until the kernel took it
 */
export class WebSocketStream extends Duplex {
  private readonly socket: WebSocket;
  private readonly wire: Duplex;
  private isHeld = false;

  /**
   * @param socket open, and without automatic pongs
   * @param wire what it speaks on
   */
  constructor(socket: WebSocket, wire: Duplex) {
    super({ allowHalfOpen: false });
    this.socket = socket;
    this.wire = wire;
    socket.binaryType = 'nodebuffer';
    socket.on('message', this.onMessage);
    socket.on('ping', this.onPing);
    socket.on('error', this.onSocketError);
    socket.on('close', this.onSocketClosed);
  }

  /**
   * Has counted what is held of a message until its end comes: only then is any of it passed on.
   * @param connection that reads this stream
   */
  countIn(incomplete: IncompletePackets, connection: IncompleteHolder): void {
    const borders = new MessageBorders();
    const giveUp = (reasonCode: number, reason: string): void => {
      connection.giveUp(reasonCode, reason);
      // What is held is let go of with the socket, and nothing else would make room.
      incomplete.forget(this);
      this.destroy();
    };
    const holder = { giveUp };
    const onBytes = (chunk: Buffer): void => {
      borders.push(chunk);
      incomplete.changed(this, borders.heldBytes, holder);
    };
    this.wire.on('data', onBytes);
    this.once('close', () => {
      this.wire.removeListener('data', onBytes);
      incomplete.forget(this);
    });
  }

  private readonly onMessage = (data: RawData, isBinary: boolean): void => {
    if (this.destroyed) return;
    if (!isBinary || !Buffer.isBuffer(data)) {
      this.socket.close(CloseCode.unsupportedData, 'MQTT is sent in binary frames');
      this.destroy(); // [MQTT-6.0.0-1]
      return;
    }
    if (this.push(data) || this.isHeld) return;
    this.isHeld = true;
    this.socket.pause();
  };

  override _read(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.socket.send(chunk, { binary: true }, callback);
  }

  override _writev(items: readonly { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    const last = items.length - 1;
    items.forEach(({ chunk }, index) => {
      if (index < last) this.socket.send(chunk, { binary: true });
      else this.socket.send(chunk, { binary: true }, callback);
    });
  }

  /** Begins the closing handshake, in which the client may take its time: whoever ends the stream limits that. */
  override _final(callback: () => void): void {
    this.socket.close(CloseCode.normal);
    callback();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.socket.terminate();
    callback(error);
  }

  private readonly onPing = (data: Buffer): void => {
    if (this.socket.readyState !== this.socket.OPEN) return;
    if (this.socket.bufferedAmount < unsentBytesMax) this.socket.pong(data);
  };

  private readonly onSocketError = (error: Error): void => {
    this.destroy(error);
  };

  /** What came before the end is still read. */
  private readonly onSocketClosed = (): void => {
    if (!this.destroyed) this.push(null);
  };
}
