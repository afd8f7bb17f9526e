import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { CountersignError } from '../base/errors.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { Connection, type ConnectionParts } from './connection.js';

/** Where a listener listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Accepts TCP connections and hands each to a `Connection`. */
export class Listener {
  private readonly server: Server;
  private readonly connections = new Set<Connection>();
  private readonly maximumConnections: number;
  private readonly parts: ConnectionParts;

  constructor(parts: Omit<ConnectionParts, 'onClosed'>, maximumConnections: number) {
    this.maximumConnections = maximumConnections;
    this.parts = { ...parts, onClosed: (connection) => this.connections.delete(connection) };
    this.server = createServer({ noDelay: true, allowHalfOpen: false }, (socket) => this.onSocket(socket));
  }

  /** Connections that are open. */
  get size(): number {
    return this.connections.size;
  }

  /** Begins to listen. @param port 0 takes a free one */
  listen(host: string, port: number): Promise<Address> {
    return new Promise((resolve, reject) => {
      this.server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
      this.server.listen({ host, port, backlog: 4096 }, () => {
        this.server.removeAllListeners('error');
        this.server.on('error', (error) => this.parts.log.error({ error: error.message }, 'listener error'));
        const { port: taken } = this.server.address() as AddressInfo;
        resolve({ host, port: taken });
      });
    });
  }

  /** Stops accepting and sends every client away. */
  async close(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const connection of [...this.connections]) {
      connection.close(ReasonCode.serverShuttingDown, 'the broker is shutting down');
    }
    await stopped;
  }

  private onSocket(socket: Socket): void {
    if (this.connections.size >= this.maximumConnections) {
      this.parts.core.context.metrics.connectionsRefused++;
      socket.destroy();
      return;
    }
    const address = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
    this.connections.add(new Connection(socket, address, this.parts));
  }
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): CountersignError {
  const where = `${host}:${port}`;
  if (error.code === 'EADDRINUSE') {
    const message = `${where} is in use by another program: stop it, or choose another port`;
    return new CountersignError('ERR_COUNTERSIGN_LISTEN', message, { cause: error });
  }
  if (error.code === 'EACCES') {
    const message = `no permission to listen on ${where}: ports below 1024 need privileges, or choose another port`;
    return new CountersignError('ERR_COUNTERSIGN_LISTEN', message, { cause: error });
  }
  const message = `can not listen on ${where} (${error.code ?? error.message}): give an address of this machine`;
  return new CountersignError('ERR_COUNTERSIGN_LISTEN', message, { cause: error });
}
