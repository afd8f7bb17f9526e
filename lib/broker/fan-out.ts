import { Outcome } from '../delivery/table.js';
import { Cause } from '../receipts/causes.js';
import { DeliveryKind } from '../session/delivery.js';
import type { Session } from '../session/session.js';
import type { Subscription } from '../session/subscription.js';
import type { SharedGroup } from '../topic/shared-groups.js';
import type { Context } from './context.js';
import { type Carriage, type Offers, plainCarriage } from './offers.js';
import type { Outgoing } from './outgoing.js';
import { type Route, targetOf } from './routes.js';

function trackedCarriage(record: Buffer): Carriage {
  return { kind: DeliveryKind.tracked, sequence: 0, reference: record, group: null, cohort: null };
}

/** Takes one message to everyone who subscribes to its topic. */
export class FanOut {
  private readonly context: Context;
  private readonly offers: Offers;
  /** Of the last tracked message: the next one of its publisher is carried alike. */
  private tracked: Carriage | null = null;

  constructor(context: Context, offers: Offers) {
    this.context = context;
    this.offers = offers;
  }

  /**
   * Offers the message to each matching session once, and to one member of each matching shared group.
   * @param publisher the session that published, or null for the broker and the embedding program
   * @param record key of the tracked message's record, or null
   * @returns how many recipients it was offered to: the cohort
   */
  publish(out: Outgoing, route: Route, publisher: Session | null, record: Buffer | null): number {
    const carriage = record === null ? plainCarriage : this.carriageOf(record);
    let matched = 0;
    for (const target of route.targets) {
      const granted = target.session === publisher ? target.own : target; // [MQTT-3.8.3-3]
      if (granted === null) continue;
      matched++;
      if (record !== null) this.context.tracker.join(record, out.sequence, target.session, null);
      this.offers.offer(granted, out, carriage);
    }
    for (const group of route.groups) {
      matched++;
      if (record !== null) this.context.tracker.join(record, out.sequence, null, group.name);
      this.offerToGroup(group.name, out, record);
    }
    // Now, not before: the budget looks at the clock, which should see the time of these offers.
    const { budget } = this.context;
    budget.offers(route.targets.length, out.payloadLength);
    if (record !== null) budget.tracked(route.targets.length + route.groups.length);
    return matched;
  }

  private carriageOf(record: Buffer): Carriage {
    if (this.tracked?.reference !== record) this.tracked = trackedCarriage(record);
    return this.tracked;
  }

  /** Offers the message to one member of a group; a tracked one that nobody can take is dropped. */
  offerToGroup(group: string, out: Outgoing, record: Buffer | null): void {
    if (this.offerToOneOf(group, out, record, null) || record === null) return;
    this.context.tracker.outcome(record, out.sequence, null, group, {
      outcome: Outcome.dropped,
      reasonCode: 0,
      cause: Cause.offline,
      reasonString: null,
    });
  }

  /**
   * Offers a delivery to one member of a group; false if the group has no member for it.
   * @param leaver client that left it behind with its session: a new session of that client is no other member
   */
  offerToOneOf(group: string, out: Outgoing, record: Buffer | null, leaver: string | null): boolean {
    const shared = this.context.routes.group(group);
    const member = shared === null ? null : this.choose(shared, out, leaver);
    if (member === null) return false;
    this.offerToMember(member, out, group, record);
    return true;
  }

  private offerToMember(member: Subscription, out: Outgoing, group: string, record: Buffer | null): void {
    // A member may get the message by a subscription of its own too: the group's copy has its own place in the queue.
    const kind = record === null ? DeliveryKind.message : DeliveryKind.tracked;
    const sequence = this.context.sequences.next();
    const carriage: Carriage = { kind, sequence, reference: record, group, cohort: null };
    this.offers.offer(targetOf(member.session, [member]), out, carriage);
  }

  /**
   * The member whose turn it is: one that can take the message now, else one that is connected, else any that keeps it.
   */
  private choose(group: SharedGroup<Subscription>, out: Outgoing, leaver: string | null): Subscription | null {
    const { routes, settings, rights } = this.context;
    const unacknowledged = out.qos === 0 && !settings.upgradeOutgoingQos;
    const may = (member: Subscription): boolean =>
      member.session.clientId !== leaver && rights.mayFollow(member, out.topicName);
    const ready = routes.choose(group, (member) => {
      const { link, sendQuota } = member.session;
      return link !== null && !link.slow && (unacknowledged || member.qos === 0 || sendQuota > 0) && may(member);
    });
    return (
      ready ??
      routes.choose(group, (member) => member.session.link !== null && may(member)) ??
      routes.choose(group, (member) => !unacknowledged && member.qos > 0 && may(member))
    );
  }
}
