import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { Timers } from '../broker/timers.js';
import type { Origin } from './origin.js';
import { WebSocketStream } from './websocket.js';

/** Largest HTTP header of an upgrade, in bytes; a larger one is answered 431. */
const headerBytesMax = 8 * 1024;
/** A frame may be a little larger than the largest packet, since borders of frames are none of packets. */
const frameSlackBytes = 64 * 1024;

/** Subprotocols by preference; the second one is what clients of MQTT 3.1 offer. */
const subprotocols = ['mqtt', 'mqttv3.1'] as const;

const statusTexts: Readonly<Record<number, string>> = { 400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found' };
/** What the log has of them. */
const refusals: Readonly<Record<number, string>> = {
  400: 'it does not offer the subprotocol mqtt',
  403: 'its page comes from an origin that is not in allowedOrigins, or from another machine where nobody is checked',
  404: 'it asks for another path',
};

export interface UpgradeOptions {
  /** Path of the request, without its query. */
  readonly path: string;
  /** Whether a page of this origin may come in a browser. */
  readonly admitsOrigin: (origin: string) => boolean;
  /** Largest packet, in bytes. */
  readonly maximumPacketSize: number;
  /** How long the HTTP request may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** What comes of HTTP requests. */
export interface UpgradeOutcomes {
  /** A WebSocket stands. */
  onStream(stream: WebSocketStream, origin: Origin): void;
  /** A connection has become none. */
  onRefused(address: string, reason: string): void;
}

/** A socket whose request has not come. */
interface Wait {
  readonly origin: Origin;
  /** Why it becomes no WebSocket, if it ends now; null for who has not said anything yet, and need not be told of. */
  refusal: string | null;
  end(): void;
}

/** Turns HTTP requests into WebSockets. A socket that has not become one in time is cut, whatever it did. */
export class Upgrades {
  private readonly options: UpgradeOptions;
  private readonly timers: Timers;
  private readonly outcomes: UpgradeOutcomes;
  private readonly http: Server;
  private readonly webSockets: WebSocketServer;
  private readonly waits = new Map<Duplex, Wait>();

  constructor(options: UpgradeOptions, timers: Timers, outcomes: UpgradeOutcomes) {
    this.options = options;
    this.timers = timers;
    this.outcomes = outcomes;
    // It never listens: sockets are given to it. Its own time limits, which need listening, are not relied on.
    this.http = createServer({ maxHeaderSize: headerBytesMax }, refuseRequest);
    this.http.on('upgrade', this.onUpgrade);
    this.webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      autoPong: false,
      perMessageDeflate: false,
      maxPayload: options.maximumPacketSize + frameSlackBytes,
      // [MQTT-6.0.0-4] wherever it stands in the list
      handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
    });
  }

  /** Path of the requests that are taken. */
  get path(): string {
    return this.options.path;
  }

  /** Waits for the request on a socket, plain or TLS. */
  take(socket: Socket, origin: Origin): void {
    const timer = this.timers.after(this.options.timeoutMs, () => {
      wait.refusal = 'no request for a WebSocket in time';
      socket.destroy();
    });
    const onClose = (): void => {
      this.endWait(socket);
      const reason = wait.refusal ?? (socket.bytesRead > 0 ? 'what it sent makes no WebSocket' : null);
      if (reason !== null) this.outcomes.onRefused(origin.address, `WebSocket: ${reason}`);
    };
    socket.once('close', onClose);
    const end = (): void => {
      this.timers.cancel(timer);
      socket.removeListener('close', onClose);
    };
    const wait: Wait = { origin, refusal: null, end };
    this.waits.set(socket, wait);
    this.http.emit('connection', socket);
  }

  /** Cuts the sockets whose request has not come. */
  cut(): void {
    for (const socket of [...this.waits.keys()]) {
      this.endWait(socket);
      socket.destroy();
    }
  }

  private endWait(socket: Duplex): void {
    this.waits.get(socket)?.end();
    this.waits.delete(socket);
  }

  private readonly onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const wait = this.waits.get(socket);
    if (wait === undefined) return;
    const status = this.check(request);
    if (status !== null) {
      wait.refusal = refusals[status] ?? null;
      refuseUpgrade(socket, status);
      return;
    }
    this.webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.endWait(socket);
      this.outcomes.onStream(new WebSocketStream(webSocket, socket), wait.origin);
    });
  };

  /** The HTTP status to refuse with; null if the request is for us. The rest is checked by `ws`. */
  private check({ headers, url = '' }: IncomingMessage): number | null {
    const { path, admitsOrigin } = this.options;
    if (url.split('?', 1)[0] !== path) return 404;
    // Only browsers send an origin, and they always do.
    if (headers.origin !== undefined && !admitsOrigin(headers.origin)) return 403;
    const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
    return subprotocols.some((name) => offered.includes(name)) ? null : 400; // [MQTT-6.0.0-3]
  }
}

/** The socket stays among those that are waited for until it is closed, so a client that does not read is cut. */
function refuseUpgrade(socket: Duplex, status: number): void {
  socket.on('error', () => undefined);
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${statusTexts[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function refuseRequest(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(426, { connection: 'close', upgrade: 'websocket', 'content-length': 0 });
  response.end();
}
