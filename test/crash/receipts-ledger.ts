import type { IPublishPacket } from 'mqtt-packet';
import { longDeadlineSeconds, withoutTallies } from './cast.js';
import type { Account } from './deliveries.js';
import type { Publication } from './peer.js';
import type { RecipientLog } from './recipient-log.js';
import { type Body, checkOutcome, checkSaid, isOutcome, keyOf, recipientOf, type Told } from './told.js';
import type { World } from './world.js';

/** Counts that a held PUBACK tells. */
interface Held {
  readonly matched: number;
  readonly delivered: number;
  readonly failed: number;
  readonly pending: number;
}

/** Receipts as publishers got them against what the recipients themselves say. */
export class ReceiptsLedger {
  /** Receipts and tallies that came. */
  received = 0;
  /** Outcomes by state. */
  readonly counts = new Map<string, number>();
  readonly recipients: RecipientLog;
  private readonly world: World;
  private readonly publications = new Map<string, Publication>();
  private readonly told = new Map<string, Told>();
  private readonly closed = new Set<string>();
  private open = 0;
  /** The last message of each publisher when everything was settled last. */
  private readonly settledId = new Map<string, string>();

  constructor(world: World, recipients: RecipientLog) {
    this.world = world;
    this.recipients = recipients;
  }

  get isComplete(): boolean {
    return this.open === 0;
  }

  /** A message that asks for receipts is on its way. */
  onSent(publication: Publication): void {
    this.publications.set(`${publication.topic} ${publication.n}`, publication);
  }

  /**
   * PUBACK or PUBREC of a tracked message.
   * @param certain sessions, and names of groups, that had subscribed for certain
   */
  onTaken(
    publisher: string,
    publication: Publication,
    reasonCode: number,
    properties: Readonly<Record<string, string | string[] | undefined>>,
    certain: readonly (Account | string)[],
  ): void {
    const number = (name: string): number => Number(properties[`receipt-${name}`]);
    const id = properties['receipt-id']?.toString();
    if (id === undefined) {
      this.world.violation(`${publisher} got no receipt-id for a tracked message`);
      return;
    }
    if (this.closed.has(id)) return;
    const told = this.toldOf(id, publisher, `${publication.topic} ${publication.n}`);
    const matched = number('matched');
    if (told.matched !== null && told.matched !== matched) {
      this.world.violation(`${id} matched ${told.matched}, ${matched}`);
    }
    told.matched = matched;
    told.certain = certain.map((who) => (typeof who === 'string' ? who : who.clientId));
    for (const who of certain) if (typeof who !== 'string') told.sessions.set(who.clientId, who.session);
    if (matched === 0) this.endWithoutTally(told);
    if (publication.request?.hold !== true) return;
    const counts = { delivered: number('delivered'), failed: number('failed'), pending: number('pending') };
    this.onHeldAnswered(told, publication, reasonCode, { matched, ...counts });
  }

  /** A receipt or a tally came, for the first time. */
  onReceived(publisher: string, packet: IPublishPacket): void {
    this.received++;
    const payload = packet.payload.toString();
    const body = JSON.parse(payload) as Body;
    const { id } = body;
    if (this.closed.has(id)) {
      this.world.violation(`after the final tally of ${id} came ${payload}`);
      return;
    }
    const told = this.toldOf(id, publisher, keyOf(packet));
    if (told.publisher !== publisher) this.world.violation(`${publisher} got a receipt of ${told.publisher}`);
    if (told.hasFinal) this.world.violation(`after the final tally of ${id} came ${payload}`);
    told.matched ??= body.matched;
    if (told.matched !== body.matched) this.world.violation(`${id} matched ${told.matched}, then ${payload}`);
    const segment = packet.topic.split('/')[3];
    if (segment === undefined && withoutTallies.has(publisher)) this.world.violation(`${publisher} got ${payload}`);
    else if (segment === undefined) this.onTally(told, body, payload);
    else if (decodeURIComponent(segment) === recipientOf(body)) this.onReceipt(told, body, payload);
    else this.world.violation(`${packet.topic} tells ${payload}`);
  }

