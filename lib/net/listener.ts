import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import {
  createSecureContext,
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
} from 'node:tls';
import { CountersignError } from '../base/errors.js';
import type { ListenerSettings } from '../config/schema.js';
import type { Connections } from './connections.js';
import { Upgrades } from './upgrades.js';

/** Where a listener listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where a listener listens, and for what. */
export interface ListenerAddress extends Address {
  readonly type: ListenerSettings['type'];
  /** Of WebSockets. */
  readonly path?: string;
}

/**
 * Accepts connections at one address. Each kind puts its own stages before the same `Connection`:
 *
 *     tcp   socket ─────────────────────────────────▶ Connection
 *     tls   socket ──▶ TLS handshake ───────────────▶ Connection
 *     ws    socket ───────────────────▶ HTTP upgrade ─▶ Connection
 *     wss   socket ──▶ TLS handshake ──▶ HTTP upgrade ─▶ Connection
 */
export class Listener {
  private readonly settings: ListenerSettings;
  private readonly connections: Connections;
  private readonly server: Server;
  private readonly tls: TlsServer | null;
  private readonly upgrades: Upgrades | null;

  /** @throws CountersignError ERR_COUNTERSIGN_LISTEN if the certificate or the key can not be used */
  constructor(settings: ListenerSettings, connections: Connections) {
    this.settings = settings;
    this.connections = connections;
    const { type } = settings;
    const options = connections.parts.core.context.settings;
    const timeoutMs = options.connectTimeout * 1000;
    this.server = createServer({ noDelay: true, allowHalfOpen: false }, (socket) => this.onSocket(socket));
    this.tls = type === 'tls' || type === 'wss' ? this.createTls(timeoutMs) : null;
    this.upgrades = type === 'ws' || type === 'wss' ? this.createUpgrades(options.maximumPacketSize, timeoutMs) : null;
  }

  /** Begins to listen; port 0 takes a free one. */
  listen(): Promise<ListenerAddress> {
    const { host, port, type, path } = this.settings;
    return new Promise((resolve, reject) => {
      this.server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
      this.server.listen({ host, port, backlog: 4096 }, () => {
        const { log } = this.connections.parts;
        this.server.removeAllListeners('error');
        this.server.on('error', (error) => log.error({ error: error.message }, 'listener error'));
        const { port: taken } = this.server.address() as AddressInfo;
        log.info({ type, host, port: taken }, 'listening');
        resolve({ type, host, port: taken, ...(this.upgrades === null ? {} : { path }) });
      });
    });
  }

  /** Stops accepting; resolves when the last socket is closed, for which `Connections` cares. */
  async stop(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.upgrades?.cut();
    await stopped;
  }

  private createTls(timeoutMs: number): TlsServer {
    try {
      const options = { ...this.readCertificate(), handshakeTimeout: timeoutMs } as const;
      // It never listens: sockets are given to it.
      const server = createTlsServer(options, (socket) => this.onPlain(socket));
      // A handshake that failed or took too long: Node closes the socket only in some of the cases.
      server.on('tlsClientError', (_error, socket) => socket.destroy());
      return server;
    } catch (error) {
      throw this.tlsError(error);
    }
  }

  /**
   * Reads the certificate and the key again, and checks them.
   * @returns what puts them in force for new connections; those that stand keep theirs
   * @throws CountersignError ERR_COUNTERSIGN_LISTEN if they can not be used
   */
  prepareReload(): () => void {
    const { tls } = this;
    if (tls === null) return () => undefined;
    try {
      const options = this.readCertificate();
      createSecureContext(options);
      return () => tls.setSecureContext(options);
    } catch (error) {
      throw this.tlsError(error);
    }
  }

  private readCertificate() {
    const { certificateFile, keyFile } = this.settings;
    const cert = readFileSync(certificateFile ?? '');
    const key = readFileSync(keyFile ?? '');
    // Each renegotiation, which TLS 1.2 leaves to the client, costs the broker far more than its peer.
    return { cert, key, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_RENEGOTIATION } as const;
  }

  private tlsError(error: unknown): CountersignError {
    const { host, port, certificateFile, keyFile } = this.settings;
    const detail = error instanceof Error ? error.message : String(error);
    const message = `${host}:${port} can not speak TLS with ${certificateFile} and ${keyFile}: ${detail}`;
    return new CountersignError('ERR_COUNTERSIGN_LISTEN', message, { cause: error });
  }

  private createUpgrades(maximumPacketSize: number, timeoutMs: number): Upgrades {
    const { path, allowedOrigins } = this.settings;
    const { timers } = this.connections.parts.core.context;
    const options = { path, allowedOrigins, maximumPacketSize, timeoutMs };
    return new Upgrades(options, timers, (stream, address) => this.connections.start(stream, address));
  }

  private onSocket(socket: Socket): void {
    if (!this.connections.admit(socket)) return;
    if (this.tls !== null) this.tls.emit('connection', socket);
    else this.onPlain(socket);
  }

  /** A socket whose bytes are not, or no more, encrypted. */
  private onPlain(socket: Socket | TLSSocket): void {
    if (this.upgrades !== null) this.upgrades.take(socket);
    else this.connections.start(socket, `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`);
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
