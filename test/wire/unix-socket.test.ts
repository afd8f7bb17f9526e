import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import { connect as connectSocket, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startBroker, startChild } from '../helpers/broker.js';
import { connected, published, received, subscribed } from '../helpers/client.js';
import { cleanEnvironment, programPath, Running, runProgram, temporaryDirectory } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { connect } from '../helpers/packets.js';
import { WireClient } from '../helpers/wire-client.js';

async function dialPath(t: Test, path: string): Promise<WireClient> {
  const socket = connectSocket({ path });
  await withDeadline(once(socket, 'connect'), () => `no connection to ${path}`);
  const client = new WireClient(socket);
  t.teardown(() => client.reset());
  return client;
}

async function joinAt(t: Test, path: string, clientId: string): Promise<WireClient> {
  const client = await dialPath(t, path);
  client.send(connect({ clientId }));
  t.equal((await client.packet())[0], 0x20, 'CONNACK');
  return client;
}

async function socketPath(t: Test): Promise<string> {
  return join(await temporaryDirectory(t), 'mqtt.sock');
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

t.test('clients of a Unix socket and of TCP reach each other', async (t) => {
  const path = await socketPath(t);
  const listeners = [{ type: 'tcp', port: 0 } as const, { type: 'unix', path } as const];
  const { broker, port } = await startBroker(t, { listeners });
  t.match(broker.addresses[1], { type: 'unix', host: '', port: 0, path });
  const local = await joinAt(t, path, 'local');
  await subscribed(local, { filters: [['a/#', 0]] });
  const remote = await connected(t, port, { clientId: 'remote' });
  await published(remote, { topic: 'a/b', payload: 'x' });
  t.match(await received(local), { topic: 'a/b', payload: 'x' });
});

t.test('the address of a client of a Unix socket is its path', async (t) => {
  const path = await socketPath(t);
  const admin = { socket: join(await temporaryDirectory(t), 'admin.sock') };
  await startBroker(t, { listeners: [{ type: 'unix', path }], admin });
  await joinAt(t, path, 'local');
  const { stdout } = await runProgram(t, ['clients', '--socket', admin.socket]);
  t.match(stdout, `local address=unix:${path} `);
});

t.test('the file of a Unix socket has its mode, and is gone when the broker is closed', async (t) => {
  for (const [mode, expected] of [
    [undefined, 0o600],
    ['0660', 0o660],
    [666, 0o666],
  ] as const) {
    const path = await socketPath(t);
    const { broker } = await startBroker(t, { listeners: [{ type: 'unix', path, ...(mode && { mode }) }] });
    t.equal((await stat(path)).mode & 0o777, expected);
    await broker.close();
    t.notOk(await exists(path));
  }
});

t.test('a socket that somebody listens on is left alone', async (t) => {
  const path = await socketPath(t);
  const { broker } = await startBroker(t, { listeners: [{ type: 'unix', path }] });
  const message = new RegExp(`^the Unix socket ${path} is in use by another program`);
  await t.rejects(startBroker(t, { listeners: [{ type: 'unix', path }] }), { code: 'ERR_COUNTERSIGN_LISTEN', message });
  await joinAt(t, path, 'still');
  await broker.close();
});

t.test('a file that is no socket is left alone, and so is what a link leads to', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'file');
  await writeFile(file, 'precious');
  const dead = join(directory, 'dead.sock');
  await leaveSocket(t, dead);
  const link = join(directory, 'link');
  await symlink(dead, link);
  await mkdir(join(directory, 'folder'));
  for (const name of ['file', 'link', 'folder']) {
    const listeners = [{ type: 'unix', path: join(directory, name) } as const];
    await t.rejects(startBroker(t, { listeners }), {
      code: 'ERR_COUNTERSIGN_LISTEN',
      message: /a file of another kind/,
    });
  }
  t.equal((await stat(file)).size, 8);
  t.ok((await lstat(link)).isSymbolicLink());
  t.ok(await exists(dead));
});

