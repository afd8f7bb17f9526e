/** An application message of a simulated client. Its payload is its name, so that whoever gets it can be checked. */
export interface Publication {
  /** `{stream}:{n}` */
  readonly name: string;
  /** Who publishes: a client, or a client's wills. Messages of a stream are in order on each topic. */
  readonly stream: string;
  readonly n: number;
  readonly clientId: string;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** True if it has no payload, and so clears what its topic retains. */
  readonly clears: boolean;
  /** What it asks receipts for. */
  readonly receipt: 'delivered' | 'processed' | null;
  readonly hold: boolean;
  /** Seconds; 0 for none. */
  readonly deadline: number;
  /** Message Expiry Interval in seconds; 0 for none. */
  readonly expiry: number;
  /** Event at which it was first sent. */
  sentAt: number;
  /** Event at which the publisher had its acknowledgement; 0 before. */
  takenAt: number;
  /** The same as time, in ms; 0 before. */
  takenAtMs: number;
  /** Clients that are surely among its recipients; known once it is acknowledged. */
  recipients: readonly string[];
}

/** A subscription as its client knows it. */
export interface SubscriptionFact {
  readonly topicFilter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** Name of the shared subscription, or null. */
  readonly group: string | null;
  /** 0 for none. */
  readonly subscriptionId: number;
  /** Event at which SUBSCRIBE was sent. */
  readonly askedAt: number;
  /** Event at which SUBACK came; 0 before, and when it may not be there any more. */
  certainFrom: number;
  /** Event at which it was surely gone: UNSUBACK came, or SUBSCRIBE replaced it. */
  goneAt: number;
  /** True if it may have been replaced or removed since it was asked for. */
  isDoubtful: boolean;
}

/** What a client asks for when it subscribes. */
export type SubscriptionChoice = Pick<
  SubscriptionFact,
  'topicFilter' | 'qos' | 'noLocal' | 'retainAsPublished' | 'subscriptionId'
>;

/** What a client decides about a message. */
export type PublishChoice = Omit<
  Publication,
  'name' | 'stream' | 'n' | 'clientId' | 'sentAt' | 'takenAt' | 'takenAtMs' | 'recipients'
>;

const never = Number.POSITIVE_INFINITY;

/** @param askedAt event at which SUBSCRIBE is sent */
export function newSubscription(choice: SubscriptionChoice, askedAt: number): SubscriptionFact {
  const group = choice.topicFilter.startsWith('$share/') ? choice.topicFilter : null;
  return { ...choice, group, askedAt, certainFrom: 0, goneAt: never, isDoubtful: false };
}

/** §4.7 as it reads; a shared subscription's filter is the part behind its group. */
export function matches({ topicFilter, group }: SubscriptionFact, topic: string): boolean {
  const filter = (group === null ? topicFilter : topicFilter.split('/').slice(2).join('/')).split('/');
  const levels = topic.split('/');
  if (topic.startsWith('$') && (filter[0] === '+' || filter[0] === '#')) return false;
  const isOpen = filter.at(-1) === '#';
  if (isOpen) filter.pop();
  if (isOpen ? levels.length < filter.length : levels.length !== filter.length) return false;
  return filter.every((level, index) => level === '+' || level === levels[index]);
}

/** Bytes of a user property. */
const propertyBytes = (name: string, value: string): number => 5 + name.length + value.length;

/** Bytes that a message surely fits into, with what the broker may add: an alias and identifiers of subscriptions. */
export function packetBytesMax({ topic, name, receipt, hold, deadline, expiry }: Publication): number {
  const added = 3 + 5 * 2;
  const request =
    (receipt === null ? 0 : propertyBytes('receipt', receipt)) +
    (hold ? propertyBytes('receipt-hold', 'true') : 0) +
    (deadline > 0 ? propertyBytes('receipt-deadline', String(deadline)) : 0);
  return 2 + 2 + topic.length + 2 + 2 + added + (expiry > 0 ? 5 : 0) + request + name.length;
}
