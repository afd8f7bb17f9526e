import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Link } from '../session/link.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { Connection } from './connection.js';
import type { ConnectionParts } from './connection-parts.js';
import { addressOf, type Origin } from './origin.js';
import type { Room } from './room.js';

/** The open connections of a broker, whichever listener they came by, and their bound. */
export class Connections {
  readonly parts: ConnectionParts;
  private readonly maximum: number;
  private readonly open = new Set<Link>();
  /** Every socket of the network, in a handshake of TLS or HTTP as well. */
  private readonly sockets = new Set<Socket>();
  private isClosing = false;
  /** Refused and not in the log yet. */
  private untold = 0;
  private tellAgainAtMs = 0;
  /** One for all sockets: it is called on the socket. */
  private readonly onSocketClosed: (this: Socket) => void;

  constructor(parts: Omit<ConnectionParts, 'onClosed'>, maximum: number) {
    this.parts = { ...parts, onClosed: (connection) => this.onClosed(connection) };
    this.maximum = maximum;
    const { sockets } = this;
    this.onSocketClosed = function () {
      sockets.delete(this);
    };
  }

  /**
   * Counts a new socket, or destroys it if there are enough. Nothing is answered: an answer to each would cost the most
   * when there is the least to spare.
   * @param room the bound of its listener; null for none
   */
  admit(socket: Socket, room: Room | null): boolean {
    const isFull = room !== null && room.taken >= room.maximum;
    if (isFull || this.sockets.size >= this.maximum || this.isClosing) {
      const where = isFull ? `maximumConnections of the listener at ${room.where}` : 'maximumConnections';
      const maximum = isFull ? room.maximum : this.maximum;
      this.refused(addressOf(socket), `there are ${maximum} connections already: ${where}`);
      socket.destroy();
      return false;
    }
    this.sockets.add(socket);
    socket.on('close', this.onSocketClosed);
    if (room !== null) {
      room.taken++;
      socket.on('close', () => room.taken--);
    }
    return true;
  }

  /**
   * Counts and tells a connection that is refused before it speaks MQTT. One line a second at most: whoever floods the
   * broker shall not flood the log.
   */
  refused(address: string, reason: string): void {
    const { log, core } = this.parts;
    core.context.metrics.connectionsRefused++;
    const now = core.context.clock.now();
    this.untold++;
    if (this.isClosing || now < this.tellAgainAtMs) return;
    log.warn({ client: '', address, reason, count: this.untold }, 'connection refused');
    this.tellAgainAtMs = now + 1000;
    this.untold = 0;
  }

  /**
   * A stream of MQTT begins.
   * @param parts those of its listener
   * @returns null if the broker is closing, and the stream is closed
   */
  start(stream: Duplex, origin: Origin, parts: ConnectionParts): Connection | null {
    if (this.isClosing) {
      stream.destroy();
      return null;
    }
    this.parts.core.context.metrics.connectionsOpen++;
    const connection = new Connection(stream, origin, parts);
    this.open.add(connection);
    return connection;
  }

  /** Sends every client away; sockets of none are cut once that is done. */
  close(): void {
    this.isClosing = true;
    for (const connection of [...this.open]) {
      connection.close(ReasonCode.serverShuttingDown, 'the broker is shutting down');
    }
    this.cutIfDone();
  }

  private onClosed(connection: Link): void {
    if (!this.open.delete(connection)) return;
    this.parts.core.context.metrics.connectionsOpen--;
    if (this.isClosing) this.cutIfDone();
  }

  private cutIfDone(): void {
    if (this.open.size > 0) return;
    for (const socket of this.sockets) socket.destroy();
  }
}
