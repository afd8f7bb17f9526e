import type { ListenerSettings } from '../config/schema.js';

/** The bound of one listener on its sockets. */
export interface Room {
  readonly maximum: number;
  /** The listener's address, for the log. */
  where: string;
  taken: number;
}

/** The bound that a listener's settings give it; null for none. */
export function roomOf({ maximumConnections: maximum }: ListenerSettings): Room | null {
  return maximum === undefined ? null : { maximum, where: '', taken: 0 };
}
