import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { parser as newParser, type Packet } from 'mqtt-packet';
import { Connection } from '../../lib/net/connection.js';
import type { ConnectionParts } from '../../lib/net/connection-parts.js';
import type { Link } from '../../lib/session/link.js';
import type { Random } from '../crash/random.js';
import type { SimulatedTime } from './time.js';

/** Bytes that the network and both kernels take before the broker's socket is full. */
const capacityBytes = 2048;
const simulated = { address: 'simulated', certificateUser: null };

/** The broker's end: does at once what a socket of Node does in later ticks. */
class SimulatedSocket extends EventEmitter {
  writableLength = 0;
  writableNeedDrain = false;
  destroyed = false;
  isPaused = false;
  private readonly wire: Wire;

  constructor(wire: Wire) {
    super();
    this.wire = wire;
  }

  write(chunk: Buffer): boolean {
    if (!this.destroyed) this.wire.onWritten(chunk);
    return this.writableLength === 0;
  }

  end(): void {
    this.wire.onEnded();
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.wire.onDestroyed();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.wire.onResumed();
  }

  cork(): void {}

  uncork(): void {}
}

/** What a connection tells. */
export interface WireEvents {
  /** The broker has written a packet, which is on its way. */
  onWritten(packet: Packet): void;
  /** A packet has come to the client. */
  onPacket(packet: Packet): void;
  /** The connection is over for the client. */
  onClosed(): void;
  /** The broker has noticed, or decided, that it is over. */
  onBrokerClosed(): void;
  /** Bytes came that are no packet. */
  onGarbage(error: Error): void;
}

interface Arriving {
  readonly bytes: Buffer;
  readonly onTaken: (() => void) | null;
}

/**
 * One network connection: bytes to the broker, in pieces, and packets to the client, each after a delay and in order. A
 * client that does not read fills it up.
 */
export class Wire {
  /** True while the client reads nothing. */
  isDeaf = false;
  /** The broker's object for this connection. */
  readonly connection: Link;
  private readonly time: SimulatedTime;
  private readonly random: Random;
  private readonly events: WireEvents;
  private readonly socket = new SimulatedSocket(this);
  private readonly parser;
  private clientOpen = true;
  private brokerOpen = true;
  private isDead = false;
  /** True once the broker has closed its side, or knows that it is over. */
  private hasEnded = false;
  /** Packets on their way to the client, with their bytes; null is the end of the stream. */
  private down: { readonly packet: Packet | null; readonly bytes: number }[] = [];
  private up: Arriving[] = [];
  private downDueAtMs = 0;
  private upDueAtMs = 0;
  private unparsedBytes = 0;
  private unreadBytes = 0;

  constructor(time: SimulatedTime, random: Random, version: 4 | 5, parts: ConnectionParts, events: WireEvents) {
    this.time = time;
    this.random = random;
    this.events = events;
    this.parser = newParser({ protocolVersion: version });
    this.parser.on('packet', (packet: Packet) => this.onParsed(packet));
    this.parser.on('error', (error: Error) => events.onGarbage(error));
    // All that a connection asks of a stream is there; what else a stream has acts in later ticks.
    this.connection = new Connection(this.socket as unknown as Duplex, simulated, parts);
  }

  /** Nothing of this connection comes to the broker before what its client sent on an earlier one. */
  follow(former: Wire): void {
    this.upDueAtMs = former.upDueAtMs;
  }

  /** @param onTaken called when the broker is about to be given the last of it */
  send(bytes: Buffer, onTaken: (() => void) | null = null): void {
    if (!this.clientOpen) return;
    const cut = this.random.chance(0.1) ? this.random.below(bytes.length) : 0;
    if (cut > 0) this.sendPiece(bytes.subarray(0, cut), null);
    this.sendPiece(bytes.subarray(cut), onTaken);
  }

  /** The client closes. @param isAbrupt true if what is on its way to the broker is lost */
  cut(isAbrupt: boolean): void {
    if (!this.clientOpen) return;
    this.clientOpen = false;
    if (isAbrupt) this.up = [];
    this.later('up', () => {
      if (!this.brokerOpen || this.isDead) return;
      this.noteEnded();
      // What a paused socket holds is not read any more.
      if (!isAbrupt && this.up.length === 0) this.socket.emit('end');
      this.closeBroker();
    });
  }

