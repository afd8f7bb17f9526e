import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Log, silentLog } from '../../lib/base/log.js';
import { Broker } from '../../lib/index.js';
import { type HttpHandler, HttpListener } from '../../lib/operation/http-listener.js';
import { startBroker } from '../helpers/broker.js';
import { connected } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { dial } from '../helpers/scenes.js';

/** What somebody who means harm sends to the HTTP listeners, which are meant for few. */

const token = 'correct-horse-battery-staple';
const bearer = `Authorization: Bearer ${token}`;

async function start(t: Test) {
  const tokenFile = join(await temporaryDirectory(t), 'token');
  await writeFile(tokenFile, token);
  const { broker, port } = await startBroker(t, { metrics: { port: 0 }, admin: { port: 0, tokenFile } });
  const { metrics, admin } = broker.operationAddresses;
  if (metrics === null || 'socket' in metrics || admin === null || 'socket' in admin) throw new Error('no listeners');
  return { broker, mqtt: { port }, metrics, admin };
}

/** The status line and body of the answer to raw bytes, after which the connection must end. */
async function answerTo(t: Test, place: { readonly port: number }, ...lines: readonly string[]): Promise<string> {
  const client = await dial(t, place);
  client.send(Buffer.from([...lines, '', ''].join('\r\n')));
  return String(await client.rest());
}

const host = 'Host: x';
const close = 'Connection: close';

t.test('odd methods get an answer or the close, and change nothing', async (t) => {
  const { broker, mqtt, metrics, admin } = await start(t);
  await connected(t, mqtt.port, { clientId: 'c' });
  for (const method of ['TRACE', 'OPTIONS', 'PATCH', 'PROPFIND', 'PUT']) {
    t.match(await answerTo(t, metrics, `${method} /metrics HTTP/1.1`, host, close), /^HTTP\/1\.1 405 /, method);
    t.match(await answerTo(t, admin, `${method} /v1/clients/c HTTP/1.1`, host, bearer, close), /^HTTP\/1\.1 405 /);
  }
  for (const place of [metrics, admin]) {
    t.equal(await answerTo(t, place, 'CONNECT 127.0.0.1:1883 HTTP/1.1', host, bearer), '', 'it is no proxy');
    t.match(await answerTo(t, place, 'FROB / HTTP/1.1', host), /^HTTP\/1\.1 400 /);
    t.match(await answerTo(t, place, 'GET /metrics SMTP/1.1', host), /^HTTP\/1\.1 400 /);
    t.match(await answerTo(t, place, 'GET /metrics HTTP/1.1', close), /^HTTP\/1\.1 400 /, 'no Host');
  }
  const upgrade = ['Upgrade: websocket', 'Connection: Upgrade, close'];
  t.match(await answerTo(t, admin, 'GET /v1/clients HTTP/1.1', host, ...upgrade), /^HTTP\/1\.1 401 /);
  const overridden = await answerTo(
    t,
    admin,
    'POST /v1/clients/c HTTP/1.1',
    host,
    bearer,
    close,
    'X-HTTP-Method: DELETE',
  );
  t.match(overridden, /^HTTP\/1\.1 405 /);
  t.equal(broker.metrics.connectionsOpen, 1, 'the client is still there');
});

