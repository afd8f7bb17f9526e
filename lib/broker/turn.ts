import { pingresp } from '../codec/ping.js';
import type { PublishFrame } from '../codec/publish-frame.js';
import type { ReceiptKind } from '../receipts/reference.js';
import type { SoleRecord } from '../receipts/sole-record.js';
import type { Link } from '../session/link.js';
import { PacketType } from '../spec/packet-types.js';
import type { Store } from '../store/store.js';
import { CommitPatience, Due } from './commit-patience.js';
import { type Sizes, usualSizes } from './sizes.js';
import type { TurnClock } from './turn-clock.js';
import { type Awaited, nothing, Operation, type SoleWriter, TurnOutput, theCommit } from './turn-output.js';

/** Commits under way before further turns are gathered into one. */
const commitsInFlightMax = 2;
/** Part of the waiting answers that must have become ready before they are looked through for these. */
const readyPart = 8;
/** Output up to this size, and for no more than so many, is written first at the end of a turn. */
const littleBytes = 2048;
const fewTargets = 8;
/** What the other writes may take in one turn; the rest follows in the next ones. */
const writesMs = 5;
/** Puts and deletes waiting behind the commits under way from which on turns take no more than small talk. */
const largeCommit = 6000;
/** The same from which on connections stop reading. */
const congestedCommit = 100_000;

/** Anything that gathers output during a turn and writes it at its end. */
export interface Flushable {
  /** What it has gathered. */
  readonly outbox: { readonly gatheredBytes: number };
  flush(): void;
}

/** Whoever measures how long commits take, and publishers wait for their answers. */
export interface TurnWatch {
  /** Input arrived in a turn. */
  began(): void;
  sealed(number: number): void;
  /** The turn's commit is done and what waited for it is on its way. @param answers true if publishers waited for it */
  released(number: number, answers: boolean): void;
}

/**
 * The turn: everything decided in one iteration of the event loop is committed as one transaction; then what waited for
 * the commit is released in order; then touched sockets are written, once each, as far as the turn's time for that
 * goes. While commits are under way, turns merge.
 *
 * Nothing is acknowledged or told in a receipt before it is recorded, and nothing that must not be repeated is sent
 * before it is recorded: such output is given `afterCommit`. What all recipients have acknowledged meanwhile need not
 * be recorded, and is acknowledged before the commit. Output that need not wait still never overtakes what does on the
 * same link (its gates).
 */
export class Turns {
  private readonly clock: TurnClock;
  private readonly store: Store;
  private open = new TurnOutput();
  private openNumber = 1;
  private releasedNumber = 0;
  private scheduled = false;
  private readonly patience: CommitPatience;
  /** Looks through what waits for the commit, so far; and rows of the open batch that were settled at the last one. */
  private sweeps = 0;
  private settledAtSweep = 0;
  private readonly spare: TurnOutput[] = [];
  private readonly dirty: Flushable[] = [];
  /** Where in `dirty` the targets begin of whoever works. */
  private workerFrom = 0;
  /** Those who are the only targets of somebody's work, or nearly. */
  private readonly few: Flushable[] = [];
  /** The others of ended turns, in the order in which they are written. */
  private readonly waitingWrites: Flushable[] = [];
  private isWritingLater = false;
  /** What the next commit waits for. */
  private readonly holds = new Set<() => void>();
  /** When the last turn came to its end, where it is sealed and written. */
  endedAtMs = 0;
  private relief: (() => void)[] = [];
  /** Null unless somebody measures. */
  watch: TurnWatch | null = null;
  /** Called before a turn's puts are sealed, to add what every commit must hold. */
  beforeSeal: () => void = () => undefined;
  private readonly soles: SoleWriter;

  constructor(clock: TurnClock, store: Store, soles: SoleWriter, sizes: Sizes = usualSizes) {
    this.soles = soles;
    this.clock = clock;
    this.store = store;
    this.patience = new CommitPatience(clock, sizes, () => this.begin());
  }

  /** Number of the turn being gathered. */
  get number(): number {
    return this.openNumber;
  }

  /** The last turn whose commit is done. */
  get released(): number {
    return this.releasedNumber;
  }

  /** True while what is decided should be dealt with first: output waits for a later turn to write it, or the store. */
  get isBehind(): boolean {
    return this.isWritingLater || this.awaitsStore;
  }

  /** True while the next commit is so large already that to hand it over will take its time. */
  get awaitsStore(): boolean {
    return this.store.uncommitted > largeCommit && this.store.healthy;
  }

  /** True while so much waits for the disk that input should pause. */
  get congested(): boolean {
    return this.store.uncommitted > congestedCommit;
  }

  /**
   * Makes sure that this turn ends. Call it wherever input arrives: packets, timers, calls of the embedding program.
   */
  begin(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.watch?.began();
    this.clock.open();
    this.clock.endOfTurn(this.onEnd);
  }

