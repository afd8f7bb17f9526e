import { describeReason } from '../spec/reason-codes.js';

/**
 * A peer broke the protocol. Thrown by codecs and packet rules, caught only where a connection takes input:
 * the connection ends with this reason code where the protocol version allows one.
 */
export class ProtocolError extends Error {
  readonly code = 'ERR_COUNTERSIGN_PROTOCOL';
  readonly reasonCode: number;

  /** @param message what was wrong, in a few words, with the section or statement of the standard */
  constructor(reasonCode: number, message: string) {
    super(message);
    this.name = 'ProtocolError';
    this.reasonCode = reasonCode;
  }

  /** One line for logs: reason and what was wrong. */
  describe(): string {
    return `${describeReason(this.reasonCode)}: ${this.message}`;
  }
}

/** An error an operator or embedder can act on. `code` is stable; `message` says what is wrong and what to do. */
export class CountersignError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CountersignError';
    this.code = code;
  }
}
