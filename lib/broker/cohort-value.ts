import { endianness } from 'node:os';
import { ByteReader, ByteWriter } from '../base/bytes.js';
import { Session, transientSessionBase } from '../session/session.js';
import { DerivedTarget, qosMask, retainAsPublishedBit, type Target } from '../session/subscription.js';
import type { QoS } from '../spec/packet-types.js';

/** Everyone a message is for, in the order in which they are offered it. */
export interface Cohort {
  /** Key of the tracked message's record, or null. */
  readonly record: Buffer | null;
  /** Full names of the matching shared groups. */
  readonly groups: readonly string[];
  readonly targets: readonly Target[];
}

const numberBytes = 4;
const optionsMask = qosMask | retainAsPublishedBit;
const identifiersBit = 0x80;
const isLittleEndian = endianness() === 'LE';

/**
 * A cohort as one value: record's key and groups; the recipients' session numbers (u32); a byte of options for each;
 * then, for those that have more to remember, the names of a session that is not stored and the subscription
 * identifiers. It is written in parts, perhaps for the first time in the process, when nothing is compiled: so the loop
 * over all calls nothing.
 */
export class CohortWriter {
  private readonly cohort: Cohort;
  private readonly numbers: Uint32Array;
  private readonly options: Uint8Array;
  private readonly rest = new ByteWriter();
  private written = 0;

  /** @param cohort whose targets stay as they are */
  constructor(cohort: Cohort) {
    this.cohort = cohort;
    this.numbers = new Uint32Array(cohort.targets.length);
    this.options = new Uint8Array(cohort.targets.length);
  }

  /** Goes on with the next recipients, `count` at most. @returns true when all are written */
  write(count: number): boolean {
    const { numbers, options, rest } = this;
    const { targets } = this.cohort;
    const end = Math.min(targets.length, this.written + count);
    for (let at = this.written; at < end; at++) {
      const { session, options: asked, subscriptionIds } = targets[at] as Target;
      const { number } = session;
      numbers[at] = number;
      options[at] = (asked & optionsMask) | (subscriptionIds === null ? 0 : identifiersBit);
      if (number >= transientSessionBase) rest.string(session.clientId).optionalString(session.userName);
      if (subscriptionIds === null) continue;
      rest.varint(subscriptionIds.length);
      for (const id of subscriptionIds) rest.varint(id);
    }
    this.written = end;
    return end === targets.length;
  }

  /** The value, once all are written. */
  finish(): Buffer {
    const { record, groups, targets } = this.cohort;
    const head = new ByteWriter().optionalBytes(record).varint(groups.length);
    for (const group of groups) head.string(group);
    head.varint(targets.length);
    const numbersBytes = Buffer.from(this.numbers.buffer);
    if (isLittleEndian) numbersBytes.swap32();
    return Buffer.concat([head.finish(), numbersBytes, this.options, this.rest.finish()]);
  }
}

/** @param storedSession the session of a number, whether or not it has ended */
export function decodeCohort(value: Buffer, storedSession: (number: number) => Session): Cohort {
  const head = new ByteReader(value);
  const record = head.optionalBytes();
  const groups: string[] = [];
  for (let left = head.varint(); left > 0; left--) groups.push(head.string());
  const count = head.varint();
  const numbers = head.raw(count * numberBytes);
  const options = head.raw(count);
  const targets: Target[] = [];
  for (const [at, bits] of options.entries()) {
    const number = numbers.readUInt32BE(at * numberBytes);
    const isTransient = number >= transientSessionBase;
    const session = isTransient ? endedSession(number, head.string(), head.optionalString()) : storedSession(number);
    const subscriptionIds = bits & identifiersBit ? readIds(head) : null;
    const retainAsPublished = (bits & retainAsPublishedBit) !== 0;
    targets.push(new DerivedTarget(session, (bits & qosMask) as QoS, retainAsPublished, subscriptionIds));
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
