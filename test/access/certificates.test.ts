import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import type { AuthenticationRequest, BrokerOptions, Hooks } from '../../lib/index.js';
import { Broker } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { Authority, type Certificate } from '../helpers/certificates.js';
import { subscribed } from '../helpers/client.js';
import { runProgram, temporaryDirectory } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { ack, type ConnectFields, connect, publish } from '../helpers/packets.js';
import { listenerOf, testCertificate, webSocketTo } from '../helpers/transports.js';
import { WireClient } from '../helpers/wire-client.js';

type Shown = Pick<Certificate, 'cert' | 'key'> | null;

/** A test with an authority for clients; skipped, aloud, where there is no `openssl`. */
function test(name: string, body: (t: Test, authority: Authority) => Promise<void>): void {
  t.test(name, async (t) => {
    const authority = await Authority.make(t);
    if (authority !== undefined) await body(t, authority);
  });
}

/** Options of a listener that takes users from certificates. */
async function mutual(t: Test, authority: Authority, options: object = {}) {
  const asking = { clientCertificates: 'required', userFromCertificate: 'commonName' } as const;
  return listenerOf(t, 'tls', { caFile: authority.certificateFile, ...asking, ...options });
}

async function startMutual(t: Test, authority: Authority, options: object = {}, brokerOptions: BrokerOptions = {}) {
  return startBroker(t, { ...brokerOptions, listeners: [await mutual(t, authority, options)] });
}

function dial(t: Test, port: number, shown: Shown, options: ConnectionOptions = {}): TLSSocket {
  const socket = connectTls({ port, host: '127.0.0.1', ca: testCertificate, ...shown, ...options });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  return socket;
}

/** CONNACK of a CONNECT over TLS; null if the broker closes without one. */
async function ask(t: Test, port: number, shown: Shown, fields: ConnectFields = {}, options: ConnectionOptions = {}) {
  const socket = dial(t, port, shown, options);
  const client = new WireClient(socket);
  client.send(connect(fields));
  const connack = await client.packet().catch(() => null);
  return { client, socket, code: connack === null ? null : connack[3] };
}

async function admitted(t: Test, port: number, shown: Shown, fields: ConnectFields = {}): Promise<WireClient> {
  const { client, code } = await ask(t, port, shown, fields);
  t.equal(code, 0, 'let in');
  return client;
}

/** Who a client is, as the broker has it. */
async function userOf(t: Test, authority: Authority, shown: Shown, options: object = {}, fields: ConnectFields = {}) {
  const users: (string | null)[] = [];
  const hooks: Hooks = {
    authorize: ({ userName }) => {
      users.push(userName);
      return true;
    },
  };
  const broker = new Broker({ memory: true, listeners: [await mutual(t, authority, options)], hooks });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  const { client, code } = await ask(t, port, shown, fields);
  if (code !== 0) return code;
  await subscribed(client, { filters: [['a', 0]] });
  return users[0];
}

test('a client is who its certificate says, whatever CONNECT says, without a password', async (t, authority) => {
  const ann = await authority.issue({ subject: '/O=Example/CN=ann' });
  t.equal(await userOf(t, authority, ann), 'ann');
  t.equal(await userOf(t, authority, ann, {}, { userName: 'bob', password: 'x' }), 'ann');
  t.equal(await userOf(t, authority, ann, { userFromCertificate: 'subject' }), 'CN=ann,O=Example');
  t.equal(await userOf(t, authority, ann, { userFromCertificate: 'none' }, { userName: 'bob' }), 'bob');
});

test('the subject is written as RFC 2253 has it, whatever is in it', async (t, authority) => {
  const subjects = [
    '/C=GB/O=Acme, Inc/OU=a\\+b/CN=dev#1/emailAddress=a@b.example',
    '/CN=#hash/O= space ',
    '/O=a "quoted" <x>;y=z\\\\/CN=Grüße 日本',
    '/CN=one/OU=two + three/OU=four',
    '/DC=example/DC=org/UID=7/serialNumber=0815/CN=x\ny',
  ];
  for (const subject of subjects) {
    const certificate = await authority.issue({ subject });
    const user = await userOf(t, authority, certificate, { userFromCertificate: 'subject' });
    t.equal(user, await authority.subjectOf(certificate), subject);
  }
});

test('a certificate lets nobody in that names none or several, or holds control characters', async (t, authority) => {
  for (const subject of ['/O=Example', '/CN=ann/CN=admin', '/CN=ann\nadmin', '/CN=\u0085']) {
    t.equal(await userOf(t, authority, await authority.issue({ subject })), null, JSON.stringify(subject));
  }
});

