import { ProtocolError } from '../base/errors.js';
import { ReasonCode } from '../spec/reason-codes.js';

/** The error for bytes that are no packet of this version: `throw malformed('...')`. @see MQTT 5 §4.13.1 */
export function malformed(message: string): ProtocolError {
  return new ProtocolError(ReasonCode.malformedPacket, message);
}

/** The error for a packet that can be read but breaks a rule: `throw violation('...')`. @see MQTT 5 §4.13.1 */
export function violation(message: string): ProtocolError {
  return new ProtocolError(ReasonCode.protocolError, message);
}
