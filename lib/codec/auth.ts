import type { ProtocolVersion } from '../spec/packet-types.js';
import { PropertyId } from '../spec/properties.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { clientAuthCodes } from './allowed-reason-codes.js';
import type { AuthPacket } from './control-packets.js';
import { encodeWithin, sendableText, withoutAbsent } from './generate.js';
import { checkFlags, PacketReader, readProperties } from './packet-reader.js';
import { malformed, violation } from './violations.js';

/**
 * Reads the AUTH `buffer[frameStart, end)` of a client. It has a method; whether that is the CONNECT's is for the
 * caller.
 * @throws ProtocolError 0x81 or 0x82
 * @see MQTT 5 §3.15
 */
export function decodeAuth(
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): AuthPacket {
  if (version !== 5) throw malformed('packet type 15 in 3.x');
  // [MQTT-3.15.1-1]
  checkFlags(buffer[frameStart], 0, version);
  const reader = new PacketReader(buffer, bodyStart, end);
  const reasonCode = reader.atEnd ? ReasonCode.success : reader.byte();
  // [MQTT-3.15.2-1]
  if (!clientAuthCodes.has(reasonCode)) {
    throw violation(`reason code 0x${reasonCode.toString(16)} in a client's AUTH, §3.15.2.1`);
  }
  const properties = readProperties(reader, 'auth', version);
  reader.expectEnd();
  const authenticationMethod = properties.string(PropertyId.authenticationMethod);
  // [MQTT-4.12.0-5]
  if (authenticationMethod === null) throw violation('AUTH without Authentication Method, §3.15.2.2.2');
  return {
    reasonCode,
    authenticationMethod,
    authenticationData: properties.binary(PropertyId.authenticationData),
    reasonString: properties.string(PropertyId.reasonString),
    userProperties: properties.userProperties,
  };
}

/**
 * Encodes an AUTH.
 * @param maximumPacketSize the reason string is left out above it; 0 for no limit
 * @see MQTT 5 §3.15
 */
export function encodeAuth(
  reasonCode: number,
  method: string,
  data: Buffer | null,
  reasonString: string | null,
  maximumPacketSize: number,
): Buffer {
  const properties = withoutAbsent({
    authenticationMethod: method,
    authenticationData: data,
    reasonString: sendableText(reasonString),
  });
  return encodeWithin({ cmd: 'auth', reasonCode, properties }, maximumPacketSize); // [MQTT-3.15.2-2] [MQTT-3.15.2-3]
}
