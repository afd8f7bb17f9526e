import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import type { Clock } from '../base/clock.js';
import { isUserName } from '../base/user-name.js';
import type { AuthenticationAdmission } from '../broker/hooks.js';
import { asymmetricAlgorithms, symmetricAlgorithms } from '../config/access-options.js';
import type { TokenKey, TokenSettings } from './token-keys.js';
import { Turnstile } from './turnstile.js';

/** Who shows a token. */
export interface TokenBearer {
  readonly clientId: string;
  readonly userName: string | null;
}

/** What came of a token; `unavailable` if the keys can not be had now. */
export type TokenVerdict = AuthenticationAdmission | 'wrong' | 'expired' | 'busy' | 'unavailable';

const underWayMax = 16;
const waitingMax = 1000;

/** True for a password that is a JSON Web Token by its form. */
export function isToken(password: Buffer): boolean {
  // The header is a JSON object: its first characters are always these.
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(password.toString('latin1'));
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
