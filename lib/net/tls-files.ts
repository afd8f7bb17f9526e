import { constants, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { CountersignError } from '../base/errors.js';
import type { ListenerSettings } from '../config/schema.js';

type FileOption = 'certificateFile' | 'keyFile' | 'caFile' | 'crlFile';

/**
 * What a listener speaks TLS with: its certificate and key, and what clients' certificates are verified by.
 * @param path of the listener in the configuration, for messages
 * @throws CountersignError ERR_COUNTERSIGN_CONFIG that names the file that can not be used
 */
export function readTlsFiles(settings: ListenerSettings, path: string): SecureContextOptions {
  const { certificateFile, keyFile, caFile, crlFile } = settings;
  const { minimumTlsVersion = 'TLSv1.2', clientCertificates = 'none' } = settings;
  const read = (option: FileOption): string => readPem(`${path}.${option}`, settings[option] ?? '');
  const options: SecureContextOptions = {
    cert: splitCertificates(`${path}.certificateFile: ${certificateFile}`, read('certificateFile')).join('\n'),
    key: checkKey(`${path}.keyFile: ${keyFile}`, read('keyFile')),
    ...(caFile === undefined ? {} : { ca: splitCertificates(`${path}.caFile: ${caFile}`, read('caFile')) }),
    ...(crlFile === undefined ? {} : { crl: splitLists(`${path}.crlFile: ${crlFile}`, read('crlFile')) }),
    minVersion: minimumTlsVersion,
    secureOptions: secureOptions(clientCertificates !== 'none'),
  };
  tryOut(options, settings, path);
  return options;
}

function secureOptions(asksForCertificates: boolean): number {
  // Each renegotiation, which TLS 1.2 leaves to the client, costs the broker far more than its peer.
  const always = constants.SSL_OP_NO_RENEGOTIATION;
  // Who resumes a session shows no certificate again: one that was revoked or has expired would go on being good.
  return asksForCertificates ? always | constants.SSL_OP_NO_TICKET : always;
}

function readPem(option: string, file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
    throw wrong(`${option}: ${file}: ${reason}`, error);
  }
}

/** An empty list would be taken for no list at all. */
function splitCertificates(where: string, text: string): string[] {
  return splitPem(where, text, 'CERTIFICATE', 'certificate', (block) => new X509Certificate(block));
}

/** Node reads only the first list of a text. */
function splitLists(where: string, text: string): string[] {
  return splitPem(where, text, 'X509 CRL', 'revocation list', (block) => createSecureContext({ crl: block }));
}

/**
 * The blocks of one kind in a file. One that was cut off, as in a file that is being written, is not passed over.
 * @param read throws if a block can not be read
 */
function splitPem(
  where: string,
  text: string,
  label: string,
  kind: string,
  read: (block: string) => unknown,
): string[] {
  const begin = `-----BEGIN ${label}-----`;
  const count = text.split(begin).length - 1;
  const blocks = text.match(new RegExp(`${begin}.*?-----END ${label}-----`, 'gs')) ?? [];
  if (count === 0) throw wrong(`${where}: there is no ${kind} in PEM in it`);
  if (blocks.length < count) throw wrong(`${where}: a ${kind} in it has no end: the file is not whole`);
  for (const [index, block] of blocks.entries()) {
    try {
      read(block);
    } catch (error) {
      throw wrong(`${where}: ${kind} ${index + 1} of ${blocks.length} can not be read`, error);
    }
  }
  return blocks;
}

/** An empty text would be taken for no key, and every handshake would fail. */
function checkKey(where: string, text: string): string {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) throw wrong(`${where}: there is no private key in PEM in it`);
  return text;
}

function tryOut(options: SecureContextOptions, settings: ListenerSettings, path: string): void {
  const { certificateFile, keyFile } = settings;
  try {
    createSecureContext(options);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw wrong(`${path} can not speak TLS with ${certificateFile} and ${keyFile}: ${detail}`, error);
  }
}

function wrong(message: string, cause?: unknown): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', message, { cause });
}
