import type { Packet } from 'mqtt-packet';
import type { ConnectionParts } from '../../lib/net/connection-parts.js';
import type { Deliveries } from './deliveries.js';
import type { Plan } from './plan.js';
import type { Publication, PublishChoice } from './publication.js';
import type { Receipts } from './receipts.js';
import type { RetainedFacts } from './retained.js';
import type { SimulatedTime } from './time.js';
import type { Verdicts } from './verdicts.js';
import type { Wills } from './wills.js';
import type { Wire } from './wire.js';

/** What a client sees of its world. */
export interface Environment {
  readonly plan: Plan;
  readonly time: SimulatedTime;
  readonly verdicts: Verdicts;
  readonly deliveries: Deliveries;
  readonly receipts: Receipts;
  readonly retained: RetainedFacts;
  readonly wills: Wills;
  /** Is told what happens, for a trace; null where nobody wants to know. */
  onEvent: ((text: string) => void) | null;
  /** The broker writes a packet. @param filters of the request that it answers */
  onWritten(clientId: string, wire: Wire, packet: Packet, filters: readonly string[]): void;
  /** A connection has begun. */
  onWire(wire: Wire): void;
  /** The broker that runs; null while there is none. */
  parts(): ConnectionParts | null;
  /** Number of the batch that is open: what the broker does now is in it. */
  batch(): number;
  /** False once the disk has failed in this run: from then on the broker may refuse. */
  isWell(): boolean;
  /** Names the next message of a stream. */
  name(stream: string, clientId: string, choice: PublishChoice): Publication;
}
