import assert from 'node:assert/strict';
import type { Test } from 'tap';
import {
  ack,
  type ConnectFields,
  connect,
  frame,
  type PublishFields,
  properties,
  publish,
  type SubscribeFields,
  subscribe,
  uint16,
  unsubscribe,
  type Version,
} from './packets.js';
import { WireClient } from './wire-client.js';

/** The versions whose scripts are the same. */
export const versions = [4, 5] as const;

export type ClientFields = ConnectFields & {
  /** What CONNACK must say; false unless told. */
  readonly sessionPresent?: boolean;
};

/** Connects and takes a successful CONNACK; cut when the test ends. */
export async function connected(t: Test, port: number, fields: ClientFields = {}): Promise<WireClient> {
  const client = await WireClient.connect(port);
  t.teardown(() => client.reset());
  client.send(connect(fields));
  const connack = await client.packet();
  assert.equal(connack[0], 0x20, 'CONNACK');
  assert.equal(connack[3], 0, 'the client is accepted');
  assert.equal(connack[2] === 1, fields.sessionPresent ?? false, 'Session Present');
  return client;
}

/** Connects with a session that outlives the connection. */
export function connectedToSession(t: Test, port: number, clientId: string, fields: ClientFields = {}) {
  const list = [...(fields.properties ?? []), Buffer.from('1100000e10', 'hex')];
  const version = fields.version ?? 5;
  const resumable = version === 5 ? { ...fields, properties: list } : fields;
  return connected(t, port, { clientId, cleanStart: false, ...resumable });
}

/** SUBACK without properties. */
export function suback(packetId: number, codes: readonly number[], version: Version = 5): Buffer {
  return frame(0x90, uint16(packetId), properties(version), Buffer.from(codes));
}

/** UNSUBACK without properties; before version 5 without codes. */
export function unsuback(packetId: number, codes: readonly number[], version: Version = 5): Buffer {
  return frame(0xb0, uint16(packetId), properties(version), Buffer.from(version === 5 ? codes : []));
}

/** Subscribes; every filter must be granted as asked. */
export async function subscribed(client: WireClient, fields: SubscribeFields): Promise<void> {
  const granted = fields.filters.map(([, options]) => options & 3);
  client.send(subscribe(fields));
  await client.expect(suback(fields.packetId ?? 1, granted, fields.version));
}

/** Unsubscribes filters that there are. */
export async function unsubscribed(client: WireClient, filters: readonly string[], version: Version = 5) {
  client.send(unsubscribe({ filters, version }));
  await client.expect(unsuback(1, filters.map(() => 0), version)); // biome-ignore format: one line
}

/**
 * Publishes and sees it through, so that the broker has dealt with it: PUBACK, or PUBREC, PUBREL and PUBCOMP, or at
 * QoS 0 a PINGREQ.
 */
export async function published(client: WireClient, fields: PublishFields): Promise<void> {
  const { qos = 0, packetId = 1 } = fields;
  client.send(publish(fields));
  if (qos === 0) await client.expectNothing();
  if (qos === 1) await client.expect(ack('puback', packetId));
  if (qos < 2) return;
  await client.expect(ack('pubrec', packetId));
  client.send(ack('pubrel', packetId));
  await client.expect(ack('pubcomp', packetId));
}

/** A PUBLISH that came, taken apart. */
export interface Received {
  readonly topic: string;
  readonly qos: number;
  readonly dup: boolean;
  readonly retain: boolean;
  /** 0 at QoS 0. */
  readonly packetId: number;
  /** Each property as it stood, identifier included. */
  readonly properties: readonly Buffer[];
  readonly payload: string;
  readonly bytes: Buffer;
}

