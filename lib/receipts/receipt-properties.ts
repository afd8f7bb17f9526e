import { encodeUserProperties } from '../codec/publish.js';
import { receiptIdLength } from './receipt-id.js';

const idProperty = encodeUserProperties([['receipt-id', ' '.repeat(receiptIdLength)]]);
const idAt = idProperty.length - receiptIdLength;
const matchedProperty = encodeUserProperties([['receipt-matched', '']]);
const digitsMax = 10;

/** User property `receipt-id` in wire form. */
export function encodeReceiptId(id: string): Buffer {
  const bytes = Buffer.allocUnsafe(idProperty.length);
  writeId(bytes, id);
  return bytes;
}

/** User properties `receipt-id` and `receipt-matched` in wire form: what the publisher is answered with. */
export function encodeReceiptAnswer(id: string, matched: number): Buffer {
  const bytes = Buffer.allocUnsafe(idProperty.length + matchedProperty.length + digitsMax);
  const at = writeId(bytes, id);
  bytes.set(matchedProperty, at);
  const end = at + matchedProperty.length;
  const digits = bytes.write(String(matched), end, 'latin1');
  bytes[end - 1] = digits;
  return bytes.subarray(0, end + digits);
}

function writeId(bytes: Buffer, id: string): number {
  bytes.set(idProperty, 0);
  for (let at = 0; at < receiptIdLength; at++) bytes[idAt + at] = id.charCodeAt(at);
  return idProperty.length;
}
