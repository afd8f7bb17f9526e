import { encodeAckWithProperties } from '../codec/acks.js';
import { encodeUserProperties } from '../codec/publish.js';
import type { PublishFrame } from '../codec/publish-frame.js';
import { succeeded } from '../receipts/packets.js';
import type { TrackedRecord } from '../receipts/record.js';
import type { Link } from '../session/link.js';
import type { Session, TimerHandle } from '../session/session.js';
import { PacketType } from '../spec/packet-types.js';
import { ReasonCode } from '../spec/reason-codes.js';
import type { Context } from './context.js';
import { theCommit } from './turn-output.js';

const defaultDeadlineSeconds = 30;
/** Kind of an `inbound` row that is a held QoS 1 publish, not a QoS 2 identifier. */
export const heldPublishKind = 1;

/** A QoS 1 publish whose PUBACK waits for its message's outcome. */
interface Hold {
  readonly session: Session;
  readonly packetId: number;
  readonly publisherKey: Buffer;
  readonly sequence: number;
  /** Null if its record has been pruned: then nobody knows any more. */
  readonly topicName: string | null;
  readonly deadlineAtMs: number;
  /** The connection that waits for the answer; null after it is gone, until the client sends the publish again. */
  link: Link | null;
  timer: TimerHandle | null;
}

/**
 * End-to-end acknowledgement: with `receipt-hold` the PUBACK itself tells what became of the message.
 * [receipts contract, "End-to-end acknowledgement"]
 */
export class Holds {
  private readonly context: Context;
  private readonly bySession = new Map<Session, Map<number, Hold>>();
  private readonly bySequence = new Map<number, Hold>();

  constructor(context: Context) {
    this.context = context;
  }

  /** Publishes held now. */
  get size(): number {
    return this.bySequence.size;
  }

  /** Holds the PUBACK of a message that has just been accepted. */
  begin(session: Session, link: Link, packetId: number, record: TrackedRecord, deadlineSeconds: number): void {
    const { clock, settings, persistence } = this.context;
    const seconds = Math.min(deadlineSeconds || defaultDeadlineSeconds, settings.receipts.maxHold);
    const { publisherKey, sequence, topicName, matched } = record;
    const deadlineAtMs = clock.now() + seconds * 1000;
    const hold = { session, packetId, publisherKey, sequence, topicName, deadlineAtMs, link, timer: null };
    this.add(hold);
    if (session.stored) {
      persistence.putInbound(session.number, {
        packetId,
        reasonCode: ReasonCode.success,
        sequence,
        matched,
        kind: heldPublishKind,
      });
    }
    if (record.counts.pending === 0) this.resolve(record);
  }

  /** Takes up a hold that the store kept over a restart; its client has yet to send the publish again. */
  restore(session: Session, packetId: number, publisherKey: Buffer, sequence: number): void {
    const { clock, records } = this.context;
    const record = records.find(publisherKey, sequence);
    if (record === null) {
      const hold = { session, packetId, publisherKey, sequence, topicName: null, deadlineAtMs: clock.now() };
      this.add({ ...hold, link: null, timer: null });
      return;
    }
    const latest = record.acceptedAtMs + this.context.settings.receipts.maxHold * 1000;
    const wanted = record.deadlineAtMs || record.acceptedAtMs + defaultDeadlineSeconds * 1000;
    const deadlineAtMs = Math.max(clock.now(), Math.min(wanted, latest));
    const { topicName } = record;
    this.add({ session, packetId, publisherKey, sequence, topicName, deadlineAtMs, link: null, timer: null });
  }

  /**
   * A QoS 1 PUBLISH arrives: true if it repeats one that is held, which then waits on (or is answered) here. Anything
   * else under that identifier is a new message and ends the hold.
   */
  repeats(session: Session, link: Link, packetId: number, topicName: string, dup: boolean): boolean {
    const hold = this.bySession.get(session)?.get(packetId);
    if (hold === undefined) return false;
    const shown = link.mountPoint?.shown(topicName) ?? topicName;
    const isSame = dup && (hold.topicName === null || hold.topicName === shown);
    if (!isSame || hold.link === link) {
      this.end(session, link, packetId);
      return false;
    }
    hold.link = link;
    link.unansweredPublishes++;
    const record = this.context.records.find(hold.publisherKey, hold.sequence);
    if (record === null || record.counts.pending === 0 || hold.deadlineAtMs <= this.context.clock.now()) {
      this.answer(hold, record);
    }
    return true;
  }

