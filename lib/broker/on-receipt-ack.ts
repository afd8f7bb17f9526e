import { type PublishView, readCorrelationData, readUserProperties } from '../codec/publish.js';
import { ackTopic, clientIdentityKey, groupIdentityKey } from '../receipts/names.js';
import { parseReceiptId } from '../receipts/receipt-id.js';
import { hasVerdict, type TrackedRecord } from '../receipts/record.js';
import type { ApplicationVerdict } from '../receipts/verdicts.js';
import type { Session } from '../session/session.js';
import type { Context } from './context.js';

/** Bytes of an application's answer that go into the receipt. */
const answerBytesMax = 4096;

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
    for (const publisherKey of records.publishersNamed(segment)) {
      for (const record of records.awaitedByCorrelation(publisherKey, correlationData)) {
        const rows = this.rowsOf(session, record);
        // The oldest that the client was sent and that still waits is meant; one that has its verdict may be repeated.
        if (rows.some(({ waits }) => waits)) return this.settle(session, record, verdict);
        isRepeat ||= rows.some(({ hasVerdict }) => hasVerdict);
      }
    }
    return isRepeat;
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
    const own = clientIdentityKey(session.clientId, session.userName);
    return [own, ...record.groups.map(groupIdentityKey)].flatMap((recipientKey) => {
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
