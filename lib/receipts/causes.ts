import { ReasonCode } from '../spec/reason-codes.js';

/** Why a delivery was dropped, lost or rejected, as receipts name it. */
export const Cause = {
  queueFull: 'queue-full',
  tooLarge: 'too-large',
  offline: 'offline',
  slow: 'slow',
  application: 'application',
  cleanStart: 'clean-start',
  takenOver: 'taken-over',
  sessionExpired: 'session-expired',
  disconnected: 'disconnected',
  deleted: 'deleted',
  brokerRestart: 'broker-restart',
  unanswered: 'unanswered',
  gaveUp: 'gave-up',
  notAuthorized: 'not-authorized',
} as const;
export type Cause = (typeof Cause)[keyof typeof Cause];

/** The reason code that receipts give with a cause of the broker's own. */
export function reasonOfCause(cause: Cause | null): number {
  if (cause === Cause.queueFull) return ReasonCode.quotaExceeded;
  if (cause === Cause.tooLarge) return ReasonCode.packetTooLarge;
  if (cause === Cause.notAuthorized) return ReasonCode.notAuthorized;
  return ReasonCode.success;
}

/** Causes by their number in stored records. Append only. */
export const causesByNumber: readonly Cause[] = Object.values(Cause);
