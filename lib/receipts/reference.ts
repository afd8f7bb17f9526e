import { identityKeyBytes } from './names.js';
import type { ReceiptState } from './states.js';

/** What a receipt packet tells. Stored in queued deliveries: append only. */
export const ReceiptKind = { firstTally: 0, finalTally: 1, overdueTally: 2, delivery: 3, currentTally: 4 } as const;
export type ReceiptKind = (typeof ReceiptKind)[keyof typeof ReceiptKind];

/**
 * A receipt on its way, as a reference into the record: its body is written when it is sent. The times and reasons of
 * each state stay in the record, so it tells the same however long it waited.
 */
export interface ReceiptReference {
  readonly kind: ReceiptKind;
  /** True for a replay of what was recorded before the subscription. */
  readonly replay: boolean;
  readonly publisherKey: Buffer;
  readonly sequence: number;
  readonly state: ReceiptState;
  /** null for tallies. */
  readonly recipientKey: Buffer | null;
  /** True if the topic names the publisher instead of `~`. */
  readonly foreign: boolean;
  /** True for a subscriber that may have counts only, or takes no packet with more than that. */
  readonly brief: boolean;
}

const kindBits = 0x0f;
const briefBit = 0x20;
const foreignBit = 0x40;
const replayBit = 0x80;
const headBytes = 10;

export function encodeReference(reference: ReceiptReference): Buffer {
  const { recipientKey } = reference;
  const bytes = Buffer.allocUnsafe(headBytes + identityKeyBytes * (recipientKey === null ? 1 : 2));
  bytes[0] =
    reference.kind |
    (reference.brief ? briefBit : 0) |
    (reference.foreign ? foreignBit : 0) |
    (reference.replay ? replayBit : 0);
  bytes[1] = reference.state;
  bytes.writeUInt32BE(Math.floor(reference.sequence / 0x100000000), 2);
  bytes.writeUInt32BE(reference.sequence >>> 0, 6);
  bytes.set(reference.publisherKey, headBytes);
  if (recipientKey !== null) bytes.set(recipientKey, headBytes + identityKeyBytes);
  return bytes;
}

export function decodeReference(bytes: Buffer): ReceiptReference {
  const first = bytes.readUInt8(0);
  const publisherEnd = headBytes + identityKeyBytes;
  return {
    kind: (first & kindBits) as ReceiptKind,
    brief: (first & briefBit) !== 0,
    foreign: (first & foreignBit) !== 0,
    replay: (first & replayBit) !== 0,
    state: bytes.readUInt8(1) as ReceiptState,
    sequence: bytes.readUInt32BE(2) * 0x100000000 + bytes.readUInt32BE(6),
    publisherKey: bytes.subarray(headBytes, publisherEnd),
    recipientKey: bytes.length > publisherEnd ? bytes.subarray(publisherEnd) : null,
  };
}