test('a client without a certificate, or with a wrong one, is refused', async (t, authority) => {
  const { port, broker } = await startMutual(t, authority);
  const other = await Authority.make(t);
  if (other === undefined) return;
  const authorityItself = { cert: await readFile(other.certificateFile), key: await readFile(other.keyFile) };
  const wrong = {
    'no certificate': null,
    "another authority's": await other.issue({ subject: '/CN=ann' }),
    'one of an authority nobody knows': { cert: String(authorityItself.cert), key: String(authorityItself.key) },
    'an expired one': await authority.issue({ subject: '/CN=ann', days: -1 }),
    'one for servers': await authority.issue({ subject: '/CN=ann', extensions: ['extendedKeyUsage=serverAuth'] }),
  };
  for (const [name, shown] of Object.entries(wrong)) {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      t.equal((await ask(t, port, shown, {}, { maxVersion })).code, null, `${name}, ${maxVersion}`);
    }
  }
  t.equal(broker.metrics.connectionsRefused, 10);
  t.equal(broker.metrics.connectionsAccepted, 0, 'not one came as far as MQTT');
});

test('a certificate that is shown where none is needed must be right', async (t, authority) => {
  const other = await Authority.make(t);
  if (other === undefined) return;
  const { port } = await startMutual(t, authority, { clientCertificates: 'optional' });
  await admitted(t, port, null);
  await admitted(t, port, await authority.issue({ subject: '/CN=ann' }));
  t.equal((await ask(t, port, await other.issue({ subject: '/CN=ann' }))).code, null);
});

test('who comes without the optional certificate needs a password where there are passwords', async (t, authority) => {
  const passwordFile = join(await temporaryDirectory(t), 'passwords');
  await writeFile(passwordFile, '');
  const options = { clientCertificates: 'optional' };
  const { port } = await startMutual(t, authority, options, { passwordFile });
  t.equal((await ask(t, port, null)).code, 0x87);
  t.equal((await ask(t, port, null, { userName: 'ann', password: 'x' })).code, 0x86);
  await admitted(t, port, await authority.issue({ subject: '/CN=ann' }));
});

test('the user of a certificate has the rights of the access file', async (t, authority) => {
  const accessFile = join(await temporaryDirectory(t), 'access');
  await writeFile(accessFile, 'user ann\ntopic a\npattern write own/%u\n');
  const { port } = await startMutual(t, authority, {}, { accessFile });
  const rightsOf = async (subject: string): Promise<number[]> => {
    const client = await admitted(t, port, await authority.issue({ subject }));
    const codes: number[] = [];
    for (const topic of ['a', 'own/ann', 'own/bob']) {
      client.send(publish({ topic, qos: 1, packetId: 1, payload: 'x' }));
      const puback = await client.packet();
      codes.push(puback[1] > 2 ? puback[4] : 0);
    }
    return codes;
  };
  t.same(await rightsOf('/CN=ann'), [0, 0, 0x87]);
  t.same(await rightsOf('/CN=bob'), [0x87, 0x87, 0]);
});

test('client identifiers are bound to the user of a certificate, and sessions belong to it', async (t, authority) => {
  const [ann, bob] = [await authority.issue({ subject: '/CN=ann' }), await authority.issue({ subject: '/CN=bob' })];
  const bound = await startMutual(t, authority, {}, { clientIdTemplate: '%u' });
  await admitted(t, bound.port, ann, { clientId: 'ann' });
  t.equal((await ask(t, bound.port, ann, { clientId: 'bob', userName: 'bob' })).code, 0x85);
  const free = await startMutual(t, authority);
  await admitted(t, free.port, ann, { clientId: 'c' });
  t.equal((await ask(t, free.port, bob, { clientId: 'c', userName: 'ann' })).code, 0x87);
});

test('the hook authenticate decides about users of certificates too', async (t, authority) => {
  const requests: AuthenticationRequest[] = [];
  const hooks: Hooks = {
    authenticate: (request) => {
      requests.push(request);
      return request.userName !== 'blocked';
    },
  };
  const broker = new Broker({ memory: true, listeners: [await mutual(t, authority)], hooks });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  await admitted(t, port, await authority.issue({ subject: '/CN=ann' }), { userName: 'x' });
  t.match(requests[0], { userName: 'ann', certificateUser: 'ann', password: null });
  t.equal((await ask(t, port, await authority.issue({ subject: '/CN=blocked' }))).code, 0x86);
});