  /** Has `target` flushed at the end of the turn, or of the release under way. */
  flushLater(target: Flushable): void {
    this.dirty.push(target);
    this.begin();
  }

  /** Calls `callback` once when the congestion is over. */
  onRelief(callback: () => void): void {
    this.relief.push(callback);
  }

  publish(link: Link, frame: PublishFrame, firstByte: number, packetId: number, afterCommit: boolean): void {
    const isQos0 = (firstByte & 0x06) === 0;
    if (this.mayGoOn(afterCommit) && (link.publishGate <= this.releasedNumber || (isQos0 && this.mayOvertake(link)))) {
      link.sendPublish(frame, firstByte, packetId);
      return;
    }
    link.publishGate = this.openNumber;
    this.open.add(Operation.publish, link, frame.lasting(), (firstByte << 16) | packetId, theCommit);
    this.begin();
  }

  /** PUBREL, which keeps its place among the PUBLISH packets. */
  pubrel(link: Link, packetId: number, reasonCode: number, afterCommit: boolean): void {
    if (this.mayGoOn(afterCommit) && link.publishGate <= this.releasedNumber) {
      link.sendAck(PacketType.pubrel, packetId, reasonCode, null);
      return;
    }
    link.publishGate = this.openNumber;
    const note = (PacketType.pubrel << 24) | (reasonCode << 16) | packetId;
    this.open.add(Operation.ack, link, null, note, theCommit);
    this.begin();
  }

  /**
   * PUBACK, PUBREC or PUBCOMP to a publisher, in the order of what they answer. [MQTT-4.6.0-2] [MQTT-4.6.0-3]
   * @param encoded the packet if it has properties, else null
   * @param awaited what it waits for, beside earlier answers on the link
   */
  answer(
    link: Link,
    packetType: number,
    packetId: number,
    reasonCode: number,
    encoded: PublishFrame | null,
    awaited: Awaited,
  ): void {
    if (this.mayGoOn(awaited !== nothing) && link.answerGate <= this.releasedNumber) {
      link.sendAck(packetType, packetId, reasonCode, encoded);
      return;
    }
    this.closeGate(link);
    this.open.add(Operation.ack, link, encoded, (packetType << 24) | (reasonCode << 16) | packetId, awaited);
    this.begin();
  }

  /** PUBACK of a tracked message, to whose publisher its `receipt-id` says something. */
  answerSole(link: Link, packetId: number, sole: SoleRecord): void {
    if (this.mayGoOn(true) && link.answerGate <= this.releasedNumber) this.soles.sendAnswer(link, packetId, sole);
    else {
      this.closeGate(link);
      this.open.add(Operation.soleAnswer, link, sole, packetId, theCommit);
      this.begin();
    }
  }

  /** The receipt of its delivery, or a tally, at QoS 0. */
  receiptOfSole(link: Link, sole: SoleRecord, kind: ReceiptKind): void {
    if (this.mayGoOn(true) && link.publishGate <= this.releasedNumber) this.soles.sendReceipt(link, sole, kind);
    else {
      link.publishGate = this.openNumber;
      this.open.add(Operation.soleReceipt, link, sole, kind, theCommit);
      this.begin();
    }
  }

  /** PINGRESP, [MQTT-3.12.4-1]. */
  pong(link: Link): void {
    if (this.mayOvertake(link)) link.sendBytes(pingresp);
    else this.bytes(link, pingresp, false);
  }

  /** Any other packet to a client. */
  bytes(link: Link, bytes: Buffer, afterCommit: boolean): void {
    if (!afterCommit && link.answerGate <= this.releasedNumber) link.sendBytes(bytes);
    else {
      this.closeGate(link);
      this.open.add(Operation.bytes, link, bytes, 0, afterCommit ? theCommit : nothing);
      this.begin();
    }
  }

  /** True of what need not wait for the commit: of all that goes where nothing lasts, unless a callback waits. */
  private mayGoOn(afterCommit: boolean): boolean {
    return !afterCommit || (!this.store.outlivesProcess && this.open.length === 0);
  }

  /** Answers on this link wait for the open turn. */
  private closeGate(link: Link): void {
    if (link.answerGate === this.openNumber) return;
    link.earlierAnswerGate = link.answerGate;
    link.answerGate = this.openNumber;
  }

  /** While nothing can be committed, QoS 0 and PINGRESP go past what waits for that; but never past CONNACK. */
  private mayOvertake(link: Link): boolean {
    return !this.store.healthy && link.greetingGate <= this.releasedNumber;
  }

  /** Calls `callback` in order with what else this turn releases. */
  afterCommit(callback: () => void): void {
    this.open.add(Operation.callback, null, callback, 0, theCommit);
    this.begin();
  }

  /**
   * No turn is committed before `letGo`: what is to be recorded with this one takes several.
   * @param finish does the rest at once if there is no more time, and lets go
   */
  hold(finish: () => void): void {
    this.holds.add(finish);
  }

  get isHeld(): boolean {
    return this.holds.size > 0;
  }

