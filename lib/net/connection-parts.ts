import type { Log } from '../base/log.js';
import type { BrokerCore } from '../broker/broker-core.js';
import { AckView } from '../codec/acks.js';
import { PublishView } from '../codec/publish.js';
import type { TopicCache } from '../codec/topic-cache.js';
import type { Link } from '../session/link.js';
import type { MountPoint } from '../topic/mount-point.js';
import type { BufferPool } from './buffer-pool.js';
import type { IncompletePackets } from './incomplete-packets.js';
import type { TurnYields } from './turn-yields.js';

/** What connections share: all of a broker, but for topics and mount point, which are those of a listener. */
export interface ConnectionParts {
  readonly core: BrokerCore;
  readonly log: Log;
  readonly pool: BufferPool;
  readonly topics: TopicCache;
  /** Of listeners that have one. */
  readonly mountPoint?: MountPoint;
  readonly yields: TurnYields;
  readonly incomplete: IncompletePackets;
  /** Reused for every PUBLISH and acknowledgement: packets are handled one by one. */
  readonly publishView: PublishView;
  readonly ackView: AckView;
  onClosed(connection: Link): void;
}

export function sharedViews(): Pick<ConnectionParts, 'publishView' | 'ackView'> {
  return { publishView: new PublishView(), ackView: new AckView() };
}
