/** Who a client is, as hooks are told. */
export interface ClientIdentity {
  readonly clientId: string;
  readonly userName: string | null;
}

/** Decisions that an embedding program takes over. All are optional; without them everything is allowed. */
export interface Hooks {
  /** What a client may see of receipts; `own` where there is no hook. */
  receiptAccess?(client: ClientIdentity): 'none' | 'tally' | 'own' | 'all';
}
