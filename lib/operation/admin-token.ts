import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { CountersignError } from '../base/errors.js';

/** Shortest token that is taken: nobody tries all of 16 characters. */
const tokenLengthMin = 16;
const tokenLengthMax = 1024;

/** The digest of the token in a file's first line. @throws CountersignError ERR_COUNTERSIGN_CONFIG */
export async function readToken(file: string): Promise<Buffer> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
    throw new CountersignError('ERR_COUNTERSIGN_CONFIG', `admin.tokenFile: ${file}: ${reason}`, { cause: error });
  }
  const token = text.split('\n', 1)[0]?.trim() ?? '';
  if (token.length < tokenLengthMin || token.length > tokenLengthMax || /[^\x21-\x7e]/.test(token)) {
    const message = `its first line must be a token of ${tokenLengthMin} to ${tokenLengthMax} printable characters`;
    throw new CountersignError('ERR_COUNTERSIGN_CONFIG', `admin.tokenFile: ${file}: ${message}`);
  }
  return digest(token);
}

/** True if an Authorization header bears the token; takes as long for a wrong one as for the right one. */
export function bearsToken(header: string | undefined, expected: Buffer): boolean {
  const [, given = ''] = /^Bearer +(\S+) *$/i.exec(header ?? '') ?? [];
  return timingSafeEqual(digest(given), expected);
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
