import { type PublishView, readResponseTopic, readUserProperties } from '../codec/publish.js';
import { ackTopic, encodeSegment } from '../receipts/names.js';
import { noRequest, parseRequest, type ReceiptRequest, type Requested } from '../receipts/request.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { filterMatches } from '../topic/names.js';
import type { Context } from './context.js';

/** What a tracked message's publisher or a rule asked for. */
export interface Tracking {
  readonly requested: Requested;
  readonly deadlineSeconds: number;
  readonly hold: boolean;
  /** True if the publisher itself asked. */
  readonly asked: boolean;
}

/** A request that is refused. */
export interface RefusedRequest {
  readonly reasonCode: number;
  readonly reason: string;
  /** True if not even a QoS 0 message with this request goes on. */
  readonly discard: boolean;
}

/** The publisher's request beside the rules of the configuration: its own wins unless a rule is forced. */
export function applyRules(context: Context, request: ReceiptRequest, topicName: string): Tracking | null | string {
  const rule = context.settings.tracking.find(({ filter }) => filterMatches(filter, topicName));
  const { receipt, deadlineSeconds, hold } = request;
  const requested = rule !== undefined && (rule.force || receipt === null) ? rule.receipt : receipt;
  if (requested === null || requested === 'none') {
    if (deadlineSeconds > 0 || hold) {
      return 'receipt-deadline and receipt-hold need a receipt: add receipt delivered or processed';
    }
    return null;
  }
  return { requested, deadlineSeconds, hold, asked: receipt !== null && receipt !== 'none' };
}

/** What to track of a PUBLISH, null for nothing, or what is wrong with its request. */
export function trackingOf(
  context: Context,
  view: PublishView,
  topicName: string,
  clientId: string,
): Tracking | null | RefusedRequest {
  const pairs = view.hasReceiptProperty
    ? readUserProperties(view.buffer, view.propertiesStart, view.propertiesEnd)
    : [];
  const request = view.hasReceiptProperty ? parseRequest(pairs, view.qos, false) : noRequest;
  const decided = typeof request === 'string' ? request : applyRules(context, request, topicName);
  if (typeof decided !== 'string') return decided === null ? null : checkResponseTopic(view, decided, clientId);
  const discard = pairs.some(([name]) => name === 'receipt-id');
  return { reasonCode: ReasonCode.implementationSpecificError, reason: decided, discard };
}

/** A publisher may have acknowledgements sent to its own name only. */
function checkResponseTopic(view: PublishView, tracking: Tracking, clientId: string): Tracking | RefusedRequest {
  if (view.responseTopicEnd <= view.responseTopicStart) return tracking;
  const responseTopic = readResponseTopic(view.buffer.subarray(view.propertiesStart, view.propertiesEnd));
  if (responseTopic === null || !responseTopic.startsWith(`${ackTopic}/`)) return tracking;
  if (responseTopic === `${ackTopic}/${encodeSegment(clientId)}`) return tracking;
  const reason = `a response topic under ${ackTopic}/ must end in the publisher's own identifier`;
  return { reasonCode: ReasonCode.notAuthorized, reason, discard: true };
}
