import type { ProtocolVersion, QoS } from '../spec/packet-types.js';

/** The Will Message of a CONNECT. Buffers are copies of what was received. @see MQTT 5 §3.1.3.2 */
export interface WillRequest {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Will Delay Interval; 0 when absent and for 3.x. */
  readonly delaySeconds: number;
  /** -1 when absent. */
  readonly messageExpirySeconds: number;
  /** Will properties as a PUBLISH would have them on the wire, in order, without will delay, expiry and length. */
  readonly properties: Buffer;
  readonly userProperties: readonly [string, string][];
}

/** @see MQTT 5 §3.1 */
export interface ConnectPacket {
  readonly version: ProtocolVersion;
  /** The client set the bridge bit in its protocol level: keep RETAIN, no echo. 3.x only. */
  readonly bridge: boolean;
  /** May be empty: whether one is assigned depends on version and Clean Start. */
  readonly clientId: string;
  readonly cleanStart: boolean;
  readonly keepAliveSeconds: number;
  readonly userName: string | null;
  readonly password: Buffer | null;
  readonly will: WillRequest | null;
  /** null when absent. From 3.x: 0 with CleanSession, else 0xFFFFFFFF. */
  readonly sessionExpirySeconds: number | null;
  readonly receiveMaximum: number;
  /** 0 for none. */
  readonly maximumPacketSize: number;
  readonly topicAliasMaximum: number;
  readonly requestResponseInformation: boolean;
  readonly requestProblemInformation: boolean;
  readonly authenticationMethod: string | null;
  readonly authenticationData: Buffer | null;
  readonly userProperties: readonly [string, string][];
}

/** One Topic Filter of a SUBSCRIBE, not yet checked for the place of its wildcards. @see MQTT 5 §3.8.3 */
export interface SubscriptionRequest {
  readonly topicFilter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

/** @see MQTT 5 §3.8 */
export interface SubscribePacket {
  readonly packetId: number;
  /** 0 for none. */
  readonly subscriptionId: number;
  readonly userProperties: readonly [string, string][];
  readonly subscriptions: SubscriptionRequest[];
}

/** @see MQTT 5 §3.10 */
export interface UnsubscribePacket {
  readonly packetId: number;
  readonly userProperties: readonly [string, string][];
  readonly topicFilters: string[];
}

/** @see MQTT 5 §3.14 */
export interface DisconnectPacket {
  readonly reasonCode: number;
  readonly sessionExpirySeconds: number | null;
  readonly reasonString: string | null;
}

/** @see MQTT 5 §3.15 */
export interface AuthPacket {
  readonly reasonCode: number;
  readonly authenticationMethod: string | null;
  readonly authenticationData: Buffer | null;
  readonly reasonString: string | null;
  readonly userProperties: readonly [string, string][];
}

/** What a CONNACK to MQTT 5 may carry besides its code. Absent, undefined: not sent. @see MQTT 5 §3.2.2.3 */
export interface ConnackProperties {
  readonly sessionExpirySeconds?: number | undefined;
  readonly receiveMaximum?: number | undefined;
  readonly maximumQos?: 0 | 1 | undefined;
  readonly retainAvailable?: boolean | undefined;
  readonly maximumPacketSize?: number | undefined;
  readonly assignedClientId?: string | undefined;
  readonly topicAliasMaximum?: number | undefined;
  readonly reasonString?: string | null | undefined;
  readonly userProperties?: readonly (readonly [string, string])[] | undefined;
  readonly wildcardSubscriptionAvailable?: boolean | undefined;
  readonly subscriptionIdentifiersAvailable?: boolean | undefined;
  readonly sharedSubscriptionAvailable?: boolean | undefined;
  readonly serverKeepAlive?: number | undefined;
  readonly responseInformation?: string | undefined;
  readonly serverReference?: string | undefined;
  readonly authenticationMethod?: string | undefined;
  readonly authenticationData?: Buffer | undefined;
}

/** @see MQTT 5 §3.2 */
export interface ConnackFields {
  readonly sessionPresent: boolean;
  readonly reasonCode: number;
  readonly properties?: ConnackProperties | undefined;
}
