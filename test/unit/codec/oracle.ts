import { type Packet, parser } from 'mqtt-packet';
import type { ProtocolVersion } from '../../../lib/spec/packet-types.js';

/** What mqtt-packet makes of these bytes: its packets, or the error it ends with. */
export function oracle(bytes: Buffer, version: ProtocolVersion): Packet[] | Error {
  const packets: Packet[] = [];
  let failure: Error | null = null;
  const parse = parser({ protocolVersion: version });
  parse.on('packet', (packet) => packets.push(packet));
  parse.on('error', (error: Error) => {
    failure ??= error;
  });
  try {
    parse.parse(bytes);
  } catch (error) {
    return error as Error;
  }
  return failure ?? packets;
}

/** The one packet mqtt-packet finds. */
export function oraclePacket(bytes: Buffer, version: ProtocolVersion): Record<string, unknown> {
  const found = oracle(bytes, version);
  if (found instanceof Error) throw found;
  if (found.length !== 1) throw new Error(`mqtt-packet finds ${found.length} packets`);
  return found[0] as unknown as Record<string, unknown>;
}
