/** Crockford's base 32: no I, L, O, U; sorts like the numbers it stands for. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const sequenceCharacters = 11;
const nodeCharacters = 2;

/** Characters of a receipt id: 11 of the message's sequence, 2 of the node's number. */
export const receiptIdLength = sequenceCharacters + nodeCharacters;

function encode(value: number, characters: number): string {
  let text = '';
  let rest = value;
  for (let at = 0; at < characters; at++) {
    text = (alphabet[rest % 32] as string) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

/** The id by which receipts name a message: sortable by time of acceptance, unique in the deployment. */
export function receiptId(sequence: number, nodeNumber: number): string {
  return encode(sequence, sequenceCharacters) + encode(nodeNumber, nodeCharacters);
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
