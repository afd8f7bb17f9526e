import { ProtocolError } from '../base/errors.js';
import type { Message } from '../base/message.js';
import { encodeAckWithProperties } from '../codec/acks.js';
import type { PublishView } from '../codec/publish.js';
import type { PublishFrame } from '../codec/publish-frame.js';
import { identityKeyOf, ownerKeyOf, ownerOf } from '../receipts/identities.js';
import { isReceiptsTopic } from '../receipts/names.js';
import { encodeReceiptAnswer } from '../receipts/receipt-properties.js';
import type { Owner, TrackedRecord } from '../receipts/record.js';
import { recordKey } from '../receipts/record-keys.js';
import type { SoleRecord } from '../receipts/sole-record.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import { PacketType } from '../spec/packet-types.js';
import { firstFailureCode, ReasonCode } from '../spec/reason-codes.js';
import type { Context } from './context.js';
import type { FanOut } from './fan-out.js';
import type { Holds } from './holds.js';
import type { LargeFanOut, LargeFanOuts } from './large-fan-outs.js';
import { isAckTopic, OnReceiptAck } from './on-receipt-ack.js';
import { Outgoing } from './outgoing.js';
import { TimerKind } from './persistence.js';
import { receiptAccess } from './receipt-access.js';
import type { Retained } from './retained.js';
import type { Route } from './routes.js';
import type { SoleRecipients } from './sole-recipients.js';
import { type Tracking, trackingOf } from './tracking.js';
import { type Awaited, nothing, theCommit } from './turn-output.js';

/** What the broker answers a PUBLISH with. */
export interface Answer {
  readonly reasonCode: number;
  readonly reasonString: string | null;
  /** Sequence of the tracked message, 0 if it is not tracked. */
  readonly sequence: number;
  readonly matched: number;
  /** Of a tracked message with one recipient, which is what there is to tell of it. */
  readonly sole: SoleRecord | null;
  /** Set if the answer waits for the message's outcome. */
  readonly hold: { readonly record: TrackedRecord; readonly deadlineSeconds: number } | null;
  /** Set if the answer waits for the end of the fan-out. */
  readonly later: LargeFanOut | null;
}

const accepted: Answer = {
  reasonCode: ReasonCode.success,
  reasonString: null,
  sequence: 0,
  matched: 0,
  sole: null,
  hold: null,
  later: null,
};
const unmatched: Answer = { ...accepted, reasonCode: ReasonCode.noMatchingSubscribers };

const refused = (reasonCode: number, reasonString: string): Answer => ({ ...accepted, reasonCode, reasonString });

/** The rules of PUBLISH, and of messages that the broker itself publishes. @see MQTT 5 §3.3 */
export class OnPublish {
  private readonly context: Context;
  private readonly fanOut: FanOut;
  private readonly retained: Retained;
  private readonly holds: Holds;
  private readonly largeFanOuts: LargeFanOuts;
  private readonly soles: SoleRecipients;
  private readonly receiptAck: OnReceiptAck;
  private readonly out = new Outgoing();
  /** All that was put of the last message, if it may vanish again; else null. */
  private vanishing: Awaited | null = null;
  /** Of the last message that had a sole record: it is used again for the next. */
  private readonly answerOfSole = { ...accepted, sequence: 0, matched: 1, sole: null as SoleRecord | null };

  constructor(
    context: Context,
    fanOut: FanOut,
    retained: Retained,
    holds: Holds,
    largeFanOuts: LargeFanOuts,
    soles: SoleRecipients,
  ) {
    this.context = context;
    this.soles = soles;
    this.fanOut = fanOut;
    this.retained = retained;
    this.holds = holds;
    this.largeFanOuts = largeFanOuts;
    this.receiptAck = new OnReceiptAck(context);
  }

  /** A client publishes. `topicName` is the view's topic with its alias resolved. */
  publish(session: Session, link: Link, view: PublishView, topicName: string): void {
    const { metrics } = this.context;
    metrics.publishesReceived++;
    this.checkAnnounced(view);
    if (view.qos === 2) {
      this.publishQos2(session, link, view, topicName);
      return;
    }
    if (view.qos === 1) {
      if (this.holds.size > 0 && this.holds.repeats(session, link, view.packetId, topicName, view.dup)) return;
      if (this.closesUnwell(link)) return;
      this.countUnanswered(session, link);
    }
    this.vanishing = null;
    const before = this.recorded;
    const answer = this.take(session, link, view, topicName);
    if (answer.reasonCode >= firstFailureCode) metrics.publishesRefused++;
    if (view.qos === 0) return;
    link.unansweredPublishes++;
    if (answer.hold !== null) {
      this.holds.begin(session, link, view.packetId, answer.hold.record, answer.hold.deadlineSeconds);
      return;
    }
    this.answer(link, PacketType.puback, view.packetId, answer, this.awaitedSince(before));
  }