test('a revoked certificate is refused, from the next reload on', async (t, authority) => {
  const crlFile = join(await temporaryDirectory(t), 'list.crl');
  const [ann, bob] = [await authority.issue({ subject: '/CN=ann' }), await authority.issue({ subject: '/CN=bob' })];
  await writeFile(crlFile, await authority.revocationList());
  const { broker, port } = await startMutual(t, authority, { crlFile });
  const before = await admitted(t, port, ann, { clientId: 'before' });
  await authority.revoke(ann);
  await writeFile(crlFile, await authority.revocationList());
  await admitted(t, port, ann);
  await broker.reload();
  t.equal((await ask(t, port, ann)).code, null);
  await admitted(t, port, bob);
  await before.expectNothing();
});

test('every list of a file counts', async (t, authority) => {
  const other = await Authority.make(t, 'another authority');
  if (other === undefined) return;
  const directory = await temporaryDirectory(t);
  const [caFile, crlFile] = [join(directory, 'ca.pem'), join(directory, 'list.crl')];
  const revoked = await other.issue({ subject: '/CN=ann' });
  await other.revoke(revoked);
  const authorities = await Promise.all([authority, other].map(({ certificateFile }) => readFile(certificateFile)));
  await writeFile(caFile, `a comment\n${authorities.join('')}`);
  await writeFile(crlFile, (await authority.revocationList()) + (await other.revocationList()));
  const { port } = await startMutual(t, authority, { caFile, crlFile });
  t.equal((await ask(t, port, revoked)).code, null);
  await admitted(t, port, await authority.issue({ subject: '/CN=ann' }));
  await admitted(t, port, await other.issue({ subject: '/CN=bob' }));
});

test('an authority that is gone after a reload vouches for nobody any more', async (t, authority) => {
  const other = await Authority.make(t);
  if (other === undefined) return;
  const caFile = join(await temporaryDirectory(t), 'ca.pem');
  await writeFile(caFile, await readFile(authority.certificateFile));
  const { broker, port } = await startMutual(t, authority, { caFile });
  const ann = await authority.issue({ subject: '/CN=ann' });
  await admitted(t, port, ann);
  await writeFile(caFile, await readFile(other.certificateFile));
  await broker.reload();
  t.equal((await ask(t, port, ann)).code, null);
  await admitted(t, port, await other.issue({ subject: '/CN=ann' }));
});

test('a session of TLS is not resumed in place of showing the certificate', async (t, authority) => {
  const { port } = await startMutual(t, authority);
  const ann = await authority.issue({ subject: '/CN=ann' });
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = dial(t, port, ann, { maxVersion });
    let session: Buffer | undefined;
    first.on('session', (given) => {
      session = given;
    });
    const client = new WireClient(first);
    client.send(connect());
    t.equal((await client.packet())[3], 0);
    const again = await ask(t, port, ann, {}, { maxVersion, ...(session && { session }) });
    t.equal(again.code, 0);
    t.notOk(again.socket.isSessionReused(), maxVersion);
    t.equal((await ask(t, port, null, {}, { maxVersion, ...(session && { session }) })).code, null);
  }
});

test('a reload with a wrong file of authorities or lists changes nothing', async (t, authority) => {
  const directory = await temporaryDirectory(t);
  const [caFile, crlFile] = [join(directory, 'ca.pem'), join(directory, 'list.crl')];
  const [ca, list] = [await readFile(authority.certificateFile, 'utf8'), await authority.revocationList()];
  const restore = async (): Promise<void> => {
    await writeFile(caFile, ca);
    await writeFile(crlFile, list);
  };
  await restore();
  const { broker, port } = await startMutual(t, authority, { caFile, crlFile });
  const ann = await authority.issue({ subject: '/CN=ann' });
  const wrong = [
    [caFile, '', /^listeners\[0\]\.caFile: .*ca\.pem: there is no certificate in PEM in it$/],
    [caFile, ca.replace(/\n\w{8}/, '\nAAAAAAAA'), /^listeners\[0\]\.caFile: .*: certificate 1 of 1 can not be read$/],
    [crlFile, ca, /^listeners\[0\]\.crlFile: .*list\.crl: there is no revocation list in PEM in it$/],
    [
      caFile,
      ca + ca.slice(0, 99),
      /^listeners\[0\]\.caFile: .*: a certificate in it has no end: the file is not whole$/,
    ],
    [crlFile, list + list.slice(0, 99), /crlFile: .*: a revocation list in it has no end: the file is not whole$/],
    [crlFile, list + list.replace(/\n\w{8}/, '\nAAAAAAAA'), /crlFile: .*: revocation list 2 of 2 can not be read$/],
  ] as const;
  for (const [file, text, message] of wrong) {
    await writeFile(file, text);
    await t.rejects(broker.reload(), { code: 'ERR_COUNTERSIGN_CONFIG', message });
    await admitted(t, port, ann);
    await restore();
  }
  await broker.reload();
  await admitted(t, port, ann);
});