  /** Messages with a deadline, pending for a recipient that is away: their tally of what is overdue must come. */
  overdueFor(clientId: string): string[] {
    const waiting = [...this.told].filter(([, { publication, hasOverdue, outcomes, queued, certain }]) => {
      const { deadline = 0, hold = false } = publication?.request ?? {};
      const isShort = deadline > 0 && !(hold && deadline === longDeadlineSeconds);
      if (!isShort || hasOverdue || outcomes.has(clientId)) return false;
      return queued.has(clientId) || certain.includes(clientId);
    });
    return waiting.map(([id]) => id);
  }

  /** Deliveries to the present session of a client that its end will end: what waits for its application stays. */
  pendingFor({ clientId, session }: Account): number {
    let count = 0;
    for (const { sessions, outcomes, delivered } of this.told.values()) {
      if (sessions.get(clientId) === session && !outcomes.has(clientId) && !delivered.has(clientId)) count++;
    }
    return count;
  }

  /** True if a receipt has told that the present session of a client has expired. */
  hasExpired({ clientId, session }: Account): boolean {
    for (const { sessions, outcomes } of this.told.values()) {
      if (sessions.get(clientId) === session && outcomes.get(clientId)?.cause === 'session-expired') return true;
    }
    return false;
  }

  /** What publishers have been told since everything was settled last, oldest first, and the last id before that. */
  toldTo(publisher: string): { since: string | undefined; told: Map<string, Told> } {
    const own = [...this.told].filter(([, told]) => told.publisher === publisher);
    return {
      since: this.settledId.get(publisher),
      told: new Map(own.sort(([one], [other]) => (one < other ? -1 : 1))),
    };
  }

  /** All tracked messages have their final tally: each is checked as a whole. */
  settle(): void {
    for (const [id, told] of this.told) {
      for (const name of told.certain) {
        if (!told.outcomes.has(name)) this.world.violation(`${id} has no outcome for ${name}, which subscribed`);
      }
      this.closed.add(id);
      if (id > (this.settledId.get(told.publisher) ?? '')) this.settledId.set(told.publisher, id);
    }
    for (const said of this.recipients.byReceiptId()) {
      const wrong = checkSaid(said, this.told.get(said.name), this.recipients.recipient(said.clientId)?.permanent);
      if (wrong !== null && !this.closed.has(said.name)) this.world.violation(`${said.name} is unknown: ${wrong}`);
      else if (wrong !== null && this.told.has(said.name)) this.world.violation(wrong);
    }
    this.told.clear();
    this.publications.clear();
    this.recipients.settle();
  }

  /** What is not finished, in words. */
  missing(): string[] {
    const open = [...this.told].filter(([, { hasFinal }]) => !hasFinal);
    return open.slice(0, 5).map(([id, { publisher, matched, outcomes: known, queued }]) => {
      const list = [...known].map(([to, { state }]) => `${to} ${state}`).join(', ');
      return `${id} of ${publisher} has no final tally: ${matched} matched, ${list}, queued ${[...queued].join(' ')}`;
    });
  }

  /** PUBACK of a held message: what it says must be so, and was so for its recipients before. */
  private onHeldAnswered(told: Told, publication: Publication, reasonCode: number, held: Held): void {
    const { matched, delivered, failed, pending } = held;
    const text = `the held PUBACK of ${told.id}, ${reasonCode}, ${JSON.stringify(held)}`;
    if (delivered + failed + pending > matched) this.world.violation(`${text} does not add up`);
    const isSuccess = failed === 0 && pending === 0 && delivered > 0;
    const expected = matched === 0 ? 0x10 : isSuccess ? 0 : 0x83;
    if (reasonCode !== expected && publication.request?.receipt === 'delivered')
      this.world.violation(`${text} is wrong`);
    if (pending > 0 && publication.request?.deadline === longDeadlineSeconds) this.world.violation(`${text} is early`);
    const takers = this.recipients.countTakers(told.id, `${publication.topic} ${publication.n}`);
    if (takers < delivered) this.world.violation(`${text}, and ${takers} clients took it`);
    told.held = held;
  }

