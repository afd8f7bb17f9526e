import { CountersignError } from '../base/errors.js';
import { isPlainFilter } from '../topic/names.js';
import { type AccessEntry, AccessRules } from './access-rules.js';

const kinds = { read: 'read', write: 'write', readwrite: 'readwrite', deny: 'deny' } as const;
const levels = { none: 'none', tally: 'tally', own: 'own', all: 'all' } as const;

/**
 * Reads an access file in Mosquitto's format, which has one line more here:
 *
 *     topic [read|write|readwrite|deny] FILTER      of anonymous clients, or of the user named last
 *     user NAME
 *     pattern [read|write|readwrite|deny] FILTER    of everybody; %u is the user name, %c the client identifier
 *     receipts none|tally|own|all                   what is told of receipts
 *
 * Empty lines and those that begin with `#` mean nothing.
 * @param name of the file, for messages
 * @throws CountersignError ERR_COUNTERSIGN_CONFIG that names the line, what was given and what is allowed
 */
export function parseAccessFile(name: string, text: string): AccessRules {
  const entries: AccessEntry[] = [];
  let user: string | null = null;
  for (const [index, line] of text.split('\n').entries()) {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const problem = (what: string): CountersignError =>
      new CountersignError('ERR_COUNTERSIGN_CONFIG', `${name}: line ${index + 1}: ${what}`);
    const [keyword = '', ...words] = trimmed.split(/\s+/);
    const rest = trimmed.slice(keyword.length).trim();
    if (/[^\P{Cc}\t]/u.test(trimmed)) throw problem('a control character is in it: lines end with a line feed');
    if (rest === '') throw problem(`${JSON.stringify(keyword)} alone says nothing: ${lines}`);
    if (keyword === 'user') user = rest;
    else if (keyword === 'receipts') {
      if (!isKeyOf(levels, rest)) throw problem(`receipts ${rest}: allowed are none, tally, own and all`);
      entries.push({ keyword, user, access: rest });
    } else if (keyword === 'topic' || keyword === 'pattern') {
      entries.push({ keyword, user, ...ruleOf(rest, words, problem) });
    } else throw problem(`${JSON.stringify(keyword)} is not known: ${lines}`);
  }
  return new AccessRules(entries);
}

const lines = 'a line begins with topic, user, pattern or receipts';

/** A single word is a filter; where there are more, the first says what is allowed. */
function ruleOf(rest: string, [first = '', ...more]: readonly string[], problem: (what: string) => CountersignError) {
  if (more.length > 0 && !isKeyOf(kinds, first)) {
    throw problem(`${JSON.stringify(first)} is no access: allowed are read, write, readwrite and deny`);
  }
  const access = more.length > 0 && isKeyOf(kinds, first) ? first : 'readwrite';
  const filter = more.length > 0 ? rest.slice(first.length).trim() : rest;
  if (!isPlainFilter(filter)) throw problem(`${JSON.stringify(filter)} is no topic filter`);
  return { access, filter };
}

function isKeyOf<T extends object>(table: T, word: string): word is string & keyof T {
  return Object.hasOwn(table, word);
}
