import type {
  AuthenticationAdmission,
  AuthenticationRefusal,
  EnhancedAuthenticationResult,
  Hooks,
} from '../broker/hooks.js';
import type { Refusal } from '../broker/on-connect.js';
import type { Timers } from '../broker/timers.js';
import type { ConnectPacket } from '../codec/control-packets.js';
import type { Link } from '../session/link.js';
import type { TimerHandle } from '../session/session.js';
import { firstFailureCode, ReasonCode } from '../spec/reason-codes.js';

/** What came of a CONNECT's credentials, or of one step of an exchange. */
export type AuthenticationDecision =
  | { readonly kind: 'accepted'; readonly userName: string | null; readonly data: Buffer | null }
  | { readonly kind: 'continue'; readonly data: Buffer | null }
  | ({ readonly kind: 'refused' } & Refusal);

const refused = (reasonCode: number, reason: string): AuthenticationDecision => ({
  kind: 'refused',
  reasonCode: reasonCode >= firstFailureCode ? reasonCode : ReasonCode.notAuthorized,
  reason,
});

/** How long a hook may take. */
export interface Deadline {
  readonly timers: Timers;
  readonly seconds: number;
}

/** What a client shows of itself. */
export interface Shown {
  readonly packet: ConnectPacket;
  readonly address: string;
  /** The user that its certificate names, verified; null without. It wins over the user name of CONNECT. */
  readonly certificateUser: string | null;
}

/** Authenticates one connection's client with the hooks of the embedding program. @see MQTT 5 §4.12 */
export class Authentication {
  /** The method of CONNECT, which every AUTH must repeat; null without enhanced authentication. [MQTT-4.12.0-5] */
  readonly method: string | null;
  private readonly hooks: Hooks;
  private readonly deadline: Deadline;
  private readonly packet: ConnectPacket;
  private readonly address: string;
  private readonly certificateUser: string | null;
  private exchange: Record<string, unknown> = {};
  /** Who the client is, as far as it is known. */
  private userName: string | null;
  /** When the credentials end, ms since the epoch; 0 for never. */
  private expiresAtMs = 0;

  constructor(hooks: Hooks, { packet, address, certificateUser }: Shown, deadline: Deadline) {
    this.hooks = hooks;
    this.deadline = deadline;
    this.packet = packet;
    this.address = address;
    this.certificateUser = certificateUser;
    this.method = packet.authenticationMethod;
    this.userName = certificateUser ?? packet.userName;
  }

  /** Decides a CONNECT; a promise only if a hook returns one. */
  begin(): AuthenticationDecision | Promise<AuthenticationDecision> {
    if (this.method !== null) return this.step(this.packet.authenticationData, false);
    const { hooks, packet, address, userName, certificateUser } = this;
    const { authenticate } = hooks;
    if (authenticate === undefined) return { kind: 'accepted', userName, data: null };
    const { clientId, password, version: protocolVersion } = packet;
    const request = { clientId, userName, password, address, protocolVersion, certificateUser };
    const decide = (verdict: boolean | AuthenticationAdmission | AuthenticationRefusal): AuthenticationDecision => {
      if (verdict === true) return { kind: 'accepted', userName, data: null };
      if (verdict !== false && 'admitted' in verdict && verdict.admitted === true) return this.admit(verdict);
      const { reasonCode = ReasonCode.badUserNameOrPassword, reason = 'user name or password is wrong' } =
        verdict === false ? {} : (verdict as AuthenticationRefusal);
      return refused(reasonCode, reason);
    };
    return this.run(() => authenticate.call(hooks, request), decide);
  }

  /** Ends a connection with its credentials; null if these do not end. */
  limit(link: Pick<Link, 'close'>): TimerHandle | null {
    if (this.expiresAtMs === 0) return null;
    const expire = (): void => link.close(ReasonCode.notAuthorized, 'the credentials have expired');
    return this.deadline.timers.at(this.expiresAtMs, expire);
  }

  private admit({ userName, expiresAtMs = 0 }: AuthenticationAdmission): AuthenticationDecision {
    this.expiresAtMs = expiresAtMs;
    if (userName !== undefined) this.userName = userName;
    return { kind: 'accepted', userName: this.userName, data: null };
  }

  /** Takes the client's AUTH. */
  step(data: Buffer | null, isReAuthentication: boolean): AuthenticationDecision | Promise<AuthenticationDecision> {
    const { hooks, packet, address } = this;
    const method = this.method ?? '';
    const handler = hooks.enhancedAuthentication?.[method];
    if (handler === undefined) return refused(ReasonCode.badAuthenticationMethod, 'an unknown authentication method');
    const { clientId } = packet;
    const { exchange, userName } = this;
    const decide = (result: EnhancedAuthenticationResult): AuthenticationDecision => {
      if (result.status === 'continue') return { kind: 'continue', data: result.data ?? null };
      this.exchange = {};
      if (result.status === 'success') {
        const user = result.userName ?? userName;
        // Its session, and the receipts of its messages, belong to the user it was.
        if (isReAuthentication && user !== userName)
          return refused(ReasonCode.notAuthorized, 'another user than before');
        this.userName = user;
        return { kind: 'accepted', userName: user, data: result.data ?? null };
      }
      const { reasonCode = ReasonCode.notAuthorized, reason = 'authentication failed' } = result;
      return refused(reasonCode, reason);
    };
    return this.run(() => handler({ method, data, clientId, userName, address, isReAuthentication, exchange }), decide);
  }

  /** A hook that fails, or takes too long, lets nobody in. */
  private run<T>(
    call: () => T | Promise<T>,
    decide: (result: T) => AuthenticationDecision,
  ): AuthenticationDecision | Promise<AuthenticationDecision> {
    const failed = (): AuthenticationDecision =>
      refused(ReasonCode.unspecifiedError, 'authentication is not possible now');
    try {
      const result = call();
      return result instanceof Promise ? this.inTime(result.then(decide).catch(failed)) : decide(result);
    } catch {
      return failed();
    }
  }

  private inTime(decision: Promise<AuthenticationDecision>): Promise<AuthenticationDecision> {
    const { timers, seconds } = this.deadline;
    return new Promise((resolve) => {
      const late = refused(ReasonCode.serverUnavailable, 'authentication took too long: try again later');
      const timer = timers.after(seconds * 1000, () => resolve(late));
      void decision.then((decided) => {
        timers.cancel(timer);
        resolve(decided);
      });
    });
  }
}
