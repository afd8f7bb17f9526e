import { ByteReader, ByteWriter } from '../base/bytes.js';
import { Session, transientSessionBase } from '../session/session.js';
import type { Target } from '../session/subscription.js';
import type { QoS } from '../spec/packet-types.js';

/** Everyone a message is for, in the order in which they are offered it. */
export interface Cohort {
  /** Key of the tracked message's record, or null. */
  readonly record: Buffer | null;
  /** Full names of the matching shared groups. */
  readonly groups: readonly string[];
  readonly targets: readonly Target[];
}

/** Session number (u32) and a byte of options. */
const targetBytes = 5;
const qosMask = 0x03;
const retainAsPublishedBit = 0x04;
const identifiersBit = 0x08;

/**
 * A cohort as one value: record's key and groups; for each recipient five bytes; then, for those that have more to
 * remember, the names of a session that is not stored and the subscription identifiers. It is written in one turn,
 * perhaps for the first time in the process: so the loop over all does next to nothing.
 */
export function encodeCohort({ record, groups, targets }: Cohort): Buffer {
  const head = new ByteWriter().optionalBytes(record).varint(groups.length);
  for (const group of groups) head.string(group);
  head.varint(targets.length);
  const fixed = Buffer.allocUnsafe(targets.length * targetBytes);
  const rest = new ByteWriter();
  let at = 0;
  for (const target of targets) {
    const { session, subscriptionIds } = target;
    const { number } = session;
    fixed[at++] = number >>> 24;
    fixed[at++] = number >>> 16;
    fixed[at++] = number >>> 8;
    fixed[at++] = number;
    const hasMore = subscriptionIds !== null;
    fixed[at++] = target.qos | (target.retainAsPublished ? retainAsPublishedBit : 0) | (hasMore ? identifiersBit : 0);
    if (number >= transientSessionBase) rest.string(session.clientId).optionalString(session.userName);
    if (subscriptionIds === null) continue;
    rest.varint(subscriptionIds.length);
    for (const id of subscriptionIds) rest.varint(id);
  }
  return Buffer.concat([head.finish(), fixed, rest.finish()]);
}

/** @param storedSession the session of a number, whether or not it has ended */
export function decodeCohort(value: Buffer, storedSession: (number: number) => Session): Cohort {
  const head = new ByteReader(value);
  const record = head.optionalBytes();
  const groups: string[] = [];
  for (let left = head.varint(); left > 0; left--) groups.push(head.string());
  const count = head.varint();
  const fixed = head.raw(count * targetBytes);
  const targets: Target[] = [];
  for (let at = 0; at < fixed.length; at += targetBytes) {
    const number = fixed.readUInt32BE(at);
    const options = fixed[at + 4] as number;
    const isTransient = number >= transientSessionBase;
    const session = isTransient ? endedSession(number, head.string(), head.optionalString()) : storedSession(number);
    const qos = (options & qosMask) as QoS;
    const subscriptionIds = options & identifiersBit ? readIds(head) : null;
    targets.push({
      session,
      qos,
      retainAsPublished: (options & retainAsPublishedBit) !== 0,
      subscriptionIds,
      own: null,
    });
  }
  return { record, groups, targets };
}

function readIds(reader: ByteReader): number[] {
  const ids: number[] = [];
  for (let left = reader.varint(); left > 0; left--) ids.push(reader.varint());
  return ids;
}

/** Stands for a recipient whose session is no more. */
export function endedSession(number: number, clientId: string, userName: string | null): Session {
  const session = new Session(number, clientId, userName, number < transientSessionBase, 5, 0);
  session.restored = true;
  session.ended = true;
  return session;
}
