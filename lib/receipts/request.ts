import type { QoS } from '../spec/packet-types.js';
import { parseReceiptId } from './receipt-id.js';

/** State that counts as success for a tracked message. */
export type Requested = 'delivered' | 'processed';

/** What a publisher asked of the broker about its message. */
export interface ReceiptRequest {
  /** `none` keeps a rule from tracking the message; null: nothing asked. */
  readonly receipt: Requested | 'none' | null;
  /** Seconds to the `overdue` tally, 0 for none. */
  readonly deadlineSeconds: number;
  /** End-to-end acknowledgement: PUBACK waits for the outcome. */
  readonly hold: boolean;
}

/** Nothing asked. */
export const noRequest: ReceiptRequest = { receipt: null, deadlineSeconds: 0, hold: false };

const longestDeadlineSeconds = 2_592_000;

/**
 * Reads the request in a message's user properties.
 * @returns the request, or a sentence that says what is wrong and what is allowed
 */
export function parseRequest(
  userProperties: readonly (readonly [string, string])[],
  qos: QoS,
  isWill: boolean,
): ReceiptRequest | string {
  const given = new Map<string, string>();
  for (const [name, value] of userProperties) {
    if (!name.startsWith('receipt')) continue;
    if (name === 'receipt-id') return 'receipt-id is set by the broker: leave it out';
    if (name !== 'receipt' && name !== 'receipt-deadline' && name !== 'receipt-hold') continue;
    if (given.has(name)) return `${name} is given twice: give it once`;
    given.set(name, value);
  }
  if (given.size === 0) return noRequest;
  const receipt = given.get('receipt') ?? null;
  if (receipt !== null && receipt !== 'delivered' && receipt !== 'processed' && receipt !== 'none') {
    return `receipt is '${receipt.slice(0, 40)}': it must be delivered, processed or none`;
  }
  const deadline = given.get('receipt-deadline');
  if (deadline !== undefined && !/^[1-9][0-9]{0,6}$/.test(deadline)) {
    return `receipt-deadline must be seconds from 1 to ${longestDeadlineSeconds}`;
  }
  const deadlineSeconds = deadline === undefined ? 0 : Number(deadline);
  if (deadlineSeconds > longestDeadlineSeconds) {
    return `receipt-deadline must be seconds from 1 to ${longestDeadlineSeconds}`;
  }
  const hold = given.get('receipt-hold');
  if (hold !== undefined && hold !== 'true') return "receipt-hold must be 'true' or left out";
  if (hold !== undefined && isWill) return 'receipt-hold is not for wills';
  if (hold !== undefined && qos !== 1) return 'receipt-hold is for QoS 1 only';
  return { receipt, deadlineSeconds, hold: hold !== undefined };
}

/** True if a valid request asks for receipts, or to be told more of what a rule tracks. */
export function asksForReceipts(userProperties: readonly (readonly [string, string])[]): boolean {
  return userProperties.some(
    ([name, value]) => name === 'receipt-deadline' || (name === 'receipt' && value !== 'none'),
  );
}

/**
 * Reads `receipt-since` in the user properties of a SUBSCRIBE.
 * @returns sequence of the message behind which a replay begins, 0 where none is given, or a sentence that says what
 * is wrong and what is allowed
 */
export function parseSince(userProperties: readonly (readonly [string, string])[]): number | string {
  const [first, second] = userProperties.filter(([name]) => name === 'receipt-since');
  if (first === undefined) return 0;
  if (second !== undefined) return 'receipt-since is given twice: give it once';
  const [, id] = first;
  return parseReceiptId(id)?.sequence ?? `receipt-since is '${id.slice(0, 40)}': it must be a receipt-id`;
}
