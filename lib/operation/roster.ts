import type { Context } from '../broker/context.js';
import { queueLength } from '../broker/stored-queues.js';
import type { Session } from '../session/session.js';

/** Sessions looked at in one turn. */
const sliceSessions = 5000;
/** Subscriptions shown of one session. */
export const shownSubscriptionsMax = 1000;

/** One session in a list. Times are in ms since the epoch; null is none. */
export interface SessionSummary {
  readonly clientId: string;
  readonly userName: string | null;
  readonly connected: boolean;
  readonly address: string | null;
  readonly protocolVersion: number;
  readonly disconnectedAt: number | null;
  readonly sessionExpirySeconds: number;
  readonly subscriptions: number;
  readonly queuedMessages: number;
  readonly inflightMessages: number;
}

/** One session in full. */
export interface SessionDetails extends SessionSummary {
  /** The first of them, at most `shownSubscriptionsMax`. */
  readonly filters: readonly { readonly filter: string; readonly qos: number }[];
  readonly willTopic: string | null;
}

export interface Page {
  readonly sessions: readonly SessionSummary[];
  /** What to ask the next page with; null at the end. */
  readonly next: string | null;
}

/**
 * Lists sessions by their numbers, which stay: a session is on exactly one page however many come and go meanwhile.
 * Looks at all of them for every page, a slice a turn.
 */
export async function listSessions(
  context: Context,
  after: number,
  limit: number,
  connectedOnly: boolean,
): Promise<Page> {
  const { sessions, clock } = context;
  const byNumber = (a: Session, b: Session): number => a.number - b.number;
  let least: Session[] = [];
  let more = false;
  let left = sliceSessions;
  for (const session of sessions.values()) {
    if (session.number > after && (!connectedOnly || session.link !== null)) least.push(session);
    if (least.length > 2 * limit) {
      least = least.sort(byNumber).slice(0, limit);
      more = true;
    }
    if (--left > 0) continue;
    left = sliceSessions;
    await new Promise<void>((resolve) => clock.endOfTurn(resolve));
  }
  least.sort(byNumber);
  const page = least.slice(0, limit);
  const last = page.at(-1);
  const isEnd = last === undefined || (!more && least.length === page.length);
  return { sessions: page.map((session) => summarize(context, session)), next: isEnd ? null : String(last.number) };
}

export function summarize(context: Context, session: Session): SessionSummary {
  const { clientId, userName, link, version, disconnectedAtMs, expirySeconds, subscriptions } = session;
  return {
    clientId,
    userName,
    connected: link !== null,
    address: link === null ? null : link.address,
    protocolVersion: version,
    disconnectedAt: link === null && disconnectedAtMs > 0 ? disconnectedAtMs : null,
    sessionExpirySeconds: expirySeconds,
    subscriptions: subscriptions.size,
    queuedMessages: queueLength(context, session),
    inflightMessages: session.inflightCount,
  };
}

export function describeSession(context: Context, session: Session): SessionDetails {
  const filters: { filter: string; qos: number }[] = [];
  for (const { topicFilter, qos } of session.subscriptions.values()) {
    if (filters.length === shownSubscriptionsMax) break;
    filters.push({ filter: topicFilter, qos });
  }
  return { ...summarize(context, session), filters, willTopic: session.will?.topicName ?? null };
}
