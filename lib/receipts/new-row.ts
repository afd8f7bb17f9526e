import type { Session } from '../session/session.js';
import type { Row } from './record.js';
import { ReceiptState } from './states.js';

/** A delivery as it is accepted. */
export function newRow(session: Session | null, group: string | null): Row {
  return {
    to: session?.clientId ?? '',
    userName: session?.userName ?? null,
    group,
    state: ReceiptState.accepted,
    final: false,
    qos: 0,
    canAnswer: session !== null && session.version === 5,
    queuedAtMs: 0,
    sentAtMs: 0,
    deliveredAtMs: 0,
    endedAtMs: 0,
    reasonCode: 0,
    cause: null,
    reasonString: null,
    answer: null,
    answerCut: false,
  };
}
