import type { Socket } from 'node:net';
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import type { ListenerSettings } from '../config/schema.js';
import { judgeCertificate } from './client-certificate.js';
import { addressOf, type Origin } from './origin.js';
import { readTlsFiles } from './tls-files.js';

/** What comes of TLS handshakes. */
export interface TlsOutcomes {
  /** A handshake is complete, and the client's certificate, where one is asked for, is good. */
  onSecure(socket: TLSSocket, origin: Origin): void;
  /** A client is not let in. */
  onRefused(address: string, reason: string): void;
}

/** The TLS handshakes of one listener. */
export class TlsStage {
  private readonly settings: ListenerSettings;
  private readonly path: string;
  private readonly outcomes: TlsOutcomes;
  private readonly server: TlsServer;
  /** Clients' own addresses by the addresses of the connections that proxies make for them. */
  private readonly proxied = new Map<string, string>();

  /**
   * @param path of the listener in the configuration, for messages
   * @param timeoutMs how long a handshake may take
   * @throws CountersignError ERR_COUNTERSIGN_CONFIG that names the file that can not be used
   */
  constructor(settings: ListenerSettings, path: string, timeoutMs: number, outcomes: TlsOutcomes) {
    this.settings = settings;
    this.path = path;
    this.outcomes = outcomes;
    const { clientCertificates = 'none' } = settings;
    // Certificates are judged in `onSecure`, where it is still known whose they are.
    const asking = { requestCert: clientCertificates !== 'none', rejectUnauthorized: false };
    const options = { ...readTlsFiles(settings, path), ...asking, handshakeTimeout: timeoutMs };
    // It never listens: sockets are given to it.
    this.server = createServer(options, this.onSecure);
    this.server.on('tlsClientError', this.onFailed);
  }

  /** @param address of the client, if a proxy has told another than the socket's own */
  take(socket: Socket, address: string | null): void {
    if (address !== null) {
      const ends = endsOf(socket);
      this.proxied.set(ends, address);
      socket.once('close', () => this.proxied.delete(ends));
    }
    this.server.emit('connection', socket);
  }

  /**
   * Reads all files again, and checks them.
   * @returns what puts them in force for new connections; those that stand keep theirs
   * @throws CountersignError as the constructor does
   */
  prepareReload(): () => void {
    const options = readTlsFiles(this.settings, this.path);
    return () => this.server.setSecureContext(options);
  }

  private readonly onSecure = (socket: TLSSocket): void => {
    const address = this.clientOf(socket);
    const verdict = judgeCertificate(socket, this.settings);
    if ('user' in verdict) {
      this.outcomes.onSecure(socket, { address, certificateUser: verdict.user });
      return;
    }
    this.outcomes.onRefused(address, verdict.problem);
    socket.on('error', () => undefined);
    socket.destroy();
  };

  /** A handshake that failed or took too long: Node closes the socket only in some of the cases. */
  private readonly onFailed = (
    error: NodeJS.ErrnoException & { readonly reason?: string },
    socket: TLSSocket,
  ): void => {
    // Who looks whether somebody listens, as load balancers do, is not worth a line.
    if (error.code !== 'ECONNRESET') {
      this.outcomes.onRefused(this.clientOf(socket), `TLS: ${error.reason ?? error.code ?? error.message}`);
    }
    socket.destroy();
  };

  private clientOf(socket: TLSSocket): string {
    const proxied = this.proxied.size === 0 ? undefined : this.proxied.get(endsOf(socket));
    return proxied ?? addressOf(socket);
  }
}

/** Both ends of a connection, which no other has at the same time. Those of a TLS socket are its TCP socket's. */
function endsOf(socket: Socket): string {
  return `${addressOf(socket)} ${socket.localAddress}:${socket.localPort}`;
}
