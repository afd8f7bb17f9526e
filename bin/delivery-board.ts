import { isTally, type Receipt, type Tally } from '../lib/index.js';

/** Cohorts above this size have a bar instead of a row for each recipient. */
export const rowsMax = 20;
const failuresShown = 8;
const barWidth = 30;

/** What is known of one recipient. */
interface Line {
  readonly to: string;
  state: string;
  detail: string;
  elapsedMs: number;
}

const failures: ReadonlySet<string> = new Set(['rejected', 'expired', 'dropped', 'lost']);
const colours: Readonly<Record<string, number>> = { delivered: 32, processed: 32, sent: 33, queued: 33 };

/** Where the deliveries of one message stand, as lines for a terminal. */
export class DeliveryBoard {
  private readonly title: string;
  private readonly matched: number;
  private readonly colour: boolean;
  private readonly lines = new Map<string, Line>();
  private tally: Tally | null = null;
  private acceptedAtMs = 0;

  /** @param colour whether states are coloured */
  constructor(title: string, matched: number, colour: boolean) {
    this.title = title;
    this.matched = matched;
    this.colour = colour;
  }

  add(event: Receipt | Tally): void {
    if (isTally(event)) {
      this.tally = event;
      if (this.acceptedAtMs === 0) this.acceptedAtMs = event.at;
      return;
    }
    const { to, group, state, at } = event;
    const line = { to: recipientOf(event), state, detail: detailOf(event), elapsedMs: at - this.acceptedAtMs };
    const key = group ?? to;
    // Those who come last stand last, which matters for the list of failures.
    if (failures.has(state)) this.lines.delete(key);
    this.lines.set(key, line);
  }

  /** @param rows how many lines there is room for @param columns how wide they may be */
  render(rows: number, columns: number): string[] {
    const isLong = this.matched > rowsMax || this.matched + 4 > rows;
    const body = isLong ? this.bar() : this.table();
    const lines = [printable(this.title), ...body];
    return lines.map((line) => this.paint(line, columns));
  }

  private table(): string[] {
    const head = { to: 'RECIPIENT', state: 'STATE', detail: '', elapsedMs: -1 };
    const width = Math.max(head.to.length, ...[...this.lines.values()].map(({ to }) => to.length));
    const rows = this.lines.size === 0 ? [] : [head, ...this.lines.values()].map((line) => spell(line, width));
    const unheard = this.tally?.final ? 0 : this.matched - this.lines.size;
    if (unheard > 0) rows.push(`${unheard === this.matched ? '' : '… and '}${unheard} of whom nothing was heard yet`);
    return [...rows, this.summary()];
  }

  private bar(): string[] {
    const counts = this.counts();
    const done = this.matched - counts.pending;
    const filled = this.matched === 0 ? barWidth : Math.floor((done / this.matched) * barWidth);
    const bar = `[${'#'.repeat(filled)}${'-'.repeat(barWidth - filled)}] ${done} of ${this.matched}`;
    const failed = [...this.lines.values()].filter(({ state }) => failures.has(state)).slice(-failuresShown);
    const width = Math.max(0, ...failed.map(({ to }) => to.length));
    const heading = failed.length === 0 ? [] : ['last failures:'];
    return [bar, ...heading, ...failed.map((line) => spell(line, width)), this.summary()];
  }

  private summary(): string {
    const counts = this.counts();
    const parts = (['processed', 'delivered', 'sent', 'failed', 'pending'] as const)
      .filter((name) => counts[name] > 0)
      .map((name) => `${name} ${counts[name]}`);
    const overdue = this.tally?.overdue ? ' at the deadline' : '';
    return `${parts.join(', ') || 'no recipients'}${overdue}`;
  }

  /** The newest tally's, unless receipts have told more since. */
  private counts(): Pick<Tally, 'processed' | 'delivered' | 'sent' | 'failed' | 'pending'> {
    if (this.tally !== null && (this.tally.final || this.tally.overdue)) return this.tally;
    const counts = { processed: 0, delivered: 0, sent: 0, failed: 0, pending: this.matched };
    for (const { state } of this.lines.values()) {
      if (state === 'queued') continue;
      counts.pending--;
      if (state === 'processed' || state === 'delivered' || state === 'sent') counts[state]++;
      else counts.failed++;
    }
    return counts;
  }

  private paint(line: string, columns: number): string {
    const cut = line.length > columns ? `${line.slice(0, Math.max(0, columns - 1))}…` : line;
    if (!this.colour) return cut;
    return cut.replace(
      / {2}(delivered|processed|sent|queued|rejected|expired|dropped|lost)(?= |$)/,
      (_, state: string) => {
        return `  \x1b[${colours[state] ?? 31}m${state}\x1b[39m`;
      },
    );
  }
}

function spell({ to, state, detail, elapsedMs }: Line, width: number): string {
  const time = elapsedMs < 0 ? 'TIME' : spellTime(elapsedMs);
  return `${to.padEnd(width)}  ${state.padEnd(9)}  ${time.padStart(8)}  ${detail}`.trimEnd();
}

/** A duration in the unit that suits it. */
export function spellTime(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
}

/** Who a receipt is about; of a shared subscription, with the member that has the message. */
export function recipientOf({ to, group }: Receipt): string {
  if (group === undefined) return printable(to);
  return printable(to === '' ? group : `${group} (${to})`);
}

/** Why a delivery failed, or what the recipient's application answered. */
export function detailOf({ cause, reason, reasonString, answer, answerBase64 }: Receipt): string {
  const code = reason >= 0x80 ? `0x${reason.toString(16)}` : '';
  const answered = answer ?? (answerBase64 === undefined ? undefined : `${answerBase64} (base64)`);
  return printable([cause, code, reasonString, answered].filter((part) => part !== undefined && part !== '').join(' '));
}

/** What others chose, without anything that a terminal would act upon. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?');
}
