import { ProtocolError } from '../base/errors.js';
import { uint16Max } from '../spec/limits.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { parseSharedFilter } from './names.js';

/**
 * The part of the topic tree that clients of one listener live in: their topics begin with a prefix they never see.
 *
 *     the client's           the broker's
 *     cmd/7                  plant-a/cmd/7
 *     $share/g/cmd/+         $share/g/plant-a/cmd/+
 *     $SYS/broker/uptime     $SYS/broker/uptime
 */
export class MountPoint {
  /** Ends with a slash, has no wildcard and does not begin with `$`. */
  readonly prefix: string;
  /** First levels of topics that are the broker's own, and the same for everybody. */
  private readonly reserved: readonly string[];

  constructor(prefix: string, reserved: readonly string[]) {
    this.prefix = prefix;
    this.reserved = reserved;
  }

  /** The broker's name for a topic that a client names; an empty one, which stands for an alias, stays empty. */
  topic(name: string): string {
    return name === '' || this.isReserved(name) ? name : this.bounded(this.prefix + name);
  }

  /** The same for a topic filter; a malformed shared one stays as it is, to be refused. */
  filter(topicFilter: string): string {
    const shared = parseSharedFilter(topicFilter);
    if (shared === 'invalid') return topicFilter;
    if (shared === null) return this.topic(topicFilter);
    return this.bounded(`$share/${shared.group}/${this.topic(shared.topicFilter)}`);
  }

  /** True if clients may be sent this topic: it is under the prefix, or the broker's own. */
  sees(topicName: string): boolean {
    return this.isBelow(topicName) || this.isReserved(topicName);
  }

  /** The clients' name for a topic; what is not under the prefix keeps its own. */
  shown(topicName: string): string {
    return this.isBelow(topicName) ? topicName.slice(this.prefix.length) : topicName;
  }

  /**
   * True if a topic begins with `$` for its clients, and a filter with a wildcard: the two do not match.
   * @param topicFilter the broker's name for it, `$share/…` included
   * @see MQTT-4.7.2-1
   */
  hides(topicName: string, topicFilter: string): boolean {
    if (topicName[this.prefix.length] !== '$' || !topicName.startsWith(this.prefix)) return false;
    const shared = parseSharedFilter(topicFilter);
    const filter = this.shown(shared === null || shared === 'invalid' ? topicFilter : shared.topicFilter);
    return filter.startsWith('+') || filter.startsWith('#');
  }

  /** The prefix alone would leave an empty name. [MQTT-4.7.3-1] */
  private isBelow(topicName: string): boolean {
    return topicName.length > this.prefix.length && topicName.startsWith(this.prefix);
  }

  private isReserved(name: string): boolean {
    return this.reserved.some((level) => name.startsWith(level) && (name[level.length] ?? '/') === '/');
  }

  /** [MQTT-1.5.4] a string has 65 535 bytes at most */
  private bounded(name: string): string {
    if (name.length * 3 <= uint16Max || Buffer.byteLength(name) <= uint16Max) return name;
    throw new ProtocolError(ReasonCode.topicNameInvalid, 'a topic too long for the mount point of this listener');
  }
}
