import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import type { Test } from 'tap';
import { type ClientOptions, createWebSocketStream, WebSocket } from 'ws';
import type { BrokerOptions } from '../../lib/config/schema.js';
import { type StartedBroker, startBroker } from './broker.js';
import { temporaryDirectory } from './command.js';
import { withDeadline } from './deadline.js';
import { WireClient } from './wire-client.js';

export const transports = ['tcp', 'tls', 'ws', 'wss'] as const;
export type Transport = (typeof transports)[number];

/** Made for these tests and trusted by nothing else; good for localhost until 2126. */
const testKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgokAd99nL/1/b/ngC
o+w0etxLjh4LGuBTaFd+Fhfotm+hRANCAATAD31II1ROTLCfI2hM+NxRSS95sD2T
JiYi0aeOzVR2Ppt+STu7Opw8MaQZp0+oyORgNL47sQNMkuciCegVdf7Z
-----END PRIVATE KEY-----
`;
export const testCertificate = `-----BEGIN CERTIFICATE-----
MIIBqTCCAU+gAwIBAgIUKcmYFC2b/KtoawttyCn3o6dUH+YwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQY291bnRlcnNpZ24gdGVzdDAgFw0yNjExMjEwNDA3NDJaGA8y
MTI2MTAyODA0MDc0MlowGzEZMBcGA1UEAwwQY291bnRlcnNpZ24gdGVzdDBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABMAPfUgjVE5MsJ8jaEz43FFJL3mwPZMmJiLR
p47NVHY+m35JO7s6nDwxpBmnT6jI5GA0vjuxA0yS5yIJ6BV1/tmjbzBtMB0GA1Ud
DgQWBBRLtt4EQ9/tnfPmQk5GHmhxwWLT0jAfBgNVHSMEGDAWgBRLtt4EQ9/tnfPm
Qk5GHmhxwWLT0jAPBgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9z
dIcEfwAAATAKBggqhkjOPQQDAgNIADBFAiEA8Z8GkVE3pKeLXhGCbZWDDJ8jpG4S
N/dFOA3jL5hmX5ECIDwMWKWf2J2tezRCYdLWvSfjvdMTMO0yomk2IB8jcsya
-----END CERTIFICATE-----
`;

/** Options of a listener: with the test's certificate where it takes one. */
export async function listenerOf(t: Test, type: Transport, options: object = {}) {
  if (type === 'tcp' || type === 'ws') return { type, port: 0, ...options };
  const directory = await temporaryDirectory(t);
  const certificateFile = join(directory, 'certificate.pem');
  const keyFile = join(directory, 'key.pem');
  writeFileSync(certificateFile, testCertificate);
  writeFileSync(keyFile, testKey);
  return { type, port: 0, certificateFile, keyFile, ...options };
}

/** A broker that listens for this transport only. */
export async function startBrokerOn(t: Test, type: Transport, options: BrokerOptions = {}): Promise<StartedBroker> {
  return startBroker(t, { ...options, listeners: [await listenerOf(t, type)] });
}

/** A connection on which bytes can be sent, by any transport; ended by force when the test ends. */
export async function dialOver(t: Test, type: Transport, port: number): Promise<WireClient> {
  const client = await openOver(type, port);
  t.teardown(() => client.reset());
  return client;
}

async function openOver(type: Transport, port: number): Promise<WireClient> {
  if (type === 'tcp') return WireClient.connect(port);
  if (type === 'tls') {
    const socket = connectTls({ port, host: '127.0.0.1', ca: testCertificate });
    await withDeadline(once(socket, 'secureConnect'), () => `no TLS connection to port ${port}`);
    return new WireClient(socket);
  }
  const webSocket = webSocketTo(port, { type });
  const stream = createWebSocketStream(webSocket);
  await withDeadline(once(webSocket, 'open'), () => `no WebSocket to port ${port}`);
  return new WireClient(stream);
}

export interface WebSocketFields {
  readonly type?: 'ws' | 'wss';
  readonly path?: string;
  readonly protocols?: string[];
  readonly options?: ClientOptions;
}

/** A WebSocket that begins to open. */
export function webSocketTo(port: number, fields: WebSocketFields = {}): WebSocket {
  const { type = 'ws', path = '/mqtt', protocols = ['mqtt'], options = {} } = fields;
  return new WebSocket(`${type}://127.0.0.1:${port}${path}`, protocols, { ca: testCertificate, ...options });
}
