import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { cleanEnvironment, temporaryDirectory } from './command.js';
import { findClient, RealClient } from './real-clients.js';

const run = promisify(execFile);
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A certificate with its key, as files and as what they hold. */
export interface Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** What a certificate is to say. */
export interface CertificateFields {
  /** As OpenSSL takes it: `/O=Example/CN=ann`. */
  readonly subject: string;
  /** Lines of an extension file, such as `extendedKeyUsage=serverAuth`. */
  readonly extensions?: readonly string[];
  /** From now; negative for one that has expired. */
  readonly days?: number;
}

/** A certificate authority of one test, made with the program `openssl`. */
export class Authority {
  readonly certificateFile: string;
  readonly keyFile: string;
  private readonly openssl: string;
  private issued = 0;

  private constructor(openssl: string, certificateFile: string, keyFile: string) {
    this.openssl = openssl;
    this.certificateFile = certificateFile;
    this.keyFile = keyFile;
  }

  /** Undefined if there is no `openssl`; then the test is skipped, or fails, as `findClient` says. */
  static async make(t: Test, name = 'test authority'): Promise<Authority | undefined> {
    const openssl = findClient(t, RealClient.openssl);
    if (openssl === undefined) return undefined;
    const directory = await temporaryDirectory(t);
    const authority = new Authority(openssl, join(directory, 'ca.crt'), join(directory, 'ca.key'));
    const files = ['-keyout', authority.keyFile, '-out', authority.certificateFile];
    await authority.call('req', '-x509', ...newKey, ...files, '-subj', `/CN=${name}`, '-days', '30');
    return authority.begun();
  }

  /** Whoever has this certificate, as an authority, whether or not it may be one. */
  as({ certificateFile, keyFile }: Certificate): Promise<Authority> {
    return new Authority(this.openssl, certificateFile, keyFile).begun();
  }

  private async begun(): Promise<this> {
    const { certificateFile, keyFile } = this;
    const lines = [
      '[ca]',
      'default_ca=test',
      '[test]',
      `database=${certificateFile}.index`,
      `certificate=${certificateFile}`,
      `private_key=${keyFile}`,
      'default_md=sha256',
      'default_crl_days=30',
    ];
    await writeFile(`${certificateFile}.index`, '');
    await writeFile(`${certificateFile}.cnf`, `${lines.join('\n')}\n`);
    return this;
  }

  async issue({ subject, extensions = [], days = 30 }: CertificateFields): Promise<Certificate> {
    const name = `${this.certificateFile}-${++this.issued}`;
    const [request, certificateFile, keyFile, extensionFile] = ['csr', 'crt', 'key', 'ext'].map(
      (end) => `${name}.${end}`,
    );
    await this.call('req', '-new', ...newKey, '-utf8', '-keyout', keyFile, '-out', request, '-subj', subject);
    await writeFile(extensionFile, extensions.map((line) => `${line}\n`).join(''));
    const signer = ['-CA', this.certificateFile, '-CAkey', this.keyFile, '-CAcreateserial'];
    const fields = ['-days', String(days), '-extfile', extensionFile];
    await this.call('x509', '-req', '-in', request, ...signer, ...fields, '-out', certificateFile);
    const [cert, key] = [readFileSync(certificateFile, 'utf8'), readFileSync(keyFile, 'utf8')];
    return { certificateFile, keyFile, cert, key };
  }

  /** Puts a certificate on the revocation lists that are written from now on. */
  async revoke({ certificateFile }: Certificate): Promise<void> {
    await this.ca('-revoke', certificateFile);
  }

  /** A revocation list in PEM. @param isOverdue whether another should have taken its place */
  async revocationList(isOverdue = false): Promise<string> {
    const file = `${this.certificateFile}.crl`;
    const past = ['-crl_lastupdate', '20200101000000Z', '-crl_nextupdate', '20200102000000Z'];
    await this.ca('-gencrl', ...(isOverdue ? past : []), '-out', file);
    return readFileSync(file, 'utf8');
  }

  /** The subject as RFC 2253 has it. */
  async subjectOf({ certificateFile }: Certificate): Promise<string> {
    const text = await this.call('x509', '-in', certificateFile, '-noout', '-subject', '-nameopt', 'RFC2253');
    return text.replace(/^subject=/, '').replace(/\n$/, '');
  }

  private ca(...args: readonly string[]): Promise<string> {
    return this.call('ca', '-config', `${this.certificateFile}.cnf`, ...args);
  }

  private async call(...args: readonly string[]): Promise<string> {
    const { stdout } = await run(this.openssl, args, { env: cleanEnvironment() });
    return stdout;
  }
}
