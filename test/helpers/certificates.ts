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
  private readonly directory: string;
  private issued = 0;

  private constructor(openssl: string, directory: string) {
    this.openssl = openssl;
    this.directory = directory;
    this.certificateFile = join(directory, 'ca.crt');
    this.keyFile = join(directory, 'ca.key');
  }

  /** Undefined if there is no `openssl`; then the test is skipped, or fails, as `findClient` says. */
  static async make(t: Test, name = 'test authority'): Promise<Authority | undefined> {
    const openssl = findClient(t, RealClient.openssl);
    if (openssl === undefined) return undefined;
    const authority = new Authority(openssl, await temporaryDirectory(t));
    await authority.begin(name);
    return authority;
  }

  private async begin(name: string): Promise<void> {
    const { directory, certificateFile, keyFile } = this;
    const lines = [
      '[ca]',
      'default_ca=test',
      '[test]',
      `database=${join(directory, 'index')}`,
      `certificate=${certificateFile}`,
      `private_key=${keyFile}`,
      'default_md=sha256',
      'default_crl_days=30',
    ];
    await writeFile(join(directory, 'index'), '');
    await writeFile(join(directory, 'ca.cnf'), `${lines.join('\n')}\n`);
    const files = ['-keyout', keyFile, '-out', certificateFile];
    await this.call('req', '-x509', ...newKey, ...files, '-subj', `/CN=${name}`, '-days', '30');
  }

  async issue({ subject, extensions = [], days = 30 }: CertificateFields): Promise<Certificate> {
    const name = join(this.directory, `${++this.issued}`);
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

  /** A revocation list in PEM. @param days until the next one is due */
  async revocationList(days = 30): Promise<string> {
    const file = join(this.directory, 'list.crl');
    await this.ca('-gencrl', '-crldays', String(days), '-out', file);
    return readFileSync(file, 'utf8');
  }

  /** The subject as RFC 2253 has it. */
  async subjectOf({ certificateFile }: Certificate): Promise<string> {
    const text = await this.call('x509', '-in', certificateFile, '-noout', '-subject', '-nameopt', 'RFC2253');
    return text.replace(/^subject=/, '').replace(/\n$/, '');
  }

  private ca(...args: readonly string[]): Promise<string> {
    return this.call('ca', '-config', join(this.directory, 'ca.cnf'), ...args);
  }

  private async call(...args: readonly string[]): Promise<string> {
    const { stdout } = await run(this.openssl, args, { env: cleanEnvironment() });
    return stdout;
  }
}