/** The next packet, which must be a PUBLISH. */
export async function received(client: WireClient, version: Version = 5): Promise<Received> {
  const bytes = await client.packet();
  assert.equal(bytes[0] >> 4, 3, `a PUBLISH was expected: ${bytes.subarray(0, 32).toString('hex')}`);
  const qos = (bytes[0] >> 1) & 3;
  let at = 1 + variableSize(bytes, 1);
  const topicEnd = at + 2 + bytes.readUInt16BE(at);
  const topic = bytes.toString('utf8', at + 2, topicEnd);
  const packetId = qos > 0 ? bytes.readUInt16BE(topicEnd) : 0;
  at = topicEnd + (qos > 0 ? 2 : 0);
  let list: Buffer[] = [];
  if (version === 5) {
    const start = at + variableSize(bytes, at);
    const end = start + readVariable(bytes, at);
    list = splitProperties(bytes.subarray(start, end));
    at = end;
  }
  const flags = { qos, dup: (bytes[0] & 8) !== 0, retain: (bytes[0] & 1) !== 0 };
  return { topic, ...flags, packetId, properties: list, payload: bytes.toString('utf8', at), bytes };
}

/** The payloads of the next messages, each acknowledged in full. */
export async function payloads(client: WireClient, count: number, version: Version = 5): Promise<string[]> {
  const all: string[] = [];
  while (all.length < count) {
    const message = await received(client, version);
    await acknowledged(client, message);
    all.push(message.payload);
  }
  return all;
}

/** Acknowledges a message as its QoS asks; nothing else may be on its way to the client at QoS 2. */
export async function acknowledged(client: WireClient, { qos, packetId }: Received): Promise<void> {
  if (qos === 1) client.send(ack('puback', packetId));
  if (qos < 2) return;
  client.send(ack('pubrec', packetId));
  await client.expect(ack('pubrel', packetId));
  client.send(ack('pubcomp', packetId));
}

/** The next packet must be this acknowledgement, with or without properties; returns the whole packet. */
export async function expectAck(
  client: WireClient,
  type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp',
  packetId: number,
  reasonCode: number,
): Promise<Buffer> {
  const packet = await client.packet();
  assert.equal(packet[0], { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 }[type], `a ${type}`);
  assert.equal(packet.readUInt16BE(2), packetId, 'packet identifier');
  assert.equal(packet.length > 4 ? packet[4] : 0, reasonCode, 'reason code');
  return packet;
}

/** The broker must close; to a client of version 5 it first says why. */
export async function expectDisconnect(client: WireClient, reasonCode: number, version: Version = 5): Promise<void> {
  if (version === 5) {
    const packet = await client.packet();
    assert.equal(packet[0], 0xe0, `a DISCONNECT was expected: ${packet.subarray(0, 32).toString('hex')}`);
    const code = packet[1] === 0 ? 0 : packet[2];
    assert.equal(code.toString(16), reasonCode.toString(16), `reason code: ${packet.toString('latin1')}`);
  }
  await client.expectClose();
}

function readVariable(bytes: Buffer, at: number): number {
  let value = 0;
  for (let index = 0; ; index++) {
    value += (bytes[at + index] & 0x7f) * 128 ** index;
    if (bytes[at + index] < 0x80) return value;
  }
}

function variableSize(bytes: Buffer, at: number): number {
  let size = 1;
  while (bytes[at + size - 1] >= 0x80) size++;
  return size;
}

const fixedSizes: Readonly<Record<number, number>> = { 1: 1, 2: 4, 35: 2 };

/** The properties a PUBLISH may have, one by one. */
function splitProperties(bytes: Buffer): Buffer[] {
  const list: Buffer[] = [];
  const fieldSize = (at: number): number => 2 + bytes.readUInt16BE(at);
  for (let at = 0; at < bytes.length; at += list[list.length - 1].length) {
    const id = bytes[at];
    let size = fixedSizes[id];
    if (size === undefined && id === 0x0b) size = variableSize(bytes, at + 1);
    if (size === undefined) size = fieldSize(at + 1);
    if (id === 0x26) size += fieldSize(at + 1 + size);
    list.push(bytes.subarray(at, at + 1 + size));
  }
  return list;
}
