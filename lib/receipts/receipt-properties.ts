import { writeUtf8 } from '../base/bytes.js';
import { encodeUserProperties } from '../codec/publish.js';
import { receiptIdLength } from './receipt-id.js';

const idProperty = encodeUserProperties([['receipt-id', ' '.repeat(receiptIdLength)]]);
const idAt = idProperty.length - receiptIdLength;
const matchedProperty = encodeUserProperties([['receipt-matched', '']]);

/** User property `receipt-id` in wire form. */
export function encodeReceiptId(id: string): Buffer {
  const bytes = Buffer.allocUnsafe(idProperty.length);
  writeId(bytes, id);
  return bytes;
}

/** User properties `receipt-id` and `receipt-matched` in wire form: what the publisher is answered with. */
export function encodeReceiptAnswer(id: string, matched: number): Buffer {
  const digits = String(matched);
  const { length } = digits;
  const end = idProperty.length + matchedProperty.length;
  const bytes = Buffer.allocUnsafe(end + length);
  bytes.set(matchedProperty, writeId(bytes, id));
  bytes[end - 1] = length;
  writeUtf8(digits, length, bytes, end);
  return bytes;
}

function writeId(bytes: Buffer, id: string): number {
  bytes.set(idProperty, 0);
  for (let at = 0; at < receiptIdLength; at++) bytes[idAt + at] = id.charCodeAt(at);
  return idProperty.length;
}
