import type { World } from './world.js';

/** What the tests read of a receipt or a tally. */
interface Body {
  readonly id: string;
  readonly to?: string;
  readonly state?: string;
  readonly qos?: number;
  readonly reason?: number;
  readonly cause?: string;
  readonly matched: number;
  readonly processed: number;
  readonly delivered: number;
  readonly sent: number;
  readonly failed: number;
  readonly pending: number;
  readonly final?: boolean;
}

/** One tracked message, as its publisher has been told of it. */
interface Told {
  readonly publisher: string;
  matched: number | null;
  hasFirst: boolean;
  hasFinal: boolean;
  readonly queued: Set<string>;
  /** The outcome of each recipient. */
  readonly outcomes: Map<string, string>;
  /** Recipients that must be in the cohort. */
  certain: readonly string[];
}

const outcomes = ['delivered', 'sent', 'rejected', 'expired', 'dropped', 'lost'];

/** What a subscriber answered, by the receipt-id that it saw, or, at version 3.1.1, by the message itself. */
interface Answers {
  taken: number;
  refused: number;
  /** Receipts that rest on these answers. */
  claimed: number;
}

/** What decides how its deliveries may end: some outcomes are for sessions that end, or for QoS 0, only. */
export interface Recipient {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** True if its session never ends in this run. */
  readonly permanent: boolean;
  readonly qos: number;
}

/** Receipts as publishers got them against what the recipients themselves say. */
export class ReceiptsLedger {
  /** Receipts and tallies that came. */
  received = 0;
  /** Outcomes by state. */
  readonly counts = new Map<string, number>();
  private readonly world: World;
  private readonly recipients = new Map<string, Recipient>();
  private readonly told = new Map<string, Told>();
  private readonly closed = new Set<string>();
  private readonly answers = new Map<string, Answers>();
  private open = 0;

  constructor(world: World) {
    this.world = world;
  }

  know(recipient: Recipient): void {
    this.recipients.set(recipient.clientId, recipient);
  }

  get isComplete(): boolean {
    return this.open === 0;
  }

  /** A subscriber has answered a tracked message. */
  onAnswered(clientId: string, receiptId: string | null, key: string, reasonCode: number): void {
    const answers = this.answersOf(clientId, receiptId ?? key);
    if (reasonCode >= 0x80) answers.refused++;
    else answers.taken++;
  }

  /** PUBACK or PUBREC of a tracked message. @param certain clients that had subscribed for certain */
  onTaken(publisher: string, id: string | undefined, matched: number, certain: readonly string[]): void {
    if (id === undefined) {
      this.world.violation(`${publisher} got no receipt-id for a tracked message`);
      return;
    }
    if (this.closed.has(id)) return;
    const told = this.toldOf(id, publisher);
    if (told.matched !== null && told.matched !== matched)
      this.world.violation(`${id} matched ${told.matched}, ${matched}`);
    told.matched = matched;
    told.certain = certain;
  }

  /** A receipt or a tally came, for the first time. */
  onReceived(publisher: string, topic: string, payload: string, key: string): void {
    this.received++;
    const body = JSON.parse(payload) as Body;
    const { id } = body;
    if (this.closed.has(id)) {
      this.world.violation(`after the final tally of ${id} came ${payload}`);
      return;
    }
    const told = this.toldOf(id, publisher);
    if (told.publisher !== publisher) this.world.violation(`${publisher} got a receipt of ${told.publisher}`);
    if (told.hasFinal) this.world.violation(`after the final tally of ${id} came ${payload}`);
    told.matched ??= body.matched;
    if (told.matched !== body.matched) this.world.violation(`${id} matched ${told.matched}, then ${payload}`);
    if (topic.split('/').length === 3) this.onTally(told, body, payload);
    else this.onReceipt(told, body, payload, key);
  }

  /** All tracked messages have their final tally: each is checked as a whole. */
  settle(): void {
    for (const [id, told] of this.told) {
      for (const clientId of told.certain) {
        if (!told.outcomes.has(clientId))
          this.world.violation(`${id} has no outcome for ${clientId}, which subscribed`);
      }
      this.closed.add(id);
    }
    this.told.clear();
    this.answers.clear();
  }

