import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { BrokerOptions } from '../../lib/config/schema.js';
import { listSessions } from '../../lib/operation/roster.js';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { startBroker, startChild } from '../helpers/broker.js';
import { connected, connectedToSession, expectDisconnect, published, subscribed } from '../helpers/client.js';
import { runProgram, temporaryDirectory } from '../helpers/command.js';
import { CoreWorld } from '../helpers/core-world.js';

const token = 'correct-horse-battery-staple';

async function governed(t: Test, options: BrokerOptions = {}) {
  const tokenFile = join(await temporaryDirectory(t), 'token');
  await writeFile(tokenFile, `${token}\n`);
  const { broker, port } = await startBroker(t, { admin: { port: 0, tokenFile }, ...options });
  const place = broker.operationAddresses.admin;
  if (place === null || 'socket' in place) throw new Error('no admin listener');
  const base = `http://127.0.0.1:${place.port}`;
  const ask = async (method: string, path: string, bearer: string | null = token) => {
    const headers = bearer === null ? {} : { authorization: `Bearer ${bearer}` };
    const response = await fetch(base + path, { method, headers });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const flags = ['--url', base, '--token-file', tokenFile];
  return { broker, port, base, ask, flags, tokenFile, adminPort: place.port };
}

t.test('a listener on a port needs a token, and either port or socket', async (t) => {
  await t.rejects(startBroker(t, { admin: { port: 0 } }), { message: /^admin\.tokenFile: is missing: whoever/ });
  await t.rejects(startBroker(t, { admin: {} }), { message: /^admin\.port: is missing: give either socket or port/ });
  const tokenFile = join(await temporaryDirectory(t), 'token');
  await t.rejects(startBroker(t, { admin: { port: 0, tokenFile } }), { message: /there is no such file/ });
  await writeFile(tokenFile, 'short\n');
  await t.rejects(startBroker(t, { admin: { port: 0, tokenFile } }), { message: /a token of 16 to 1024/ });
  const socket = `/tmp/${'x'.repeat(103)}`;
  await t.rejects(startBroker(t, { admin: { socket } }), { message: /^admin\.socket: .* at most 107 bytes/ });
});

t.test('requests without the right token are refused, and learn nothing', async (t) => {
  const { ask, base } = await governed(t);
  for (const bearer of [null, '', 'wrong', `${token}x`, token.slice(1), token.toUpperCase(), 'x'.repeat(5000)]) {
    for (const path of ['/v1/clients', '/v1/sessions/x', '/nothing'])
      t.equal((await ask('GET', path, bearer)).status, 401);
  }
  const basic = await fetch(`${base}/v1/clients`, { headers: { authorization: `Basic ${token}` } });
  t.equal(basic.status, 401);
  t.equal(basic.headers.get('www-authenticate'), 'Bearer');
  t.equal((await ask('GET', '/v1/clients')).status, 200);
});

t.test('clients and sessions are listed and shown', async (t) => {
  const { ask, port } = await governed(t);
  const gone = await connectedToSession(t, port, 'gone');
  await subscribed(gone, { filters: [['a', 1]] });
  gone.send('e0 00');
  await gone.expectClose();
  const here = await connected(t, port, { clientId: 'here', userName: 'u', will: { topic: 'w' } });
  await published(here, { topic: 'a', qos: 1 });
  const clients = await ask('GET', '/v1/clients');
  t.match(clients.body, { sessions: [{ clientId: 'here', userName: 'u', connected: true }], next: null });
  const sessions = (await ask('GET', '/v1/sessions')).body.sessions as { clientId: string }[];
  t.same(
    sessions.map(({ clientId }) => clientId),
    ['gone', 'here'],
  );
  const shown = await ask('GET', '/v1/sessions/gone');
  t.match(shown.body, { connected: false, address: null, queuedMessages: 1, disconnectedAt: Number });
  t.match(shown.body, { filters: [{ filter: 'a', qos: 1 }], willTopic: null });
  t.match((await ask('GET', '/v1/clients/here')).body, {
    address: /^127\.0\.0\.1:/,
    willTopic: 'w',
    disconnectedAt: null,
  });
  t.equal((await ask('GET', '/v1/clients/gone')).status, 404);
});

t.test('a client is disconnected and its session stays; a session is deleted', async (t) => {
  const { ask, broker, port } = await governed(t);
  const client = await connectedToSession(t, port, 'c');
  t.equal((await ask('DELETE', '/v1/clients/c')).status, 200);
  await expectDisconnect(client, 0x98);
  const again = await connectedToSession(t, port, 'c', { sessionPresent: true });
  t.match((await ask('DELETE', '/v1/sessions/c')).body, { clientId: 'c', connected: true });
  await expectDisconnect(again, 0x98);
  await connectedToSession(t, port, 'c', { sessionPresent: false });
  t.equal((await ask('DELETE', '/v1/sessions/other')).status, 404);
  t.equal(broker.metrics.connectionsOpen, 1);
});

t.test('identifiers are names, never paths', async (t) => {
  const { ask, port, flags } = await governed(t);
  const names = ['a/b', '..', '.', 'ä+#%', 'x?y', '\u001b[2J'];
  for (const clientId of names) await connected(t, port, { clientId });
  const shown = await runProgram(t, ['clients', 'show', '..', '--json', ...flags]);
  t.match(JSON.parse(shown.stdout), { clientId: '..', connected: true });
  const strange = await ask('GET', `/v1/clients/${encodeURIComponent('\u001b[2J')}`);
  t.match(strange.body, { clientId: '\u001b[2J' });
  t.equal((await ask('GET', `/v1/sessions/${encodeURIComponent('a/b')}`)).status, 200);
  t.equal((await ask('GET', '/v1/sessions/a/b')).status, 404);
  const list = await runProgram(t, ['clients', ...flags]);
  t.equal(list.stdout.split('\n').length, names.length + 1);
  t.match(list.stdout, '"\\u001b[2J" address=');
});

t.test('the longest identifier that MQTT knows is shown, disconnected and deleted', async (t) => {
  const { ask, port, flags } = await governed(t, { maximumClientIdLength: 65_535 });
  const clientId = 'é'.repeat(32_767);
  const client = await connected(t, port, { clientId });
  t.match((await ask('GET', `/v1/clients/${encodeURIComponent(clientId)}`)).body, { clientId });
  t.match(await runProgram(t, ['sessions', 'disconnect', clientId, ...flags]), { code: 0 });
  await expectDisconnect(client, 0x98);
  await connected(t, port, { clientId });
  t.match(await runProgram(t, ['sessions', 'delete', clientId, ...flags]), { code: 0 });
  t.equal((await ask('GET', `/v1/sessions/${encodeURIComponent(clientId)}`)).status, 404);
});

t.test('wrong requests are told what would be right', async (t) => {
  const { ask, adminPort } = await governed(t);
  t.equal((await ask('PUT', '/v1/clients')).status, 405);
  t.equal((await ask('DELETE', '/v1/clients')).status, 405);
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'after=-1', 'after=1e9', 'limit=']) {
    t.equal((await ask('GET', `/v1/clients?${query}`)).status, 400, query);
  }
  for (const path of ['/', '/v1', '/v1/', '/v2/clients', '/v1/clients/a/b', '/v1//clients', '/v1/../v1/clients%2f']) {
    t.match(await ask('GET', path), { status: 404, body: { error: String } }, path);
  }
  const { status } = await fetch(`http://127.0.0.1:${adminPort}/v1/clients`, { method: 'POST', body: 'x' });
  t.equal(status, 413, 'a body');
});