  letGo(finish: () => void): void {
    this.holds.delete(finish);
    this.begin();
  }

  /** Ends the open turn now, whatever is under way: for the broker's stop. */
  sealNow(): void {
    for (const finish of this.holds) finish();
    this.seal();
    this.flushDirty();
    for (const target of this.waitingWrites.splice(0)) target.flush();
  }

  private readonly onEnd = (): void => {
    this.scheduled = false;
    this.clock.close();
    this.endedAtMs = this.clock.exactNow();
    const mayCommit = this.holds.size === 0 && this.store.commitsInFlight < commitsInFlightMax;
    if (mayCommit) this.sealDue();
    this.flushDirty();
    if (this.waitingWrites.length > 0) this.writeOn();
  };

  /** Commits what should not wait any longer, and answers what is settled meanwhile. */
  private sealDue(): void {
    const { patience, store, open } = this;
    const due = patience.due(store, open.needsCommit);
    if (due === Due.all) {
      this.seal();
      return;
    }
    if (due === Due.old) this.sealOld();
    if (!patience.isWaiting) this.beginWait();
    this.answerSettled();
  }

  private beginWait(): void {
    this.open.markOld();
    this.patience.begin(this.store.deferred);
  }

  /** Answers publishers whose messages all recipients have acknowledged: these will not be recorded. */
  private answerSettled(): void {
    const { store, open } = this;
    const settled = store.deferred - store.countDeferred(store.deferred);
    if ((settled - this.settledAtSweep) * readyPart < open.length) return;
    this.settledAtSweep = settled;
    const ready = this.spare.pop() ?? new TurnOutput();
    open.takeReady(ready, this.releasedNumber, ++this.sweeps);
    ready.send(this.soles);
    this.keepSpare(ready);
  }

  private seal(): void {
    this.patience.end();
    this.beforeSeal();
    if (this.store.uncommitted === 0 && this.open.length === 0) return;
    this.commit(this.spare.pop() ?? new TurnOutput(), 0);
  }

  /** Seals what was there when the last wait began: what has come since then has its own. */
  private sealOld(): void {
    const { open, patience, store } = this;
    const young = store.deferred - patience.rows;
    patience.end();
    const next = this.spare.pop() ?? new TurnOutput();
    open.moveYoung(next, this.openNumber, ++this.sweeps);
    this.beforeSeal();
    this.commit(next, young);
  }

  /** @param kept deferred rows that stay for the next turn, whose output is `next` */
  private commit(next: TurnOutput, kept: number): void {
    const number = this.openNumber++;
    this.watch?.sealed(number);
    const released = this.open;
    this.open = next;
    this.settledAtSweep = 0;
    this.store.commit(() => this.release(number, released), kept);
  }

  private release(number: number, released: TurnOutput): void {
    this.releasedNumber = number;
    released.send(this.soles);
    const answers = this.watch !== null && released.answersPublishers();
    this.keepSpare(released);
    this.begin();
    if (this.relief.length > 0 && !this.congested) {
      const callbacks = this.relief;
      this.relief = [];
      for (const callback of callbacks) callback();
    }
    this.flushDirty();
    this.watch?.released(number, answers);
  }

  private keepSpare(output: TurnOutput): void {
    output.clear();
    if (this.spare.length < 4) this.spare.push(output);
  }

  /** Another begins to work: what the last one has for few is written before what it has for many. */
  nextWorker(): void {
    const { dirty, few, workerFrom } = this;
    if (dirty.length === workerFrom) return;
    if (dirty.length - workerFrom > fewTargets) {
      this.workerFrom = dirty.length;
      return;
    }
    for (let at = workerFrom; at < dirty.length; at++) few.push(dirty[at] as Flushable);
    dirty.length = workerFrom;
  }

  /** Writes to those who are among few and get little; the others are for `writeOn`. */
  private flushDirty(): void {
    this.nextWorker();
    const { dirty, few, waitingWrites } = this;
    for (const target of few.splice(0)) {
      if (isLittle(target)) target.flush();
      else dirty.push(target);
    }
    for (const target of dirty) if (isLittle(target)) waitingWrites.push(target);
    for (const target of dirty) if (!isLittle(target)) waitingWrites.push(target);
    dirty.length = 0;
    this.workerFrom = 0;
  }

  /** Writes what many get, and much, as far as a turn's time for it allows. What comes meanwhile is written along. */
  private writeOn(): void {
    const { waitingWrites, clock } = this;
    const until = clock.exactNow() + writesMs;
    let written = 0;
    while (written < waitingWrites.length) {
      waitingWrites[written++].flush();
      if (clock.exactNow() >= until) break;
    }
    waitingWrites.splice(0, written);
    this.isWritingLater = waitingWrites.length > 0;
    if (this.isWritingLater) this.begin();
  }
}

function isLittle({ outbox }: Flushable): boolean {
  return outbox.gatheredBytes <= littleBytes;
}
