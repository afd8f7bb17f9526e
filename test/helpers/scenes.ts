import assert from 'node:assert/strict';
import type { Test } from 'tap';
import { subscribed } from './client.js';
import { type ConnectFields, connect, property, type Version } from './packets.js';
import { type ParsedConnack, parseConnack } from './parse.js';
import { WireClient } from './wire-client.js';

/** What scripts of bytes have in common: how a client gets connected, and how a connection ends. */

/** Where a broker listens, whichever kind it is. */
export interface Port {
  readonly port: number;
}

/** A TCP connection, reset when the test ends. */
export async function dial(t: Test, { port }: Port): Promise<WireClient> {
  const client = await WireClient.connect(port);
  t.teardown(() => client.reset());
  return client;
}

/** A connection on which these bytes were sent first. */
export async function dialAndSend(t: Test, broker: Port, ...parts: readonly (string | Buffer)[]): Promise<WireClient> {
  const client = await dial(t, broker);
  client.send(...parts);
  return client;
}

/** Connects and takes the CONNACK, whatever it says. */
export async function greet(t: Test, broker: Port, fields: ConnectFields = {}): Promise<[WireClient, ParsedConnack]> {
  const client = await dialAndSend(t, broker, connect(fields));
  return [client, parseConnack(await client.packet(), fields.version)];
}

/** A client whose CONNECT was accepted; `present` is the Session Present flag it must have got, if given. */
export async function join(t: Test, broker: Port, fields: ConnectFields = {}, present?: boolean): Promise<WireClient> {
  const [client, { code, flags }] = await greet(t, broker, fields);
  assert.equal(code, 0, 'CONNACK accepts');
  if (present !== undefined) assert.equal(flags, present ? 1 : 0, 'Session Present');
  return client;
}

/** A session that lasts: for version 5 an expiry of `seconds`, before it CleanSession 0. */
export function lasting(version: Version, clientId: string, seconds = 0xffffffff): ConnectFields {
  const properties = version === 5 ? [property.sessionExpiryInterval(seconds)] : [];
  return { version, clientId, cleanStart: false, properties };
}

/** A version 5 client that sees everything published under the filter, at QoS 2 as it comes. */
export async function watch(t: Test, broker: Port, filter: string): Promise<WireClient> {
  const watcher = await join(t, broker);
  await subscribed(watcher, { filters: [[filter, 2]] });
  return watcher;
}

/** The broker must refuse CONNECT: CONNACK with the code, or for `silent` nothing, then the close. */
export async function expectRefused(client: WireClient, code: number | 'silent', version: Version = 5): Promise<void> {
  if (code !== 'silent') {
    const connack = parseConnack(await client.packet(), version);
    assert.deepEqual([connack.flags, hexOf(connack.code)], [0, hexOf(code)], 'CONNACK refuses');
  }
  await client.expectClose();
}

function hexOf(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`;
}

/** One test for each version, which stands in its title. */
export function forVersions(
  t: Test,
  versions: readonly Version[],
  title: string,
  script: (t: Test, version: Version) => Promise<void>,
): void {
  const names = { 3: 'MQTT 3.1', 4: 'MQTT 3.1.1', 5: 'MQTT 5' } as const;
  for (const version of versions) t.test(`${title} (${names[version]})`, (t) => script(t, version));
}
