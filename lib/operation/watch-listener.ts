import type { Log } from '../base/log.js';
import { type HttpAnswer, HttpListener, type HttpPlace, type HttpRequest, problem } from './http-listener.js';
import type { MetricsPage } from './metrics-page.js';

/** What `/readyz` asks of the broker: null if it is ready, else why not. */
export type Readiness = () => string | null;

/** HTTP for those who watch a broker: `/metrics`, `/healthz`, `/readyz`. Nothing can be changed by it. */
export class WatchListener {
  private readonly listener: HttpListener;
  private readonly readiness: Readiness;
  private page: MetricsPage | null = null;

  constructor(readiness: Readiness, log: Log) {
    this.readiness = readiness;
    this.listener = new HttpListener((request) => this.answer(request), log);
  }

  listen(place: HttpPlace): Promise<HttpPlace> {
    return this.listener.listen('metrics', place);
  }

  /** The broker has started: there is something to tell. */
  show(page: MetricsPage): void {
    this.page = page;
  }

  async close(): Promise<void> {
    this.page?.stop();
    await this.listener.close();
  }

  private async answer({ method, path }: HttpRequest): Promise<HttpAnswer> {
    if (path.length !== 1 || !['metrics', 'healthz', 'readyz'].includes(path[0] as string)) {
      return problem(404, 'there are /metrics, /healthz and /readyz');
    }
    if (method !== 'GET') return { ...problem(405, 'only GET is allowed'), headers: { allow: 'GET, HEAD' } };
    if (path[0] === 'healthz') return { status: 200, body: 'ok\n' };
    if (path[0] === 'readyz') {
      const reason = this.readiness();
      return reason === null ? { status: 200, body: 'ready\n' } : { status: 503, body: `${reason}\n` };
    }
    const { page } = this;
    if (page === null) return problem(503, 'the broker is starting');
    return { status: 200, body: await page.render(), contentType: page.contentType };
  }
}
