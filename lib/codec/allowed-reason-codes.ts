import { firstFailureCode, ReasonCode } from '../spec/reason-codes.js';

/** Reason codes of PUBACK and PUBREC. @see MQTT 5 §3.4.2.1, §3.5.2.1 */
export const pubackCodes: ReadonlySet<number> = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
/** Reason codes of PUBREL and PUBCOMP. @see MQTT 5 §3.6.2.1, §3.7.2.1 */
export const pubrelCodes: ReadonlySet<number> = new Set([0x00, 0x92]);
/** Reason codes of CONNACK. @see MQTT 5 §3.2.2.2 */
export const connackCodes: ReadonlySet<number> = new Set([
  0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
  0x9c, 0x9d, 0x9f,
]);
/** Reason codes of SUBACK. @see MQTT 5 §3.9.3 */
export const subackCodes: ReadonlySet<number> = new Set([
  0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2,
]);
/** Reason codes of UNSUBACK. @see MQTT 5 §3.11.3 */
export const unsubackCodes: ReadonlySet<number> = new Set([0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]);
/** Reason codes a client may give in DISCONNECT. @see MQTT 5 §3.14.2.1 */
export const clientDisconnectCodes: ReadonlySet<number> = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
]);
/** Reason codes a server may give in DISCONNECT. @see MQTT 5 §3.14.2.1 */
export const serverDisconnectCodes: ReadonlySet<number> = new Set([
  0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
  0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
]);
/** Reason codes a client may give in AUTH. @see MQTT 5 §3.15.2.1 */
export const clientAuthCodes: ReadonlySet<number> = new Set([0x18, 0x19]);

/** Codes the broker uses inside that a packet cannot carry, and what comes closest. */
const nearest = new Map<number, number>([
  [ReasonCode.serverShuttingDown, ReasonCode.serverUnavailable],
  [ReasonCode.serverUnavailable, ReasonCode.serverBusy],
  [ReasonCode.badAuthenticationMethod, ReasonCode.protocolError],
  [ReasonCode.badUserNameOrPassword, ReasonCode.notAuthorized],
]);

/** `code` if the packet may carry it, else the nearest code it may, so that no path can put an undefined one out. */
export function sendableCode(code: number, allowed: ReadonlySet<number>): number {
  if (allowed.has(code)) return code;
  const near = nearest.get(code);
  if (near !== undefined && allowed.has(near)) return near;
  return code >= firstFailureCode ? ReasonCode.unspecifiedError : ReasonCode.success;
}
