import type { ProtocolVersion } from '../../../lib/spec/packet-types.js';

/** One packet of a client and what it says; every field of the description is compared. */
export interface Vector {
  readonly title: string;
  readonly version: ProtocolVersion;
  readonly bytes: Buffer;
  readonly packet: Record<string, unknown>;
  /** False if our encoder writes the same otherwise. */
  readonly asWritten?: false;
}
