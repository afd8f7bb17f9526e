import type { Lossy } from './deliveries.js';
import type { Role } from './role.js';
import type { Verdicts } from './verdicts.js';

/** What is read of a receipt or a tally. */
interface Body {
  readonly id: string;
  readonly state?: string;
  readonly matched: number;
  readonly processed: number;
  readonly delivered: number;
  readonly sent: number;
  readonly failed: number;
  readonly pending: number;
  readonly final?: boolean;
  readonly overdue?: boolean;
  readonly collapsed?: boolean;
}

/** A receipt or tally as a publisher's application got it: once, whatever the transport repeated. */
export interface Told {
  readonly id: string;
  /** Segment of the recipient; null in a tally. */
  readonly to: string | null;
  /** True for one of a replay. */
  readonly retain: boolean;
  readonly body: Body;
}

/** What a recipient's transport or application said about a message. */
export interface Said {
  readonly name: string;
  /** The receipt id that came with the message; null for clients that see none. */
  readonly id: string | null;
  /** Name of the shared subscription by which it came, or null. */
  readonly group: string | null;
  readonly clientId: string;
  readonly ok: boolean;
  /** The batch that was open when the broker was told; infinite while it has not been told for certain. */
  batch: number;
}

/** What each publisher has been told in the present life of its session, and what recipients said themselves. */
export class Receipts implements Lossy {
  /** By publisher. */
  readonly told = new Map<string, Told[]>();
  readonly acknowledged: Said[] = [];
  readonly answered: Said[] = [];
  /** Receipt ids of messages that came by no group, with the client that they came to. */
  readonly arrived = new Set<string>();
  /** Message names by receipt id. */
  readonly names = new Map<string, string>();
  /** True after a crash that lost what was told: from then on nothing can be said about what has been told. */
  isBlurred = false;
  /** True if so few receipts may wait that some are left out, a first tally among them. */
  mayCollapse = false;
  private readonly verdicts: Verdicts;
  private readonly hasSlices: boolean;
  private receipts = 0;

  /** @param hasSlices true if fan-outs may take several turns */
  constructor(verdicts: Verdicts, hasSlices: boolean) {
    this.verdicts = verdicts;
    this.hasSlices = hasSlices;
  }

  /** Receipts and tallies that came. */
  get count(): number {
    return this.receipts;
  }

  /** The publisher has a new session: it is told everything anew. */
  begin(clientId: string): void {
    this.told.set(clientId, []);
  }

  toldOf(clientId: string): Told[] {
    const known = this.told.get(clientId);
    if (known !== undefined) return known;
    const told: Told[] = [];
    this.told.set(clientId, told);
    return told;
  }

  /**
   * A receipt or tally came to a session that takes all of its own, for the first time.
   * @param isBlurred true if what the session was told before is not certain
   */
  onArrived(
    { clientId, followsTallies }: Role,
    topic: string,
    payload: string,
    retain: boolean,
    isBlurred: boolean,
  ): void {
    this.receipts++;
    const [, , id = '', to = null] = topic.split('/');
    const body = JSON.parse(payload) as Body;
    const list = this.toldOf(clientId);
    const before = list.filter((told) => told.id === id);
    if (!this.isBlurred && !isBlurred) this.check(clientId, { id, to, retain, body }, before, followsTallies);
    list.push({ id, to, retain, body });
  }

  private check(clientId: string, { to, retain, body }: Told, before: readonly Told[], tallies: boolean): void {
    const text = `${clientId} is told ${JSON.stringify(body)}`;
    const { matched, processed, delivered, sent, failed, pending, final } = body;
    if (to === null) {
      if (matched !== processed + delivered + sent + failed + pending) {
        this.verdicts.broken('every tally adds up', text);
      }
      if (final !== (pending === 0)) this.verdicts.broken('every tally adds up', `final or pending: ${text}`);
    }
    if (before.some((told) => told.to === null && told.body.final === true)) {
      this.verdicts.broken('the final tally comes last, once', `after it ${text}`);
    }
    // Who subscribes while a large cohort is being offered a message may be told of recipients before its tally.
    const tallyIsFirst = tallies && !this.mayCollapse && !this.hasSlices;
    if (before.length === 0 && !retain && to !== null && tallyIsFirst) {
      this.verdicts.broken('the first tally comes first', text);
    }
    const isRepeat = before.some(
      (told) => told.to === to && told.body.state === body.state && told.body.overdue === body.overdue && to !== null,
    );
    if (isRepeat) this.verdicts.broken('each receipt exactly once', text);
  }

  /** A recipient answers; what it says counts once the broker has been told. */
  say(list: Said[], answer: Omit<Said, 'batch'>): Said {
    const said = { ...answer, batch: Number.POSITIVE_INFINITY };
    list.push(said);
    return said;
  }

  /** A crash: what was in batches behind this one, the broker may have forgotten. */
  onCrash(batch: number): void {
    for (const said of [...this.acknowledged, ...this.answered]) {
      if (said.batch > batch) said.batch = Number.POSITIVE_INFINITY;
    }
  }

  forgetAfter(batch: number): void {
    this.isBlurred = true;
    this.onCrash(batch);
  }
}
