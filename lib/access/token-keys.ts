import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { createLocalJWKSet, createRemoteJWKSet, customFetch, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import type { Clock } from '../base/clock.js';
import { CountersignError } from '../base/errors.js';
import type { Settings } from '../config/schema.js';

/** Options of `jwt`. */
export type TokenSettings = NonNullable<Settings['jwt']>;
/** What tokens are verified with. */
export type TokenKey = Uint8Array | KeyObject | JWTVerifyGetKey;

const secretBytesMin = 32;
/** A key that is not known is looked for at the URL so often, whoever asks. */
const cooldownMs = 30_000;
const cacheMs = 600_000;
/** An issuer that gave no key set is left alone for so long. */
const failurePauseMs = 2000;

/** Largest key set that is taken from a URL; issuers have a few kilobytes. */
const keySetBytesMax = 1024 * 1024;
const rsaBitsMin = 2048;
const curves = ['prime256v1', 'secp384r1', 'secp521r1'];
/** Types of keys in a key set that may verify tokens; others are for something else. */
const keyTypes = ['RSA', 'EC', 'OKP'];

/**
 * The key that the settings name.
 * @param timeoutMs how long it may take to fetch a key set
 * @param clock tells when an issuer that failed is asked again
 * @param read the text of a file that an option names
 * @throws CountersignError ERR_COUNTERSIGN_CONFIG
 */
export async function readTokenKey(
  settings: TokenSettings,
  timeoutMs: number,
  clock: Clock,
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
    const keySet = parse(() => parseKeySet(text), 'jwt.jwksFile', jwksFile, 'no JSON Web Key Set');
    const problem = keySetProblem(keySet);
    if (problem !== null) throw wrong('jwt.jwksFile', jwksFile, problem);
    return createLocalJWKSet(keySet);
  }
  const durations = { timeoutDuration: timeoutMs, cooldownDuration: cooldownMs, cacheMaxAge: cacheMs };
  return createRemoteJWKSet(new URL(jwksUrl ?? ''), { ...durations, [customFetch]: keySetFetch(clock) });
}

/** What keeps a public key from verifying any token; null if nothing does. */
function keyProblem({ asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject): string | null {
  const { modulusLength = 0, namedCurve = '' } = details;
  if (type === 'rsa') return modulusLength >= rsaBitsMin ? null : `an RSA key must have ${rsaBitsMin} bits or more`;
  if (type === 'ed25519' || (type === 'ec' && curves.includes(namedCurve))) return null;
  return 'tokens are verified with keys of RSA, of P-256, P-384 and P-521, and of Ed25519';
}

/** @throws Error if it is none */
function parseKeySet(text: string): JSONWebKeySet {
  const keySet: unknown = JSON.parse(text);
  createLocalJWKSet(keySet as JSONWebKeySet);
  return keySet as JSONWebKeySet;
}

/** What keeps a key set from being used; null if nothing does. Keys for other purposes are passed over. */
function keySetProblem({ keys }: JSONWebKeySet): string | null {
  const forTokens = [...keys.entries()].filter(
    ([, { kty = '', use = 'sig' }]) => keyTypes.includes(kty) && use === 'sig',
  );
  for (const [at, key] of forTokens) {
    const problem = keyInSetProblem(key);
    if (problem !== null) return `keys[${at}]${key.kid === undefined ? '' : ` (${key.kid})`}: ${problem}`;
  }
  return forTokens.length > 0 ? null : 'no key in it is for tokens: these are of type RSA, EC or OKP';
}

function keyInSetProblem(key: JsonWebKey): string | null {
  if (key.d !== undefined) return 'it is a private key: give the public one';
  try {
    return keyProblem(createPublicKey({ key, format: 'jwk' }));
  } catch {
    return `it is no whole ${key.kty} key`;
  }
}

/** Fetches key sets; who failed to give one is not asked again at once, however many tokens there are. */
function keySetFetch(clock: Clock): typeof fetchKeySet {
  let failedAtMs = Number.NEGATIVE_INFINITY;
  return async (url, options) => {
    if (clock.now() - failedAtMs < failurePauseMs) throw new Error('there was no key set a moment ago');
    try {
      return await fetchKeySet(url, options);
    } catch (error) {
      failedAtMs = clock.now();
      throw error;
    }
  };
}

/**
 * Fetches a key set, but not more than one can be: whoever answers must not fill memory.
 * @throws Error if what comes is none
 */
async function fetchKeySet(url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > keySetBytesMax) throw new Error(`a key set may have ${keySetBytesMax} bytes`);
    chunks.push(chunk);
  }
  if (!response.ok) throw new Error(`the answer was ${response.status}`);
  const body = Buffer.concat(chunks);
  parseKeySet(body.toString());
  return new Response(body, { status: response.status, headers: response.headers });
}

/** @throws CountersignError if `make` throws */
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