  private onTally(told: Told, body: Body, payload: string): void {
    const { matched, processed, delivered, sent, failed, pending, final, overdue, at } = body;
    if (matched !== processed + delivered + sent + failed + pending) {
      this.world.violation(`a tally does not add up: ${payload}`);
    }
    if (final !== (pending === 0)) this.world.violation(`final and pending do not agree: ${payload}`);
    if (told.firstAtMs === null) {
      told.firstAtMs = at;
      if (pending !== matched) this.world.violation(`the first tally came late: ${payload}`);
      this.checkRepeat(told);
    } else if (overdue === true) {
      const deadline = told.publication?.request?.deadline ?? 0;
      if (deadline === 0 || told.hasOverdue) this.world.violation(`nothing made it overdue: ${payload}`);
      if (at < told.firstAtMs + deadline * 1000) this.world.violation(`overdue before its deadline: ${payload}`);
      told.hasOverdue = true;
    } else if (final !== true) this.world.violation(`a second tally that is not final: ${payload}`);
    if (final === true) this.onFinal(told, body, payload);
  }

  private onFinal(told: Told, { matched, processed, delivered, sent, failed }: Body, payload: string): void {
    told.hasFinal = true;
    this.open--;
    const states = [...told.outcomes.values()].map(({ state }) => state);
    const count = (state: string): number => states.filter((known) => known === state).length;
    const unfailed = count('processed') + count('delivered') + count('sent');
    const isRight =
      states.length === matched &&
      count('processed') === processed &&
      count('delivered') === delivered &&
      count('sent') === sent &&
      matched - unfailed === failed;
    const known = [...told.outcomes].map(([to, { state }]) => `${to} ${state}`).join(', ');
    if (!isRight) this.world.violation(`the final tally ${payload} is not the sum of ${known}`);
    if (told.held === null) return;
    const wasRight =
      told.held.failed <= failed && told.held.delivered <= delivered + processed && told.held.matched === matched;
    if (!wasRight) this.world.violation(`${payload} after a held PUBACK with ${JSON.stringify(told.held)}`);
  }

  /** A message held by the broker is not published a second time when its publisher sends it again. */
  private checkRepeat({ id, publisher, publication, key }: Told): void {
    if (publication?.request?.hold !== true || publication.request.deadline !== longDeadlineSeconds) return;
    for (const other of this.told.values()) {
      if (other.id === id || other.publisher !== publisher || other.key !== key || other.hasFinal) continue;
      this.world.violation(`${key} was published as ${id} while it was held as ${other.id}`);
    }
  }

  private onReceipt(told: Told, body: Body, payload: string): void {
    const { to = '', state = '' } = body;
    const name = recipientOf(body);
    const isFirst = told.firstAtMs === null && !withoutTallies.has(told.publisher);
    if (isFirst) this.world.violation(`a receipt before the first tally: ${payload}`);
    const known = told.outcomes.get(name);
    if (known !== undefined) this.world.violation(`a second outcome, after ${known.state}: ${payload}`);
    const recipient = this.recipients.recipient(to);
    if (state !== 'queued' && recipient === undefined) {
      this.world.violation(`a receipt for a client that is not: ${payload}`);
      return;
    }
    if (recipient === undefined || !isOutcome(told, recipient, state)) {
      const passed = state === 'queued' ? told.queued : told.delivered;
      if (passed.has(name)) this.world.violation(`${state} a second time: ${payload}`);
      passed.add(name);
    } else {
      told.outcomes.set(name, { state, to, cause: body.cause ?? null });
      this.counts.set(state, (this.counts.get(state) ?? 0) + 1);
      if (told.outcomes.size === told.matched) this.endWithoutTally(told);
    }
    if (state === 'queued' || recipient === undefined) return;
    const wrong = checkOutcome(told, body, recipient, this.recipients);
    if (wrong !== null) this.world.violation(`${wrong}: ${payload}`);
  }

  /** All recipients have their outcomes: who takes no tallies is told nothing more. */
  private endWithoutTally(told: Told): void {
    if (!withoutTallies.has(told.publisher) || told.hasFinal) return;
    told.hasFinal = true;
    this.open--;
  }

  private toldOf(id: string, publisher: string, key: string): Told {
    const known = this.told.get(id);
    if (known !== undefined) return known;
    const told: Told = {
      ...{ id, publisher, key, publication: this.publications.get(key) ?? null, matched: null, firstAtMs: null },
      ...{ hasOverdue: false, hasFinal: false, held: null, certain: [], sessions: new Map<string, number>() },
      ...{ queued: new Set<string>(), delivered: new Set<string>(), outcomes: new Map() },
    };
    if (told.publication === null) this.world.violation(`${id} tells of ${key}, which was not sent`);
    this.told.set(id, told);
    this.open++;
    return told;
  }
}
