import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { refuseExposure } from '../../lib/access/exposure.js';
import { parseOptions } from '../../lib/config/schema.js';
import { Broker, type BrokerOptions, type Hooks } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { runProgram, temporaryDirectory } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { webSocketTo } from '../helpers/transports.js';

const everywhere = { host: '0.0.0.0', port: 0 } as const;

/** Starting fails, and nothing listens. */
async function expectRefused(t: Test, options: BrokerOptions & { readonly hooks?: Hooks }, message: RegExp) {
  const broker = new Broker({ memory: true, ...options });
  await t.rejects(broker.listen(), { code: 'ERR_COUNTERSIGN_CONFIG', message });
  t.same(broker.addresses, []);
}

t.test('an address that is not loopback is refused if nothing checks who connects', async (t) => {
  await expectRefused(t, everywhere, /^host: "0\.0\.0\.0" is not a loopback address.*allowAnonymous: true/);
  const listeners = [{ type: 'tcp', port: 0 } as const, { type: 'ws', ...everywhere } as const];
  await expectRefused(t, { listeners }, /^listeners\[1\]\.host: "0\.0\.0\.0" is not.*allowAnonymous: true/);
  const broker = new Broker({ memory: true });
  await t.rejects(broker.listen(everywhere), { code: 'ERR_COUNTERSIGN_CONFIG' }, 'nor as an argument');
});

t.test('methods of enhanced authentication leave open who names none', async (t) => {
  const hooks: Hooks = { enhancedAuthentication: { 'X-TEST': () => ({ status: 'refused' }) } };
  await expectRefused(t, { ...everywhere, hooks }, /nothing checks who connects/);
});

t.test('it is allowed where something checks who connects', async (t) => {
  const passwordFile = join(await temporaryDirectory(t), 'passwords');
  await writeFile(passwordFile, '');
  await startBroker(t, { ...everywhere, passwordFile });
  await startBroker(t, { ...everywhere, allowAnonymous: false });
  const broker = new Broker({ ...everywhere, memory: true, hooks: { authenticate: () => true } });
  t.teardown(() => broker.close());
  t.equal((await broker.listen()).host, '0.0.0.0');
});

t.test('it is allowed where allowAnonymous is written, for all listeners or for this one', async (t) => {
  await startBroker(t, { ...everywhere, allowAnonymous: true });
  await startBroker(t, { listeners: [{ type: 'tcp', ...everywhere }], allowAnonymous: true });
  const open = { type: 'tcp', ...everywhere, allowAnonymous: true } as const;
  await startBroker(t, { listeners: [open] });
  await expectRefused(t, { listeners: [open, { type: 'tcp', ...everywhere }] }, /^listeners\[1\]\.host: /);
  const closed = { ...open, allowAnonymous: false };
  await expectRefused(t, { listeners: [closed], allowAnonymous: true }, /^listeners\[0\]\.host: /);
});

t.test('a listener does not say allowAnonymous in vain', async (t) => {
  const listeners = [{ type: 'tcp', port: 0, allowAnonymous: true } as const];
  const hooks = { authenticate: () => true };
  await expectRefused(t, { listeners, hooks }, /^listeners\[0\]\.allowAnonymous: true has no effect.*top level/);
});

t.test('a Unix socket is of this machine', async (t) => {
  const path = join(await temporaryDirectory(t), 'mqtt.sock');
  await startBroker(t, { listeners: [{ type: 'unix', path }] });
  await startBroker(t, { listeners: [{ type: 'unix', path: `${path}2` }], host: '0.0.0.0' });
});

t.test('loopback is 127.0.0.0/8, ::1 and localhost; any other name may mean anything', async (t) => {
  const check = (host: string) => () => refuseExposure(parseOptions({ port: 0 }, ''), {}, { host });
  for (const host of ['127.0.0.1', '127.255.0.9', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', 'LocalHost']) {
    t.doesNotThrow(check(host), host);
  }
  for (const host of [
    '::',
    '',
    '126.0.0.1',
    '128.0.0.1',
    '127.1',
    '::2',
    '::1%lo',
    'localhost.example',
    '127.0.0.1.x',
  ]) {
    t.throws(check(host), { code: 'ERR_COUNTERSIGN_CONFIG' }, host);
  }
});

t.test('the program says it in one line, with exit code 2', async (t) => {
  const args = ['start', '--memory', '--port', '0', '--host', '0.0.0.0', '--log-level', 'silent'];
  const { code, stdout, stderr } = await runProgram(t, args);
  t.equal(code, 2);
  t.equal(stdout, '');
  t.match(stderr, /^countersign: host: "0\.0\.0\.0" is not a loopback address.*allowAnonymous: true[^\n]*\n$/);
});

/** The HTTP status with which an upgrade of a page of this origin is answered. */
async function statusOf(t: Test, port: number, origin: string | undefined): Promise<number | undefined> {
  const socket = webSocketTo(port, { options: { origin } });
  t.teardown(() => socket.terminate());
  socket.on('error', () => undefined);
  const [response] = await withDeadline(
    Promise.race([once(socket, 'upgrade'), once(socket, 'unexpected-response').then(([, answer]) => [answer])]),
    () => 'no answer',
  );
  return response.statusCode;
}

t.test('pages of other machines do not come in by a browser where nothing checks who connects', async (t) => {
  const { port } = await startBroker(t, { listeners: [{ type: 'ws', port: 0 }] });
  for (const origin of ['https://evil.example', 'http://localhost.evil.example', 'http://127.0.0.1.evil', 'null']) {
    t.equal(await statusOf(t, port, origin), 403, origin);
  }
  for (const origin of ['http://localhost:3000', 'http://127.0.0.1', 'https://[::1]:8080', undefined]) {
    t.equal(await statusOf(t, port, origin), 101, String(origin));
  }
  const open: (BrokerOptions & { readonly hooks?: Hooks })[] = [
    { listeners: [{ type: 'ws', port: 0 }], allowAnonymous: true },
    { listeners: [{ type: 'ws', port: 0, allowAnonymous: true }] },
    { listeners: [{ type: 'ws', port: 0 }], hooks: { authenticate: () => false } },
    { listeners: [{ type: 'ws', port: 0, allowedOrigins: ['https://evil.example'] }] },
  ];
  for (const options of open) {
    const broker = new Broker({ memory: true, ...options });
    t.teardown(() => broker.close());
    t.equal(await statusOf(t, (await broker.listen()).port, 'https://evil.example'), 101, JSON.stringify(options));
  }
});
