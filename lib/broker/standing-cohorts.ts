import type { Message } from '../base/message.js';
import { identityKeyOf } from '../receipts/identities.js';
import type { StandingRecipient, StandingRecipients } from '../receipts/recipient-rows.js';
import type { RecordStore } from '../receipts/record-store.js';
import type { Tracker } from '../receipts/tracker.js';
import { type Delivery, DeliveryKind } from '../session/delivery.js';
import type { Session } from '../session/session.js';
import type { Target } from '../session/subscription.js';
import type { QoS } from '../spec/packet-types.js';
import { messageKey } from '../store/records-keys.js';
import { Table } from '../store/store.js';
import type { Persistence } from './persistence.js';
import type { Sizes } from './sizes.js';
import type { Turns } from './turn.js';
import type { TurnClock } from './turn-clock.js';

/** Rows written in a turn when a cohort gives way. */
const writeSlice = 500;
/** Deliveries at their ends that a cohort keeps, beside as many as it has others. */
const surplusMax = 1000;

/**
 * A tracked delivery of which nobody but its cohort says that it was sent, as long as there is no outcome. To a session
 * that is not stored it has no row at all; to a stored one that of the session, and none in the message's record.
 */
export class CohortDelivery implements Delivery, StandingRecipient {
  readonly session: Session;
  readonly sequence: number;
  readonly messageSequence: number;
  readonly kind: DeliveryKind = DeliveryKind.tracked;
  readonly message: Message | null = null;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[] | null;
  readonly group: string | null = null;
  readonly reference: Buffer;
  readonly sentAtMs: number;
  readonly canAnswer: boolean;
  isWritten = false;
  /** Null once the delivery has all its rows, or is at its end. */
  cohort: StandingCohort | null;

  constructor(
    cohort: StandingCohort,
    { session, subscriptionIds }: Target,
    sequence: number,
    qos: QoS,
    retain: boolean,
    sentAtMs: number,
  ) {
    this.cohort = cohort;
    this.session = session;
    this.sentAtMs = sentAtMs;
    this.canAnswer = session.version === 5;
    this.sequence = sequence;
    this.messageSequence = cohort.sequence;
    this.reference = cohort.record;
    this.qos = qos;
    this.retain = retain;
    this.subscriptionIds = subscriptionIds;
  }

  /** Whoever has this delivery in memory forgets it: it gets its rows. */
  giveWay(): void {
    this.cohort?.giveWay(this);
  }

  written(): void {
    this.isWritten = true;
    if (this.cohort !== null) this.cohort.lacking--;
  }

  /** The delivery is at its end. @returns false if it has got all its rows by now */
  settle(): boolean {
    const { cohort } = this;
    if (cohort === null) return false;
    cohort.putRow(this);
    this.cohort = null;
    cohort.settled(this);
    return true;
  }
}

/**
 * The stored cohort of a tracked message as what speaks, after a restart, for recipients without rows in its record:
 * those whose sessions are not stored are lost, the others have been sent it. So most get no row but that of their
 * outcome. The value goes when everybody has been offered the message and no such delivery is left.
 */
export class StandingCohort implements StandingRecipients {
  /** The message's. */
  readonly sequence: number;
  /** Key of its record. */
  readonly record: Buffer;
  private readonly owner: StandingCohorts;
  /** In the order in which they were sent, and more than `surplusMax` that are over only while as many are not. */
  private deliveries: CohortDelivery[] = [];
  /** Those that are not over. */
  private left = 0;
  lacking = 0;
  /** The same by their recipients' keys as latin1, once somebody has asked. */
  private byKey: Map<string, CohortDelivery> | null = null;
  /** Reasons to stay beside the deliveries. */
  private holds = 0;
  private isOffered = false;

  constructor(owner: StandingCohorts, sequence: number, record: Buffer) {
    this.owner = owner;
    this.sequence = sequence;
    this.record = record;
    owner.records.stand(sequence, this);
  }

  /** A delivery that is being sent. */
  deliver(target: Target, sequence: number, qos: QoS, retain: boolean): CohortDelivery {
    const { session } = target;
    const delivery = new CohortDelivery(this, target, sequence, qos, retain, this.owner.clock.now());
    // Whoever asks for all of them needs their keys at once.
    const key = identityKeyOf(session);
    this.deliveries.push(delivery);
    this.left++;
    this.lacking++;
    this.byKey?.set(key.toString('latin1'), delivery);
    this.owner.unwritten++;
    return delivery;
  }

  /** One more reason for the cohort to stay. */
  hold(): void {
    this.holds++;
  }

  /** One less. */
  release(): void {
    this.holds--;
    this.end();
  }