test('a start with a wrong file is one line and exit code 2', async (t, authority) => {
  const config = join(await temporaryDirectory(t), 'broker.json');
  const start = async (options: object) => {
    const listener = await mutual(t, authority, options);
    await writeFile(config, JSON.stringify({ memory: true, logLevel: 'silent', listeners: [listener] }));
    return runProgram(t, ['start', '--config', config]);
  };
  const expected = (text: string) => ({ code: 2, stdout: '', stderr: new RegExp(`^countersign: ${text}[^\\n]*\\n$`) });
  t.match(
    await start({ caFile: '/nowhere/ca.pem' }),
    expected('listeners\\[0\\]\\.caFile: /nowhere/ca\\.pem: there is no'),
  );
  t.match(await start({ crlFile: '/' }), expected('listeners\\[0\\]\\.crlFile: /: it cannot be read \\(EISDIR\\)'));
  const { keyFile } = await authority.issue({ subject: '/CN=x' });
  t.match(await start({ keyFile }), expected('listeners\\[0\\] can not speak TLS with '));
});

test('the lowest version of TLS can be 1.3', async (t, authority) => {
  const { port } = await startMutual(t, authority, { minimumTlsVersion: 'TLSv1.3' });
  const ann = await authority.issue({ subject: '/CN=ann' });
  t.equal((await ask(t, port, ann, {}, { maxVersion: 'TLSv1.2' })).code, null);
  await admitted(t, port, ann);
});

test('certificates work for WebSockets too', async (t, authority) => {
  const ann = await authority.issue({ subject: '/CN=ann' });
  const accessFile = join(await temporaryDirectory(t), 'access');
  await writeFile(accessFile, 'user ann\ntopic a\n');
  const listener = { ...(await mutual(t, authority)), type: 'wss' } as const;
  const { port } = await startBroker(t, { accessFile, listeners: [listener] });
  const without = webSocketTo(port, { type: 'wss' });
  await withDeadline(once(without, 'error'), () => 'not refused');
  const socket = webSocketTo(port, { type: 'wss', options: { cert: ann.cert, key: ann.key } });
  const packets: Buffer[] = [];
  socket.on('message', (data: Buffer) => packets.push(data));
  await withDeadline(once(socket, 'open'), () => 'no WebSocket');
  const parts = [connect(), publish({ topic: 'a', qos: 1, packetId: 1 }), publish({ topic: 'b', qos: 1, packetId: 2 })];
  socket.send(Buffer.concat(parts));
  while (!Buffer.concat(packets).includes(ack('puback', 2).subarray(2, 4)) || Buffer.concat(packets).length < 10) {
    await withDeadline(once(socket, 'message'), () => 'no answers');
  }
  const answers = Buffer.concat(packets);
  t.ok(answers.includes(Buffer.from([0, 2, 0x87])), 'not authorized for b');
  t.notOk(answers.includes(Buffer.from([0, 1, 0x87])), 'authorized for a');
  socket.terminate();
});

test('only a certificate that is needed and says who comes opens a listener to others', async (t, authority) => {
  const everywhere = { host: '0.0.0.0' };
  await startMutual(t, authority, everywhere);
  const refused = { code: 'ERR_COUNTERSIGN_CONFIG', message: /^listeners\[0\]\.host: .*nothing checks who connects/ };
  await t.rejects(startMutual(t, authority, { ...everywhere, userFromCertificate: 'none' }), refused);
  await t.rejects(startMutual(t, authority, { ...everywhere, clientCertificates: 'optional' }), refused);
});

test('options of certificates that would have no effect are refused', async (t, authority) => {
  const wrong = (message: RegExp) => ({ code: 'ERR_COUNTERSIGN_CONFIG', message });
  await t.rejects(startMutual(t, authority, { clientCertificates: 'none' }), wrong(/caFile: .* has no effect without/));
  await t.rejects(startMutual(t, authority, { caFile: undefined }), wrong(/caFile: is missing: .*authorities/));
  const plain = { type: 'tcp', port: 0, clientCertificates: 'required' } as const;
  await t.rejects(startBroker(t, { listeners: [plain] }), wrong(/clientCertificates: .* for listeners of type tls/));
});