  /** What is not finished, in words. */
  missing(): string[] {
    const open = [...this.told].filter(([, { hasFinal }]) => !hasFinal);
    return open.slice(0, 5).map(([id, { publisher, matched, outcomes: known, queued }]) => {
      const list = [...known].map(([to, state]) => `${to} ${state}`).join(', ');
      return `${id} of ${publisher} has no final tally: ${matched} matched, ${list}, queued ${[...queued].join(' ')}`;
    });
  }

  private onTally(told: Told, body: Body, payload: string): void {
    const { matched, processed, delivered, sent, failed, pending, final } = body;
    if (matched !== processed + delivered + sent + failed + pending) {
      this.world.violation(`a tally does not add up: ${payload}`);
    }
    if (final !== (pending === 0)) this.world.violation(`final and pending do not agree: ${payload}`);
    if (!told.hasFirst) {
      told.hasFirst = true;
      if (pending !== matched) this.world.violation(`the first tally came late: ${payload}`);
    } else if (final !== true) this.world.violation(`a second tally that is not final: ${payload}`);
    if (final !== true) return;
    told.hasFinal = true;
    this.open--;
    const count = (state: string): number => [...told.outcomes.values()].filter((known) => known === state).length;
    const isRight =
      told.outcomes.size === matched &&
      count('delivered') === delivered &&
      count('sent') === sent &&
      matched - count('delivered') - count('sent') === failed;
    const known = [...told.outcomes].map(([to, state]) => `${to} ${state}`).join(', ');
    if (!isRight) this.world.violation(`the final tally ${payload} is not the sum of ${known}`);
  }

  private onReceipt(told: Told, body: Body, payload: string, key: string): void {
    const { to = '', state = '' } = body;
    if (!told.hasFirst) this.world.violation(`a receipt before the first tally: ${payload}`);
    if (state === 'queued') {
      if (told.queued.has(to) || told.outcomes.has(to)) this.world.violation(`queued out of place: ${payload}`);
      told.queued.add(to);
      return;
    }
    if (!outcomes.includes(state)) this.world.violation(`an unknown state: ${payload}`);
    if (told.outcomes.has(to)) this.world.violation(`a second outcome, after ${told.outcomes.get(to)}: ${payload}`);
    told.outcomes.set(to, state);
    this.counts.set(state, (this.counts.get(state) ?? 0) + 1);
    this.checkOutcome(body, payload, key);
  }

  /** An outcome against the recipient's own log. */
  private checkOutcome(body: Body, payload: string, key: string): void {
    const { id, to = '', state = '', qos = 0, reason } = body;
    const recipient = this.recipients.get(to);
    if (recipient === undefined) {
      this.world.violation(`a receipt for a client that is not: ${payload}`);
      return;
    }
    const { version, permanent } = recipient;
    const answers = this.answersOf(to, version === 5 ? id : key);
    if (state === 'delivered') answers.claimed++;
    const { taken, refused, claimed } = answers;
    if (claimed > taken) this.world.violation(`not acknowledged by ${to}: ${payload}`);
    if (state === 'rejected' && (refused === 0 || reason !== 0x83)) this.world.violation(`not refused: ${payload}`);
    if (state === 'sent' && qos !== 0) this.world.violation(`sent is an outcome at QoS 0 only: ${payload}`);
    const isQos0 = recipient.qos === 0 || key.split(' ')[0].endsWith('/0');
    if (state === 'dropped' && !isQos0) this.world.violation(`nothing to drop it for: ${payload}`);
    if (!permanent) return;
    if (state === 'lost') this.world.violation(`its session never ended: ${payload}`);
    if (version === 5 && taken > 0 && state !== 'delivered') this.world.violation(`${to} took it: ${payload}`);
  }

  private answersOf(clientId: string, name: string): Answers {
    const key = `${clientId} ${name}`;
    const known = this.answers.get(key);
    if (known !== undefined) return known;
    const answers = { taken: 0, refused: 0, claimed: 0 };
    this.answers.set(key, answers);
    return answers;
  }

  private toldOf(id: string, publisher: string): Told {
    const known = this.told.get(id);
    if (known !== undefined) return known;
    const told: Told = {
      ...{ publisher, matched: null, hasFirst: false, hasFinal: false, queued: new Set<string>() },
      ...{ outcomes: new Map<string, string>(), certain: [] },
    };
    this.told.set(id, told);
    this.open++;
    return told;
  }
}