  /** Another message of the client takes the identifier: what it held is not answered any more. */
  end(session: Session, link: Link, packetId: number): void {
    const hold = this.bySession.get(session)?.get(packetId);
    if (hold === undefined) return;
    if (hold.link === link) link.unansweredPublishes--;
    this.remove(hold);
  }

  /** A message has its final tally. */
  resolve(record: TrackedRecord): void {
    const hold = this.bySequence.get(record.sequence);
    if (hold?.link && !hold.link.closed) this.answer(hold, record);
  }

  /** The client is gone for now; it will send its held publishes again. */
  connectionGone(session: Session): void {
    for (const hold of this.bySession.get(session)?.values() ?? []) hold.link = null;
  }

  /** The session has ended: nobody waits any more. Tracking goes on. */
  forget(session: Session): void {
    for (const hold of [...(this.bySession.get(session)?.values() ?? [])]) this.remove(hold);
  }

  private add(hold: Hold): void {
    const { session, packetId, sequence } = hold;
    const held = this.bySession.get(session) ?? new Map<number, Hold>();
    this.bySession.set(session, held.set(packetId, hold));
    this.bySequence.set(sequence, hold);
    hold.timer = this.context.timers.at(hold.deadlineAtMs, () => {
      this.context.turns.begin();
      if (hold.link !== null && !hold.link.closed)
        this.answer(hold, this.context.records.find(hold.publisherKey, sequence));
    });
  }

  private remove(hold: Hold): void {
    const { session, packetId, sequence } = hold;
    this.context.timers.cancel(hold.timer);
    const held = this.bySession.get(session);
    held?.delete(packetId);
    if (held?.size === 0) this.bySession.delete(session);
    this.bySequence.delete(sequence);
    if (session.stored && !session.ended) this.context.persistence.deleteInbound(session.number, packetId);
  }

  private answer(hold: Hold, record: TrackedRecord | null): void {
    const { link, packetId } = hold;
    this.remove(hold);
    if (link === null) return;
    if (link.version !== 5) {
      // The client came back with MQTT 3.1.1: its PUBACK has no room for an outcome.
      this.context.turns.answer(link, PacketType.puback, packetId, ReasonCode.success, null, theCommit);
      return;
    }
    const reasonCode = reasonOf(record);
    const encoded = record === null || !link.problemInformation ? null : this.encode(record, reasonCode);
    const fits = encoded !== null && (link.maximumPacketSize === 0 || encoded.length <= link.maximumPacketSize);
    this.context.turns.answer(link, PacketType.puback, packetId, reasonCode, fits ? encoded : null, theCommit);
  }

  private encode(record: TrackedRecord, reasonCode: number): PublishFrame {
    const { matched, counts, sequence } = record;
    const reached = record.requested === 'processed' ? counts.processed : counts.delivered;
    const verb = record.requested === 'processed' ? 'processed by' : 'delivered to';
    const properties: [string, string][] = [
      ['receipt-id', this.context.tracker.id(sequence)],
      ['receipt-matched', String(matched)],
      ['receipt-delivered', String(counts.delivered + counts.processed)],
      ['receipt-failed', String(counts.failed)],
      ['receipt-pending', String(counts.pending)],
    ];
    const reason = `${verb} ${reached} of ${matched}`;
    const pairs = encodeUserProperties(properties);
    return encodeAckWithProperties(PacketType.puback, reasonCode, reason, pairs);
  }
}

function reasonOf(record: TrackedRecord | null): number {
  if (record === null) return ReasonCode.implementationSpecificError;
  if (record.matched === 0) return ReasonCode.noMatchingSubscribers;
  return succeeded(record.counts, record.requested) ? ReasonCode.success : ReasonCode.implementationSpecificError;
}
