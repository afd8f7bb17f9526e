import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { isUserName } from '../base/user-name.js';
import type { ListenerSettings } from '../config/schema.js';

/** What came of asking a client for its certificate: its user, null for none; or why it is refused. */
export type CertificateVerdict = { readonly user: string | null } | { readonly problem: string };

/** Decides about the certificate that a client has shown, or has not, in a TLS handshake that is complete. */
export function judgeCertificate(socket: TLSSocket, settings: ListenerSettings): CertificateVerdict {
  const { clientCertificates = 'none', userFromCertificate = 'none' } = settings;
  if (clientCertificates === 'none') return { user: null };
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    return clientCertificates === 'optional' ? { user: null } : { problem: 'no certificate was shown' };
  }
  // As OpenSSL calls it, such as CERT_REVOKED.
  if (!socket.authorized) return { problem: `its certificate is not accepted: ${String(socket.authorizationError)}` };
  if (userFromCertificate === 'none') return { user: null };
  const names = userFromCertificate === 'subject' ? [subjectOf(certificate)] : commonNamesOf(certificate);
  const [user = '', ...others] = names;
  if (others.length > 0) return { problem: 'its certificate has several common names' };
  return isUserName(user) ? { user } : { problem: 'its certificate names no user' };
}

function commonNamesOf(certificate: X509Certificate): string[] {
  const subject: Readonly<Record<string, string | string[] | undefined>> = certificate.toLegacyObject().subject ?? {};
  return [subject.CN ?? []].flat();
}

/**
 * The whole subject as RFC 2253 writes it, and Mosquitto: the last part first, `CN=ann,OU=fleet,O=Example\, Inc`.
 *
 * Node has a line for each part, ` + ` between those of one set, both escaped within values, and leaves other
 * characters than ASCII as they are.
 */
function subjectOf(certificate: X509Certificate): string {
  const parts = (certificate.subject ?? '').split(/(\n| \+ )/).reverse();
  const text = parts.map((part) => (part === '\n' ? ',' : part === ' + ' ? '+' : part)).join('');
  return text.replace(/[^\0-\x7f]/gu, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return [...Buffer.from(character)].map((byte) => `\\${byte.toString(16).toUpperCase()}`).join('');
}
