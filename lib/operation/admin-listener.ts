import { performance } from 'node:perf_hooks';
import type { Log } from '../base/log.js';
import type { BrokerCore } from '../broker/broker-core.js';
import type { Settings } from '../config/schema.js';
import type { Session } from '../session/session.js';
import { uint16Max } from '../spec/limits.js';
import { bearsToken, readToken } from './admin-token.js';
import { type HttpAnswer, HttpListener, type HttpPlace, type HttpRequest, problem } from './http-listener.js';
import { describeSession, listSessions, summarize } from './roster.js';

type AdminSettings = NonNullable<Settings['admin']>;

const pageDefault = 100;
const pageMax = 1000;
/** Refusals have at most one line in the log in this time: whoever floods the listener shall not flood the log. */
const tellIntervalMs = 1000;
/** The longest client identifier, of which each byte is three as it is percent-encoded, and other headers. */
const headerBytesMax = 3 * uint16Max + 8 * 1024;
const usage = 'there are /v1/clients, /v1/sessions, and one of them by its client identifier behind either';
const unauthorized: HttpAnswer = {
  ...problem(401, 'the header Authorization: Bearer TOKEN is missing or wrong'),
  headers: { 'www-authenticate': 'Bearer' },
};

/**
 * HTTP for those who govern a broker. On TCP every request bears the token; a Unix socket is open to whoever may open
 * its file, which is its owner, and asks for the token as well if there is one.
 *
 *     GET    /v1/clients        /v1/sessions         a page: ?limit=100&after=…
 *     GET    /v1/clients/{id}   /v1/sessions/{id}    one
 *     DELETE /v1/clients/{id}                        ends its connection (0x98)
 *     DELETE /v1/sessions/{id}                       ends its session, and its connection before
 */
export class AdminListener {
  private readonly settings: AdminSettings;
  private readonly log: Log;
  private readonly listener: HttpListener;
  private token: Buffer | null = null;
  private core: BrokerCore | null = null;
  /** Requests that were refused and are not in the log yet. */
  private untold = 0;
  private tellAgainAtMs = 0;

  constructor(settings: AdminSettings, log: Log) {
    this.settings = settings;
    this.log = log;
    this.listener = new HttpListener((request) => this.answer(request), log, { headerBytesMax });
  }

  /** @throws CountersignError ERR_COUNTERSIGN_LISTEN, or ERR_COUNTERSIGN_CONFIG if the token can not be read */
  async listen(): Promise<HttpPlace> {
    (await this.prepareReload())();
    const { socket, host, port = 0 } = this.settings;
    return this.listener.listen('admin', socket === undefined ? { host, port } : { socket });
  }

  show(core: BrokerCore): void {
    this.core = core;
  }

  /** Reads the token again, and returns what puts it in force. */
  async prepareReload(): Promise<() => void> {
    const { tokenFile } = this.settings;
    const token = tokenFile === undefined ? null : await readToken(tokenFile);
    return () => {
      this.token = token;
    };
  }

  close(): Promise<void> {
    return this.listener.close();
  }

  private async answer(request: HttpRequest): Promise<HttpAnswer> {
    const { headers, method, path } = request;
    if (!this.admits(headers.authorization)) {
      this.tellRefusal(request);
      return unauthorized;
    }
    const { core } = this;
    if (core === null) return problem(503, 'the broker is starting');
    const [version, kind, clientId] = path;
    const isKnown = version === 'v1' && (kind === 'clients' || kind === 'sessions') && path.length <= 3;
    if (!isKnown) return problem(404, usage);
    const connectedOnly = kind === 'clients';
    if (clientId === undefined) return method === 'GET' ? list(core, request, connectedOnly) : notAllowed('GET');
    const session = core.context.sessions.get(clientId);
    if (session === undefined || (connectedOnly && session.link === null)) {
      return problem(404, connectedOnly ? 'no such client is connected' : 'there is no such session');
    }
    if (method === 'GET') return { status: 200, body: describeSession(core.context, session) };
    return method === 'DELETE' ? this.end(core, session, !connectedOnly) : notAllowed('GET, DELETE');
  }

  private admits(header: string | undefined): boolean {
    // A listener without a token is a Unix socket: the configuration is refused otherwise.
    if (this.token === null) return this.settings.socket !== undefined;
    return bearsToken(header, this.token);
  }

  private tellRefusal({ address: remote, method }: HttpRequest): void {
    this.untold++;
    const nowMs = performance.now();
    if (nowMs < this.tellAgainAtMs) return;
    const { socket } = this.settings;
    const address = socket === undefined ? remote : `unix:${socket}`;
    this.log.warn({ address, method, count: this.untold }, 'admin: a request without the right token was refused');
    this.tellAgainAtMs = nowMs + tellIntervalMs;
    this.untold = 0;
  }

  /** Ends a connection, or a session with it; answered once that is recorded. */
  private async end(core: BrokerCore, session: Session, withSession: boolean): Promise<HttpAnswer> {
    if (!core.context.persistence.healthy) return problem(503, 'the store can not record this now');
    const { clientId } = session;
    const before = summarize(core.context, session);
    core.endByOperator(session, withSession);
    this.log.info({ client: clientId }, withSession ? 'admin: session deleted' : 'admin: client disconnected');
    await new Promise<void>((resolve) => core.context.turns.afterCommit(resolve));
    return { status: 200, body: before };
  }
}

async function list(core: BrokerCore, { query }: HttpRequest, connectedOnly: boolean): Promise<HttpAnswer> {
  const limit = numberOf(query.get('limit'), pageDefault);
  const after = numberOf(query.get('after'), 0);
  if (limit === null || limit < 1 || limit > pageMax) return problem(400, `limit must be 1 to ${pageMax}`);
  if (after === null) return problem(400, 'after must be the "next" of the page before');
  return { status: 200, body: await listSessions(core.context, after, limit, connectedOnly) };
}

function numberOf(text: string | null, fallback: number): number | null {
  if (text === null) return fallback;
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function notAllowed(allow: string): HttpAnswer {
  return { ...problem(405, `only ${allow} is allowed here`), headers: { allow } };
}
