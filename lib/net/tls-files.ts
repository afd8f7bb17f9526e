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
  const { caFile, crlFile, minimumTlsVersion = 'TLSv1.2', clientCertificates = 'none' } = settings;
  const read = (option: FileOption): string => readPem(`${path}.${option}`, settings[option] ?? '');
  const options: SecureContextOptions = {
    cert: read('certificateFile'),
    key: read('keyFile'),
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
  const blocks = text.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? [];
  if (blocks.length === 0) throw wrong(`${where}: there is no certificate in PEM in it`);
  for (const [index, block] of blocks.entries()) {
    try {
      new X509Certificate(block);
    } catch (error) {
      throw wrong(`${where}: certificate ${index + 1} of ${blocks.length} can not be read`, error);
    }
  }
  return blocks;
}

/** Node reads only the first list of a text. */
function splitLists(where: string, text: string): string[] {
  const blocks = text.match(/-----BEGIN X509 CRL-----.*?-----END X509 CRL-----/gs) ?? [];
  if (blocks.length === 0) throw wrong(`${where}: there is no certificate revocation list in PEM in it`);
  for (const [index, block] of blocks.entries()) {
    try {
      createSecureContext({ crl: block });
    } catch (error) {
      throw wrong(`${where}: revocation list ${index + 1} of ${blocks.length} can not be read`, error);
    }
  }
  return blocks;
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
