import { sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import type { BrokerOptions } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { Authority, type Certificate } from '../helpers/certificates.js';
import { temporaryDirectory } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { connect } from '../helpers/packets.js';
import { listenerOf, testCertificate } from '../helpers/transports.js';
import { WireClient } from '../helpers/wire-client.js';

type Shown = Pick<Certificate, 'cert' | 'key'> | null;

function test(name: string, body: (t: Test, authority: Authority) => Promise<void>): void {
  t.test(name, async (t) => {
    const authority = await Authority.make(t);
    if (authority !== undefined) await body(t, authority);
  });
}

async function start(t: Test, authority: Authority, options: object = {}, brokerOptions: BrokerOptions = {}) {
  const asking = { clientCertificates: 'required', userFromCertificate: 'commonName' } as const;
  const listener = await listenerOf(t, 'tls', { caFile: authority.certificateFile, ...asking, ...options });
  return startBroker(t, { ...brokerOptions, listeners: [listener] });
}

/** Whether a client with this certificate is let in. */
async function enters(t: Test, port: number, shown: Shown): Promise<boolean> {
  const socket = connectTls({ port, host: '127.0.0.1', ca: testCertificate, ...shown });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  const client = new WireClient(socket);
  client.send(connect());
  return client.packet().then(
    (connack) => connack[3] === 0,
    () => false,
  );
}

/** An element of DER. */
function element(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const size = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

/** Where the body of the element that the bytes begin with is. */
function bodyOf(bytes: Buffer): { readonly start: number; readonly end: number } {
  const sizes = bytes[1] < 128 ? 0 : bytes[1] & 0x7f;
  const size = sizes === 0 ? bytes[1] : bytes.readUIntBE(2, sizes);
  return { start: 2 + sizes, end: 2 + sizes + size };
}

/** The certificate with other bytes in place of some, signed anew by the authority. */
async function forge(authority: Authority, { cert, key }: Certificate, from: string, to: string): Promise<Shown> {
  const { raw } = new X509Certificate(cert);
  const parts = raw.subarray(bodyOf(raw).start);
  const signed = Buffer.from(parts.subarray(0, bodyOf(parts).end));
  signed.write(to, signed.lastIndexOf(from), 'latin1');
  const rest = parts.subarray(signed.length);
  const signature = sign('sha256', signed, await readFile(authority.keyFile));
  const ends = [rest.subarray(0, bodyOf(rest).end), element(3, Buffer.from([0]), signature)];
  const lines =
    element(0x30, signed, ...ends)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return { cert: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'), key };
}

test('a name that ends at a zero byte for others does not end there', async (t, authority) => {
  const { port } = await start(t, authority);
  const plain = await authority.issue({ subject: '/CN=annXevil' });
  t.ok(await enters(t, port, await forge(authority, plain, 'annXevil', 'annYevil')), 'the forgery itself works');
  t.notOk(await enters(t, port, await forge(authority, plain, 'annXevil', 'ann\0evil')));
});

test('who has a certificate can not vouch for others', async (t, authority) => {
  const { port } = await start(t, authority);
  for (const extensions of [['basicConstraints=CA:FALSE'], ['keyUsage=digitalSignature']]) {
    const ann = await authority.issue({ subject: '/CN=ann', extensions });
    const admin = await (await authority.as(ann)).issue({ subject: '/CN=admin' });
    t.notOk(await enters(t, port, { cert: admin.cert + ann.cert, key: admin.key }));
    t.ok(await enters(t, port, ann));
  }
  const between = await authority.issue({ subject: '/CN=between', extensions: ['basicConstraints=critical,CA:TRUE'] });
  const bob = await (await authority.as(between)).issue({ subject: '/CN=bob' });
  t.ok(await enters(t, port, { cert: bob.cert + between.cert, key: bob.key }), 'an authority in between can');
  t.notOk(await enters(t, port, bob), 'whose certificate must be shown too');
});

test('in a chain every authority needs its list', async (t, authority) => {
  const between = await authority.issue({ subject: '/CN=between', extensions: ['basicConstraints=critical,CA:TRUE'] });
  const fleet = await authority.as(between);
  const bob = await fleet.issue({ subject: '/CN=bob' });
  const crlFile = join(await temporaryDirectory(t), 'list.crl');
  const shown = { cert: bob.cert + between.cert, key: bob.key };
  await writeFile(crlFile, await authority.revocationList());
  const { broker, port } = await start(t, authority, { crlFile });
  t.notOk(await enters(t, port, shown), 'one is missing');
  await writeFile(crlFile, (await authority.revocationList()) + (await fleet.revocationList()));
  await broker.reload();
  t.ok(await enters(t, port, shown));
  await authority.revoke(between);
  await writeFile(crlFile, (await authority.revocationList()) + (await fleet.revocationList()));
  await broker.reload();
  t.notOk(await enters(t, port, shown), 'the authority in between is revoked');
});

test('a list that is overdue lets nobody in', async (t, authority) => {
  const crlFile = join(await temporaryDirectory(t), 'list.crl');
  await writeFile(crlFile, await authority.revocationList(true));
  const { port } = await start(t, authority, { crlFile });
  t.notOk(await enters(t, port, await authority.issue({ subject: '/CN=ann' })));
});

test('certificates go on being asked for after a reload', async (t, authority) => {
  const { broker, port } = await start(t, authority);
  await broker.reload();
  t.notOk(await enters(t, port, null));
  t.ok(await enters(t, port, await authority.issue({ subject: '/CN=ann' })));
});

test('clients that are refused take no place for ever', async (t, authority) => {
  const { broker, port } = await start(t, authority, {}, { maximumConnections: 2 });
  const other = await Authority.make(t);
  const strange = (await other?.issue({ subject: '/CN=ann' })) ?? null;
  for (let turn = 0; turn < 5; turn++) {
    t.notOk(await enters(t, port, strange));
    t.notOk(await enters(t, port, null));
  }
  t.equal(broker.metrics.connectionsRefused, 10);
  t.ok(await enters(t, port, await authority.issue({ subject: '/CN=ann' })));
});

test('what a client without a certificate sends behind the handshake is not looked at', async (t, authority) => {
  const { broker, port } = await start(t, authority);
  const socket = connectTls({ port, host: '127.0.0.1', ca: testCertificate });
  socket.on('error', () => undefined);
  socket.write(Buffer.concat([connect(), Buffer.alloc(100_000, 0xc0)]));
  socket.resume();
  await withDeadline(new Promise((resolve) => socket.once('close', resolve)), () => 'not closed');
  t.equal(broker.metrics.connectionsAccepted, 0);
  t.equal(broker.metrics.bytesReceived, 0);
});

test('a certificate of one listener does not open another', async (t, authority) => {
  const other = await Authority.make(t, 'another authority');
  if (other === undefined) return;
  const asking = { clientCertificates: 'required', userFromCertificate: 'commonName' } as const;
  const listeners = [
    await listenerOf(t, 'tls', { ...asking, caFile: authority.certificateFile }),
    await listenerOf(t, 'tls', { ...asking, caFile: other.certificateFile }),
  ];
  const { broker } = await startBroker(t, { listeners });
  const [first, second] = broker.addresses.map(({ port }) => port);
  const ann = await authority.issue({ subject: '/CN=ann' });
  t.ok(await enters(t, first, ann));
  t.notOk(await enters(t, second, ann));
  const socket = connectTls({ port: first, host: '127.0.0.1', ca: testCertificate, ...ann });
  const [session] = (await withDeadline(once(socket, 'session'), () => 'no session')) as [Buffer];
  socket.destroy();
  const resumed = connectTls({ port: second, host: '127.0.0.1', ca: testCertificate, session });
  resumed.on('error', () => undefined);
  const client = new WireClient(resumed);
  client.send(connect());
  t.equal((await client.rest()).length, 0, 'nor does a session of TLS');
});