  /** The client is gone and nothing says so to the broker. */
  abandon(): void {
    this.clientOpen = false;
  }

  /** The client reads again. */
  listen(): void {
    if (!this.isDeaf) return;
    this.isDeaf = false;
    for (let left = this.down.length; left > 0; left--) this.time.after(0, () => this.deliver());
  }

  /** The broker's process has died. @param arriving how many of the packets on their way still come to the client */
  die(arriving: number): void {
    if (!this.brokerOpen && this.down.length === 0) return;
    this.isDead = true;
    this.brokerOpen = false;
    this.up = [];
    this.down = this.down.slice(0, arriving);
    this.down.push({ packet: null, bytes: 0 });
    for (let left = this.down.length; left > 0; left--) this.later('down', () => this.deliver());
  }

  // ---- the socket's side ----

  onWritten(chunk: Buffer): void {
    if (this.isDead) return;
    this.unparsedBytes += chunk.length;
    this.unreadBytes += chunk.length;
    this.noteFill();
    // The broker uses its buffers again.
    this.parser.parse(Buffer.from(chunk));
  }

  onEnded(): void {
    if (this.isDead) return;
    this.noteEnded();
    this.down.push({ packet: null, bytes: 0 });
    this.later('down', () => this.deliver());
    // The client that has gone away answers with a reset.
    if (!this.clientOpen) this.later('down', () => this.closeBroker());
  }

  onDestroyed(): void {
    if (this.isDead) return;
    this.later('down', () => this.closeClient());
    this.closeBroker();
  }

  onResumed(): void {
    for (let left = this.up.length; left > 0; left--) this.time.after(0, () => this.arrive());
  }

  private onParsed(packet: Packet): void {
    const bytes = this.unparsedBytes;
    this.unparsedBytes = 0;
    this.down.push({ packet, bytes });
    this.events.onWritten(packet);
    this.later('down', () => this.deliver());
  }

  // ---- the way ----

  private sendPiece(bytes: Buffer, onTaken: (() => void) | null): void {
    this.up.push({ bytes, onTaken });
    this.later('up', () => this.arrive());
  }

  private arrive(): void {
    if (this.socket.isPaused || !this.brokerOpen || this.hasEnded) return;
    const piece = this.up.shift();
    if (piece === undefined) return;
    piece.onTaken?.();
    this.socket.emit('data', piece.bytes);
  }

  private deliver(): void {
    if (this.isDeaf && !this.isDead) return;
    const arrived = this.down.shift();
    if (arrived === undefined) return;
    this.unreadBytes -= arrived.bytes;
    if (arrived.packet === null) this.closeClient();
    else if (this.clientOpen) this.events.onPacket(arrived.packet);
    if (!this.isDead) this.noteFill();
  }

  private noteFill(): void {
    const { socket } = this;
    socket.writableLength = Math.max(0, this.unreadBytes - capacityBytes);
    if (socket.writableLength > 0) socket.writableNeedDrain = true;
    else if (socket.writableNeedDrain) {
      socket.writableNeedDrain = false;
      this.time.after(0, () => {
        if (this.brokerOpen && !this.isDead) socket.emit('drain');
      });
    }
  }

  private closeClient(): void {
    if (!this.clientOpen) return;
    this.clientOpen = false;
    this.events.onClosed();
    this.later('up', () => this.closeBroker());
  }

  private closeBroker(): void {
    if (!this.brokerOpen || this.isDead) return;
    this.brokerOpen = false;
    this.socket.destroyed = true;
    this.noteEnded();
    this.socket.emit('close');
  }

  private noteEnded(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.events.onBrokerClosed();
  }

  /** Puts an event behind all that goes the same way. */
  private later(way: 'up' | 'down', callback: () => void): void {
    const delayMs = this.random.chance(0.7) ? this.random.below(4) : this.random.below(60);
    const dueAtMs = Math.max(way === 'up' ? this.upDueAtMs : this.downDueAtMs, this.time.nowMs + delayMs);
    if (way === 'up') this.upDueAtMs = dueAtMs;
    else this.downDueAtMs = dueAtMs;
    this.time.after(dueAtMs - this.time.nowMs, callback);
  }
}
