import type { PacketType } from './packet-types.js';

/** Property identifiers. @see MQTT 5 §2.2.2.2 */
export const PropertyId = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiryInterval: 0x11,
  assignedClientIdentifier: 0x12,
  serverKeepAlive: 0x13,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelayInterval: 0x18,
  requestResponseInformation: 0x19,
  responseInformation: 0x1a,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  wildcardSubscriptionAvailable: 0x28,
  subscriptionIdentifierAvailable: 0x29,
  sharedSubscriptionAvailable: 0x2a,
} as const;
export type PropertyId = (typeof PropertyId)[keyof typeof PropertyId];

/** How a property's value is written. @see MQTT 5 §1.5 */
export type PropertyWireType = 'byte' | 'uint16' | 'uint32' | 'variable' | 'string' | 'binary' | 'pair';

/** Where a property may stand: a control packet, or the will inside CONNECT. */
export type PropertyCarrier = keyof typeof PacketType | 'will';

/** One row of the standard's table of properties. */
export interface PropertyDefinition {
  readonly id: PropertyId;
  readonly name: keyof typeof PropertyId;
  readonly wireType: PropertyWireType;
  readonly carriers: readonly PropertyCarrier[];
  /** May stand more than once in every carrier. (Subscription Identifier repeats only in a server's PUBLISH.) */
  readonly repeats: boolean;
  /** Smallest and largest number allowed, for numeric types. */
  readonly minimum: number;
  readonly maximum: number;
}

const acknowledgements = ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const;
const explained = ['connack', ...acknowledgements, 'suback', 'unsuback', 'disconnect', 'auth'] as const;
const everywhere = [...explained, 'connect', 'publish', 'will', 'subscribe', 'unsubscribe'] as const;

const largest: Record<PropertyWireType, number> = {
  byte: 0xff,
  uint16: 0xffff,
  uint32: 0xffffffff,
  variable: 268_435_455,
  string: 0,
  binary: 0,
  pair: 0,
};

function row(
  name: keyof typeof PropertyId,
  wireType: PropertyWireType,
  carriers: readonly PropertyCarrier[],
  minimum = 0,
  maximum = largest[wireType],
): PropertyDefinition {
  return { id: PropertyId[name], name, wireType, carriers, repeats: name === 'userProperty', minimum, maximum };
}

/** All properties of MQTT 5. @see MQTT 5 §2.2.2.2 table 2-4, and the sections of each packet for the ranges */
export const propertyDefinitions: readonly PropertyDefinition[] = [
  row('payloadFormatIndicator', 'byte', ['publish', 'will'], 0, 1),
  row('messageExpiryInterval', 'uint32', ['publish', 'will']),
  row('contentType', 'string', ['publish', 'will']),
  row('responseTopic', 'string', ['publish', 'will']),
  row('correlationData', 'binary', ['publish', 'will']),
  row('subscriptionIdentifier', 'variable', ['publish', 'subscribe'], 1),
  row('sessionExpiryInterval', 'uint32', ['connect', 'connack', 'disconnect']),
  row('assignedClientIdentifier', 'string', ['connack']),
  row('serverKeepAlive', 'uint16', ['connack']),
  row('authenticationMethod', 'string', ['connect', 'connack', 'auth']),
  row('authenticationData', 'binary', ['connect', 'connack', 'auth']),
  row('requestProblemInformation', 'byte', ['connect'], 0, 1),
  row('willDelayInterval', 'uint32', ['will']),
  row('requestResponseInformation', 'byte', ['connect'], 0, 1),
  row('responseInformation', 'string', ['connack']),
  row('serverReference', 'string', ['connack', 'disconnect']),
  row('reasonString', 'string', explained),
  row('receiveMaximum', 'uint16', ['connect', 'connack'], 1),
  row('topicAliasMaximum', 'uint16', ['connect', 'connack']),
  row('topicAlias', 'uint16', ['publish'], 1),
  row('maximumQos', 'byte', ['connack'], 0, 1),
  row('retainAvailable', 'byte', ['connack'], 0, 1),
  row('userProperty', 'pair', everywhere),
  row('maximumPacketSize', 'uint32', ['connect', 'connack'], 1),
  row('wildcardSubscriptionAvailable', 'byte', ['connack'], 0, 1),
  row('subscriptionIdentifierAvailable', 'byte', ['connack'], 0, 1),
  row('sharedSubscriptionAvailable', 'byte', ['connack'], 0, 1),
];
