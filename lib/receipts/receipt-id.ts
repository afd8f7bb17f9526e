/** Crockford's base 32: no I, L, O, U; sorts like the numbers it stands for. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const alphabetBytes = Buffer.from(alphabet);
const sequenceCharacters = 11;
const nodeCharacters = 2;

/** Characters of a receipt id: 11 of the message's sequence, 2 of the node's number. */
export const receiptIdLength = sequenceCharacters + nodeCharacters;

const lowCharacters = 6;
const low30 = 2 ** 30;
const scratch = Buffer.alloc(receiptIdLength);

/** Writes the last `count` digits of a number below 2^30 in base 32. */
function writeDigits(value: number, count: number, target: Buffer, at: number): void {
  let left = value;
  for (let index = at + count - 1; index >= at; index--) {
    target[index] = alphabetBytes[left & 31] as number;
    left >>>= 5;
  }
}

/** Writes the id by which receipts name a message: sortable by time of acceptance, unique in the deployment. */
export function writeReceiptId(sequence: number, nodeNumber: number, target: Buffer, at: number): void {
  const high = Math.floor(sequence / low30);
  writeDigits(high, sequenceCharacters - lowCharacters, target, at);
  writeDigits(sequence - high * low30, lowCharacters, target, at + sequenceCharacters - lowCharacters);
  writeDigits(nodeNumber, nodeCharacters, target, at + sequenceCharacters);
}

/** The same as text. */
export function receiptId(sequence: number, nodeNumber: number): string {
  writeReceiptId(sequence, nodeNumber, scratch, 0);
  return scratch.toString('latin1');
}

/** The sequence and node in a receipt id, or null if it is none. */
export function parseReceiptId(id: string): { sequence: number; nodeNumber: number } | null {
  if (id.length !== receiptIdLength) return null;
  let sequence = 0;
  let nodeNumber = 0;
  for (let at = 0; at < receiptIdLength; at++) {
    const digit = alphabet.indexOf(id[at] as string);
    if (digit < 0) return null;
    if (at < sequenceCharacters) sequence = sequence * 32 + digit;
    else nodeNumber = nodeNumber * 32 + digit;
  }
  return sequence <= Number.MAX_SAFE_INTEGER ? { sequence, nodeNumber } : null;
}
