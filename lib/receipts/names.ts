import * as crypto from 'node:crypto';

/** Where subscribers' applications acknowledge. */
export const ackTopic = '$receipts/ack';

/** Everything about receipts lives under this topic prefix. */
export const receiptsPrefix = '$receipts/';

const segmentBytesMax = 512;
/** Names up to this length stay below `segmentBytesMax` in UTF-8. */
const plainCharactersMax = segmentBytesMax / 4;
const percentSign = 0x25;
const slash = 0x2f;
const plus = 0x2b;
const hash = 0x23;
const keptBytes = 400;
/** Bytes of an identity's hash: too many for anyone to find two names with the same. */
export const identityKeyBytes = 12;

/** True for topic names and filters under `$receipts/`. */
export function isReceiptsTopic(topic: string): boolean {
  return topic.startsWith(receiptsPrefix) || topic === '$receipts';
}

function percent(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}

/**
 * A client identifier as one topic level: `%`, `/`, `+`, `#` and a leading `$` or `~` are percent-encoded, so that no
 * two clients share a segment and none looks like `~` or `$server`. Long ones are cut and marked with a hash.
 */
export function encodeSegment(name: string): string {
  if (isPlain(name)) return name;
  return cutSegment(escapeLevel(name).replace(/^[$~]/, percent), name);
}

/** True for a name that is short and has nothing to encode: nearly every one. */
function isPlain(name: string): boolean {
  if (name.length > plainCharactersMax || name.startsWith('$') || name.startsWith('~')) return false;
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (code === percentSign || code === slash || code === plus || code === hash) return false;
  }
  return true;
}

/**
 * A shared group's segment: its full name with the first four characters encoded, so that no client can look like it.
 */
export function encodeGroupSegment(group: string): string {
  const head = [...group.slice(0, 4)].map(percent).join('');
  return cutSegment(head + escapeLevel(group.slice(4)), group);
}

function escapeLevel(name: string): string {
  return name.replace(/[%/+#]/g, percent);
}

function cutSegment(encoded: string, name: string): string {
  const bytes = Buffer.from(encoded);
  if (bytes.length <= segmentBytesMax) return encoded;
  let end = keptBytes;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return `${bytes.toString('utf8', 0, end)}%~${sha256(name).digest('hex').slice(0, 32)}`;
}

/** Name of the embedding program among publishers. */
export const serverSegment = '$server';

/** The first bytes of a text's SHA-256. Node before 20.12 can not do it in one call, which takes half the time. */
function identityKey(text: string): Buffer {
  const digest = crypto.hash?.('sha256', text, 'hex') ?? sha256(text).digest('hex');
  return Buffer.from(digest.slice(0, 2 * identityKeyBytes), 'hex');
}

function sha256(text: string): crypto.Hash {
  return crypto.createHash('sha256').update(text);
}

/** Key of a client in records: by identifier and user name, both of which own a record. */
export function clientIdentityKey(clientId: string, userName: string | null): Buffer {
  return identityKey(userName === null ? `c${clientId}\0` : `u${clientId}\0${userName}`);
}

/** Key of a shared group in records. */
export function groupIdentityKey(group: string): Buffer {
  return identityKey(`g${group}`);
}

/** Key of the embedding program in records. */
export const serverIdentityKey = identityKey('s');
