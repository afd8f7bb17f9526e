import { encodeUserProperties } from '../codec/publish.js';
import { receiptIdLength } from './receipt-id.js';

const idProperty = encodeUserProperties([['receipt-id', ' '.repeat(receiptIdLength)]]);
const idAt = idProperty.length - receiptIdLength;
const matchedProperty = encodeUserProperties([['receipt-matched', '']]);
/** Bytes of user property `receipt-id` in wire form. */
export const receiptIdPropertyBytes = idProperty.length;
const digitsAt = idProperty.length + matchedProperty.length;
/** Answers by their number of digits: only id and digits differ. */
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
  const bytes = answers[length] ?? newAnswer(length);
  write(id, bytes, idAt);
  for (let at = 0; at < length; at++) bytes[digitsAt + at] = digits.charCodeAt(at);
  return bytes;
}

function newAnswer(digits: number): Buffer {
  const bytes = Buffer.concat([idProperty, matchedProperty, Buffer.alloc(digits)]);
  bytes[digitsAt - 1] = digits;
  answers[digits] = bytes;
  return bytes;
}
