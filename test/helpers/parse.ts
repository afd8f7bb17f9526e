import assert from 'node:assert/strict';
import type { Version } from './packets.js';

/** Packets taken apart byte by byte, without the broker's own codec, for tests that must not share its mistakes. */

/** One property: its identifier and the bytes of its value, lengths included. */
export interface ParsedProperty {
  readonly id: number;
  readonly value: Buffer;
}

/** How long each property's value is: bytes, or by the length field that it begins with. */
const fixedSizes: Readonly<Record<number, number>> = {
  ...{ 1: 1, 2: 4, 17: 4, 19: 2, 23: 1, 24: 4, 25: 1, 33: 2, 34: 2, 35: 2, 36: 1, 37: 1, 39: 4, 40: 1, 41: 1, 42: 1 },
};

/** Reads a packet front to back; fails where it ends too early. */
export class ByteReader {
  readonly bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  get rest(): Buffer {
    return this.bytes.subarray(this.at);
  }

  byte(): number {
    return this.take(1)[0];
  }

  uint16(): number {
    return this.take(2).readUInt16BE();
  }

  variable(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  take(length: number): Buffer {
    assert.ok(this.at + length <= this.bytes.length, `the packet ends early: ${this.bytes.toString('hex')}`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  field(): Buffer {
    return this.take(this.uint16());
  }

  /** The properties with their length; none before version 5. */
  properties(version: Version): ParsedProperty[] {
    if (version < 5) return [];
    const end = this.variable() + this.at;
    const list: ParsedProperty[] = [];
    while (this.at < end) {
      const id = this.byte();
      const start = this.at;
      this.skipValue(id);
      list.push({ id, value: this.bytes.subarray(start, this.at) });
    }
    assert.equal(this.at, end, 'the properties end where their length says');
    return list;
  }

  private skipValue(id: number): void {
    const size = fixedSizes[id];
    if (size !== undefined) this.take(size);
    else if (id === 11) this.variable();
    else {
      this.field();
      if (id === 38) this.field();
    }
  }
}

/** Skips the fixed header and checks that the remaining length is the packet's. */
function bodyOf(packet: Buffer): ByteReader {
  const reader = new ByteReader(packet, 1);
  assert.equal(reader.variable(), reader.rest.length, 'the remaining length');
  return reader;
}

/** The text of a property that is a string; undefined if it is not there. */
export function textOf(properties: readonly ParsedProperty[], id: number): string | undefined {
  return properties
    .find((property) => property.id === id)
    ?.value.subarray(2)
    .toString();
}

/** The value of a property that is a number; undefined if it is not there. */
export function numberOf(properties: readonly ParsedProperty[], id: number): number | undefined {
  const found = properties.find((property) => property.id === id);
  return found?.value.readUIntBE(0, found.value.length);
}

/** User properties in order. */
export function pairsOf(properties: readonly ParsedProperty[]): string[][] {
  return properties
    .filter(({ id }) => id === 0x26)
    .map(({ value }) => {
      const reader = new ByteReader(value);
      return [reader.field().toString(), reader.field().toString()];
    });
}

export interface ParsedConnack {
  readonly flags: number;
  readonly code: number;
  readonly properties: readonly ParsedProperty[];
}

export function parseConnack(packet: Buffer, version: Version = 5): ParsedConnack {
  assert.equal(packet[0], 0x20, `CONNACK: ${packet.toString('hex')}`);
  const reader = bodyOf(packet);
  const parsed = { flags: reader.byte(), code: reader.byte(), properties: reader.properties(version) };
  assert.equal(reader.rest.length, 0, 'nothing behind the fields of CONNACK');
  return parsed;
}

export interface ParsedDisconnect {
  readonly code: number;
  readonly properties: readonly ParsedProperty[];
}

export function parseDisconnect(packet: Buffer): ParsedDisconnect {
  assert.equal(packet[0], 0xe0, `DISCONNECT: ${packet.toString('hex')}`);
  const reader = bodyOf(packet);
  const code = reader.rest.length === 0 ? 0 : reader.byte();
  return { code, properties: reader.rest.length === 0 ? [] : reader.properties(5) };
}

export interface ParsedSuback {
  readonly packetId: number;
  readonly properties: readonly ParsedProperty[];
  readonly codes: readonly number[];
}

/** SUBACK, or UNSUBACK, which before version 5 has no codes. */
export function parseSuback(packet: Buffer, version: Version = 5): ParsedSuback {
  assert.match(packet.toString('hex', 0, 1), /^(90|b0)$/, `SUBACK or UNSUBACK: ${packet.toString('hex')}`);
  const reader = bodyOf(packet);
  return { packetId: reader.uint16(), properties: reader.properties(version), codes: [...reader.rest] };
}
