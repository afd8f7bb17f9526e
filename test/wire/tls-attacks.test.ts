import { once } from 'node:events';
import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { withDeadline } from '../helpers/deadline.js';
import { connect } from '../helpers/packets.js';
import { dialOver, listenerOf, startBrokerOn, testCertificate } from '../helpers/transports.js';
import type { WireClient } from '../helpers/wire-client.js';

function openSocket(t: Test, port: number): Socket {
  const socket = connectPlain(port, '127.0.0.1');
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  return socket;
}

/** A client that the broker has let in. */
async function join(t: Test, port: number, clientId: string): Promise<WireClient> {
  const client = await dialOver(t, 'tls', port);
  client.send(connect({ clientId }));
  t.equal((await client.packet())[0], 0x20, 'CONNACK');
  return client;
}

t.test('a renegotiation of TLS 1.2 is refused', async (t) => {
  const { port } = await startBrokerOn(t, 'tls');
  const options = { port, host: '127.0.0.1', ca: testCertificate } as const;
  const socket = connectTls({ ...options, maxVersion: 'TLSv1.2' });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  await withDeadline(once(socket, 'secureConnect'), () => 'no TLS connection');
  const outcome = new Promise<string>((resolve) => {
    socket.renegotiate({}, (error) => resolve(error === null ? 'renegotiated' : 'refused'));
    socket.once('close', () => resolve('refused'));
    socket.once('error', () => resolve('refused'));
  });
  t.equal(await withDeadline(outcome, () => 'no answer to the renegotiation'), 'refused');
});

t.test('a version below TLS 1.2 is refused', async (t) => {
  const { port } = await startBrokerOn(t, 'tls');
  const ciphers = 'DEFAULT@SECLEVEL=0';
  const versions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers } as const;
  const socket = connectTls({ port, host: '127.0.0.1', ca: testCertificate, ...versions });
  t.teardown(() => socket.destroy());
  const [error] = await withDeadline(once(socket, 'error'), () => 'not refused');
  t.match((error as NodeJS.ErrnoException).code, /ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION/);
});

t.test('a flood of handshakes that never end takes no place for longer than the time limit', async (t) => {
  const held = 20;
  const listeners = [await listenerOf(t, 'tls')];
  const { port } = await startBroker(t, { listeners, connectTimeout: 1, maximumConnections: held + 1 });
  const before = await join(t, port, 'before');
  const flood = Array.from({ length: held }, () => openSocket(t, port));
  const ends = flood.map((socket) => once(socket, 'close'));
  for (const socket of flood) socket.write(Buffer.from('1603010200', 'hex'));
  before.send(Buffer.from('c000', 'hex'));
  await before.expect('d0 00');
  await withDeadline(Promise.all(ends), () => 'a slow handshake was not cut');
  await join(t, port, 'after');
  before.send(Buffer.from('c000', 'hex'));
  await before.expect('d0 00');
});
