import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { CountersignError } from '../base/errors.js';
import { defaultWebSocketPath, knowsUsers } from '../config/listener-options.js';
import { isLoopback } from '../config/networks.js';
import type { ListenerSettings } from '../config/schema.js';
import type { ConnectionParts } from './connection-parts.js';
import type { Connections } from './connections.js';
import { mountedParts } from './mounted-parts.js';
import { addressOf, type Origin } from './origin.js';
import { ProxyStage } from './proxy-stage.js';
import { type Room, roomOf } from './room.js';
import { type TlsOutcomes, TlsStage } from './tls-stage.js';
import { listenAtPath, removeStaleSocket } from './unix-socket.js';
import { Upgrades } from './upgrades.js';

/** Where a listener listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where a listener listens, and for what. */
export interface ListenerAddress extends Address {
  readonly type: ListenerSettings['type'];
  /** Of WebSockets; of a Unix socket its file, while `host` is empty and `port` 0. */
  readonly path?: string;
}

/**
 * Accepts connections at one address. Each kind puts its own stages before the same `Connection`:
 *
 *     tcp   socket ─────────────────────────────────▶ Connection
 *     unix  socket ─────────────────────────────────▶ Connection
 *     tls   socket ──▶ TLS handshake ───────────────▶ Connection
 *     ws    socket ───────────────────▶ HTTP upgrade ─▶ Connection
 *     wss   socket ──▶ TLS handshake ──▶ HTTP upgrade ─▶ Connection
 *
 * With `proxyProtocol` the header of a proxy comes before all of them.
 */
export class Listener {
  private readonly settings: ListenerSettings;
  private readonly connections: Connections;
  private readonly parts: ConnectionParts;
  private readonly room: Room | null;
  private readonly server: Server;
  private readonly proxy: ProxyStage | null;
  private readonly tls: TlsStage | null;
  private readonly upgrades: Upgrades | null;

  /**
   * @param path of the listener in the configuration, for messages
   * @throws CountersignError ERR_COUNTERSIGN_CONFIG if its certificates can not be used
   */
  constructor(settings: ListenerSettings, path: string, connections: Connections) {
    this.settings = settings;
    this.connections = connections;
    this.parts = mountedParts(settings, connections.parts);
    this.room = roomOf(settings);
    const { type } = settings;
    const options = connections.parts.core.context.settings;
    const timeoutMs = options.connectTimeout * 1000;
    this.server = createServer({ noDelay: true, allowHalfOpen: false }, (socket) => this.onSocket(socket));
    this.proxy = settings.proxyProtocol === true ? this.createProxy(timeoutMs) : null;
    this.tls = type === 'tls' || type === 'wss' ? new TlsStage(settings, path, timeoutMs, this.tlsOutcomes()) : null;
    this.upgrades = type === 'ws' || type === 'wss' ? this.createUpgrades(options.maximumPacketSize, timeoutMs) : null;
  }

  /** Begins to listen; port 0 takes a free one. @throws CountersignError ERR_COUNTERSIGN_LISTEN */
  async listen(): Promise<ListenerAddress> {
    const { host, port = 0, type, path, mode = 600 } = this.settings;
    if (type === 'unix' && path !== undefined) {
      await removeStaleSocket(path);
      const begin = (onListening: () => void) =>
        listenAtPath(this.server, path, Number.parseInt(String(mode), 8), onListening);
      await this.begin(begin, (error) => socketError(error, path));
      return this.told({ type, host: '', port: 0, path });
    }
    const begin = (onListening: () => void) => this.server.listen({ host, port, backlog: 4096 }, onListening);
    await this.begin(begin, (error) => listenError(error, host, port));
    const { port: taken } = this.server.address() as AddressInfo;
    return this.told({ type, host, port: taken, ...(this.upgrades === null ? {} : { path: this.upgrades.path }) });
  }