  /** Grows with whatever is put in the store: what is answered later than that waits for it. */
  private get recorded(): number {
    return this.context.persistence.uncommitted + this.context.records.changes;
  }

  /** What an answer waits for. @param before `recorded` before the message was taken */
  private awaitedSince(before: number): Awaited {
    const { recorded, vanishing } = this;
    if (recorded === before) return nothing;
    return recorded === before + 1 && vanishing !== null ? vanishing : theCommit;
  }

  private publishQos2(session: Session, link: Link, view: PublishView, topicName: string): void {
    const { packetId } = view;
    const repeated = session.inboundCount > 0 ? session.inbound.find(packetId) : undefined;
    if (repeated !== undefined) {
      // [MQTT-4.3.3-10] a repeat gets its answer again and goes nowhere
      const { reasonCode, sequence, matched } = repeated;
      this.answer(link, PacketType.pubrec, packetId, { ...accepted, reasonCode, sequence, matched }, nothing);
      return;
    }
    if (this.closesUnwell(link)) return;
    if (this.holds.size > 0) this.holds.end(session, link, packetId);
    this.countUnanswered(session, link);
    const { persistence } = this.context;
    const before = this.recorded;
    const answer = this.take(session, link, view, topicName);
    if (answer.reasonCode >= firstFailureCode) {
      this.context.metrics.publishesRefused++;
      // [MQTT-4.3.3-9] a refused identifier is free at once; 3.x knows no refusal and runs the whole flow
      if (link.version === 5) {
        this.answer(link, PacketType.pubrec, packetId, answer, nothing);
        return;
      }
    }
    const { reasonCode, sequence, matched } = answer;
    const held = { reasonCode, sequence, matched };
    session.inbound.hold(packetId, session.stored ? persistence.hold(session.number, packetId, held) : held);
    this.answer(link, PacketType.pubrec, packetId, answer, this.recorded === before ? nothing : theCommit);
  }

  /**
   * While the store can not record, 3.x clients, whose acknowledgements know no failure, are sent away: they keep the
   * message and send it again. True if so.
   */
  private closesUnwell(link: Link): boolean {
    if (link.version === 5 || this.context.persistence.healthy) return false;
    this.context.metrics.publishesRefused++;
    link.close(ReasonCode.serverUnavailable, 'the store can not record messages now');
    return true;
  }

  /** [MQTT-3.3.4-7] counts what the client has open; only what CONNACK announced is enforced, so not for 3.x. */
  private countUnanswered(session: Session, link: Link): void {
    if (link.version !== 5) return;
    if (link.unansweredPublishes + session.inboundCount >= this.context.settings.receiveMaximum) {
      throw new ProtocolError(ReasonCode.receiveMaximumExceeded, 'more QoS 1 and 2 publishes than Receive Maximum');
    }
  }

  private checkAnnounced(view: PublishView): void {
    const { maximumQos, retainAvailable } = this.context.settings;
    // [MQTT-3.2.2-11]
    if (view.qos > maximumQos) {
      throw new ProtocolError(ReasonCode.qosNotSupported, 'QoS above Maximum QoS, §3.2.2.3.4');
    }
    if (view.retain && !retainAvailable) {
      // [MQTT-3.2.2-14]
      throw new ProtocolError(ReasonCode.retainNotSupported, 'RETAIN with Retain Available 0, §3.2.2.3.5');
    }
  }

  /** Everything but the answer: checks, receipts, fan-out, retained store. */
  private take(session: Session, link: Link, view: PublishView, topicName: string): Answer {
    const { settings, persistence, sequences, clock, rights } = this.context;
    if (view.qos > 0 && !persistence.healthy) {
      return refused(
        ReasonCode.unspecifiedError,
        'the store can not record messages now: try again later, or at QoS 0',
      );
    }
    if (topicName.charCodeAt(0) === 0x24) {
      const answer = this.takeReserved(session, view, topicName);
      if (answer !== null) return answer;
    }
    if (!rights.mayPublish(session, topicName)) {
      this.context.metrics.publishesNotAuthorized++;
      return refused(ReasonCode.notAuthorized, 'this client may not publish to this topic');
    }
    if (tooManyLevels(topicName, settings.maximumTopicLevels)) {
      return refused(ReasonCode.topicNameInvalid, `a topic name may have ${settings.maximumTopicLevels} levels`);
    }
    const { maximumMessageSize } = settings;
    if (maximumMessageSize > 0 && view.end - view.payloadStart > maximumMessageSize) {
      return refused(ReasonCode.quotaExceeded, `a message may have ${maximumMessageSize} bytes`);
    }
    let tracking: Tracking | null = null;
    const mayConcernReceipts =
      view.hasReceiptProperty || settings.tracking.length > 0 || view.responseTopicEnd > view.responseTopicStart;
    if (settings.receipts.enabled && mayConcernReceipts) {
      const decided = this.decideTracking(session, view, topicName);
      if (decided !== null && 'reasonCode' in decided) return decided;
      tracking = decided;
    }
    if (view.retain && !this.retained.hasRoomFor(topicName)) {
      return refused(ReasonCode.quotaExceeded, 'the broker keeps no more retained messages');
    }
    const { out } = this;
    out.fromView(view, link.version === 5, topicName, session.clientId, clock.now(), sequences.next());
    if (link.mountPoint !== null) out.renamed();
    const answer = this.distribute(out, session, ownerOf(session), tracking);
    // How many there are is told to those who may see receipts only.
    const isSilent = tracking !== null && !tracking.asked && receiptAccess(this.context, session) === 'none';
    return isSilent ? { ...answer, sequence: 0, sole: null } : answer;
  }

