import type { ProtocolVersion } from '../spec/packet-types.js';
import { firstFailureCode, ReasonCode } from '../spec/reason-codes.js';
import { connackCodes, sendableCode } from './allowed-reason-codes.js';
import type { ConnackFields, ConnackProperties } from './control-packets.js';
import { encodeWithin, groupByName, sendableText, withoutAbsent } from './generate.js';

/** Return codes of MQTT 3.x by reason code; for the others nothing may be sent. @see MQTT 3.1.1 §3.2.2.3 */
const returnCodes = new Map<number, number>([
  [ReasonCode.success, 0],
  [ReasonCode.unsupportedProtocolVersion, 1],
  [ReasonCode.clientIdentifierNotValid, 2],
  [ReasonCode.serverUnavailable, 3],
  [ReasonCode.serverBusy, 3],
  [ReasonCode.serverShuttingDown, 3],
  [ReasonCode.quotaExceeded, 3],
  [ReasonCode.useAnotherServer, 3],
  [ReasonCode.serverMoved, 3],
  [ReasonCode.connectionRateExceeded, 3],
  [ReasonCode.badUserNameOrPassword, 4],
  [ReasonCode.notAuthorized, 5],
  [ReasonCode.banned, 5],
  [ReasonCode.badAuthenticationMethod, 5],
]);

/**
 * Encodes a CONNACK; null if none may be sent: a refusal that 3.x has no code for, or a packet above
 * `maximumPacketSize` (0: no limit) even without reason string and user properties.
 * @see MQTT 5 §3.2
 */
export function encodeConnack(
  fields: ConnackFields,
  version: ProtocolVersion,
  maximumPacketSize: number,
): Buffer | null {
  // [MQTT-3.2.2-6]
  const sessionPresent = fields.sessionPresent && fields.reasonCode < firstFailureCode;
  if (version !== 5) {
    const returnCode = returnCodes.get(fields.reasonCode);
    if (returnCode === undefined) return null;
    return Buffer.from([0x20, 2, sessionPresent && version === 4 ? 1 : 0, returnCode]);
  }
  const bytes = encodeWithin(
    {
      cmd: 'connack',
      sessionPresent,
      // [MQTT-3.2.2-8]
      reasonCode: sendableCode(fields.reasonCode, connackCodes),
      properties: connackProperties(fields.properties ?? {}),
    },
    maximumPacketSize,
  );
  // [MQTT-3.1.2-24]
  return maximumPacketSize > 0 && bytes.length > maximumPacketSize ? null : bytes;
}

/** The properties under mqtt-packet's names. */
function connackProperties(properties: ConnackProperties) {
  return withoutAbsent({
    sessionExpiryInterval: properties.sessionExpirySeconds,
    receiveMaximum: properties.receiveMaximum,
    maximumQoS: properties.maximumQos,
    retainAvailable: properties.retainAvailable,
    maximumPacketSize: properties.maximumPacketSize,
    assignedClientIdentifier: properties.assignedClientId,
    topicAliasMaximum: properties.topicAliasMaximum,
    reasonString: sendableText(properties.reasonString),
    userProperties: groupByName(properties.userProperties),
    wildcardSubscriptionAvailable: properties.wildcardSubscriptionAvailable,
    subscriptionIdentifiersAvailable: properties.subscriptionIdentifiersAvailable,
    sharedSubscriptionAvailable: properties.sharedSubscriptionAvailable,
    serverKeepAlive: properties.serverKeepAlive,
    responseInformation: properties.responseInformation,
    serverReference: properties.serverReference,
    authenticationMethod: properties.authenticationMethod,
    authenticationData: properties.authenticationData,
  });
}
