import { decodePublish, PublishView } from '../../lib/codec/publish.js';
import type { PublishFrame } from '../../lib/codec/publish-frame.js';
import type { ConnectionParts } from '../../lib/net/connection-parts.js';
import { type Link, LinkGates } from '../../lib/session/link.js';
import { connectPacket } from '../helpers/core-world.js';

/** A connection without a network: what the broker sends is there at once. */
class ProbeLink extends LinkGates implements Link {
  readonly version = 5;
  readonly maximumPacketSize = 0;
  readonly problemInformation = true;
  readonly address = 'probe';
  readonly mountPoint = null;
  readonly slow = false;
  closed = false;
  readonly found = new Map<string, string>();

  sendPublish(frame: PublishFrame): void {
    const { bytes, start, end } = frame;
    const packet = Buffer.from(bytes.subarray(start, end));
    packet[0] = 0x30;
    let bodyStart = 1;
    while (packet[bodyStart] >= 0x80) bodyStart++;
    const view = new PublishView();
    decodePublish(view, packet, 0, bodyStart + 1, packet.length, 5);
    const topic = packet.toString('utf8', view.topicStart, view.topicEnd);
    this.found.set(topic, packet.toString('utf8', view.payloadStart));
  }

  sendAck(): void {}

  sendBytes(): void {}

  close(): void {
    this.closed = true;
  }
}

/** What a client that subscribes now, at QoS 0, is sent of retained messages: payloads by topic. */
export function probe({ core }: ConnectionParts): Map<string, string> {
  const link = new ProbeLink();
  const accepted = core.connect(link, connectPacket('probe', 0), null, null);
  if (!('session' in accepted)) return link.found;
  // It looks at what is there now, whatever CONNACK waits for.
  link.publishGate = 0;
  const subscription = { topicFilter: 'r/#', qos: 0 as const, noLocal: false, retainAsPublished: false };
  const subscriptions = [{ ...subscription, retainHandling: 0 as const }];
  core.subscribe(accepted.session, link, { packetId: 1, subscriptionId: 0, userProperties: [], subscriptions });
  link.closed = true;
  core.connectionGone(accepted.session, false);
  return link.found;
}
