import type { ListenerSettings } from '../config/schema.js';
import { MountPoint } from '../topic/mount-point.js';
import type { ConnectionParts } from './connection-parts.js';

/** What a listener's connections share: with a mount point, topics come by the broker's names for them. */
export function mountedParts({ mountPoint: prefix }: ListenerSettings, parts: ConnectionParts): ConnectionParts {
  if (prefix === undefined) return parts;
  const { receipts } = parts.core.context.settings;
  const mountPoint = new MountPoint(prefix, receipts.enabled ? ['$SYS', '$receipts'] : ['$SYS']);
  return { ...parts, mountPoint, topics: parts.topics.renaming((name) => mountPoint.topic(name)) };
}