t.test('the token is read again by a reload', async (t) => {
  const { ask, broker, tokenFile } = await governed(t);
  await writeFile(tokenFile, 'another-token-of-some-length\n');
  await broker.reload();
  t.equal((await ask('GET', '/v1/clients')).status, 401);
  t.equal((await ask('GET', '/v1/clients', 'another-token-of-some-length')).status, 200);
  await writeFile(tokenFile, 'short');
  await t.rejects(broker.reload(), { code: 'ERR_COUNTERSIGN_CONFIG' });
  t.equal((await ask('GET', '/v1/clients', 'another-token-of-some-length')).status, 200);
});

t.test('a Unix socket is for its owner only, and one left by a killed broker is replaced', async (t) => {
  const socket = join(await temporaryDirectory(t), 'admin.sock');
  const { broker, port } = await startBroker(t, { admin: { socket } });
  t.equal((await stat(socket)).mode & 0o777, 0o600);
  await connected(t, port, { clientId: 'one' });
  t.match((await runProgram(t, ['clients', '--socket', socket])).stdout, /^one address=127/);
  await t.rejects(startBroker(t, { admin: { socket } }), { code: 'ERR_COUNTERSIGN_LISTEN', message: /EADDRINUSE/ });
  await broker.close();
  const config = join(await temporaryDirectory(t), 'broker.yaml');
  await writeFile(config, `memory: true\nport: 0\nadmin: { socket: ${socket} }\n`);
  const child = await startChild(t, ['--config', config]);
  await child.kill9();
  const again = await startChild(t, ['--config', config]);
  await connectedToSession(t, again.port, 'two');
  t.match(await runProgram(t, ['sessions', 'delete', 'two', '--config', config]), { code: 0, stdout: 'deleted two\n' });
  t.match(await runProgram(t, ['sessions', '--config', config]), { code: 0, stdout: '' });
});

