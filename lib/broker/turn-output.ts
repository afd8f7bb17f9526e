import type { PublishFrame } from '../codec/publish-frame.js';
import type { ReceiptKind } from '../receipts/reference.js';
import type { SoleRecord } from '../receipts/sole-record.js';
import type { Link } from '../session/link.js';
import { PacketType } from '../spec/packet-types.js';

/** What is done with it. */
export const Operation = { publish: 0, ack: 1, bytes: 2, callback: 3, soleAnswer: 4, soleReceipt: 5 } as const;
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

type Content = PublishFrame | Buffer | SoleRecord | (() => void) | null;

/** Writes what is told of sole records, when it is sent: until then the record says it all. */
export interface SoleWriter {
  sendAnswer(link: Link, packetId: number, sole: SoleRecord): void;
  sendReceipt(link: Link, sole: SoleRecord, kind: ReceiptKind): void;
}

/** Room for so many is kept from turn to turn. */
const keptCapacity = 16 * 1024;
const firstCapacity = 64;

/** Output that waits for its turn's commit, or for less, in order. Parallel arrays, reused: no object per packet. */
export class TurnOutput {
  /** Places in use; what is behind them in the arrays is of no meaning, and holds nothing. */
  length = 0;
  links: (Link | null)[] = [];
  contents: Content[] = [];
  /** Operation, and the numbers that it is about. */
  notes = new Int32Array(firstCapacity);
  private awaited: (Awaited | null)[] = [];
  /** How many wait for the commit. */
  private committing = 0;
  /** How many were here when `markOld` was called, and are still. */
  private old = 0;

  /** True if something must not go before the commit, whatever has been acknowledged. */
  get needsCommit(): boolean {
    return this.committing > 0;
  }

  /** @param n below 2^28 */
  add(operation: Operation, link: Link | null, content: Content, n: number, awaited: Awaited): void {
    this.append((operation << operationShift) | n, link, content, awaited);
  }

  private append(note: number, link: Link | null, content: Content, awaited: Awaited): void {
    const at = this.length++;
    if (at === this.notes.length) this.grow();
    this.notes[at] = note;
    this.links[at] = link;
    this.contents[at] = content;
    this.awaited[at] = awaited;
    if (awaited === theCommit) this.committing++;
  }

  private grow(): void {
    const larger = new Int32Array(2 * this.notes.length);
    larger.set(this.notes);
    this.notes = larger;
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
    const { links, contents, notes, awaited, length } = this;
    let kept = 0;
    let oldKept = 0;
    for (let at = 0; at < length; at++) {
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
    const { links, contents, notes, awaited, old, length } = this;
    for (let at = 0; at < old; at++) {
      const link = links[at] as Link | null;
      if (link !== null) link.sweptOver = sweep;
    }
    for (let at = old; at < length; at++) {
      const link = links[at] as Link | null;
      next.append(notes[at] as number, link, contents[at] as Content, awaited[at] as Awaited);
      if (link === null) continue;
      if (link.sweptOver === sweep) link.earlierAnswerGate = number;
      link.answerGate = number + 1;
    }
    this.truncate(old);
  }

  /** Sends all of it, in order. */
  send(soles: SoleWriter): void {
    const { links, contents, notes, length } = this;
    for (let at = 0; at < length; at++) {
      const link = links[at] as Link;
      const note = notes[at] as number;
      const n = note & numberMask;
      const operation = note >>> operationShift;
      if (operation === Operation.callback) (contents[at] as () => void)();
      else if (link.closed) continue;
      else if (operation === Operation.publish) link.sendPublish(contents[at] as PublishFrame, n >>> 16, n & 0xffff);
      else if (operation === Operation.ack) {
        link.sendAck(n >>> 24, n & 0xffff, (n >>> 16) & 0xff, contents[at] as PublishFrame | null);
      } else if (operation === Operation.soleAnswer) soles.sendAnswer(link, n, contents[at] as SoleRecord);
      else if (operation === Operation.soleReceipt) {
        soles.sendReceipt(link, contents[at] as SoleRecord, n as ReceiptKind);
      } else link.sendBytes(contents[at] as Buffer);
    }
  }

  /** True if PUBACK or PUBREC is among it. */
  answersPublishers(): boolean {
    for (let at = 0; at < this.length; at++) {
      const note = this.notes[at] as number;
      if (note >>> operationShift === Operation.soleAnswer) return true;
      const packetType = (note & numberMask) >>> 24;
      const isAnswer = packetType === PacketType.puback || packetType === PacketType.pubrec;
      if (isAnswer && note >>> operationShift === Operation.ack) return true;
    }
    return false;
  }

  clear(): void {
    this.truncate(0);
    this.committing = 0;
    this.old = 0;
    if (this.notes.length <= keptCapacity) return;
    this.notes = new Int32Array(firstCapacity);
    this.links = [];
    this.contents = [];
    this.awaited = [];
  }

  /** Nothing behind the new end is held any longer; the room stays, which turn after turn takes. */
  private truncate(length: number): void {
    this.links.fill(null, length, this.length);
    this.contents.fill(null, length, this.length);
    this.awaited.fill(null, length, this.length);
    this.length = length;
  }
}
