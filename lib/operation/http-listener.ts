import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIPv6, type Socket } from 'node:net';
import { CountersignError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { addressOf } from '../net/origin.js';
import { listenAtPath, removeStaleSocket } from '../net/unix-socket.js';

const headerBytesDefault = 8 * 1024;
/** Whoever watches or governs a broker needs few connections. */
const connectionsMax = 64;
/** Requests of one connection that wait for their answers; a client that sends more ahead is cut. */
const unansweredMax = 16;
/** How long a request may take to come, in milliseconds. */
const requestTimeoutMs = 10_000;
/** How often it is looked which requests have taken too long; Node's own interval is 30 seconds. */
const checkIntervalMs = 1000;
/** A connection on which nothing moves for so many of these is cut: its client does not read the answer. */
const idleTimeouts = 3;

/** A request as handlers see it: nothing under operation has a body. */
export interface HttpRequest {
  readonly method: string;
  /** Decoded segments of the path: `/v1/sessions/a%2Fb` is `v1`, `sessions`, `a/b`. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** `HOST:PORT` of the client; without meaning on a Unix socket. */
  readonly address: string;
}

export interface HttpAnswer {
  readonly status: number;
  /** An object is sent as JSON, text as it is. */
  readonly body: object | string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export type HttpHandler = (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;

/** Where an HTTP listener is reached: a base URL, or the path of a Unix socket. */
export type HttpPlace = { readonly host: string; readonly port: number } | { readonly socket: string };

/** An answer that tells what is wrong. */
export function problem(status: number, error: string): HttpAnswer {
  return { status, body: { error } };
}

/** What may differ from one listener to another. */
export interface HttpLimits {
  /** How long a request may take to come, and the next one on the same connection. */
  readonly timeoutMs?: number;
  /** Longest path and headers together; a request with more is answered 431. */
  readonly headerBytesMax?: number;
}

/** A small HTTP server for a handful of clients: requests without bodies, answers in one piece, short patience. */
export class HttpListener {
  private readonly server: Server;
  private readonly handler: HttpHandler;
  private readonly log: Log;
  private readonly unanswered = new WeakMap<Socket, number>();

  constructor(handler: HttpHandler, log: Log, limits: HttpLimits = {}) {
    const { timeoutMs = requestTimeoutMs, headerBytesMax = headerBytesDefault } = limits;
    this.handler = handler;
    this.log = log;
    const timeouts = {
      headersTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      keepAliveTimeout: timeoutMs,
      connectionsCheckingInterval: Math.min(checkIntervalMs, timeoutMs),
    };
    this.server = createServer({ maxHeaderSize: headerBytesMax, ...timeouts }, (request, response) =>
      this.onRequest(request, response),
    );
    this.server.maxConnections = connectionsMax;
    this.server.timeout = idleTimeouts * timeoutMs;
  }

  /**
   * Begins to listen.
   * @returns the place with the port that was taken
   * @throws CountersignError ERR_COUNTERSIGN_LISTEN
   */
  async listen(option: string, place: HttpPlace): Promise<HttpPlace> {
    const { server, log } = this;
    if ('socket' in place) await removeStaleSocket(place.socket);
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const message = `${option}: can not listen on ${describePlace(place)} (${error.code ?? error.message})`;
        reject(new CountersignError('ERR_COUNTERSIGN_LISTEN', message, { cause: error }));
      });
      const onListening = (): void => {
        server.removeAllListeners('error');
        server.on('error', (error) => log.error({ error: error.message }, `${option}: listener error`));
        const taken = 'socket' in place ? place : { host: place.host, port: (server.address() as AddressInfo).port };
        log.info({ place: describePlace(taken) }, `${option}: listening`);
        resolve(taken);
      };
      if ('socket' in place) listenAtPath(server, place.socket, 0o600, onListening);
      else server.listen({ ...place }, onListening);
    });
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }

  private async onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined);
    if (!this.takes(request.socket, response)) return;
    const answer = await this.answer(request);
    const { body, contentType = 'text/plain; charset=utf-8' } = answer;
    const isText = typeof body === 'string';
    const bytes = Buffer.from(isText ? body : `${JSON.stringify(body)}\n`);
    response.writeHead(answer.status, {
      'content-type': isText ? contentType : 'application/json; charset=utf-8',
      'content-length': bytes.length,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...answer.headers,
      // A body that nobody reads must not be taken for the next request.
      ...(hasBody(request) ? { connection: 'close' } : {}),
    });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  }

  /** False for what is sent so far ahead that its answers would fill memory; nothing of it is answered. */
  private takes(socket: Socket, response: ServerResponse): boolean {
    const { unanswered } = this;
    const count = (unanswered.get(socket) ?? 0) + 1;
    // The rest of a chunk is parsed even if the socket is closed.
    if (socket.destroyed || count > unansweredMax) {
      socket.destroy();
      return false;
    }
    unanswered.set(socket, count);
    response.once('close', () => unanswered.set(socket, (unanswered.get(socket) ?? 0) - 1));
    return true;
  }

  private async answer(request: IncomingMessage): Promise<HttpAnswer> {
    try {
      const { method = 'GET', headers, url = '/' } = request;
      if (hasBody(request)) return problem(413, 'requests have no body here');
      const [path, query = ''] = url.split('?', 2);
      const segments = segmentsOf(path);
      if (segments === null) return problem(400, 'the path is not well-formed');
      const asked = { method: method === 'HEAD' ? 'GET' : method, path: segments, query: new URLSearchParams(query) };
      return await this.handler({ ...asked, headers, address: addressOf(request.socket) });
    } catch (error) {
      const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.log.error({ error: detail }, 'a bug ended a request: please report it');
      return problem(500, 'internal error');
    }
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
}

/** Segments are names, never files: `..` is one like another. Null for a bad escape. */
function segmentsOf(path: string): string[] | null {
  try {
    return path.split('/').slice(1).map(decodeURIComponent);
  } catch {
    return null;
  }
}

/** A place as it is told in logs and on the command line. */
export function describePlace(place: HttpPlace): string {
  if ('socket' in place) return `unix:${place.socket}`;
  return `http://${isIPv6(place.host) ? `[${place.host}]` : place.host}:${place.port}`;
}
