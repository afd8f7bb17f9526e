import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { startBroker, startChild } from '../helpers/broker.js';
import { connected, published, subscribed } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { listenerOf } from '../helpers/transports.js';

/** Another certificate than that of the helpers; trusted by nothing. */
const otherKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvraQVotixCQ0U/kd
F39NNYlGlZsH56Ac4+JAgkJoh1+hRANCAATeqdXiFXm9JDGgg4n2Z26R8JBIrVWx
tKNn8KCQVUQXDpigMzVBXIZILvYmegRQlnOaXnNWjno6W5ZGQAhCSZYk
-----END PRIVATE KEY-----
`;
const otherCertificate = `-----BEGIN CERTIFICATE-----
MIIBrTCCAVOgAwIBAgIUP2+UY3dnkNhaiejAhSJeF0evWbYwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSQ291bnRlcnNpZ24gdGVzdCAyMCAXDTI2MTEyMTA2NDIzMVoY
DzIxMjYxMDI4MDY0MjMxWjAdMRswGQYDVQQDDBJDb3VudGVyc2lnbiB0ZXN0IDIw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATeqdXiFXm9JDGgg4n2Z26R8JBIrVWx
tKNn8KCQVUQXDpigMzVBXIZILvYmegRQlnOaXnNWjno6W5ZGQAhCSZYko28wbTAd
BgNVHQ4EFgQU3i1CXo1t9KroR8FgTfrMFLu533YwHwYDVR0jBBgwFoAU3i1CXo1t
9KroR8FgTfrMFLu533YwDwYDVR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2Nh
bGhvc3SHBH8AAAEwCgYIKoZIzj0EAwIDSAAwRQIhAOX0uyMZx1jA018r7q5YARrS
g+KDl6j9tX/Ihxe5TQrRAiBeAaf5yGQ4iuScW7rdN6QP3hR8KAYDHJBSeE+kNM+c
PA==
-----END CERTIFICATE-----
`;

const rule = { filter: 'a', receipt: 'delivered' } as const;

t.test('reload takes up tracking rules, and clients stay', async (t) => {
  const { broker, port } = await startBroker(t);
  const client = await connected(t, port, { clientId: 'pub' });
  await subscribed(client, { filters: [['$receipts/~/#', 0]] });
  await published(client, { topic: 'a', qos: 1 });
  t.same(await broker.reload({ ...broker.settings, tracking: [rule] }), { changed: ['tracking'], needRestart: [] });
  t.match(broker.settings.tracking, [rule]);
  client.send('32 07 00 01 61 00 02 00 78');
  const packets = [await client.packet(), await client.packet()];
  t.ok(
    packets.some((packet) => packet[0] === 0x40 && packet.includes('receipt-id')),
    'PUBACK',
  );
  t.ok(
    packets.some((packet) => packet[0] >> 4 === 3 && packet.includes('$receipts/~/')),
    'a tally',
  );
});

t.test('reload tells which options need a restart, and does not take them up', async (t) => {
  const { broker, port } = await startBroker(t);
  const client = await connected(t, port);
  const next = { ...broker.settings, maximumQos: 1, metrics: {}, logLevel: 'debug' } as const;
  t.same(await broker.reload(next), { changed: ['logLevel'], needRestart: ['maximumQos', 'metrics'] });
  t.equal(broker.settings.maximumQos, 2);
  await published(client, { topic: 'a', qos: 2 });
});

t.test('reload without options reads the files again', async (t) => {
  const { broker } = await startBroker(t);
  t.same(await broker.reload(), { changed: [], needRestart: [] });
});

t.test('a reload with a wrong option changes nothing', async (t) => {
  const { broker, port } = await startBroker(t);
  const client = await connected(t, port);
  const wrong = { ...broker.settings, tracking: [rule], maximumQos: 3 as 2 };
  await t.rejects(broker.reload(wrong), { code: 'ERR_COUNTERSIGN_CONFIG', message: /^maximumQos: 3 is not allowed/ });
  t.same(broker.settings.tracking, []);
  await published(client, { topic: 'a', qos: 1 });
});

async function certificateOf(port: number): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await withDeadline(once(socket, 'secureConnect'), () => 'no TLS');
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

async function secured(t: Test) {
  const listener = await listenerOf(t, 'tls');
  if (!('certificateFile' in listener && 'keyFile' in listener)) throw new Error('a TLS listener has a certificate');
  const { certificateFile, keyFile } = listener as { certificateFile: string; keyFile: string };
  const passwordFile = join(await temporaryDirectory(t), 'passwords');
  await writeFile(passwordFile, '');
  const { broker, port } = await startBroker(t, { listeners: [listener], passwordFile, allowAnonymous: true });
  return { broker, port, certificateFile, keyFile, passwordFile };
}

t.test('reload takes up a new certificate for new connections', async (t) => {
  const { broker, port, certificateFile, keyFile } = await secured(t);
  t.equal(await certificateOf(port), 'countersign test');
  await writeFile(certificateFile, otherCertificate);
  await writeFile(keyFile, otherKey);
  await broker.reload();
  t.equal(await certificateOf(port), 'Countersign test 2');
});

t.test('a reload with one wrong file changes nothing, whichever it is', async (t) => {
  const { broker, port, certificateFile, keyFile, passwordFile } = await secured(t);
  const key = await readFile(keyFile);
  const next = { ...broker.settings, tracking: [rule] };
  await writeFile(keyFile, otherKey);
  await t.rejects(broker.reload(next), {
    code: 'ERR_COUNTERSIGN_CONFIG',
    message: /^listeners\[0\] can not speak TLS/,
  });
  await writeFile(keyFile, 'x');
  await t.rejects(broker.reload(next), { code: 'ERR_COUNTERSIGN_CONFIG' });
  await writeFile(keyFile, otherKey);
  await writeFile(certificateFile, otherCertificate);
  await writeFile(passwordFile, 'no colon\n');
  await t.rejects(broker.reload(next), { code: 'ERR_COUNTERSIGN_CONFIG', message: /passwords/ });
  t.same(broker.settings.tracking, []);
  t.equal(await certificateOf(port), 'countersign test');
  await writeFile(keyFile, key);
});

t.test('a certificate or key that is empty or cut off, as while it is written, changes nothing', async (t) => {
  const { broker, port, certificateFile, keyFile } = await secured(t);
  const [certificate, key] = [await readFile(certificateFile, 'utf8'), await readFile(keyFile, 'utf8')];
  const wrong = [
    [certificateFile, '', /^listeners\[0\]\.certificateFile: .*: there is no certificate in PEM in it$/],
    [
      certificateFile,
      certificate + certificate.slice(0, 99),
      /: a certificate in it has no end: the file is not whole$/,
    ],
    [certificateFile, key, /^listeners\[0\]\.certificateFile: .*: there is no certificate in PEM in it$/],
    [keyFile, '', /^listeners\[0\]\.keyFile: .*: there is no private key in PEM in it$/],
    [keyFile, key.slice(0, 99), /^listeners\[0\] can not speak TLS/],
  ] as const;
  for (const [file, text, message] of wrong) {
    const before = await readFile(file);
    await writeFile(file, text);
    await t.rejects(broker.reload(), { code: 'ERR_COUNTERSIGN_CONFIG', message });
    t.equal(await certificateOf(port), 'countersign test');
    await writeFile(file, before);
  }
  await broker.reload();
  t.equal(await certificateOf(port), 'countersign test');
});

t.test('SIGHUP reloads the configuration; clients stay', async (t) => {
  const file = join(await temporaryDirectory(t), 'broker.yaml');
  await writeFile(file, 'logLevel: info\nmemory: true\n');
  const child = await startChild(t, ['--config', file]);
  const client = await connected(t, child.port, { clientId: 'stays' });
  await writeFile(file, 'logLevel: debug\nmemory: true\nmaximumQos: 1\n');
  child.running.child.kill('SIGHUP');
  await child.running.errors(/"changed":\["logLevel"\],"msg":"reloaded"/);
  await child.running.errors(/"options":\["maximumQos"\],"msg":"these options have changed and need a restart"/);
  await writeFile(file, 'logLevel: debug\nprot: 1\n');
  child.running.child.kill('SIGHUP');
  const [line] = await child.running.errors(/.*not reloaded: nothing was changed.*/);
  t.match(JSON.parse(line), { level: 50, error: /broker\.yaml: prot: unknown key; the nearest valid key is port/ });
  await published(client, { topic: 'a', qos: 1 });
  t.equal((await child.stop()).code, 0);
});