  /** Takes a message of the broker's own: a will, `$SYS`, or one of the embedding program. */
  publishMessage(message: Message, publisher: Owner, session: Session | null, tracking: Tracking | null): Answer {
    const out = new Outgoing();
    out.fromMessage({ ...message, tracked: tracking !== null }, this.context.clock.now());
    return this.distribute(out, session, publisher, tracking);
  }

  private distribute(out: Outgoing, session: Session | null, publisher: Owner, tracking: Tracking | null): Answer {
    const { settings, routes, persistence } = this.context;
    if (tracking !== null) {
      out.tracked = true;
      out.appendReceiptId(this.context.tracker.idBytes(out.sequence));
    }
    if (out.retain) this.retained.store(out);
    const route = routes.route(out.topicName);
    const isLarge = this.largeFanOuts.takes(out.topicName, route, session);
    if (tracking !== null && session !== null && !isLarge) {
      const sole = this.soles.publish(out, route, session, tracking);
      if (sole !== null) return this.acceptSole(out, sole);
    }
    const record = tracking === null ? null : this.beginTracking(out, session, publisher, tracking);
    if (isLarge) return this.distributeLarge(out, route, session, record, tracking);
    out.defers = true;
    const matched = this.fanOut.publish(out, route, session, record);
    if (out.references > 0 || out.deferred !== null) this.vanishing = persistence.putFannedOut(out);
    if (record !== null && tracking !== null) return this.acceptTracked(out, record, tracking, matched);
    // The embedding program is told how many there were; clients are not, and need no object per packet.
    if (publisher.byServer) return { ...accepted, matched };
    return matched === 0 && settings.noMatchingSubscribers ? unmatched : accepted;
  }

  /** @returns the publisher's key, which goes with every delivery of the message */
  private beginTracking(out: Outgoing, session: Session | null, publisher: Owner, tracking: Tracking): Buffer {
    const { qos, sequence } = out;
    const topicName = session?.mountPoint?.shown(out.topicName) ?? out.topicName;
    const correlationData = out.correlationData();
    const publisherKey = session === null ? ownerKeyOf(publisher) : identityKeyOf(session);
    this.context.tracker.begin(
      sequence,
      publisher,
      publisherKey,
      { topicName, qos, correlationData },
      tracking.requested,
      tracking.deadlineSeconds,
    );
    return publisherKey;
  }

  /** The message is on its way to its only recipient. */
  private acceptSole(out: Outgoing, sole: SoleRecord): Answer {
    const { budget, persistence } = this.context;
    budget.offers(1, out.payloadLength);
    budget.tracked(1);
    if (out.deferred !== null) persistence.putFannedOut(out);
    this.answerOfSole.sequence = out.sequence;
    this.answerOfSole.sole = sole;
    return this.answerOfSole;
  }

  /** The message has been offered to everyone: the record is complete. */
  private acceptTracked(
    out: Outgoing,
    record: Buffer,
    { asked, hold, deadlineSeconds }: Tracking,
    matched: number,
  ): Answer {
    const { settings, tracker, records } = this.context;
    const { sequence } = out;
    tracker.accept(record, sequence);
    const empty = matched === 0 && (asked || settings.noMatchingSubscribers);
    const reasonCode = empty ? ReasonCode.noMatchingSubscribers : ReasonCode.success;
    const tracked = hold ? records.find(record, sequence) : null;
    if (deadlineSeconds > 0 && matched > 0) this.armDeadline(record, sequence, deadlineSeconds);
    const held = tracked === null ? null : { record: tracked, deadlineSeconds };
    return { ...accepted, reasonCode, sequence, matched, hold: held };
  }