t.test('what is wrong with a command is one line', async (t) => {
  const { flags } = await governed(t);
  const missing = await runProgram(t, ['clients', 'show', 'nobody', ...flags]);
  t.match(missing, { code: 1, stderr: /^countersign: 127\.0\.0\.1:\d+: no such client is connected\n$/ });
  t.match(await runProgram(t, ['clients']), {
    code: 2,
    stderr: /^countersign: say where the broker is governed[^\n]*\n$/,
  });
  t.match(await runProgram(t, ['clients', '--socket', '/nowhere/x.sock']), {
    code: 1,
    stderr: /^countersign: no answer from/,
  });
  const tokenFile = join(await temporaryDirectory(t), 'token');
  for (const token of ['', 'ümläute-und-anderes', 'a\u0001b']) {
    await writeFile(tokenFile, `${token}\n`);
    const { code, stderr } = await runProgram(t, ['clients', '--url', 'http://127.0.0.1:1', '--token-file', tokenFile]);
    t.equal(code, 2);
    t.match(stderr, /^countersign: --token-file .*: its first line must be a token of printable characters\n$/);
  }
});

t.test('the answer of something that is no broker is told as that', async (t) => {
  let answer = '';
  const server = createServer((_request, response) => response.end(answer)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const [command, ...answers] of [
    ['clients', 'hello', '{}', '{"sessions":[{}],"next":null}'],
    ['sessions show a', 'null', '{"filters":5}'],
    ['clients disconnect a', '{}'],
  ] as const) {
    for (const text of answers) {
      answer = text;
      t.match(
        await runProgram(t, [...command.split(' '), '--url', url]),
        {
          code: 1,
          stdout: /^$/,
          stderr: /^countersign: [\d.:]+: the answer is not one of a broker's admin listener\n$/,
        },
        `${command}: ${text}`,
      );
    }
  }
});

t.test('100 000 sessions are listed page by page, each once, a slice a turn, while some come and go', async (t) => {
  const world = new CoreWorld(new MemoryStore());
  const total = 100_000;
  for (let at = 0; at < total; at++) world.connect(`c${at}`, 0);
  world.clock.settle();
  const seen = new Set<string>();
  let turns = 0;
  let listed = 0;
  for (let after = 0; ; ) {
    const listing = listSessions(world.core.context, after, 20_000, true);
    let isDone = false;
    void listing.then(() => {
      isDone = true;
    });
    while (!isDone) {
      if (world.clock.turn()) turns++;
      await null;
    }
    const { sessions, next } = await listing;
    for (const { clientId } of sessions) seen.add(clientId);
    listed += sessions.length;
    world.connect(`late${after}`, 0);
    if (next === null) break;
    after = Number(next);
  }
  t.ok(seen.size >= total, `${seen.size}`);
  t.equal(listed, seen.size, 'each once');
  t.ok(turns >= 5 * (total / 5000), `${turns} turns`);
});
