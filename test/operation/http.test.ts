import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { connected } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/command.js';
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
    const large = `X: ${'x'.repeat(9000)}`;
    t.match(await answerTo(t, place, 'GET /metrics HTTP/1.1', host, large), /^HTTP\/1\.1 431 /);
    const many = Array.from({ length: 3000 }, (_, at) => `X${at}: y`);
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
