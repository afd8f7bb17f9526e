import { ProtocolError } from '../base/errors.js';
import { ReasonCode } from '../spec/reason-codes.js';

/** The topic aliases one client has set on one connection. They end with it. @see MQTT 5 §3.3.2.3.4 */
export class InboundTopicAliases {
  /** Made at first use. */
  private topics: Map<number, string> | null = null;
  private readonly maximum: number;

  constructor(maximum: number) {
    this.maximum = maximum;
  }

  /**
   * The topic name of a PUBLISH with an alias.
   * @param topicName as it stands in the packet, empty if only the alias does
   */
  resolve(alias: number, topicName: string): string {
    if (alias > this.maximum) {
      // [MQTT-3.2.2-17] [MQTT-3.2.2-18] [MQTT-3.3.2-9]
      throw new ProtocolError(
        ReasonCode.topicAliasInvalid,
        `topic alias ${alias} above the maximum of ${this.maximum}`,
      );
    }
    if (topicName !== '') {
      this.topics ??= new Map();
      this.topics.set(alias, topicName);
      return topicName;
    }
    const known = this.topics?.get(alias);
    if (known === undefined) {
      // [MQTT-3.3.2-7]
      throw new ProtocolError(ReasonCode.protocolError, `topic alias ${alias} is not set on this connection`);
    }
    return known;
  }
}
