import { DeliveryEvent, DeliveryState, outcomeOf, step } from '../delivery/table.js';
import { readRecordKey } from '../receipts/record-keys.js';
import { DeliveryKind } from '../session/delivery.js';
import type { TimerHandle } from '../session/session.js';
import { readMessageKey } from '../store/records-keys.js';
import type { Context } from './context.js';
import { TimerKind } from './persistence.js';
import type { Retained } from './retained.js';
import { removeRow } from './send-window.js';

/** Timers handled before other work gets its turn. */
const slice = 500;

/** Handles the timers that are kept in the store: what is due after a restart still happens. One wake-up for all. */
export class StoredTimers {
  private readonly context: Context;
  private readonly retained: Retained;
  private armed: TimerHandle | null = null;
  private armedFor = Number.POSITIVE_INFINITY;

  constructor(context: Context, retained: Retained) {
    this.context = context;
    this.retained = retained;
    context.persistence.onTimer = (dueMs) => this.arm(dueMs);
  }

  /** Begins with what the store holds. */
  start(): void {
    const dueMs = this.context.persistence.nextTimerDue();
    if (dueMs !== null) this.arm(dueMs);
  }

  private arm(dueMs: number): void {
    if (dueMs >= this.armedFor) return;
    this.context.timers.cancel(this.armed);
    this.armedFor = dueMs;
    this.armed = this.context.timers.at(dueMs, () => this.run());
  }

  private run(): void {
    const { persistence, clock, turns } = this.context;
    turns.begin();
    this.armedFor = Number.POSITIVE_INFINITY;
    for (const { kind, reference } of persistence.takeDueTimers(clock.now(), slice)) {
      if (kind === TimerKind.deliveryExpiry) this.expireDelivery(reference);
      else if (kind === TimerKind.retainedExpiry) this.expireRetained(reference);
      else if (kind === TimerKind.recordDeadline) this.passDeadline(reference);
    }
    this.start();
  }

  /** [MQTT-3.3.2-5] a message that waited too long goes without waiting for its client. */
  private expireDelivery(reference: Buffer): void {
    const { context } = this;
    const found = context.persistence.readTimedDelivery(reference);
    if (found === null || found.row.state !== DeliveryState.queued) return;
    const session = this.context.storedSessions.get(found.session);
    if (session === undefined) return;
    const { row } = found;
    if (session.queueKnown) {
      if (!session.queue.remove(row.sequence)) session.queue.removedBeyond();
      session.queue.removeBytes(row.sequence, row.payloadBytes);
    }
    context.metrics.expired++;
    removeRow(context, session, row.sequence, row);
    if (row.kind !== DeliveryKind.tracked || row.reference === null) return;
    context.tracker.outcome(row.reference, row.messageSequence, session, row.group, {
      outcome: outcomeOf(step(DeliveryState.queued, DeliveryEvent.expire)),
      reasonCode: 0,
      cause: null,
      reasonString: null,
    });
  }

  /** [receipts contract, "Packets"] says once what is still pending. */
  private passDeadline(reference: Buffer): void {
    const { publisherKey, sequence } = readRecordKey(reference);
    this.context.tracker.overdue(publisherKey, sequence);
  }

  private expireRetained(reference: Buffer): void {
    const sequence = readMessageKey(reference);
    const message = this.context.persistence.readMessage(sequence);
    if (message !== null) this.retained.forget(message.topicName, sequence);
  }
}
