import { createHmac, randomBytes } from 'node:crypto';
import type { PasswordEntries } from './password-file.js';
import { type PasswordHash, verifyPassword } from './password-hash.js';
import { Turnstile } from './turnstile.js';

/** Hashes computed at a time: the threads are the store's and the file system's too. */
const underWayMax = 2;
/** Attempts that wait for their turn; past it they are refused, to come again. */
const waitingMax = 1000;

/** What came of a user name and a password. */
export type PasswordVerdict = 'right' | 'wrong' | 'busy';

/** Compares passwords with those of a password file, a few at a time. */
export class Passwords {
  private readonly secret = randomBytes(32);
  private entries: PasswordEntries;
  private hashes: readonly PasswordHash[];
  private readonly turnstile = new Turnstile(underWayMax, waitingMax);

  constructor(entries: PasswordEntries) {
    this.entries = entries;
    this.hashes = [...entries.values()];
  }

  /** Attempts under way and waiting. */
  get pending(): number {
    return this.turnstile.pending;
  }

  /** Takes other passwords; returns the users whose password is not what it was, or who are no more. */
  replace(entries: PasswordEntries): ReadonlySet<string> {
    const former = this.entries;
    this.entries = entries;
    this.hashes = [...entries.values()];
    return new Set([...former].filter(([user, hash]) => !isSame(hash, entries.get(user))).map(([user]) => user));
  }

  /** Never rejects but for want of memory. An unknown user takes as long as a known one. */
  async verify(user: string, password: Buffer): Promise<PasswordVerdict> {
    const compare = async (): Promise<PasswordVerdict> => {
      const known = this.entries.get(user);
      const hash = known ?? this.standIn(user);
      if (hash === undefined) return 'wrong';
      const isRight = await verifyPassword(password, hash);
      // A file that was read again meanwhile holds for this attempt too: nobody else would end its connection.
      if (known !== undefined && !isSame(known, this.entries.get(user))) return 'busy';
      return isRight && known !== undefined ? 'right' : 'wrong';
    };
    return (await this.turnstile.pass(compare)) ?? 'busy';
  }

  /** Some user's hash, the same for the same name: so the mix of costs tells nothing either. */
  private standIn(user: string): PasswordHash | undefined {
    const number = createHmac('sha256', this.secret).update(user).digest().readUInt32BE(0);
    return this.hashes[number % Math.max(1, this.hashes.length)];
  }
}

function isSame(one: PasswordHash, other: PasswordHash | undefined): boolean {
  return (
    other !== undefined &&
    one.iterations === other.iterations &&
    one.salt.equals(other.salt) &&
    one.digest.equals(other.digest)
  );
}
