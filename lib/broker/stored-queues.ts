import { firstSequenceAt, sequenceReserveBlock } from '../base/sequence.js';
import { DeliveryState } from '../delivery/table.js';
import type { TrackedRecord } from '../receipts/record.js';
import { DeliveryKind } from '../session/delivery.js';
import type { Session } from '../session/session.js';
import type { Context } from './context.js';

/** Rows of a stored queue read at a time, and measured in one turn. */
const sliceRows = 1000;

/**
 * Deliveries waiting in a session's queue. What an earlier process left is counted when this is first asked: the
 * length at once, the bytes of a long queue slice by slice, so that they are short of the truth for some turns.
 */
export function queueLength(context: Context, session: Session): number {
  if (!session.queueKnown) learn(context, session);
  return session.queueLength;
}

/**
 * True if receipts of a finished message may still wait in its publisher's queue: whatever waits there was queued
 * before the message had its final tally.
 */
export function awaitsReceipts(context: Context, { owner, sequence, acceptedAtMs, finalAtMs }: TrackedRecord): boolean {
  const session = context.sessions.get(owner.clientId);
  if (owner.byServer || session === undefined || session.userName !== owner.userName) return false;
  if (session.receiptSubscriptions === 0 || queueLength(context, session) === 0) return false;
  if (session.waitingReceipts === 0) return false;
  const oldest = session.queue.first()?.sequence ?? session.queue.cursor + 1;
  // Numbers run ahead of the clock for a while after a process was killed.
  const ahead = Math.max(0, sequence - firstSequenceAt(acceptedAtMs)) + sequenceReserveBlock;
  return oldest <= firstSequenceAt(finalAtMs) + ahead;
}

function learn(context: Context, session: Session): void {
  const { persistence } = context;
  session.queueKnown = true;
  const { queued, before, last } = persistence.countQueued(session.number);
  if (queued === 0) return;
  session.queue.leaveToStore(queued, before);
  session.queue.measuresFrom(before, last);
  if (session.receiptSubscriptions > 0) session.waitingReceipts = countReceipts(context, session, before);
  measure(context, session);
}

function countReceipts({ persistence }: Context, { number }: Session, after: number): number {
  let count = 0;
  for (let cursor = after; ; ) {
    const rows = persistence.readDeliveries(number, cursor, sliceRows);
    for (const { kind } of rows) if (kind === DeliveryKind.receipt) count++;
    const last = rows[rows.length - 1];
    if (last === undefined || rows.length < sliceRows) return count;
    cursor = last.sequence;
  }
}

function measure(context: Context, session: Session): void {
  const { queue } = session;
  if (session.ended) return;
  try {
    measureSlice(context, session);
  } catch (error) {
    // A damaged row is the matter of whoever needs it; here it only leaves the sum too small.
    queue.measured(0, queue.restoredTo);
    const problem = error instanceof Error ? error.message : String(error);
    context.log.error({ client: session.clientId, error: problem }, 'a queue can not be measured');
  }
  if (!queue.isMeasured) context.clock.endOfTurn(() => measure(context, session));
}

function measureSlice({ persistence }: Context, { number, queue }: Session): void {
  const rows = persistence.readDeliveries(number, queue.measuredTo, sliceRows);
  let bytes = 0;
  for (const { state, sequence, payloadBytes } of rows) {
    if (sequence > queue.restoredTo) break;
    if (state === DeliveryState.queued) bytes += payloadBytes;
  }
  const last = rows.length < sliceRows ? undefined : rows[rows.length - 1];
  queue.measured(bytes, last === undefined ? queue.restoredTo : last.sequence);
}
