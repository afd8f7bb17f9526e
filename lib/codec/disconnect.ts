import type { ProtocolVersion } from '../spec/packet-types.js';
import { PropertyId } from '../spec/properties.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { clientDisconnectCodes, sendableCode, serverDisconnectCodes } from './allowed-reason-codes.js';
import type { DisconnectPacket } from './control-packets.js';
import { encodeWithin, sendableText, withoutAbsent } from './generate.js';
import { checkFlags, PacketReader, readProperties } from './packet-reader.js';
import { violation } from './violations.js';

/**
 * Reads the DISCONNECT `buffer[frameStart, end)` of a client; from 3.x it is always reason 0x00.
 * @throws ProtocolError 0x81 or 0x82
 * @see MQTT 5 §3.14
 */
export function decodeDisconnect(
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): DisconnectPacket {
  // [MQTT-3.14.1-1]
  checkFlags(buffer[frameStart], 0, version);
  const reader = new PacketReader(buffer, bodyStart, end);
  if (version !== 5) reader.expectEnd();
  if (reader.atEnd) {
    return { reasonCode: ReasonCode.success, sessionExpirySeconds: null, reasonString: null };
  }
  const reasonCode = reader.byte();
  // [MQTT-3.14.2-1]
  if (!clientDisconnectCodes.has(reasonCode)) {
    throw violation(`reason code 0x${reasonCode.toString(16)} in a client's DISCONNECT, §3.14.2.1`);
  }
  // with a remaining length below 2 there is no property length, §3.14.2.2.1
  if (reader.atEnd) return { reasonCode, sessionExpirySeconds: null, reasonString: null };
  const properties = readProperties(reader, 'disconnect', version);
  reader.expectEnd();
  if (properties.string(PropertyId.serverReference) !== null) {
    throw violation("Server Reference in a client's DISCONNECT, §3.14.2.2.5");
  }
  return {
    reasonCode,
    sessionExpirySeconds: properties.number(PropertyId.sessionExpiryInterval),
    reasonString: properties.string(PropertyId.reasonString),
  };
}

/**
 * Encodes a DISCONNECT for MQTT 5; other versions get none.
 * @param maximumPacketSize the reason string is left out above it; 0 for no limit
 * @see MQTT 5 §3.14
 */
export function encodeDisconnect(
  reasonCode: number,
  reasonString: string | null,
  maximumPacketSize: number,
  serverReference?: string,
): Buffer {
  const properties = withoutAbsent({ reasonString: sendableText(reasonString), serverReference });
  const code = sendableCode(reasonCode, serverDisconnectCodes);
  return encodeWithin({ cmd: 'disconnect', reasonCode: code, properties }, maximumPacketSize);
}
