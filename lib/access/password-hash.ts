import { createHash, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';

/** How a password is kept: `$7$`, PBKDF2 with SHA-512, or `$6$`, SHA-512 of password and salt. */
export interface PasswordHash {
  /** 0 for `$6$`. */
  readonly iterations: number;
  readonly salt: Buffer;
  readonly digest: Buffer;
}

const digestBytes = 64;
const saltBytes = 12;
/** What `countersign passwd` uses where nothing else is asked for. */
export const defaultIterations = 20_000;
/** More would keep a thread busy for seconds with a single CONNECT. */
export const iterationsMax = 10_000_000;

/**
 * Reads the field of a password file, `$7$iterations$salt$digest` or `$6$salt$digest`, both parts in base64.
 * @returns null if it is neither
 */
export function parsePasswordHash(field: string): PasswordHash | null {
  const [empty, kind, ...parts] = field.split('$');
  if (empty !== '' || (kind !== '6' && kind !== '7')) return null;
  const iterations = kind === '7' ? Number(parts.shift()) : 0;
  if (kind === '7' && !(Number.isInteger(iterations) && iterations >= 1 && iterations <= iterationsMax)) return null;
  const [salt, digest, ...rest] = parts.map(decodeBase64);
  if (salt === undefined || digest === undefined || rest.length > 0) return null;
  if (salt === null || salt.length === 0 || digest?.length !== digestBytes) return null;
  return { iterations, salt, digest };
}

function decodeBase64(text: string): Buffer | null {
  return /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? Buffer.from(text, 'base64') : null;
}

/** The field of a password file. */
export function formatPasswordHash({ iterations, salt, digest }: PasswordHash): string {
  const head = iterations === 0 ? '$6' : `$7$${iterations}`;
  return `${head}$${salt.toString('base64')}$${digest.toString('base64')}`;
}

/** Hashes a new password with a salt of its own, by PBKDF2. */
export async function hashPassword(password: Buffer, iterations: number): Promise<PasswordHash> {
  const salt = randomBytes(saltBytes);
  return { iterations, salt, digest: await digestOf(password, salt, iterations) };
}

/** True if the password is the one that was hashed. Off the main thread for `$7$`; compares in constant time. */
export async function verifyPassword(password: Buffer, { iterations, salt, digest }: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await digestOf(password, salt, iterations), digest);
}

function digestOf(password: Buffer, salt: Buffer, iterations: number): Promise<Buffer> {
  if (iterations === 0) return Promise.resolve(createHash('sha512').update(password).update(salt).digest());
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, iterations, digestBytes, 'sha512', (error, digest) => {
      if (error === null) resolve(digest);
      else reject(error);
    });
  });
}
