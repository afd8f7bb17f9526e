import { encodeUserProperties } from '../codec/publish.js';
import { receiptIdLength } from './receipt-id.js';

const idProperty = encodeUserProperties([['receipt-id', ' '.repeat(receiptIdLength)]]);
const idAt = idProperty.length - receiptIdLength;
const matchedProperty = encodeUserProperties([['receipt-matched', '']]);
const digitsAt = idProperty.length + matchedProperty.length;
/** Answers by their number of digits: only id and digits differ. */
const answers: Buffer[] = [];

function write(source: Buffer, target: Buffer, at: number): number {
  for (let index = 0; index < source.length; index++) target[at + index] = source[index] as number;
  return at + source.length;
}

/** Memory for user property `receipt-id` in wire form, complete but for the id. */
export function newReceiptIdProperty(): Buffer {
  return Buffer.from(idProperty);
}

/** Writes an id to what `newReceiptIdProperty` gave. */
export function writeIdOfProperty(id: Buffer, property: Buffer): void {
  write(id, property, idAt);
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
