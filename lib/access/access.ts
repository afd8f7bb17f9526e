import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import type { Clock } from '../base/clock.js';
import { CountersignError } from '../base/errors.js';
import type { AuthenticationAdmission, AuthenticationRefusal, AuthenticationRequest, Hooks } from '../broker/hooks.js';
import type { Metrics } from '../broker/metrics.js';
import type { Settings } from '../config/schema.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { parseAccessFile } from './access-file.js';
import type { AccessRules } from './access-rules.js';
import { FailedAttempts } from './failed-attempts.js';
import { type PasswordEntries, parsePasswordFile } from './password-file.js';
import { Passwords, type PasswordVerdict } from './passwords.js';
import { readTokenKey, type TokenKey } from './token-keys.js';
import { isToken, Tokens, type TokenVerdict } from './tokens.js';

/** What access asks of the broker that it guards. */
export interface GuardedBroker {
  readonly context: { readonly metrics: Metrics };
  /** The answers of `authorize` and `receiptAccess` have changed. */
  rightsChanged(): void;
  /** Ends the connections of users whose credentials are no more what they showed. */
  disconnectUsers(users: ReadonlySet<string>, reason: string): void;
}

type Verdict = boolean | AuthenticationAdmission | AuthenticationRefusal;

const noUserName: Verdict = { reasonCode: ReasonCode.notAuthorized, reason: 'a user name and a password are needed' };
const expired: Verdict = { reasonCode: ReasonCode.notAuthorized, reason: 'the token has expired' };
const noKeys: Verdict = {
  reasonCode: ReasonCode.serverUnavailable,
  reason: 'the keys of tokens can not be had now: try again later',
};
const busy: Verdict = { reasonCode: ReasonCode.serverBusy, reason: 'too many attempts: try again later' };

/**
 * Who may connect and what they may do, by the files that the settings name. It speaks to the broker as hooks, like an
 * embedding program, whose own hooks go before: the broker has one way of asking.
 */
export class Access {
  /** The embedding program's hooks, and for what they leave open those that ask the files. */
  readonly hooks: Hooks;
  private readonly settings: Settings;
  private readonly clock: Clock;
  private readonly attempts: FailedAttempts;
  private readonly passwords: Passwords | null;
  private readonly tokens: Tokens | null;
  private rules: AccessRules | null;
  private broker: GuardedBroker | null = null;

  private constructor(settings: Settings, given: Hooks, clock: Clock, files: Files) {
    const { entries, rules, tokenKey } = files;
    const passwords = entries === null ? null : new Passwords(entries);
    this.settings = settings;
    this.clock = clock;
    this.attempts = new FailedAttempts(clock);
    this.passwords = passwords;
    const { jwt } = settings;
    this.tokens = jwt === undefined || tokenKey === null ? null : new Tokens(jwt, tokenKey, clock);
    this.rules = rules;
    const checks = passwords !== null || this.tokens !== null || settings.allowAnonymous === false;
    const authenticate = (request: AuthenticationRequest): Verdict | Promise<Verdict> => this.authenticate(request);
    this.hooks = joinHooks(given, { ...(checks ? { authenticate } : {}), ...(rules === null ? {} : this.ruleHooks()) });
  }

  /**
   * Reads the files that the settings name.
   * @param given the embedding program's hooks
   * @throws CountersignError ERR_COUNTERSIGN_CONFIG that names the file and line that is wrong
   */
  static async open(settings: Settings, given: Hooks, clock: Clock): Promise<Access> {
    if (given.authenticate !== undefined && (settings.passwordFile ?? settings.jwt) !== undefined) {
      const option = settings.passwordFile === undefined ? 'jwt' : 'passwordFile';
      throw wrong(`${option} and the hook authenticate both check passwords: give one of them`);
    }
    if (given.authorize !== undefined && settings.accessFile !== undefined) {
      throw wrong('accessFile and the hook authorize both decide about topics: give one of them');
    }
    return new Access(settings, given, clock, await readFiles(settings, clock));
  }

  /** Names the broker that is guarded, before it takes connections. */
  attach(broker: GuardedBroker): void {
    this.broker = broker;
  }

  /** What is remembered and waits: for metrics. */
  get load(): { readonly addressesSlowed: number; readonly passwordsPending: number } {
    return { addressesSlowed: this.attempts.size, passwordsPending: this.passwords?.pending ?? 0 };
  }

  /**
   * Reads all files again. Nothing changes if one of them is wrong; otherwise rights are the new ones from the next
   * message on, and connections end (0x87) whose user was deleted or has another password.
   * @throws CountersignError ERR_COUNTERSIGN_CONFIG as `open` does
   */
  async reload(): Promise<void> {
    const apply = await this.prepareReload();
    apply();
  }