  putRow(delivery: CohortDelivery): void {
    this.owner.putRow(delivery);
  }

  settled(delivery: CohortDelivery): void {
    this.byKey?.delete(textOf(delivery));
    this.left--;
    this.owner.unwritten--;
    if (this.deliveries.length > 2 * this.left + surplusMax) this.deliveries = [...this];
    this.end();
  }

  find(recipientKey: Buffer): CohortDelivery | null {
    if (this.byKey === null) {
      this.byKey = new Map();
      for (const delivery of this) this.byKey.set(textOf(delivery), delivery);
    }
    return this.byKey.get(recipientKey.toString('latin1')) ?? null;
  }

  *[Symbol.iterator](): Generator<CohortDelivery> {
    for (const delivery of this.deliveries) if (delivery.cohort !== null) yield delivery;
  }

  /** Everybody has been offered the message. */
  offered(): void {
    this.isOffered = true;
    this.end();
  }

  /** Gives deliveries rows, at most `limit`. @returns false when all have them */
  write(limit: number): boolean {
    let left = limit;
    for (const delivery of this) {
      if (left-- === 0) return true;
      this.giveWay(delivery);
    }
    return false;
  }

  giveWay(delivery: CohortDelivery): void {
    this.owner.putRows(delivery);
    delivery.settle();
  }

  private end(): void {
    if (this.isOffered && this.holds === 0 && this.left === 0) this.owner.end(this);
  }
}

function textOf({ session }: CohortDelivery): string {
  return identityKeyOf(session).toString('latin1');
}

/** All cohorts that stand, with limits to what they hold in memory and in the store. */
export class StandingCohorts {
  /** Deliveries that lack rows. */
  unwritten = 0;
  readonly clock: TurnClock;
  readonly records: RecordStore;
  private readonly turns: Turns;
  private readonly persistence: Persistence;
  private readonly tracker: Tracker;
  /** Those whose fan-outs are over, oldest first. */
  private readonly standing = new Set<StandingCohort>();
  private readonly sizes: Pick<Sizes, 'unwrittenMax' | 'standingMax'>;
  private isWriting = false;

  constructor(
    clock: TurnClock,
    turns: Turns,
    persistence: Persistence,
    records: RecordStore,
    tracker: Tracker,
    sizes: Pick<Sizes, 'unwrittenMax' | 'standingMax'>,
  ) {
    this.clock = clock;
    this.turns = turns;
    this.persistence = persistence;
    this.records = records;
    this.tracker = tracker;
    this.sizes = sizes;
  }

  begin(sequence: number, record: Buffer): StandingCohort {
    return new StandingCohort(this, sequence, record);
  }

  /** True if so many more deliveries may do without. */
  hasRoom(count: number): boolean {
    return this.unwritten + count <= this.sizes.unwrittenMax;
  }

  /** The fan-out is over; the cohort stays as long as it is needed. */
  offered(cohort: StandingCohort): void {
    this.standing.add(cohort);
    cohort.offered();
    if (this.standing.size > this.sizes.standingMax && !this.isWriting) this.writeOldest();
  }

  /** Nobody is left for whom the cohort would stand. */
  end(cohort: StandingCohort): void {
    this.standing.delete(cohort);
    this.records.standNoMore(cohort.sequence);
    this.persistence.store.delete(Table.fanOuts, messageKey(cohort.sequence));
  }

  /** Gives the deliveries in flight to a stored session all their rows, before memory loses them. */
  leave(session: Session): void {
    if (this.unwritten === 0 || !session.stored || session.inflightCount === 0) return;
    const { outbound } = session;
    for (const packetId of outbound.inOrder()) {
      const delivery = outbound.detail(packetId);
      if (delivery instanceof CohortDelivery) delivery.giveWay();
    }
  }

  private writeOldest(): void {
    const [oldest] = this.standing;
    this.isWriting = oldest !== undefined && this.standing.size > this.sizes.standingMax;
    if (oldest === undefined || !this.isWriting) return;
    this.turns.begin();
    if (!oldest.write(writeSlice)) this.standing.delete(oldest);
    this.clock.endOfTurn(() => this.writeOldest());
  }

  /** What a delivery lacks. */
  putRows(delivery: CohortDelivery): void {
    this.putRow(delivery);
    const { session, sequence, messageSequence, reference } = delivery;
    if (!session.stored) this.persistence.putTransient(session, sequence, messageSequence, reference, null);
  }

  /** Its row in the message's record. */
  putRow(delivery: CohortDelivery): void {
    if (delivery.isWritten) return;
    this.tracker.writeStanding(delivery.reference, delivery.messageSequence, delivery);
    // Without a record there is nothing to write to.
    if (!delivery.isWritten) delivery.written();
  }
}
