import { encodeUserProperties } from '../codec/publish.js';
import { receiptIdLength } from './receipt-id.js';

const idProperty = encodeUserProperties([['receipt-id', ' '.repeat(receiptIdLength)]]);
const idAt = idProperty.length - receiptIdLength;
const matchedProperty = encodeUserProperties([['receipt-matched', '']]);
/** Bytes of user property `receipt-id` in wire form. */
export const receiptIdPropertyBytes = idProperty.length;
/** Memory for answers, by their number of digits. */
const answers: Buffer[] = [];

function write(source: Buffer, target: Buffer, at: number): number {
  for (let index = 0; index < source.length; index++) target[at + index] = source[index] as number;
  return at + source.length;
}

/** Writes user property `receipt-id` in wire form. @returns the position behind it */
export function writeReceiptIdProperty(id: Buffer, target: Buffer): number {
  write(idProperty, target, 0);
  return write(id, target, idAt);
}

/**
 * User properties `receipt-id` and `receipt-matched` in wire form: what the publisher is answered with. The memory is
 * used again for the next.
 */
export function encodeReceiptAnswer(id: Buffer, matched: number): Buffer {
  const digits = String(matched);
  const { length } = digits;
  const end = idProperty.length + matchedProperty.length;
  answers[length] ??= Buffer.alloc(end + length);
  const bytes = answers[length] as Buffer;
  write(matchedProperty, bytes, writeReceiptIdProperty(id, bytes));
  bytes[end - 1] = length;
  for (let at = 0; at < length; at++) bytes[end + at] = digits.charCodeAt(at);
  return bytes;
}