  /** The first half of `reload`: reads and checks, and returns what puts the new files in force. */
  async prepareReload(): Promise<() => void> {
    const { entries, rules, tokenKey } = await readFiles(this.settings, this.clock);
    return () => {
      this.rules = rules;
      if (tokenKey !== null) this.tokens?.replace(tokenKey);
      this.broker?.rightsChanged();
      if (entries === null || this.passwords === null) return;
      const changed = this.passwords.replace(entries);
      if (changed.size > 0) this.broker?.disconnectUsers(changed, 'the password was changed');
    };
  }

  private ruleHooks(): Pick<Hooks, 'authorize' | 'receiptAccess'> {
    return {
      authorize: (client, action, topic) => this.rules?.allows(client, action, topic) ?? false,
      receiptAccess: (client) => this.rules?.receipts(client) ?? this.settings.receipts.access,
    };
  }

  private authenticate(request: AuthenticationRequest): Verdict | Promise<Verdict> {
    const { userName, password, certificateUser } = request;
    // The listener has verified who it is.
    if (certificateUser !== null) return true;
    if (userName === null && password === null) return this.allowsAnonymous || noUserName;
    return this.check(request);
  }

  private get allowsAnonymous(): boolean {
    return this.settings.allowAnonymous ?? (this.passwords === null && this.tokens === null);
  }

  private async check(request: AuthenticationRequest): Promise<Verdict> {
    const { attempts } = this;
    if (!attempts.admits(request.address)) return this.notChecked();
    const verdict = await this.verify(request);
    if (typeof verdict === 'object') return verdict;
    switch (verdict) {
      case 'right':
        return true;
      case 'busy':
        return this.notChecked();
      case 'unavailable':
        return noKeys;
      default:
        await attempts.failed(request.address);
        return verdict === 'expired' ? expired : false;
    }
  }

  private async verify(request: AuthenticationRequest): Promise<PasswordVerdict | TokenVerdict> {
    const { userName, password } = request;
    if (password === null) return 'wrong';
    if (this.tokens !== null && isToken(password)) return this.tokens.verify(password.toString('latin1'), request);
    if (this.passwords === null || userName === null) return 'wrong';
    return this.passwords.verify(userName, password);
  }

  private notChecked(): Verdict {
    if (this.broker !== null) this.broker.context.metrics.authenticationsNotChecked++;
    return busy;
  }
}

/** The hooks of both; where both have one, the first's. Hooks may be methods that use `this`. */
function joinHooks(first: Hooks, second: Hooks): Hooks {
  const joined: Hooks = Object.create(first);
  const missing = Object.entries(second).filter(([name]) => first[name as keyof Hooks] === undefined);
  return Object.assign(joined, Object.fromEntries(missing));
}

/** What the files say; null where there is none. */
interface Files {
  readonly entries: PasswordEntries | null;
  readonly rules: AccessRules | null;
  readonly tokenKey: TokenKey | null;
}

async function readFiles(settings: Settings, clock: Clock): Promise<Files> {
  const { passwordFile, accessFile, jwt, authenticationTimeout } = settings;
  const passwords = passwordFile === undefined ? null : await readText('passwordFile', passwordFile);
  const rules = accessFile === undefined ? null : await readText('accessFile', accessFile);
  return {
    entries: passwords === null ? null : parsePasswordFile(passwordFile ?? '', passwords),
    rules: rules === null ? null : parseAccessFile(accessFile ?? '', rules),
    tokenKey: jwt === undefined ? null : await readTokenKey(jwt, authenticationTimeout * 500, clock, readText),
  };
}

async function readText(option: string, file: string): Promise<string> {
  const bytes = await readBytes(option, file);
  if (!isUtf8(bytes)) {
    // Comments of old files may be in any encoding; a rule that is would be one for other names.
    const lines = bytes.toString('latin1').split('\n');
    const at = lines.findIndex((line) => !/^\s*#/.test(line) && !isUtf8(Buffer.from(line, 'latin1')));
    if (at >= 0) throw wrong(`${option}: ${file}: line ${at + 1} is not in UTF-8`);
  }
  // Some editors put a byte order mark before everything.
  return bytes.toString('utf8').replace(/^\ufeff/, '');
}

async function readBytes(option: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
    throw new CountersignError('ERR_COUNTERSIGN_CONFIG', `${option}: ${file}: ${reason}`, { cause: error });
  }
}

function wrong(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', message);
}
