import { uint16Max } from '../spec/limits.js';

const hash = 0x23;
const dollar = 0x24;
const plus = 0x2b;
const slash = 0x2f;

/** What a shared subscription's filter begins with. @see MQTT 5 §4.8.2 */
const sharePrefix = '$share/';

/** A shared subscription's filter, taken apart. @see MQTT 5 §4.8.2 */
export interface SharedFilter {
  /** The share name. */
  readonly group: string;
  /** The topic filter after it, which is what topic names are matched with. */
  readonly topicFilter: string;
}

/** True for a topic name: not empty, no wildcard, no U+0000, at most 65 535 bytes. @see MQTT 5 §4.7.1, §4.7.3 */
export function isTopicName(name: string): boolean {
  // [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
  if (!isName(name)) return false;
  // [MQTT-4.7.0-1]
  return !hasWildcard(name);
}

/**
 * True for a topic filter: not empty, wildcards only as whole levels and `#` only as the last, no U+0000, at most
 * 65 535 bytes. One that begins with `$share/` must also be right as a shared subscription.
 * @see MQTT 5 §4.7.1, §4.7.3, §4.8.2
 */
export function isTopicFilter(filter: string): boolean {
  if (filter.startsWith(sharePrefix)) return parseSharedFilter(filter) !== 'invalid';
  return isPlainFilter(filter);
}

/** True if a valid filter holds `+` or `#`. @see MQTT 5 §4.7.1 */
export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#');
}

/**
 * Takes a filter `$share/group/topicFilter` apart.
 *
 * `$share` alone is a plain filter, and `$share/g//t` is group `g` with filter `/t`. A shared filter inside another
 * (`$share/g/$share/h/t`) is invalid: no topic name a client should publish to could match it.
 * @returns null if the filter is not shared; 'invalid' if it begins as a shared one but has an empty share name, one
 * with a wildcard, or no valid topic filter after it
 * @see MQTT 5 §4.8.2
 */
export function parseSharedFilter(filter: string): SharedFilter | null | 'invalid' {
  if (!filter.startsWith(sharePrefix)) return null;
  const end = filter.indexOf('/', sharePrefix.length);
  // [MQTT-4.8.2-2] a "/" and a topic filter follow the share name
  if (end === -1) return 'invalid';
  const group = filter.slice(sharePrefix.length, end);
  const topicFilter = filter.slice(end + 1);
  // [MQTT-4.8.2-1] [MQTT-4.8.2-2] at least one character, no wildcard
  if (group === '' || hasWildcard(group)) return 'invalid';
  // The whole is checked too: U+0000 may be in the share name, and the length limit is on the whole.
  if (!isName(filter) || topicFilter.startsWith(sharePrefix) || !isPlainFilter(topicFilter)) return 'invalid';
  return { group, topicFilter };
}

/**
 * True if a valid topic filter (without `$share/group/`) matches a valid topic name. Characters are compared as they
 * are, without any normalisation [MQTT-4.7.3-4].
 * @see MQTT 5 §4.7.1, §4.7.2
 */
export function filterMatches(topicFilter: string, topicName: string): boolean {
  let at = 0;
  for (let index = 0; index < topicFilter.length; index++) {
    const character = topicFilter.charCodeAt(index);
    if (character === hash || character === plus) {
      // [MQTT-4.7.2-1]
      if (index === 0 && topicName.charCodeAt(0) === dollar) return false;
      // [MQTT-4.7.1-1]
      if (character === hash) return true;
      // [MQTT-4.7.1-2]
      const end = topicName.indexOf('/', at);
      at = end === -1 ? topicName.length : end;
    } else if (at < topicName.length && topicName.charCodeAt(at) === character) {
      at++;
    } else {
      // [MQTT-4.7.1-1] "a/#" matches its parent "a" as well
      return at === topicName.length && character === slash && topicFilter.charCodeAt(index + 1) === hash;
    }
  }
  return at === topicName.length;
}

/** Number of levels of a topic name or filter: one more than it has `/`. @see MQTT 5 §4.7.1.1 */
export function countLevels(name: string): number {
  let levels = 1;
  for (let at = name.indexOf('/'); at !== -1; at = name.indexOf('/', at + 1)) levels++;
  return levels;
}

function isName(name: string): boolean {
  if (name === '' || name.includes('\0')) return false;
  // A UTF-16 unit takes three bytes of UTF-8 at most, so most names need no counting.
  return name.length * 3 <= uint16Max || Buffer.byteLength(name) <= uint16Max;
}

/** True for a topic filter as `isTopicFilter` has it, that is not taken for a shared subscription's. */
export function isPlainFilter(filter: string): boolean {
  // [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
  if (!isName(filter)) return false;
  // [MQTT-4.7.1-1] "#" is the last character and a whole level
  const many = filter.indexOf('#');
  if (many !== -1 && (many !== filter.length - 1 || !isWholeLevel(filter, many))) return false;
  // [MQTT-4.7.1-2] "+" is a whole level
  for (let at = filter.indexOf('+'); at !== -1; at = filter.indexOf('+', at + 1)) {
    if (!isWholeLevel(filter, at)) return false;
  }
  return true;
}

function isWholeLevel(filter: string, at: number): boolean {
  if (at > 0 && filter.charCodeAt(at - 1) !== slash) return false;
  return at === filter.length - 1 || filter.charCodeAt(at + 1) === slash;
}
