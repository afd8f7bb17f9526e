import { CountersignError } from '../base/errors.js';
import { formatPasswordHash, type PasswordHash, parsePasswordHash } from './password-hash.js';

/** User names and their hashed passwords, as a password file has them. */
export type PasswordEntries = ReadonlyMap<string, PasswordHash>;

/**
 * Reads a password file in Mosquitto's format: a line `user:hash` for each user; empty lines and those that begin with
 * `#` mean nothing, nor do blanks around a user name.
 * @param name of the file, for messages
 * @throws CountersignError ERR_COUNTERSIGN_CONFIG that names the line, never its content
 */
export function parsePasswordFile(name: string, text: string): PasswordEntries {
  const entries = new Map<string, PasswordHash>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const where = `${name}: line ${index + 1}`;
    const colon = line.indexOf(':');
    if (colon < 1) throw wrong(`${where}: a line is USER:HASH; countersign passwd writes it`);
    const user = line.slice(0, colon).trim();
    if (user === '' || /\p{Cc}/u.test(user)) throw wrong(`${where}: the user name is empty or has control characters`);
    const hash = parsePasswordHash(line.slice(colon + 1).trim());
    if (hash === null) {
      throw wrong(`${where}: this is no hash of the forms $7$ and $6$; countersign passwd writes one`);
    }
    if (entries.has(user)) throw wrong(`${where}: this user has a line before: delete one of the two`);
    entries.set(user, hash);
  }
  return entries;
}

/**
 * A password file's text with one user's line added, replaced or, with `null`, deleted; all else stays as it is.
 * @returns null if there is no such user to delete
 */
export function editPasswordFile(text: string, user: string, hash: PasswordHash | null): string | null {
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n');
  const at = lines.findIndex((line) => line.slice(0, Math.max(0, line.indexOf(':'))).trim() === user);
  if (hash === null) {
    if (at < 0) return null;
    lines.splice(at, 1);
  } else {
    lines.splice(at < 0 ? lines.length : at, at < 0 ? 0 : 1, `${user}:${formatPasswordHash(hash)}`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** What is wrong with a user name for a password file; null if nothing is. */
export function userNameProblem(user: string): string | null {
  if (user === '') return 'a user name can not be empty';
  if (user.startsWith('#')) return 'a user name can not begin with #, which begins a comment';
  if (user !== user.trim()) return 'a user name can neither begin nor end with a blank, which the file would lose';
  if (/[:\p{Cc}]/u.test(user)) return 'a user name can have neither a colon nor control characters';
  return null;
}

function wrong(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', message);
}
