import { randomUUID } from 'node:crypto';

/**
 * Which client identifiers belong to a user: `%u`, or `%u` with text around it, or such a text with `*` at its end for
 * any more. Those of different users have none in common: the user name in an identifier ends where the text that
 * follows it first comes.
 */
export class ClientIdTemplate {
  private readonly before: string;
  private readonly after: string;
  private readonly isOpen: boolean;

  /** @param template one that the schema of options accepts */
  constructor(template: string) {
    const [before = '', after = ''] = template.split('%u');
    this.isOpen = after.endsWith('*');
    this.before = before;
    this.after = this.isOpen ? after.slice(0, -1) : after;
  }

  /** True if the client identifier is the user's. */
  owns(userName: string, clientId: string): boolean {
    const { before, after, isOpen } = this;
    if (!isOpen) return clientId === before + userName + after;
    if (!clientId.startsWith(before)) return false;
    const end = clientId.indexOf(after, before.length);
    return end >= 0 && clientId.slice(before.length, end) === userName;
  }

  /** An identifier for a client of the user that brings none. */
  assign(userName: string): string {
    return this.before + userName + this.after + (this.isOpen ? randomUUID() : '');
  }
}
