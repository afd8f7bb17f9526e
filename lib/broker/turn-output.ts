import type { PublishFrame } from '../codec/publish-frame.js';
import type { Link } from '../session/link.js';
import { PacketType } from '../spec/packet-types.js';

/** What is done with it. */
export const Operation = { publish: 0, ack: 1, bytes: 2, callback: 3 } as const;
export type Operation = (typeof Operation)[keyof typeof Operation];

/** Where an operation is in what is noted with it: above packet type, reason code and packet identifier. */
export const operationShift = 28;
export const numberMask = (1 << operationShift) - 1;

/** What one turn releases once its commit is done, in order. Parallel arrays, reused: no object per packet. */
export class TurnOutput {
  readonly links: (Link | null)[] = [];
  readonly contents: (PublishFrame | Buffer | (() => void) | null)[] = [];
  /** Operation, and the numbers that it is about. */
  readonly notes: number[] = [];

  get length(): number {
    return this.notes.length;
  }

  /** @param n below 2^28 */
  add(operation: Operation, link: Link | null, content: PublishFrame | Buffer | (() => void) | null, n: number): void {
    this.notes.push((operation << operationShift) | n);
    this.links.push(link);
    this.contents.push(content);
  }

  /** True if PUBACK or PUBREC is among it. */
  answersPublishers(): boolean {
    return this.notes.some((note) => {
      const packetType = (note & numberMask) >>> 24;
      const isAnswer = packetType === PacketType.puback || packetType === PacketType.pubrec;
      return isAnswer && note >>> operationShift === Operation.ack;
    });
  }

  clear(): void {
    this.links.length = 0;
    this.contents.length = 0;
    this.notes.length = 0;
  }
}
