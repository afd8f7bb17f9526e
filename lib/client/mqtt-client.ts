/** User properties as MQTT.js has them: a name given more than once has a list. */
export type UserProperties = Readonly<Record<string, string | readonly string[]>>;

/** The properties of a PUBLISH as MQTT.js takes them. */
export interface PublishPacketProperties {
  payloadFormatIndicator?: boolean;
  messageExpiryInterval?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Buffer;
  userProperties?: Record<string, string | string[]>;
}

/** What is looked at in a packet that came; every packet of MQTT.js fits. */
export interface ReceivedPacket {
  readonly cmd: string;
  readonly messageId?: number | undefined;
  readonly reasonCode?: number | undefined;
  readonly sessionPresent?: boolean | undefined;
  readonly properties?:
    | { readonly reasonString?: string | undefined; readonly userProperties?: UserProperties | undefined }
    | undefined;
}

/** A message that came, as MQTT.js' `message` event and `handleMessage` have it. */
export interface ReceivedMessage {
  readonly retain?: boolean | undefined;
  readonly dup?: boolean | undefined;
  readonly properties?:
    | {
        readonly responseTopic?: string | undefined;
        readonly correlationData?: Uint8Array | undefined;
        readonly userProperties?: UserProperties | undefined;
      }
    | undefined;
}

/** What is used of a connected MQTT.js client (version 5 of MQTT.js, MQTT 5): any `MqttClient` fits. */
export interface MqttClientLike {
  readonly options: {
    readonly protocolVersion?: number | undefined;
    readonly reconnectPeriod?: number | undefined;
    readonly properties?:
      | { readonly requestProblemInformation?: boolean | undefined; readonly maximumPacketSize?: number | undefined }
      | undefined;
  };
  getLastMessageId(): number;
  publish(
    topic: string,
    payload: string | Buffer,
    options: { qos: 0 | 1 | 2; retain: boolean; properties: PublishPacketProperties },
    callback: (error?: Error | null, packet?: { readonly messageId?: number }) => void,
  ): unknown;
  subscribe(
    filters: SubscriptionMap,
    options: { properties?: { userProperties: Record<string, string> } },
    callback: (error: Error | null, granted?: readonly { readonly qos: number }[]) => void,
  ): unknown;
  unsubscribe(filter: string, callback: (error?: Error) => void): unknown;
  on(event: 'packetreceive', listener: (packet: ReceivedPacket) => void): unknown;
  on(event: 'message', listener: (topic: string, payload: Buffer, packet: ReceivedMessage) => void): unknown;
  on(event: 'connect' | 'close' | 'end', listener: () => void): unknown;
  removeListener(event: 'packetreceive', listener: (packet: ReceivedPacket) => void): unknown;
  removeListener(
    event: 'message',
    listener: (topic: string, payload: Buffer, packet: ReceivedMessage) => void,
  ): unknown;
  removeListener(event: 'connect' | 'close' | 'end', listener: () => void): unknown;
}

/** Filters to subscribe to. `resubscribe` makes MQTT.js ask even for those that it has subscribed to before. */
export type SubscriptionMap = { [filter: string]: { qos: 0 | 1 | 2; rh: number } } & { resubscribe?: boolean };

/** The last value of a user property: the broker's own come after the publisher's. */
export function userProperty(properties: UserProperties | undefined, name: string): string | undefined {
  const value = properties?.[name];
  return typeof value === 'string' || value === undefined ? value : value[value.length - 1];
}
