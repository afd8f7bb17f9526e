import type { PublishFrame } from '../codec/publish-frame.js';
import type { Link } from '../session/link.js';
import { PacketType } from '../spec/packet-types.js';

/** What is done with it. */
export const Operation = { publish: 0, ack: 1, bytes: 2, callback: 3 } as const;
export type Operation = (typeof Operation)[keyof typeof Operation];

/** Where an operation is in what is noted with it: above packet type, reason code and packet identifier. */
export const operationShift = 28;
export const numberMask = (1 << operationShift) - 1;

/** What output waits for. */
export interface Awaited {
  /** True once it need not wait any more. */
  readonly isSettled: boolean;
}

/** Of answers that only keep their place behind others. */
export const nothing: Awaited = { isSettled: true };

/** Of output that goes with its turn's commit, not before. */
export const theCommit: Awaited = { isSettled: false };

type Content = PublishFrame | Buffer | (() => void) | null;

/** Output that waits for its turn's commit, or for less, in order. Parallel arrays, reused: no object per packet. */
export class TurnOutput {
  readonly links: (Link | null)[] = [];
  readonly contents: Content[] = [];
  /** Operation, and the numbers that it is about. */
  readonly notes: number[] = [];
  private readonly awaited: Awaited[] = [];
  /** How many wait for the commit. */
  private committing = 0;
  /** How many were here when `markOld` was called, and are still. */
  private old = 0;

  get length(): number {
    return this.notes.length;
  }

  /** True if something must not go before the commit, whatever has been acknowledged. */
  get needsCommit(): boolean {
    return this.committing > 0;
  }

  /** @param n below 2^28 */
  add(operation: Operation, link: Link | null, content: Content, n: number, awaited: Awaited): void {
    this.append((operation << operationShift) | n, link, content, awaited);
  }

  private append(note: number, link: Link | null, content: Content, awaited: Awaited): void {
    this.notes.push(note);
    this.links.push(link);
    this.contents.push(content);
    this.awaited.push(awaited);
    if (awaited === theCommit) this.committing++;
  }

  /** What is here so far is old from now on. */
  markOld(): void {
    this.old = this.length;
  }

  /**
   * Moves what need not wait any more to `ready`. Answers on one link keep their order.
   * @param released the last turn whose commit is done
   * @param sweep number of this call, above 0 and different from all others
   */
  takeReady(ready: TurnOutput, released: number, sweep: number): void {
    const { links, contents, notes, awaited } = this;
    let kept = 0;
    let oldKept = 0;
    for (let at = 0; at < notes.length; at++) {
      const link = links[at] as Link | null;
      const content = contents[at] as Content;
      const awaits = awaited[at] as Awaited;
      const isFirst = link !== null && link.sweptOver !== sweep && link.earlierAnswerGate <= released;
      if (isFirst && awaits.isSettled) {
        ready.append(notes[at] as number, link, content, nothing);
        continue;
      }
      if (link !== null) link.sweptOver = sweep;
      links[kept] = link;
      contents[kept] = content;
      notes[kept] = notes[at] as number;
      awaited[kept] = awaits;
      kept++;
      if (at < this.old) oldKept++;
    }
    this.old = oldKept;
    this.truncate(kept);
  }

  /**
   * Moves all that is not old to the output of the next turn, if nothing here needs the commit.
   * @param number of this turn
   * @param sweep as for `takeReady`
   */
  moveYoung(next: TurnOutput, number: number, sweep: number): void {
    const { links, contents, notes, awaited, old } = this;
    for (let at = 0; at < old; at++) {
      const link = links[at] as Link | null;
      if (link !== null) link.sweptOver = sweep;
    }
    for (let at = old; at < notes.length; at++) {
      const link = links[at] as Link | null;
      next.append(notes[at] as number, link, contents[at] as Content, awaited[at] as Awaited);
      if (link === null) continue;
      if (link.sweptOver === sweep) link.earlierAnswerGate = number;
      link.answerGate = number + 1;
    }
    this.truncate(old);
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
    this.truncate(0);
    this.committing = 0;
    this.old = 0;
  }

  private truncate(length: number): void {
    this.links.length = length;
    this.contents.length = length;
    this.notes.length = length;
    this.awaited.length = length;
  }
}
