import { writeVarint } from '../base/bytes.js';
import type { Session } from '../session/session.js';
import { encodeRecord, lastTimePlaces, type TimePlaces } from './record.js';
import { recordKeyBytes, writeRecordKey } from './record-keys.js';
import type { SoleRecord } from './sole-record.js';

/** Times take six bytes from here, in the year 1971, */
const firstTimeMs = 2 ** 35;
/** to here, in the year 2109. */
const endTimeMs = 2 ** 42;
const timeBytes = 6;

function hasSixBytes(timeMs: number): boolean {
  return timeMs >= firstTimeMs && timeMs < endTimeMs;
}

/** Bytes that the next record may have as well, but for its times. */
interface Template {
  readonly bytes: Buffer;
  readonly places: TimePlaces;
  readonly publisher: Session;
  readonly recipient: Session;
  readonly topicName: string;
  readonly canAnswer: boolean;
  /** Times in it. */
  sentAtMs: number;
  deliveredAtMs: number;
}

/** Values of so many recipients by turns are made of the last one of each. */
const templatesMax = 64;

/**
 * Encodes sole records as `encodeRecord` does the records that they stand for. Those of a publisher's messages to one
 * recipient differ in their times alone: the bytes of the last one are changed.
 */
export class SoleRecordBytes {
  /** By the recipients' numbers. */
  private readonly sent: (Template | null)[] = new Array(templatesMax).fill(null);
  private readonly delivered: (Template | null)[] = new Array(templatesMax).fill(null);

  /** The value; the memory is used again for the next. */
  encode(sole: SoleRecord): Buffer {
    const isDelivered = sole.deliveredAtMs > 0;
    const templates = isDelivered ? this.delivered : this.sent;
    const at = sole.recipient.number % templatesMax;
    const template = templates[at] ?? null;
    if (template !== null && fits(template, sole)) return rewritten(template, sole, isDelivered);
    const bytes = encodeRecord(sole.toRecord());
    templates[at] = templateOf(bytes, sole);
    return bytes;
  }
}

/** One for all: whatever it encodes is copied before the next. */
export const soleRecordBytes = new SoleRecordBytes();

const key = Buffer.alloc(recordKeyBytes);

/** Key of the record's row; the memory is used again for the next. */
export function soleRecordKey({ publisherKey, sequence }: SoleRecord): Buffer {
  writeRecordKey(key, publisherKey, sequence);
  return key;
}

function templateOf(bytes: Buffer, sole: SoleRecord): Template | null {
  const { publisher, recipient, topicName, canAnswer, sentAtMs, deliveredAtMs } = sole;
  if (!hasSixBytes(sentAtMs) || (deliveredAtMs > 0 && !hasSixBytes(deliveredAtMs))) return null;
  const places = lastTimePlaces();
  return { bytes, places, publisher, recipient, topicName, canAnswer, sentAtMs, deliveredAtMs };
}

/** True if a record has the bytes of the last one but for its times, and these take as many. */
function fits(template: Template, sole: SoleRecord): boolean {
  const { sentAtMs, deliveredAtMs } = sole;
  return (
    template.publisher === sole.publisher &&
    template.recipient === sole.recipient &&
    template.topicName === sole.topicName &&
    template.canAnswer === sole.canAnswer &&
    (sentAtMs === template.sentAtMs || hasSixBytes(sentAtMs)) &&
    (deliveredAtMs === template.deliveredAtMs || hasSixBytes(deliveredAtMs))
  );
}

function rewritten(template: Template, { sentAtMs, deliveredAtMs }: SoleRecord, isDelivered: boolean): Buffer {
  const { bytes, places } = template;
  // Of those that come in a turn they are the same.
  if (sentAtMs !== template.sentAtMs) {
    template.sentAtMs = sentAtMs;
    writeVarint(sentAtMs, bytes, places.accepted);
    writeVarint(sentAtMs, bytes, places.sent);
  }
  if (isDelivered && deliveredAtMs !== template.deliveredAtMs) {
    template.deliveredAtMs = deliveredAtMs;
    writeVarint(deliveredAtMs, bytes, places.final);
    writeVarint(deliveredAtMs, bytes, places.sent + timeBytes);
    writeVarint(deliveredAtMs, bytes, places.sent + 2 * timeBytes);
  }
  return bytes;
}
