import type { Publication } from './publication.js';

/** What one client is like. */
export interface Role {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** 65535 for none. */
  readonly receiveMaximum: number;
  readonly topicAliasMaximum: number;
  /** Largest packet that it takes, in bytes; 0 for no bound. */
  readonly maximumPacketSize: number;
  /** How long it takes to acknowledge, at most. */
  readonly answerMs: number;
  /** It refuses one message in so many; 0 for none. */
  readonly refusesOneIn: number;
  /** True if it takes the receipts of its own messages. */
  readonly followsReceipts: boolean;
  /** True if it takes the tallies as well. */
  readonly followsTallies: boolean;
  /** Session Expiry Interval that it usually asks for. */
  readonly expirySeconds: number;
}

/** A will that a client leaves. */
export interface WillChoice extends Pick<Publication, 'qos' | 'expiry'> {
  readonly delaySeconds: number;
  readonly tracked: boolean;
}

/** How a client connects. */
export interface ConnectChoice {
  readonly clean: boolean;
  readonly expirySeconds: number;
  readonly will: WillChoice | null;
}
