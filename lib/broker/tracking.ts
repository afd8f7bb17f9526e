import { type PublishView, readUserProperties } from '../codec/publish.js';
import { ackTopic, encodeSegment } from '../receipts/names.js';
import { noRequest, type ReceiptRequest, type Requested } from '../receipts/request.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { filterMatches } from '../topic/names.js';
import type { Context } from './context.js';
import type { ClientIdentity } from './hooks.js';
import { receiptAccess } from './receipt-access.js';

const dollar = 0x24;

/** What a tracked message's publisher or a rule asked for. */
export interface Tracking {
  readonly requested: Requested;
  readonly deadlineSeconds: number;
  readonly hold: boolean;
  /** True if the publisher itself asked, for receipts or for a deadline or hold of what a rule tracks. */
  readonly asked: boolean;
}

/** A request that is refused. */
export interface RefusedRequest {
  readonly reasonCode: number;
  readonly reason: string;
  /** True if not even a QoS 0 message with this request goes on. */
  readonly discard: boolean;
}

/** The last request that no rule changed, and what came of it: the next one is most likely the same. */
let lastRequest: ReceiptRequest = noRequest;
let lastTracking: Tracking | null = null;

/** The publisher's request beside the rules of the configuration: its own wins unless a rule is forced. */
export function applyRules(context: Context, request: ReceiptRequest, topicName: string): Tracking | null | string {
  const { tracking } = context.settings;
  const rule = tracking.length === 0 ? undefined : tracking.find(({ filter }) => filterMatches(filter, topicName));
  if (rule === undefined && request === lastRequest) return lastTracking;
  const { receipt, deadlineSeconds, hold } = request;
  const requested = rule !== undefined && (rule.force || receipt === null) ? rule.receipt : receipt;
  if (requested === null || requested === 'none') {
    if (deadlineSeconds > 0 || hold) {
      return 'receipt-deadline and receipt-hold need a receipt: add receipt delivered or processed';
    }
    return null;
  }
  // Who wants to be told of what a rule tracks asks as well: what is refused to it must not pass for an answer.
  const asked = (receipt !== null && receipt !== 'none') || deadlineSeconds > 0 || hold;
  const decided = { requested, deadlineSeconds, hold, asked };
  if (rule === undefined) {
    lastRequest = request;
    lastTracking = decided;
  }
  return decided;
}

/** What to track of a PUBLISH, null for nothing, or what is wrong with its request. */
export function trackingOf(
  context: Context,
  view: PublishView,
  topicName: string,
  client: ClientIdentity,
): Tracking | null | RefusedRequest {
  if (answersToAnother(view, client.clientId)) {
    const reason = `a response topic under ${ackTopic}/ must end in the publisher's own identifier`;
    return { reasonCode: ReasonCode.notAuthorized, reason, discard: true };
  }
  const request = view.hasReceiptProperty ? context.requests.read(view) : noRequest;
  const decided = typeof request === 'string' ? request : applyRules(context, request, topicName);
  if (decided !== null && typeof decided !== 'string' && decided.asked && receiptAccess(context, client) === 'none') {
    return { reasonCode: ReasonCode.notAuthorized, reason: 'this client may not ask for receipts', discard: false };
  }
  if (typeof decided !== 'string') return decided;
  const pairs = readUserProperties(view.buffer, view.propertiesStart, view.propertiesEnd);
  const discard = pairs.some(([name]) => name === 'receipt-id');
  return { reasonCode: ReasonCode.implementationSpecificError, reason: decided, discard };
}

/**
 * True if a response topic would have acknowledgements sent in another publisher's name: whoever responds without
 * looking would acknowledge that one's messages.
 */
function answersToAnother(view: PublishView, clientId: string): boolean {
  const { buffer, responseTopicStart: start, responseTopicEnd: end } = view;
  if (end - start <= ackTopic.length || buffer[start] !== dollar) return false;
  return namesAnotherPublisher(buffer.toString('utf8', start, end), clientId);
}

/** True for a response topic under the acknowledgement topic that does not end in the publisher's own identifier. */
export function namesAnotherPublisher(responseTopic: string, clientId: string): boolean {
  return responseTopic.startsWith(`${ackTopic}/`) && responseTopic !== `${ackTopic}/${encodeSegment(clientId)}`;
}