  /** The same for a cohort that is too large for one turn: the answer follows its last slice. */
  private distributeLarge(
    out: Outgoing,
    route: Route,
    session: Session | null,
    record: Buffer | null,
    tracking: Tracking | null,
  ): Answer {
    const { tracker, records, persistence } = this.context;
    const later = this.largeFanOuts.begin(out, route, session, record);
    if (out.references > 0) persistence.putMessage(out.message(), out.references);
    const matched = later.targets.length + later.groups.length;
    if (record === null || tracking === null) return { ...accepted, matched, later };
    tracker.acceptLarge(record, out.sequence, matched, later.groups);
    const tracked = tracking.hold ? records.find(record, out.sequence) : null;
    const hold = tracked === null ? null : { record: tracked, deadlineSeconds: tracking.deadlineSeconds };
    if (tracking.deadlineSeconds > 0) this.armDeadline(record, out.sequence, tracking.deadlineSeconds);
    return { ...accepted, sequence: out.sequence, matched, hold, later };
  }

  private armDeadline(record: Buffer, sequence: number, seconds: number): void {
    const { persistence, clock } = this.context;
    persistence.putTimer(clock.now() + seconds * 1000, TimerKind.recordDeadline, recordKey(record, sequence));
  }

  /** What to track of a PUBLISH, or the answer that refuses it. */
  private decideTracking(session: Session, view: PublishView, topicName: string): Tracking | null | Answer {
    const { metrics, log, housekeeping } = this.context;
    const decided = trackingOf(this.context, view, topicName, session);
    if (decided === null) return null;
    if ('reason' in decided) {
      metrics.receiptRequestsRefused++;
      log.info({ client: session.clientId, topic: topicName }, `receipt request refused: ${decided.reason}`);
      return view.qos > 0 || decided.discard ? refused(decided.reasonCode, decided.reason) : null;
    }
    if (housekeeping.makeRoom(identityKeyOf(session))) return decided;
    if (decided.asked && view.qos > 0 && session.version === 5) {
      return refused(ReasonCode.quotaExceeded, 'the broker keeps no more records of tracked messages');
    }
    this.goUntracked(topicName);
    return null;
  }

  /** An audit must not stop the traffic. */
  private goUntracked(topicName: string): void {
    this.context.metrics.untrackedForWantOfRecords++;
    this.context.log.warn({ topic: topicName }, 'not tracked: the broker keeps no more records of tracked messages');
  }

  /** Topics that are the broker's own. */
  private takeReserved(session: Session, view: PublishView, topicName: string): Answer | null {
    if (this.context.settings.receipts.enabled && isReceiptsTopic(topicName)) {
      if (isAckTopic(topicName)) return this.receiptAck.acknowledge(session, view, topicName) ? accepted : unmatched;
      return refused(ReasonCode.notAuthorized, 'nothing under $receipts/ can be published');
    }
    if (topicName.startsWith('$SYS/')) return refused(ReasonCode.notAuthorized, '$SYS is published by the broker');
    return null;
  }

  private answer(link: Link, packetType: number, packetId: number, answer: Answer, awaited: Awaited): void {
    if (answer.later !== null) {
      const now = { ...answer, later: null };
      answer.later.done = () => this.answer(link, packetType, packetId, now, theCommit);
      return;
    }
    if (answer.sole !== null && this.soles.answer(link, packetId, answer.sole)) return;
    const version5 = link.version === 5;
    const encoded = version5 ? this.answerProperties(link, packetType, answer) : null;
    const reasonCode = version5 ? answer.reasonCode : ReasonCode.success;
    this.context.turns.answer(link, packetType, packetId, reasonCode, encoded, awaited);
  }

  /** The whole packet if it has properties that the client takes, else null. [MQTT-3.4.2-2] [MQTT-3.1.2-29] */
  private answerProperties(link: Link, packetType: number, answer: Answer): PublishFrame | null {
    if (!link.problemInformation || (answer.sequence === 0 && answer.reasonString === null)) return null;
    const { reasonCode, reasonString, sequence, matched } = answer;
    const userProperties = sequence === 0 ? null : encodeReceiptAnswer(this.context.tracker.idBytes(sequence), matched);
    const encoded = encodeAckWithProperties(packetType, reasonCode, reasonString, userProperties);
    return link.maximumPacketSize > 0 && encoded.length > link.maximumPacketSize ? null : encoded;
  }
}

/** Counts levels only as far as it must. */
function tooManyLevels(topicName: string, maximum: number): boolean {
  if (topicName.length < maximum) return false;
  let levels = 1;
  for (let at = topicName.indexOf('/'); at !== -1; at = topicName.indexOf('/', at + 1)) {
    if (++levels > maximum) return true;
  }
  return false;
}
