import type { IPublishPacket } from 'mqtt-packet';
import type { Publication } from './peer.js';
import type { Recipient, RecipientLog, Said } from './recipient-log.js';

/** What the tests read of a receipt or a tally. */
export interface Body {
  readonly id: string;
  readonly to?: string;
  readonly group?: string;
  readonly state?: string;
  readonly qos?: number;
  readonly reason?: number;
  readonly cause?: string;
  readonly at: number;
  readonly matched: number;
  readonly processed: number;
  readonly delivered: number;
  readonly sent: number;
  readonly failed: number;
  readonly pending: number;
  readonly final?: boolean;
  readonly overdue?: boolean;
}

/** One tracked message, as its publisher has been told of it. */
export interface Told {
  readonly id: string;
  readonly publisher: string;
  /** What the message is known by: topic and number. */
  readonly key: string;
  readonly publication: Publication | null;
  matched: number | null;
  /** When it was accepted, by the broker's clock, as the first tally says. */
  firstAtMs: number | null;
  hasOverdue: boolean;
  hasFinal: boolean;
  /** Counts of the PUBACK of a held message. */
  held: { readonly matched: number; readonly delivered: number; readonly failed: number } | null;
  /** Recipients that must be in the cohort, and the number of the session where it is one. */
  certain: readonly string[];
  readonly sessions: Map<string, number>;
  /** Recipients that were told to be queued, or delivered where their application has the last word. */
  readonly queued: Set<string>;
  readonly delivered: Set<string>;
  /** The outcome of each recipient. */
  readonly outcomes: Map<string, { readonly state: string; readonly to: string; readonly cause: string | null }>;
}

/** The message that a receipt is about: its publisher sent it along. */
export function keyOf(packet: IPublishPacket): string {
  return packet.properties?.correlationData?.toString() ?? '';
}

/** Name of the recipient: a client, or a shared group. */
export function recipientOf({ to = '', group }: Body): string {
  return group ?? to;
}

/** True for a state that is a delivery's last. */
export function isOutcome({ publication }: Told, { version }: Recipient, state: string): boolean {
  if (state === 'queued') return false;
  return state !== 'delivered' || version === 4 || publication?.request?.receipt !== 'processed';
}

/** @returns what is wrong with a receipt, by the recipient's own log; null if nothing is */
export function checkOutcome(told: Told, body: Body, recipient: Recipient, log: RecipientLog): string | null {
  const { id, to = '', state = '', qos = 0, reason, cause, at } = body;
  const { version, permanent } = recipient;
  const said = log.of(to, version === 5 ? id : told.key);
  if (state === 'delivered') said.claimed++;
  const { taken, refused, claimed, words } = said;
  const request = told.publication?.request;
  const isRefusal = cause === 'application' ? words.has(false) : refused > 0;
  const isQos0 = recipient.qos === 0 || told.publication?.qos === 0;
  const wrongs: [boolean, string][] = [
    [!['delivered', 'processed', 'sent', 'rejected', 'expired', 'dropped', 'lost'].includes(state), 'unknown'],
    [claimed > taken, `not acknowledged by ${to}`],
    [state === 'processed' && (!words.has(true) || request?.receipt !== 'processed'), `not said by ${to}`],
    [state === 'rejected' && (!isRefusal || reason !== 0x83), `not refused by ${to}`],
    [state === 'sent' && qos !== 0, 'an outcome at QoS 0 only'],
    [state === 'dropped' && !isQos0, 'nothing to drop it for'],
    [state === 'expired' && told.publication?.expires !== true, 'it does not expire'],
    [state === 'expired' && at < (told.firstAtMs ?? 0) + 1000, 'before it expired'],
    [permanent && state === 'lost', 'its session never ended'],
    [permanent && version === 5 && taken > 0 && !isSuccessOrVerdict(body), `${to} took it`],
  ];
  return wrongs.find(([isWrong]) => isWrong)?.[1] ?? null;
}

/** How a delivery may end whose recipient has acknowledged it to the transport. */
function isSuccessOrVerdict({ state, cause }: Body): boolean {
  return state === 'delivered' || state === 'processed' || cause === 'application';
}

/** @returns what is wrong with the end of a message, by all that a recipient said of it; null if nothing is */
export function checkSaid(said: Said, told: Told | undefined, permanent = false): string | null {
  const { clientId, name, taken, words, verdict, unheard } = said;
  const ends = [...(told?.outcomes.values() ?? [])].filter(({ to }) => to === clientId);
  const has = (wanted: string): boolean =>
    ends.some(({ state, cause }) =>
      state === 'rejected' ? cause === 'application' && wanted === 'no' : state === wanted,
    );
  if (verdict === true && !has('processed')) return `${clientId} processed ${name}, and no receipt says so`;
  if (verdict === false && !has('no')) return `the application of ${clientId} refused ${name}, and no receipt says so`;
  if (unheard && verdict === null && (has('processed') || has('no'))) {
    return `${clientId} was told that nothing waits for ${name}, and it was taken`;
  }
  if (permanent && taken > 0 && words.size === 0 && !has('delivered')) {
    return `${clientId} acknowledged ${name}, and no receipt says so`;
  }
  return null;
}
