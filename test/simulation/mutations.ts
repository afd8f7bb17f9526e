/** A mistake: a change of the compiled broker that must be possible exactly once. */
export interface Mutation {
  readonly name: string;
  /** Below `lib`, compiled. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Mistakes that brokers make, each of which the simulator must notice. */
export const mutations: readonly Mutation[] = [
  {
    name: 'acknowledge before the commit',
    file: 'broker/on-publish.js',
    find: 'turns.answer(link, packetType, packetId, reasonCode, encoded, awaited)',
    replace: 'turns.answer(link, packetType, packetId, reasonCode, encoded, nothing)',
  },
  {
    name: 'one map for packet identifiers of both directions',
    file: 'broker/on-publish.js',
    find: 'const repeated = session.inboundCount > 0 ?',
    replace: 'const repeated = session.outbound.state(packetId) > 0 ? accepted : session.inboundCount > 0 ?',
  },
  {
    name: 'PUBREL after an error PUBREC',
    file: 'delivery/table.js',
    find: "row([S.awaitPubrec], E.pubrecFailure, S.done, end, Outcome.rejected, '4.3.3, 4.9')",
    replace:
      "row([S.awaitPubrec], E.pubrecFailure, S.awaitPubcomp, Effect.put | Effect.pubrel, Outcome.rejected, '4.3.3')",
  },
  {
    name: 'receipt outside the transaction of its change',
    file: 'broker/receipt-delivery.js',
    find: 'this.emitToPublisher(record, kind, state, recipientKey, row);',
    replace: 'this.context.turns.afterCommit(() => this.emitToPublisher(record, kind, state, recipientKey, row));',
  },
  {
    name: 'cached routes outlive an unsubscription',
    file: 'broker/routes.js',
    find: 'remove(subscription) {\n        this.generation++;',
    replace: 'remove(subscription) {',
  },
  {
    name: 'QoS 2 sent before it is recorded',
    file: 'broker/offers.js',
    find: 'carriage.kind !== DeliveryKind.message || (qos === 2 && session.stored);',
    replace: 'carriage.kind !== DeliveryKind.message;',
  },
  {
    name: 'a repeated QoS 2 PUBLISH forwarded as new',
    file: 'broker/on-publish.js',
    find: 'if (repeated !== undefined) {',
    replace: 'if (repeated !== undefined && !view.dup) {',
  },
  {
    name: 'QoS 2 identifier of a publisher not recorded',
    file: 'broker/on-publish.js',
    find: 'session.stored ? persistence.hold(',
    replace: 'session.ended ? persistence.hold(',
  },
  {
    name: 'release of a QoS 2 identifier not recorded',
    file: 'broker/held-identifier.js',
    find: 'if (this.isLogged)',
    replace: 'if (this.isRow)',
  },
  {
    name: 'window not given back by acknowledgements',
    file: 'broker/on-ack.js',
    find: 'session.sendQuota++;',
    replace: ';',
  },
  {
    name: 'window of an earlier connection given back',
    file: 'broker/on-ack.js',
    find: 'const paid = session.unpaidIds === null || !session.unpaidIds.delete(packetId);',
    replace: 'const paid = true; session.unpaidIds?.delete(packetId);',
  },
  {
    name: 'final tally twice',
    file: 'receipts/tracker.js',
    find: 'if (tell)\n            this.tellTally(',
    replace: 'for (let times = 0; times < 2; times++) this.tellTally(',
  },
  {
    name: 'an outcome overwritten by a later one',
    file: 'receipts/tracker.js',
    find: 'row === null || row.final ? null : row',
    replace: 'row',
  },
  {
    name: 'will published after a goodbye',
    file: 'broker/broker-core.js',
    find: 'this.connectionGone(session, reasonCode !== ReasonCode.success);',
    replace: 'this.connectionGone(session, true);',
  },
  {
    name: 'retained message without a hold on its body',
    file: 'broker/retained.js',
    find: 'out.references++;\n            out.lasting++;\n            persistence.putRetained(',
    replace: 'persistence.putRetained(',
  },
  {
    name: 'an ended session told of before its end is recorded',
    file: 'broker/on-connect.js',
    find: '(!sessionPresent && this.lifecycle.isEnding)',
    replace: 'false',
  },
  {
    name: 'PUBREL before PUBREC is recorded',
    file: 'broker/on-ack.js',
    find: 'turns.pubrel(link, packetId, ReasonCode.success, session.stored)',
    replace: 'turns.pubrel(link, packetId, ReasonCode.success, false)',
  },
  {
    name: 'PUBCOMP before PUBREL is recorded',
    file: 'broker/on-ack.js',
    find: 'reasonCode, null, isRecorded ? theCommit : nothing)',
    replace: 'reasonCode, null, nothing)',
  },
  {
    name: 'SUBACK before the subscription is recorded',
    file: 'broker/on-subscribe.js',
    find: 'reasonCodes, link.version, reason, link.maximumPacketSize), waits)',
    replace: 'reasonCodes, link.version, reason, link.maximumPacketSize), false)',
  },
  {
    name: 'success answered to 3.1.1 while nothing can be recorded',
    file: 'broker/on-publish.js',
    find: 'if (link.version === 5 || this.context.persistence.healthy)',
    replace: 'if (true)',
  },
  {
    name: 'resumed messages behind newer ones',
    file: 'broker/offers.js',
    find: ' || queueLength(this.context, session) > 0',
    replace: '',
  },
  {
    name: 'live receipts beside the replay that will tell them',
    file: 'broker/receipt-replays.js',
    find: 'covers(subscription, sequence, recipientKey) {',
    replace: 'covers(subscription, sequence, recipientKey) { return false;',
  },
  {
    name: 'a replay begun anew by a restart',
    file: 'broker/receipt-replays.js',
    find: 'replay.done = reader.varint();',
    replace: 'reader.varint();',
  },
  {
    name: 'one message too many in a queue',
    file: 'broker/offers.js',
    find: 'length - session.waitingReceipts >= maximumQueuedMessages',
    replace: 'length - session.waitingReceipts > maximumQueuedMessages',
  },
  {
    name: 'bytes of a queue not counted',
    file: 'broker/offers.js',
    find: 'queue.bytes + out.payloadLength > maximumQueuedBytes',
    replace: 'queue.bytes > maximumQueuedBytes',
  },
  {
    name: 'bytes of a queue not given back',
    file: 'broker/send-window.js',
    find: 'session.queue.removeBytes(delivery.sequence, payloadLength);',
    replace: ';',
  },
  {
    name: 'a full queue without an outcome',
    file: 'broker/offers.js',
    find: 'this.refuse(session, out, carriage, Cause.queueFull, qos);',
    replace: ';',
  },
  {
    name: 'packets larger than the client takes',
    file: 'broker/send-window.js',
    find: 'if (limit === 0 || frame.end - frame.start <= limit)',
    replace: 'if (true)',
  },
  {
    name: 'a queued message that is too large without an outcome',
    file: 'broker/send-window.js',
    find: 'this.tell(session, delivery, Outcome.dropped, Cause.tooLarge);',
    replace: ';',
  },
  {
    name: 'bytes in flight without a bound',
    file: 'session/inflight-bytes.js',
    find: 'return this.sizes.size === 0 || this.total + bytes <= this.maximum;',
    replace: 'return true;',
  },
  {
    name: 'more records than may be kept',
    file: 'receipts/housekeeping.js',
    find: 'if (records.size < limits.maxRecords)',
    replace: 'if (true)',
  },
  {
    name: 'records pruned while deliveries are pending',
    file: 'receipts/housekeeping.js',
    find: 'if (record === null || record.counts.pending > 0)\n                continue;',
    replace: 'if (record === null)\n                continue;',
  },
  {
    name: 'messages sent after they have expired',
    file: 'broker/send-window.js',
    find: 'if (expiryAtMs > 0 && expiryAtMs <= clock.now()) {',
    replace: 'if (false) {',
  },
  {
    name: 'messages that expire are forgotten by a restart',
    file: 'broker/stored-timers.js',
    find: 'if (kind === TimerKind.deliveryExpiry)',
    replace: 'if (kind < 0)',
  },
  {
    name: 'sessions that do not expire after a restart',
    file: 'broker/recovery.js',
    find: 'parts.lifecycle.armExpiry(session);',
    replace: ';',
  },
  {
    name: 'holds forgotten by a restart',
    file: 'broker/on-connect.js',
    find: 'this.holds.restore(session, packetId, identityKeyOf(session), sequence);',
    replace: ';',
  },
  {
    name: 'a held PUBACK of success before the outcome',
    file: 'broker/holds.js',
    find: 'return succeeded(record.counts, record.requested) ? ReasonCode.success',
    replace: 'return true ? ReasonCode.success',
  },
  {
    name: 'a replay that leaves out what does not fit',
    file: 'broker/receipt-delivery.js',
    find: 'if (replay)\n            return false;',
    replace: '',
  },
  {
    name: 'a message for nobody without its only tally',
    file: 'broker/receipt-delivery.js',
    find: ' || records.find(publisherKey, sequence)?.matched === 0',
    replace: '',
  },
  {
    name: 'deliveries of ended sessions without an outcome',
    file: 'broker/session-sweeps.js',
    find: 'if (outcome === Outcome.none || delivery.kind',
    replace: 'if (outcome === Outcome.lost || outcome === Outcome.none || delivery.kind',
  },
  {
    name: 'a large fan-out begun anew by a restart',
    file: 'broker/large-fan-outs.js',
    find: 'new ByteReader(stored).varint()',
    replace: '0',
  },
  {
    name: 'a large cohort that nobody speaks for after a restart',
    file: 'broker/large-fan-outs.js',
    find: 'this.unwrittenRecipients.settle({ sequence, record: standing.record, offered }, () => standing.release());',
    replace: 'standing.release();',
  },
  {
    name: 'stored recipients of a large cohort without rows after a restart',
    file: 'broker/unwritten-recipients.js',
    find: "session.stored && session.clientId !== ''",
    replace: 'false',
  },
  {
    name: 'a large cohort forgotten before its last outcome',
    file: 'broker/standing-cohorts.js',
    find: 'this.isOffered && this.holds === 0 && this.left === 0',
    replace: 'this.isOffered && this.holds === 0',
  },
  {
    name: 'a large fan-out begun before its cohort is recorded',
    file: 'broker/large-fan-outs.js',
    find: 'next.cohort !== null && !next.isRecorded',
    replace: 'false',
  },
  {
    name: 'a new message recorded as sent before what was sent from the queue',
    file: 'broker/offers.js',
    find: 'unrecorded.record(session);',
    replace: ';',
  },
  {
    name: 'what was sent from the queue forgotten with the connection',
    file: 'broker/session-lifecycle.js',
    find: 'unrecorded.record(session);\n        cohorts.leave(session);\n        session.link',
    replace: 'cohorts.leave(session);\n        session.link',
  },
];
