import type { QoS } from '../spec/packet-types.js';

/**
 * An application message as the broker keeps it: immutable, free of any connection's aliases and packet identifiers.
 */
export interface Message {
  /** Identity and place in the order of acceptance; rises over restarts. Below 2^53. */
  readonly sequence: number;
  readonly topicName: string;
  readonly payload: Buffer;
  /**
   * Properties that are forwarded (payload format, content type, response topic, correlation data, user properties),
   * in wire form and in their order, without the length before them. Empty for messages without.
   */
  readonly properties: Buffer;
  /** QoS of the publish; a delivery may have less. */
  readonly qos: QoS;
  /** RETAIN as published. */
  readonly retain: boolean;
  /** When the message expires, ms since the epoch; 0 for never. */
  readonly expiryAtMs: number;
  /** Client identifier of the publisher, for No Local and receipts. */
  readonly publisherId: string;
  /** True if deliveries of this message are recorded and told in receipts. */
  readonly tracked: boolean;
}
