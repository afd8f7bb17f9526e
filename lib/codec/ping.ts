import type { ProtocolVersion } from '../spec/packet-types.js';
import { checkFlags } from './packet-reader.js';
import { malformed } from './violations.js';

/** Checks the PINGREQ `buffer[frameStart, end)`. @throws ProtocolError 0x81 @see MQTT 5 §3.12 */
export function decodePingreq(
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): void {
  checkFlags(buffer[frameStart], 0, version);
  if (bodyStart !== end) throw malformed('PINGREQ with a body, §3.12');
}

/** The answer to PINGREQ, in all versions. @see MQTT 5 §3.13 */
export const pingresp: Buffer = Buffer.from([0xd0, 0]);