/** A socket's file that nobody listens on, as a killed process leaves it. */
async function leaveSocket(t: Test, path: string): Promise<void> {
  const listen = `require('net').createServer().listen(${JSON.stringify(path)}`;
  const script = `${listen}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  t.ok((await lstat(path)).isSocket());
}

t.test('the socket that a killed broker left is replaced', async (t) => {
  const path = await socketPath(t);
  const config = join(await temporaryDirectory(t), 'broker.yaml');
  const listeners = [
    { type: 'tcp', port: 0 },
    { type: 'unix', path },
  ];
  await writeFile(config, `memory: true\nlisteners: ${JSON.stringify(listeners)}\n`);
  const child = await startChild(t, ['--config', config]);
  await child.running.output(new RegExp(`^also listening on unix:${path}$`, 'm'));
  await joinAt(t, path, 'one');
  await child.kill9();
  t.ok(await exists(path), 'it is left');
  const next = await startChild(t, ['--config', config]);
  await joinAt(t, path, 'two');
  await next.stop();
  t.notOk(await exists(path), 'an orderly stop removes it');
});

t.test('a listener alone on a Unix socket is named when ready', async (t) => {
  const path = await socketPath(t);
  const config = join(await temporaryDirectory(t), 'broker.yaml');
  await writeFile(config, `memory: true\nlisteners: [{ type: unix, path: ${path} }]\n`);
  const busy = createServer().listen(path);
  await once(busy, 'listening');
  const refused = await runProgram(t, ['start', '--config', config, '--log-level', 'silent']);
  t.match(refused, { code: 1, stderr: new RegExp(`^countersign: the Unix socket ${path} is in use[^\\n]*\\n$`) });
  busy.close();
  await once(busy, 'close');
  const args = [programPath, 'start', '--config', config];
  const running = new Running(t, process.execPath, args, cleanEnvironment());
  await running.output(new RegExp(`^countersign \\S+ ready on unix:${path}, data in memory$`, 'm'));
  t.equal((await running.kill('SIGTERM')).code, 0);
});

t.test('clients of a Unix socket are sent away when the broker is closed', async (t) => {
  const path = await socketPath(t);
  const { broker } = await startBroker(t, { listeners: [{ type: 'unix', path }] });
  const client = await joinAt(t, path, 'one');
  const silent = await dialPath(t, path);
  const closed = broker.close();
  t.equal((await client.packet())[2], 0x8b);
  await client.expectClose();
  await silent.expectClose();
  await closed;
});

t.test('a directory that is not there, and a path that is too long, are told', async (t) => {
  const path = join(await temporaryDirectory(t), 'nowhere', 'mqtt.sock');
  const listening = (listener: object) => startBroker(t, { listeners: [{ type: 'unix', ...listener } as never] });
  await t.rejects(listening({ path }), {
    code: 'ERR_COUNTERSIGN_LISTEN',
    message: /mqtt\.sock can not be made: its directory/,
  });
  const wrong = (message: RegExp) => ({ code: 'ERR_COUNTERSIGN_CONFIG', message });
  await t.rejects(listening({ path: `/${'x'.repeat(107)}` }), wrong(/^listeners\[0\]\.path: .*at most 107/));
  await t.rejects(listening({ path: '\0abstract' }), wrong(/it must name a file/));
  await t.rejects(listening({}), wrong(/^listeners\[0\]\.path: is missing: .*need the path/));
  await t.rejects(listening({ path, port: 1883 }), wrong(/has a path and no port/));
  await t.rejects(
    listening({ path, mode: 640 }),
    wrong(/^listeners\[0\]\.mode: 640 is not allowed; allowed: 0600 or 0660/),
  );
  await t.rejects(listening({ path, mode: 0o660 }), wrong(/^listeners\[0\]\.mode: 432 /));
  await t.rejects(startBroker(t, { listeners: [{ type: 'tcp' }] }), wrong(/port: is missing: .*need one/));
  await t.rejects(startBroker(t, { listeners: [{ type: 'tcp', port: 0, mode: '0600' }] }), wrong(/type unix/));
  await t.rejects(startBroker(t, { listeners: [{ type: 'ws', port: 0, path: 'mqtt' }] }), wrong(/begins with/));
});
