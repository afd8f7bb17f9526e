import { decodeAck } from '../codec/acks.js';
import { decodePublish } from '../codec/publish.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import type { ConnectionParts } from './connection-parts.js';
import type { InboundTopicAliases } from './topic-aliases.js';

/**
 * Hands PUBLISH, `buffer[frameStart, end)`, to the broker.
 * @param aliases of the connection; null where the version has none
 * @throws ProtocolError if it is malformed
 */
export function takePublish(
  { core, publishView, topics }: ConnectionParts,
  session: Session,
  link: Link,
  aliases: InboundTopicAliases | null,
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
): void {
  decodePublish(publishView, buffer, frameStart, bodyStart, end, link.version);
  let topicName = topics.lookup(buffer, publishView.topicStart, publishView.topicEnd);
  const { topicAlias } = publishView;
  if (topicAlias > 0 && aliases !== null) topicName = aliases.resolve(topicAlias, topicName);
  core.publish(session, link, publishView, topicName);
}

/**
 * Hands PUBACK, PUBREC, PUBREL or PUBCOMP, `buffer[frameStart, end)`, to the broker.
 * @throws ProtocolError if it is malformed
 */
export function takeAck(
  { core, ackView }: ConnectionParts,
  session: Session,
  link: Link,
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
): void {
  const packetType = (buffer[frameStart] >> 4) as 4 | 5 | 6 | 7;
  decodeAck(ackView, buffer, packetType, buffer[frameStart], bodyStart, end, link.version);
  const { packetId, reasonCode, reasonStringStart, reasonStringEnd } = ackView;
  if (reasonCode !== 0) core.context.metrics.countReason(packetType, reasonCode);
  const reason = reasonStringEnd > 0 ? buffer.toString('utf8', reasonStringStart, reasonStringEnd) : null;
  core.acknowledge(session, link, packetType, packetId, reasonCode, reason);
}
