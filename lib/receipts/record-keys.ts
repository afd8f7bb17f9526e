import { createHash } from 'node:crypto';
import { copyBytes } from '../base/bytes.js';
import { identityKeyBytes } from './names.js';

const sequenceBytes = 8;
/** Bytes of a key of table `records`. */
export const recordKeyBytes = identityKeyBytes + sequenceBytes;
const highest = Number.MAX_SAFE_INTEGER;

function writeSequence(key: Buffer, sequence: number, at: number): void {
  key.writeUInt32BE(Math.floor(sequence / 0x100000000), at);
  key.writeUInt32BE(sequence >>> 0, at + 4);
}

function readSequence(key: Buffer, at: number): number {
  return key.readUInt32BE(at) * 0x100000000 + key.readUInt32BE(at + 4);
}

/** Key of table `records`: a publisher's messages, newest first. */
export function recordKey(publisherKey: Buffer, sequence: number): Buffer {
  const key = Buffer.allocUnsafe(recordKeyBytes);
  writeRecordKey(key, publisherKey, sequence);
  return key;
}

/** Writes the same to memory of `recordKeyBytes`. */
export function writeRecordKey(key: Buffer, publisherKey: Buffer, sequence: number): void {
  copyBytes(publisherKey, 0, identityKeyBytes, key, 0);
  writeSequence(key, highest - sequence, identityKeyBytes);
}

export function readRecordKey(key: Buffer): { publisherKey: Buffer; sequence: number } {
  const publisherKey = key.subarray(0, identityKeyBytes);
  return { publisherKey, sequence: highest - readSequence(key, identityKeyBytes) };
}

/** Key of table `recipients`: the rows of a large cohort. */
export function recipientRowKey(publisherKey: Buffer, sequence: number, recipientKey: Buffer): Buffer {
  const key = Buffer.allocUnsafe(publisherKey.length + sequenceBytes + recipientKey.length);
  copyBytes(publisherKey, 0, publisherKey.length, key, 0);
  writeSequence(key, highest - sequence, publisherKey.length);
  copyBytes(recipientKey, 0, recipientKey.length, key, publisherKey.length + sequenceBytes);
  return key;
}

/** The recipient's part of a key of table `recipients`. */
export function recipientOfRowKey(key: Buffer): Buffer {
  return key.subarray(identityKeyBytes + sequenceBytes);
}

/** Key of table `finished`: the time of the last final tally in the row, and the number of its first message. */
export function finishedKey(finalAtMs: number, sequence: number): Buffer {
  const key = Buffer.allocUnsafe(6 + sequenceBytes);
  key.writeUIntBE(finalAtMs, 0, 6);
  writeSequence(key, sequence, 6);
  return key;
}

export function readFinishedTime(key: Buffer): number {
  return key.readUIntBE(0, 6);
}

/** Bytes of one record in a row of table `finished`. */
export const finishedEntryBytes = identityKeyBytes + sequenceBytes;

export function writeFinishedEntry(value: Buffer, at: number, publisherKey: Buffer, sequence: number): void {
  copyBytes(publisherKey, 0, identityKeyBytes, value, at);
  writeSequence(value, sequence, at + identityKeyBytes);
}

export function readFinishedEntry(value: Buffer, at: number): { publisherKey: Buffer; sequence: number } {
  const publisherKey = value.subarray(at, at + identityKeyBytes);
  return { publisherKey, sequence: readSequence(value, at + identityKeyBytes) };
}

/** Key of table `answers` for a message that awaits its application's word: who published it. */
export function answerBySequenceKey(sequence: number): Buffer {
  const key = Buffer.alloc(identityKeyBytes + sequenceBytes);
  writeSequence(key, sequence, identityKeyBytes);
  return key;
}

/** Prefix of the keys of table `answers` for messages of one publisher with the same Correlation Data. */
export function answerPrefix(publisherKey: Buffer, correlationData: Buffer): Buffer {
  return createHash('sha256').update(publisherKey).update(correlationData).digest().subarray(0, identityKeyBytes);
}

export function answerByCorrelationKey(publisherKey: Buffer, correlationData: Buffer, sequence: number): Buffer {
  const key = Buffer.allocUnsafe(identityKeyBytes + sequenceBytes);
  key.set(answerPrefix(publisherKey, correlationData), 0);
  writeSequence(key, sequence, identityKeyBytes);
  return key;
}

export function sequenceOfAnswerKey(key: Buffer): number {
  return readSequence(key, identityKeyBytes);
}

/** The first key behind all that begin with `prefix`; null if there is none. */
export function afterPrefix(prefix: Buffer): Buffer | null {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return null;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1]++;
  return end;
}

/** The first key behind `key`. */
export function afterKey(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)]);
}