  private async begin(
    listen: (onListening: () => void) => void,
    wrong: (error: NodeJS.ErrnoException) => CountersignError,
  ): Promise<void> {
    const { server } = this;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(wrong(error)));
      listen(resolve);
    });
    server.removeAllListeners('error');
    server.on('error', (error) => this.connections.parts.log.error({ error: error.message }, 'listener error'));
  }

  private told(address: ListenerAddress): ListenerAddress {
    const { type, host, port, path } = address;
    if (this.room !== null) this.room.where = type === 'unix' ? `unix:${path}` : `${host}:${port}`;
    this.connections.parts.log.info(type === 'unix' ? { type, path } : { type, host, port }, 'listening');
    return address;
  }

  /** Stops accepting; resolves when the last socket is closed, for which `Connections` cares. */
  async stop(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.upgrades?.cut();
    await stopped;
  }

  /**
   * Reads the certificates again, and checks them.
   * @returns what puts them in force for new connections; those that stand keep theirs
   * @throws CountersignError ERR_COUNTERSIGN_CONFIG if they can not be used
   */
  prepareReload(): () => void {
    return this.tls?.prepareReload() ?? (() => undefined);
  }

  private createUpgrades(maximumPacketSize: number, timeoutMs: number): Upgrades {
    const { path = defaultWebSocketPath } = this.settings;
    const { timers } = this.connections.parts.core.context;
    const admitsOrigin = (origin: string): boolean => this.admitsOrigin(origin);
    const options = { path, admitsOrigin, maximumPacketSize, timeoutMs };
    return new Upgrades(options, timers, {
      onStream: (stream, origin) => {
        const connection = this.connections.start(stream, origin, this.parts);
        if (connection !== null) stream.countIn(this.parts.incomplete, connection);
      },
      onRefused: (address, reason) => this.connections.refused(address, reason),
    });
  }

  /**
   * Whether a web page may come in its visitor's browser. Where nothing checks who connects, the listener is on
   * loopback to keep others out: a page from elsewhere is of others, though its visitor is here.
   */
  private admitsOrigin(origin: string): boolean {
    const { hooks, settings } = this.connections.parts.core.context;
    const { allowedOrigins, allowAnonymous = settings.allowAnonymous } = this.settings;
    if (allowedOrigins !== undefined) return allowedOrigins.includes(origin);
    if (hooks.authenticate !== undefined || knowsUsers(this.settings) || allowAnonymous === true) return true;
    return URL.canParse(origin) && isLoopback(new URL(origin).hostname.replace(/^\[|\]$/g, ''));
  }

  private onSocket(socket: Socket): void {
    if (!this.connections.admit(socket, this.room)) return;
    if (this.proxy !== null) this.proxy.take(socket);
    else this.onClient(socket, null);
  }

  /** @param address of the client, if a proxy has told it */
  private onClient(socket: Socket, address: string | null): void {
    if (this.tls !== null) {
      this.tls.take(socket, address);
      return;
    }
    const { type, path } = this.settings;
    const own = type === 'unix' ? `unix:${path}` : addressOf(socket);
    this.onPlain(socket, { address: address ?? own, certificateUser: null });
  }

  private createProxy(timeoutMs: number): ProxyStage {
    const { timers } = this.connections.parts.core.context;
    return new ProxyStage(this.settings.trustedProxies, timers, timeoutMs, {
      onHeader: (socket, address) => this.onClient(socket, address),
      onRefused: (address, reason) => this.connections.refused(address, reason),
    });
  }

  private tlsOutcomes(): TlsOutcomes {
    return {
      onSecure: (socket, origin) => this.onPlain(socket, origin),
      onRefused: (address, reason) => this.connections.refused(address, reason),
    };
  }

  /** A socket whose bytes are not, or no more, encrypted. */
  private onPlain(socket: Socket, origin: Origin): void {
    if (this.upgrades !== null) this.upgrades.take(socket, origin);
    else this.connections.start(socket, origin, this.parts);
  }
}

function socketError(error: NodeJS.ErrnoException, path: string): CountersignError {
  const { code } = error;
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: 'is in use by another program, or is a file of another kind: stop that, or choose another path',
    // Node says so of a directory that is not there, too.
    EACCES: 'can not be made: its directory must be there, and this user must have the right to write to it',
  };
  const reason = reasons[code ?? ''] ?? `can not be listened on (${code ?? error.message})`;
  const message = `the Unix socket ${path} ${reason}`;
  return new CountersignError('ERR_COUNTERSIGN_LISTEN', message, { cause: error });
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
