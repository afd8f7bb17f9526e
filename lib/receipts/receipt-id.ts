/** Crockford's base 32: no I, L, O, U; sorts like the numbers it stands for. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const sequenceCharacters = 11;
const nodeCharacters = 2;

/** Characters of a receipt id: 11 of the message's sequence, 2 of the node's number. */
export const receiptIdLength = sequenceCharacters + nodeCharacters;

/** Two characters for each ten bits. */
const pairs = Array.from({ length: 1024 }, (_, value) => `${alphabet[value >> 5]}${alphabet[value & 31]}`);
const high25 = 2 ** 30;

/** Eleven characters: 25 bits as one and two pairs, then 30 bits as three pairs. */
function encodeSequence(sequence: number): string {
  const high = Math.floor(sequence / high25);
  const low = sequence % high25;
  const head = (alphabet[high >>> 20] as string) + pairs[(high >>> 10) & 1023] + pairs[high & 1023];
  return head + pairs[low >>> 20] + pairs[(low >>> 10) & 1023] + pairs[low & 1023];
}

/** The id by which receipts name a message: sortable by time of acceptance, unique in the deployment. */
export function receiptId(sequence: number, nodeNumber: number): string {
  return encodeSequence(sequence) + pairs[nodeNumber];
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
