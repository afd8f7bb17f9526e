import { ackTopic, isReceiptsTopic, receiptsPrefix } from '../receipts/names.js';
import { parseSharedFilter } from '../topic/names.js';
import type { Context } from './context.js';
import type { ClientIdentity } from './hooks.js';

/** What a client may see of receipts. [receipts contract, "Who may subscribe"] */
export type ReceiptAccess = 'none' | 'tally' | 'own' | 'all';

/** Filters of one's own receipts begin so. */
export const ownReceiptsPrefix = `${receiptsPrefix}~/`;

/** True if `access` allows the filter, which is under `$receipts/`; the filter inside `$share/…` counts. */
export function mayReadReceipts(access: ReceiptAccess, topicFilter: string): boolean {
  const shared = parseSharedFilter(topicFilter);
  const isShared = shared !== null && shared !== 'invalid';
  const filter = isShared ? shared.topicFilter : topicFilter;
  if (access === 'none' || filter === ackTopic || filter.startsWith(`${ackTopic}/`)) return false;
  if (filter.startsWith(ownReceiptsPrefix)) {
    // `~` is the subscriber itself: it means nothing for a group.
    if (isShared) return false;
    if (access !== 'tally') return true;
    const id = filter.slice(ownReceiptsPrefix.length);
    return id !== '' && id !== '#' && !id.includes('/');
  }
  return access === 'all' && filter !== `${receiptsPrefix}~` && isReceiptsTopic(filter);
}

/** The access of a client. */
export function receiptAccess(context: Context, { clientId, userName }: ClientIdentity): ReceiptAccess {
  return context.hooks.receiptAccess?.({ clientId, userName }) ?? context.settings.receipts.access;
}
