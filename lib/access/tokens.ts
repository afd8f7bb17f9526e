import { createPublicKey, type KeyObject } from 'node:crypto';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import type { Clock } from '../base/clock.js';
import { CountersignError } from '../base/errors.js';
import type { AuthenticationAdmission } from '../broker/hooks.js';
import type { Settings } from '../config/schema.js';
import { Turnstile } from './turnstile.js';

/** Options of `jwt`. */
export type TokenSettings = NonNullable<Settings['jwt']>;
/** What tokens are verified with. */
export type TokenKey = Uint8Array | KeyObject | JWTVerifyGetKey;

/** Who shows a token. */
export interface TokenBearer {
  readonly clientId: string;
  readonly userName: string | null;
}

/** What came of a token; `unavailable` if the keys can not be had now. */
export type TokenVerdict = AuthenticationAdmission | 'wrong' | 'expired' | 'busy' | 'unavailable';

const secretBytesMin = 32;
const underWayMax = 16;
const waitingMax = 1000;
/** A key that is not known is looked for at the URL so often, whoever asks. */
const cooldownMs = 30_000;
const cacheMs = 600_000;

const symmetric = ['HS256', 'HS384', 'HS512'];
/** Never those of secrets: a public key must not be taken for one. */
const asymmetric = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

/** True for a password that is a JSON Web Token by its form. */
export function isToken(password: Buffer): boolean {
  // The header is a JSON object: its first characters are always these.
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(password.toString('latin1'));
}

/**
 * The key that the settings name.
 * @param timeoutMs how long it may take to fetch a key set
 * @param read the text of a file that an option names
 * @throws CountersignError ERR_COUNTERSIGN_CONFIG
 */
export async function readTokenKey(
  settings: TokenSettings,
  timeoutMs: number,
  read: (option: string, file: string) => Promise<string>,
): Promise<TokenKey> {
  const { secretFile, publicKeyFile, jwksFile, jwksUrl } = settings;
  if (secretFile !== undefined) {
    const secret = Buffer.from((await read('jwt.secretFile', secretFile)).replace(/\r?\n$/, ''));
    if (secret.length >= secretBytesMin) return secret;
    throw wrong('jwt.secretFile', secretFile, `a secret must have ${secretBytesMin} bytes or more`);
  }
  if (publicKeyFile !== undefined) {
    const text = await read('jwt.publicKeyFile', publicKeyFile);
    return parse(
      () => createPublicKey(text),
      'jwt.publicKeyFile',
      publicKeyFile,
      'no public key or certificate in PEM',
    );
  }
  if (jwksFile !== undefined) {
    const text = await read('jwt.jwksFile', jwksFile);
    return parse(() => createLocalJWKSet(JSON.parse(text)), 'jwt.jwksFile', jwksFile, 'no JSON Web Key Set');
  }
  const options = { timeoutDuration: timeoutMs, cooldownDuration: cooldownMs, cacheMaxAge: cacheMs };
  return createRemoteJWKSet(new URL(jwksUrl ?? ''), options);
}

function parse<T>(make: () => T, option: string, file: string, problem: string): T {
  try {
    return make();
  } catch {
    throw wrong(option, file, `there is ${problem} in it`);
  }
}

function wrong(option: string, file: string, problem: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', `${option}: ${file}: ${problem}`);
}

/** Verifies JSON Web Tokens that clients show as passwords. */
export class Tokens {
  private readonly settings: TokenSettings;
  private readonly clock: Clock;
  private key: TokenKey;
  private readonly turnstile = new Turnstile(underWayMax, waitingMax);

  constructor(settings: TokenSettings, key: TokenKey, clock: Clock) {
    this.settings = settings;
    this.key = key;
    this.clock = clock;
  }

  /** Takes another key; who was let in by the former stays until the token expires. */
  replace(key: TokenKey): void {
    this.key = key;
  }

  async verify(token: string, bearer: TokenBearer): Promise<TokenVerdict> {
    try {
      return (await this.turnstile.pass(async () => this.admit(await this.payloadOf(token), bearer))) ?? 'busy';
    } catch (error) {
      if (error instanceof errors.JWTExpired) return 'expired';
      return isAboutKeys(error) ? 'unavailable' : 'wrong';
    }
  }

  private async payloadOf(token: string): Promise<JWTPayload> {
    const { secretFile, algorithms, issuer, audience, clockTolerance } = this.settings;
    const options: JWTVerifyOptions = {
      algorithms: algorithms ?? (secretFile === undefined ? asymmetric : symmetric),
      clockTolerance,
      currentDate: new Date(this.clock.now()),
      requiredClaims: ['exp'],
      ...(issuer === undefined ? {} : { issuer }),
      ...(audience === undefined ? {} : { audience }),
    };
    const { key } = this;
    const { payload } =
      typeof key === 'function' ? await jwtVerify(token, key, options) : await jwtVerify(token, key, options);
    return payload;
  }

  /** The user is whom the token names; what CONNECT says must not contradict it. */
  private admit(payload: JWTPayload, { clientId, userName }: TokenBearer): TokenVerdict {
    const { userClaim, clientIdClaim, clockTolerance } = this.settings;
    const user = payload[userClaim];
    if (typeof user !== 'string' || user === '') return 'wrong';
    if (userName !== null && userName !== '' && userName !== user) return 'wrong';
    if (clientIdClaim !== undefined && (clientId === '' || payload[clientIdClaim] !== clientId)) return 'wrong';
    return { admitted: true, userName: user, expiresAtMs: ((payload.exp ?? 0) + clockTolerance) * 1000 };
  }
}

/** True if it is not the token that is wrong: the keys could not be fetched. */
function isAboutKeys(error: unknown): boolean {
  if (!(error instanceof errors.JOSEError)) return true;
  return error.code === 'ERR_JWKS_TIMEOUT' || error.code === 'ERR_JOSE_GENERIC' || error.code === 'ERR_JWKS_INVALID';
}
