/** Who a client is, as hooks are told. */
export interface ClientIdentity {
  readonly clientId: string;
  readonly userName: string | null;
}

/** A CONNECT whose client is to be authenticated. */
export interface AuthenticationRequest extends ClientIdentity {
  readonly password: Buffer | null;
  readonly address: string;
  readonly protocolVersion: number;
  /**
   * The user that the client's certificate names, verified by the listener (`userFromCertificate`); null without. It is
   * `userName` then, whatever CONNECT says.
   */
  readonly certificateUser: string | null;
}

/** Why a client is refused: a reason code of CONNACK or DISCONNECT and, for MQTT 5, a sentence. */
export interface AuthenticationRefusal {
  /** If left out, 0x86 (Bad User Name or Password) from `authenticate`, else 0x87 (Not authorized). */
  readonly reasonCode?: number;
  readonly reason?: string;
}

/** A client that is let in, with what its credentials say beyond that. A plain `true` says nothing more. */
export interface AuthenticationAdmission {
  readonly admitted: true;
  /** The client's user from here on; that of the request where not given. */
  readonly userName?: string | null;
  /** When the credentials end, and the connection with them (0x87), in ms since the epoch. */
  readonly expiresAtMs?: number;
}

/** One step of an enhanced authentication. @see MQTT 5 §4.12 */
export interface EnhancedAuthenticationStep extends ClientIdentity {
  readonly method: string;
  readonly data: Buffer | null;
  readonly address: string;
  /** True if the client is connected and authenticates again. */
  readonly isReAuthentication: boolean;
  /** The handler's own, kept from step to step of one exchange. */
  readonly exchange: Record<string, unknown>;
}

/** What an enhanced authentication goes on with. */
export type EnhancedAuthenticationResult =
  | { readonly status: 'continue'; readonly data?: Buffer }
  | { readonly status: 'success'; readonly data?: Buffer; readonly userName?: string }
  | ({ readonly status: 'refused' } & AuthenticationRefusal);

/**
 * What a client wants to do with a topic: publish to a topic name, be sent what is published to it, or subscribe to a
 * topic filter (without `$share/group/`).
 */
export type TopicAction = 'publish' | 'receive' | 'subscribe';

type OrPromise<T> = T | Promise<T>;

/**
 * Decisions that an embedding program takes over. All are optional; without them everything is allowed. A hook that
 * returns a promise makes the input of that one connection wait; one that throws, rejects or takes longer than
 * `authenticationTimeout` refuses.
 */
export interface Hooks {
  /** Checks user name and password: true to let the client in. */
  authenticate?(request: AuthenticationRequest): OrPromise<boolean | AuthenticationAdmission | AuthenticationRefusal>;
  /** Methods of enhanced authentication by name, such as `SCRAM-SHA-256`. */
  readonly enhancedAuthentication?: Readonly<
    Record<string, (step: EnhancedAuthenticationStep) => OrPromise<EnhancedAuthenticationResult>>
  >;
  /**
   * Whether a client may do something with a topic. Answers are remembered until `Broker.rightsChanged()` is called:
   * they must depend on nothing else. Topics of receipts are not asked about.
   */
  authorize?(client: ClientIdentity, action: TopicAction, topic: string): boolean;
  /** What a client may see of receipts; `receipts.access` where there is no hook. */
  receiptAccess?(client: ClientIdentity): 'none' | 'tally' | 'own' | 'all';
}

/** True if clients must show who they are: somebody decides about their credentials. */
export function authenticates({ authenticate, enhancedAuthentication = {} }: Hooks): boolean {
  return authenticate !== undefined || Object.keys(enhancedAuthentication).length > 0;
}
