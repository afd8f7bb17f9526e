/**
 * The life of one outbound delivery (message → session) as a table. `rows` is the single source: `step` reads a dense
 * copy of it, the exhaustive test walks it, and ARCHITECTURE.md prints it.
 */

export const DeliveryState = {
  /** Not yet offered. */
  new: 0,
  /** Stored, waiting for a connection or for room in its window. */
  queued: 1,
  awaitPuback: 2,
  awaitPubrec: 3,
  awaitPubcomp: 4,
  done: 5,
} as const;
export type DeliveryState = (typeof DeliveryState)[keyof typeof DeliveryState];

export const DeliveryEvent = {
  /** Offered at QoS 0 to a connection that can take it. */
  sendQos0: 0,
  /** Refused at offer: QoS 0 to an offline session or a slow connection, or a full queue. */
  refuse: 1,
  /** Larger than the connection's Maximum Packet Size, or on a topic that the client may no longer read. */
  tooLarge: 2,
  /** Offered at QoS > 0 while offline or with a full window. */
  enqueue: 3,
  /** The window has room: first send at QoS 1. */
  sendQos1: 4,
  /** The window has room: first send at QoS 2. */
  sendQos2: 5,
  expire: 6,
  pubackSuccess: 7,
  pubackFailure: 8,
  pubrecSuccess: 9,
  pubrecFailure: 10,
  pubcomp: 11,
  /** The session is back on a new connection. */
  resume: 12,
  /** The session of a shared group's member ended and another member takes over. */
  memberLeft: 13,
  sessionEnd: 14,
  /** A repeat is due whose message is no more: a receipt whose record was pruned. */
  bodyGone: 15,
} as const;
export type DeliveryEvent = (typeof DeliveryEvent)[keyof typeof DeliveryEvent];

/** What a transition asks the caller to do. Bits, so that a step allocates nothing. */
export const Effect = {
  none: 0,
  /** Send the PUBLISH; with `dup` set on a repeat. */
  send: 1 << 0,
  dup: 1 << 1,
  /** Record the new state. */
  put: 1 << 2,
  /** Delete the record of the delivery. */
  delete: 1 << 3,
  /** Take one of the connection's send quota. */
  take: 1 << 4,
  /** Free the packet identifier and give the quota back. */
  free: 1 << 5,
  /** Send PUBREL. */
  pubrel: 1 << 6,
  /** Answer that the packet identifier is not in use: PUBREL 0x92 to a PUBREC. */
  replyNotFound: 1 << 7,
  /** The peer broke the protocol: DISCONNECT 0x82. */
  protocolError: 1 << 8,
  /** Offer the message to another member of the shared group. */
  move: 1 << 9,
} as const;

