import type { PeerCertificate, TLSSocket } from 'node:tls';
import { isUserName } from '../base/user-name.js';
import type { ListenerSettings } from '../config/schema.js';

/** What came of asking a client for its certificate: its user, null for none; or why it is refused. */
export type CertificateVerdict = { readonly user: string | null } | { readonly problem: string };

/** Decides about the certificate that a client has shown, or has not, in a TLS handshake that is complete. */
export function judgeCertificate(socket: TLSSocket, settings: ListenerSettings): CertificateVerdict {
  const { clientCertificates = 'none', userFromCertificate = 'none' } = settings;
  if (clientCertificates === 'none') return { user: null };
  const certificate = socket.getPeerCertificate();
  if (!hasCertificate(certificate)) {
    return clientCertificates === 'optional' ? { user: null } : { problem: 'no certificate was shown' };
  }
  // As OpenSSL calls it, such as CERT_REVOKED.
  if (!socket.authorized) return { problem: `its certificate is not accepted: ${String(socket.authorizationError)}` };
  if (userFromCertificate === 'none') return { user: null };
  const names = userFromCertificate === 'subject' ? [subjectOf(socket)] : commonNamesOf(certificate);
  const [user = '', ...others] = names;
  if (others.length > 0) return { problem: 'its certificate has several common names' };
  return isUserName(user) ? { user } : { problem: 'its certificate names no user' };
}

/** Node has an empty object for a client that has shown none, and nothing for one that is gone. */
function hasCertificate(certificate: PeerCertificate | null | undefined): boolean {
  return certificate?.raw !== undefined;
}

/** An `X509Certificate` would be the plainer way to them, but costs a handshake two hundred microseconds more. */
function commonNamesOf({ subject }: PeerCertificate): string[] {
  const names: string | string[] | undefined = subject?.CN;
  return [names ?? []].flat();
}

/**
 * The whole subject as RFC 2253 writes it, and Mosquitto: the last part first, `CN=ann,OU=fleet,O=Example\, Inc`.
 *
 * Node has a line for each part, ` + ` between those of one set, both escaped within values, and leaves other
 * characters than ASCII as they are.
 */
function subjectOf(socket: TLSSocket): string {
  const parts = (socket.getPeerX509Certificate()?.subject ?? '').split(/(\n| \+ )/).reverse();
  const text = parts.map((part) => (part === '\n' ? ',' : part === ' + ' ? '+' : part)).join('');
  return text.replace(/[^\0-\x7f]/gu, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return [...Buffer.from(character)].map((byte) => `\\${byte.toString(16).toUpperCase()}`).join('');
}
