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
} as const;
export type Cause = (typeof Cause)[keyof typeof Cause];

/** Causes by their number in stored records. Append only. */
export const causesByNumber: readonly Cause[] = Object.values(Cause);