/** What the delivery came to: told to the receipts of a tracked message. `delivered` may still become `processed`. */
export const Outcome = { none: 0, sent: 1, delivered: 2, rejected: 3, expired: 4, dropped: 5, lost: 6 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

export interface TransitionRow {
  readonly from: readonly DeliveryState[];
  readonly event: DeliveryEvent;
  readonly next: DeliveryState | 'same';
  readonly effects: number;
  readonly outcome: Outcome;
  readonly section: string;
}

const S = DeliveryState;
const E = DeliveryEvent;
const row = (
  from: readonly DeliveryState[],
  event: DeliveryEvent,
  next: DeliveryState | 'same',
  effects: number,
  outcome: Outcome,
  section: string,
): TransitionRow => ({ from, event, next, effects, outcome, section });

const end = Effect.delete | Effect.free;

/** Every transition that means something. A pair that is not listed leaves the state as it is and does nothing. */
export const rows: readonly TransitionRow[] = [
  row([S.new, S.queued], E.sendQos0, S.done, Effect.send | Effect.delete, Outcome.sent, '4.3.1'),
  row([S.new], E.refuse, S.done, Effect.none, Outcome.dropped, '4.9'),
  row([S.new, S.queued], E.tooLarge, S.done, Effect.delete, Outcome.dropped, '3.1.2.11.4'),
  row([S.awaitPuback], E.tooLarge, S.done, end, Outcome.dropped, '3.1.2.11.4'),
  // The client may have the message and hold its identifier: without PUBREL, the next message under it would be lost.
  row([S.awaitPubrec], E.tooLarge, S.awaitPubcomp, Effect.put | Effect.pubrel, Outcome.dropped, '4.3.3'),
  row([S.new], E.enqueue, S.queued, Effect.put, Outcome.none, '4.9'),
  row([S.new, S.queued], E.sendQos1, S.awaitPuback, Effect.take | Effect.put | Effect.send, Outcome.none, '4.3.2'),
  row([S.new, S.queued], E.sendQos2, S.awaitPubrec, Effect.take | Effect.put | Effect.send, Outcome.none, '4.3.3'),
  row([S.queued], E.expire, S.done, Effect.delete, Outcome.expired, '3.3.2.3.3'),

  row([S.awaitPuback], E.pubackSuccess, S.done, end, Outcome.delivered, '4.3.2'),
  row([S.awaitPuback], E.pubackFailure, S.done, end, Outcome.rejected, '4.3.2, 4.9'),
  row([S.awaitPubrec], E.pubrecSuccess, S.awaitPubcomp, Effect.put | Effect.pubrel, Outcome.delivered, '4.3.3'),
  row([S.awaitPubrec], E.pubrecFailure, S.done, end, Outcome.rejected, '4.3.3, 4.9'),
  row([S.awaitPubcomp], E.pubrecSuccess, 'same', Effect.pubrel, Outcome.none, '4.3.3'),
  row([S.awaitPubcomp], E.pubcomp, S.done, end, Outcome.none, '4.3.3'),

  row([S.awaitPuback, S.awaitPubrec], E.resume, 'same', Effect.take | Effect.send | Effect.dup, Outcome.none, '4.4'),
  row([S.awaitPubcomp], E.resume, 'same', Effect.pubrel, Outcome.none, '4.4'),

  row([S.awaitPuback], E.bodyGone, S.done, end, Outcome.lost, '4.4'),
  row([S.awaitPubrec], E.bodyGone, S.awaitPubcomp, Effect.put | Effect.pubrel, Outcome.lost, '4.3.3'),

  row([S.queued], E.memberLeft, S.done, Effect.move | Effect.delete, Outcome.none, '4.8.2'),
  row([S.awaitPuback], E.memberLeft, S.done, Effect.move | end, Outcome.none, '4.8.2'),
  row([S.awaitPubrec], E.memberLeft, S.done, end, Outcome.lost, '4.8.2'),
  row([S.awaitPubcomp], E.memberLeft, S.done, end, Outcome.none, '4.8.2'),
  row([S.queued], E.sessionEnd, S.done, Effect.delete, Outcome.lost, '4.1'),
  row([S.awaitPuback, S.awaitPubrec], E.sessionEnd, S.done, end, Outcome.lost, '4.1'),
  row([S.awaitPubcomp], E.sessionEnd, S.done, end, Outcome.none, '4.1'),

  // Acknowledgements of the wrong kind for the flow, and for identifiers that are not in use.
  row([S.awaitPuback], E.pubrecSuccess, 'same', Effect.protocolError, Outcome.none, '4.13'),
  row([S.awaitPuback], E.pubrecFailure, 'same', Effect.protocolError, Outcome.none, '4.13'),
  row([S.awaitPuback, S.awaitPubrec], E.pubcomp, 'same', Effect.protocolError, Outcome.none, '4.13'),
  row([S.awaitPubrec, S.awaitPubcomp], E.pubackSuccess, 'same', Effect.protocolError, Outcome.none, '4.13'),
  row([S.awaitPubrec, S.awaitPubcomp], E.pubackFailure, 'same', Effect.protocolError, Outcome.none, '4.13'),
  row([S.awaitPubcomp], E.pubrecFailure, 'same', Effect.protocolError, Outcome.none, '4.13'),
  row([S.new, S.done], E.pubrecSuccess, 'same', Effect.replyNotFound, Outcome.none, '4.3.3'),
];

const stateCount = 6;
const eventCount = 16;
const effectShift = 3;
const outcomeShift = 13;

function compile(): Uint32Array {
  const table = new Uint32Array(stateCount * eventCount);
  for (let state = 0; state < stateCount; state++) {
    for (let event = 0; event < eventCount; event++) table[state * eventCount + event] = state;
  }
  for (const { from, event, next, effects, outcome } of rows) {
    for (const state of from) {
      const to = next === 'same' ? state : next;
      table[state * eventCount + event] = to | (effects << effectShift) | (outcome << outcomeShift);
    }
  }
  return table;
}

const table = compile();

/** The transition for a pair, packed; read it with `nextState`, `effectsOf` and `outcomeOf`. */
export function step(state: DeliveryState, event: DeliveryEvent): number {
  return table[state * eventCount + event] as number;
}

export function nextState(transition: number): DeliveryState {
  return (transition & 7) as DeliveryState;
}

export function effectsOf(transition: number): number {
  return (transition >>> effectShift) & 0x3ff;
}

export function outcomeOf(transition: number): Outcome {
  return (transition >>> outcomeShift) as Outcome;
}