t.test('paths are names, in whatever spelling', async (t) => {
  const { metrics, admin } = await start(t);
  const paths = [
    '/../../etc/passwd',
    '/metrics/../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%2f..%2fetc%2fpasswd',
    '/..\\..\\etc\\passwd',
    '/metrics%00',
    '/metrics;x',
    '/./metrics',
    'http://elsewhere/metrics',
    '//etc/passwd',
    '/v1/sessions/../../../etc/passwd',
    '/v1/sessions/%2e%2e%2fetc',
    '/__proto__',
    '/constructor',
    '/v1/clients/__proto__',
  ];
  for (const path of paths) {
    for (const place of [metrics, admin]) {
      const answer = await answerTo(t, place, `GET ${path} HTTP/1.1`, host, bearer, close);
      t.match(answer, /^HTTP\/1\.1 404 [\s\S]*\{"error":"(there|no)[^"]*"\}\n$/, path);
    }
  }
});

t.test('headers that are too large, too many or contradictory end the request', async (t) => {
  const { metrics, admin } = await start(t);
  for (const place of [metrics, admin]) {
    const large = `X: ${'x'.repeat(place === admin ? 210_000 : 9000)}`;
    t.match(await answerTo(t, place, 'GET /metrics HTTP/1.1', host, large), /^HTTP\/1\.1 431 /);
    const many = Array.from({ length: place === admin ? 60_000 : 3000 }, (_, at) => `X${at}: y`);
    t.match(await answerTo(t, place, 'GET /metrics HTTP/1.1', host, ...many), /^HTTP\/1\.1 431 /);
    const both = ['Content-Length: 5', 'Transfer-Encoding: chunked'];
    t.match(await answerTo(t, place, 'GET /metrics HTTP/1.1', host, ...both), /^HTTP\/1\.1 400 /);
    t.match(await answerTo(t, place, 'GET /metrics HTTP/1.1', host, 'X: a\rb'), /^HTTP\/1\.1 400 /);
  }
  const smuggled = ['Content-Length: 60', '', 'DELETE /v1/sessions/c HTTP/1.1', host, bearer];
  const answer = await answerTo(t, admin, 'GET /v1/clients HTTP/1.1', host, bearer, ...smuggled);
  t.match(answer, /^HTTP\/1\.1 413 /);
  t.equal(answer.split('HTTP/1.1 ').length, 2, 'a body is never taken for a request');
});

/** A listener that waits for nothing longer than a moment. */
async function impatient(t: Test, handler: HttpHandler) {
  const listener = new HttpListener(handler, silentLog, { timeoutMs: 100 });
  const place = await listener.listen('x', { host: '127.0.0.1', port: 0 });
  t.teardown(() => listener.close());
  if ('socket' in place) throw new Error('no port');
  return place;
}

t.test('who says nothing, or only a little at a time, is cut', async (t) => {
  const place = await impatient(t, () => ({ status: 200, body: 'ok\n' }));
  const mute = await dial(t, place);
  const slow = await dial(t, place);
  const dripping = setInterval(() => slow.send(Buffer.from('x')), 20);
  t.teardown(() => clearInterval(dripping));
  slow.send(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: '));
  t.match(String(await mute.rest()), /^(HTTP\/1\.1 408 [\s\S]*)?$/);
  t.match(String(await slow.rest()), /^(HTTP\/1\.1 408 [\s\S]*)?$/);
  const idle = await dial(t, place);
  idle.send(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
  t.match(String(await idle.rest()), /^HTTP\/1\.1 200 [\s\S]*ok\n$/, 'nor does a connection stay that was used once');
});

t.test('who does not read the answer is cut', async (t) => {
  const bytes = 32 * 1024 * 1024;
  let onAsked = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    onAsked = resolve;
  });
  const place = await impatient(t, () => {
    onAsked();
    return { status: 200, body: 'x'.repeat(bytes) };
  });
  const client = await dial(t, place);
  client.pause();
  client.send(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
  await withDeadline(asked, () => 'no request came');
  // It sees no close while it does not read. The listener's timer is in this process, shorter, and began before.
  await new Promise<void>((resolve) => setTimeout(resolve, 1500));
  client.resume();
  t.ok((await client.rest()).length < bytes, 'it has not got the whole of it');
});

t.test('many who ask for metrics at once get one page', async (t) => {
  const { metrics } = await start(t);
  const client = await dial(t, metrics);
  const request = 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n';
  const last = 'GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  client.send(Buffer.from(request.repeat(15) + last));
  const pages = String(await client.rest())
    .split('HTTP/1.1 200 OK')
    .slice(1);
  t.equal(pages.length, 16);
  const cpu = pages.map((page) => /^countersign_cpu_seconds_total (\S+)$/m.exec(page)?.[1]);
  t.ok(new Set(cpu).size < 16, 'they were not made one by one');
});

t.test('who sends many requests ahead of their answers is cut, and takes no memory with them', async (t) => {
  let asked = 0;
  const place = await impatient(t, () => {
    asked++;
    return { status: 200, body: 'x'.repeat(100_000) };
  });
  const client = await dial(t, place);
  client.pause();
  client.send(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1500)));
  client.resume();
  t.ok((await client.rest()).length < 2_000_000);
  t.ok(asked <= 16, `${asked} were looked at`);
});

t.test('refusals of the admin listener are told with their address, one line a second at most', async (t) => {
  const lines: object[] = [];
  const log: Log = { ...silentLog, warn: (fields, message) => lines.push({ ...fields, message }) };
  const tokenFile = join(await temporaryDirectory(t), 'token');
  await writeFile(tokenFile, token);
  const broker = new Broker({ memory: true, port: 0, admin: { port: 0, tokenFile }, log });
  await broker.listen();
  t.teardown(() => broker.close());
  const { admin } = broker.operationAddresses;
  if (admin === null || 'socket' in admin) throw new Error('no admin listener');
  const request = 'DELETE /v1/clients/c HTTP/1.1\r\nHost: x\r\n\r\n';
  for (let round = 0; round < 6; round++) {
    const client = await dial(t, admin);
    client.send(Buffer.from(`${request.repeat(15)}${request.replace(host, `${host}\r\n${close}`)}`));
    t.equal(String(await client.rest()).split('HTTP/1.1 401 ').length, 17);
  }
  t.match(lines[0], { address: /^127\.0\.0\.1:\d+$/, method: 'DELETE', count: 1, message: /without the right token/ });
  t.ok(lines.length < 50, `${lines.length} lines`);
});
