import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Files of an authority, and of a broker and a client that it vouches for, in PEM. */
export interface Certificates {
  readonly authority: string;
  readonly serverCertificate: string;
  readonly serverKey: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
}

/** Makes certificates with keys on P-256 in a directory. @param openssl path of the program */
export function makeCertificates(openssl: string, directory: string): Certificates {
  const run = (...args: string[]): unknown => execFileSync(openssl, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const file = (name: string): string => join(directory, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const authority = file('ca.crt');
  run('req', '-x509', ...newKey, '-keyout', file('ca.key'), '-out', authority, '-subj', '/CN=bench', '-days', '2');
  writeFileSync(file('extensions'), 'subjectAltName=IP:127.0.0.1\n');
  for (const name of ['server', 'client']) {
    const request = file(`${name}.csr`);
    run('req', '-new', ...newKey, '-keyout', file(`${name}.key`), '-out', request, '-subj', `/CN=${name}`);
    const signer = ['-CA', authority, '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '2'];
    run('x509', '-req', '-in', request, ...signer, '-extfile', file('extensions'), '-out', file(`${name}.crt`));
  }
  const [serverCertificate, serverKey] = [file('server.crt'), file('server.key')];
  return {
    authority,
    serverCertificate,
    serverKey,
    clientCertificate: file('client.crt'),
    clientKey: file('client.key'),
  };
}
