import { createPublicKey, type KeyObject } from 'node:crypto';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import type { Clock } from '../base/clock.js';
import { CountersignError } from '../base/errors.js';
import { isUserName } from '../base/user-name.js';
import type { AuthenticationAdmission } from '../broker/hooks.js';
import { asymmetricAlgorithms, symmetricAlgorithms } from '../config/access-options.js';
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

/** Largest key set that is taken from a URL; issuers have a few kilobytes. */
const keySetBytesMax = 1024 * 1024;
const rsaBitsMin = 2048;
const curves = ['prime256v1', 'secp384r1', 'secp521r1'];

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
    const parsePublic = (): KeyObject => createPublicKey(text);
    const key = parse(parsePublic, 'jwt.publicKeyFile', publicKeyFile, 'no public key or certificate in PEM');
    const problem = /PRIVATE KEY-----/.test(text) ? 'a private key is in it: give the public one' : keyProblem(key);
    if (problem !== null) throw wrong('jwt.publicKeyFile', publicKeyFile, problem);
    return key;
  }
  if (jwksFile !== undefined) {
    const text = await read('jwt.jwksFile', jwksFile);
    return parse(() => createLocalJWKSet(JSON.parse(text)), 'jwt.jwksFile', jwksFile, 'no JSON Web Key Set');
  }
  const durations = { timeoutDuration: timeoutMs, cooldownDuration: cooldownMs, cacheMaxAge: cacheMs };
  return createRemoteJWKSet(new URL(jwksUrl ?? ''), { ...durations, [customFetch]: fetchKeySet });
}

/** What keeps a public key from verifying any token; null if nothing does. */
function keyProblem({ asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject): string | null {
  const { modulusLength = 0, namedCurve = '' } = details;
  if (type === 'rsa') return modulusLength >= rsaBitsMin ? null : `an RSA key must have ${rsaBitsMin} bits or more`;
  if (type === 'ed25519' || (type === 'ec' && curves.includes(namedCurve))) return null;
  return 'tokens are verified with keys of RSA, of P-256, P-384 and P-521, and of Ed25519';
}

/** Fetches a key set, but not more than one can be: whoever answers must not fill memory. */
async function fetchKeySet(url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > keySetBytesMax) throw new Error(`a key set may have ${keySetBytesMax} bytes`);
    chunks.push(chunk);
  }
  return new Response(Buffer.concat(chunks), { status: response.status, headers: response.headers });
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
      algorithms: [...(algorithms ?? (secretFile === undefined ? asymmetricAlgorithms : symmetricAlgorithms))],
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
    if (typeof user !== 'string' || !isUserName(user)) return 'wrong';
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
