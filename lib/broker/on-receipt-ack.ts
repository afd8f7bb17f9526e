import { RecentMap } from '../base/recent-map.js';
import { type PublishView, readCorrelationData, readUserProperties } from '../codec/publish.js';
import { identityKeyOf } from '../receipts/identities.js';
import { ackTopic, groupIdentityKey } from '../receipts/names.js';
import { parseReceiptId } from '../receipts/receipt-id.js';
import { hasVerdict, type TrackedRecord } from '../receipts/record.js';
import { answerPrefix } from '../receipts/record-keys.js';
import type { ApplicationVerdict } from '../receipts/verdicts.js';
import type { Session } from '../session/session.js';
import type { Context } from './context.js';

/** Bytes of an application's answer that go into the receipt. */
const answerBytesMax = 4096;

/** Messages with the same Correlation Data looked at for one acknowledgement. */
const lookedAtMax = 2000;
/** Clients and Correlation Data for which it is remembered where to begin to look. */
const placesMin = 5000;

/** Where to look for the message that a client acknowledges by Correlation Data. */
interface Place {
  /** Nothing up to this sequence waits for the client's word, or ever will. */
  after: number;
  /** True if the client has had its say on one of these messages. */
  hasVerdict: boolean;
}

/** A delivery of a message to the client that acknowledges. */
interface OwnRow {
  readonly recipientKey: Buffer;
  /** True if it was sent and has no outcome. */
  readonly waits: boolean;
  /** True if an application has had its say. */
  readonly hasVerdict: boolean;
}

/** True for the topics where subscribers' applications acknowledge. */
export function isAckTopic(topicName: string): boolean {
  return topicName === ackTopic || topicName.startsWith(`${ackTopic}/`);
}

/** Takes the acknowledgements of subscribers' applications. [receipts contract, "Processed"] */
export class OnReceiptAck {
  private readonly context: Context;
  private readonly places = new RecentMap<string, Place>(placesMin);

  constructor(context: Context) {
    this.context = context;
  }

  /** @returns true if it was taken or repeats what was taken; anything else looks the same, so nothing can be probed */
  acknowledge(session: Session, view: PublishView, topicName: string): boolean {
    const properties = new Map(readUserProperties(view.buffer, view.propertiesStart, view.propertiesEnd));
    const status = properties.get('status') ?? 'ok';
    if (status !== 'ok' && status !== 'error') return false;
    const verdict = this.verdictOf(view, status === 'ok');
    if (topicName !== ackTopic) return this.byCorrelation(session, view, topicName, verdict);
    const id = parseReceiptId(properties.get('receipt-id') ?? '');
    const isOurs = id !== null && id.nodeNumber === this.context.settings.nodeNumber;
    const record = isOurs ? this.context.records.findAwaited(id.sequence) : null;
    return record !== null && this.settle(session, record, verdict);
  }

  private byCorrelation(session: Session, view: PublishView, topicName: string, verdict: ApplicationVerdict): boolean {
    const { records } = this.context;
    const segment = topicName.slice(ackTopic.length + 1);
    const properties = view.buffer.subarray(view.propertiesStart, view.propertiesEnd);
    const correlationData = readCorrelationData(properties);
    if (correlationData === null) return false;
    let isRepeat = false;
    let left = lookedAtMax;
    for (const publisherKey of records.publishersNamed(segment)) {
      const place = this.placeOf(session, publisherKey, correlationData);
      isRepeat ||= place.hasVerdict;
      let isBehindAll = true;
      for (const record of records.awaitedByCorrelation(publisherKey, correlationData, place.after)) {
        if (left-- === 0) return false;
        const rows = this.rowsOf(session, record);
        // The oldest that the client was sent and that still waits is meant; one that has its verdict may be repeated.
        if (rows.some(({ waits }) => waits)) return this.settle(session, record, verdict);
        const isTaken = rows.some(({ hasVerdict }) => hasVerdict);
        isRepeat ||= isTaken;
        isBehindAll &&= this.isDone(session, record);
        if (!isBehindAll) continue;
        place.after = record.sequence;
        place.hasVerdict ||= isTaken;
      }
    }
    return isRepeat;
  }

  /** How far a client is done with the messages of a publisher that have the same Correlation Data. */
  private placeOf(session: Session, publisherKey: Buffer, correlationData: Buffer): Place {
    const prefix = answerPrefix(publisherKey, correlationData).toString('latin1');
    const key = prefix + identityKeyOf(session).toString('latin1');
    const known = this.places.get(key) ?? { after: 0, hasVerdict: false };
    this.places.set(key, known);
    return known;
  }

  /** True if no delivery of a message will ever wait for this client's word. */
  private isDone(session: Session, record: TrackedRecord): boolean {
    if (record.counts.pending === 0) return true;
    // A group's delivery may yet move to this client; who is in a large cohort shows as it is offered the message.
    if (record.groups.length > 0) return false;
    const row = this.context.records.row(record, identityKeyOf(session));
    return row === null ? record.rows !== null : row.final;
  }

  private settle(session: Session, record: TrackedRecord, verdict: ApplicationVerdict): boolean {
    const { tracker } = this.context;
    const rows = this.rowsOf(session, record);
    // A client may have had the message by itself and as a group's member: each copy is acknowledged.
    const pendingFirst = [...rows.filter(({ waits }) => waits), ...rows.filter(({ waits }) => !waits)];
    return pendingFirst.some(({ recipientKey }) => tracker.processed(record, recipientKey, verdict));
  }

  /** The deliveries of a message to this client and user: its own, and those of shared groups that it served. */
  private rowsOf(session: Session, record: TrackedRecord): OwnRow[] {
    const { records } = this.context;
    return [identityKeyOf(session), ...record.groups.map(groupIdentityKey)].flatMap((recipientKey) => {
      const row = records.row(record, recipientKey);
      const isTheirs = row?.to === session.clientId && row.userName === session.userName;
      if (row === null || !isTheirs) return [];
      return [{ recipientKey, waits: !row.final && row.sentAtMs > 0, hasVerdict: row.final && hasVerdict(row) }];
    });
  }

  private verdictOf(view: PublishView, ok: boolean): ApplicationVerdict {
    const length = view.end - view.payloadStart;
    const kept = length <= answerBytesMax ? length : cutOf(view.buffer, view.payloadStart);
    const answer = length === 0 ? null : Buffer.from(view.buffer.subarray(view.payloadStart, view.payloadStart + kept));
    return { ok, answer, answerCut: kept < length };
  }
}

/** Where to cut an answer that is too long: not inside a character of text. */
function cutOf(buffer: Buffer, start: number): number {
  let kept = answerBytesMax;
  while (kept > answerBytesMax - 3 && ((buffer[start + kept] as number) & 0xc0) === 0x80) kept--;
  return kept;
}
