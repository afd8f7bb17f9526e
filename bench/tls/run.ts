// Measures what TLS costs, beside Mosquitto: `node dist/bench/tls/run.js [--runs N] [--seconds S] [--write]`.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startBroker } from '../load/brokers.js';
import { generate } from '../load/generate.js';
import { findProgram, type Peer, peers, repositoryRoot } from '../load/peers.js';
import { describeFindings, type RunRecord, summarize } from '../load/summary.js';
import { type Certificates, makeCertificates } from './certificates.js';
import { describeTls, replaceTlsBlock } from './table.js';

type Security = 'none' | 'tls' | 'mutual';

interface TlsCase {
  readonly name: string;
  readonly title: string;
  readonly security: Security;
  /** Whether connections are opened, instead of messages sent. */
  readonly opensConnections: boolean;
}

const cases: readonly TlsCase[] = [
  { name: 'pairs', title: 'a message at QoS 0 without TLS', security: 'none', opensConnections: false },
  { name: 'pairs-tls', title: 'a message at QoS 0 over TLS', security: 'tls', opensConnections: false },
  { name: 'connect-tls', title: 'a handshake with CONNECT and CONNACK', security: 'tls', opensConnections: true },
  { name: 'connect-mutual', title: 'the same with a client certificate', security: 'mutual', opensConnections: true },
];

const concurrency = 20;
const payloadBytes = 64;
const warmupSeconds = 1;
const connectionsPath = join(dirname(fileURLToPath(import.meta.url)), 'connections.js');
const docsPath = 'docs/security.md';

function launchOurs(security: Security, files: Certificates): Peer['launch'] {
  return ({ port, directory, program }) => {
    const { serverCertificate: certificateFile, serverKey: keyFile, authority: caFile } = files;
    const asking = { clientCertificates: 'required', userFromCertificate: 'commonName', caFile };
    const tls = { type: 'tls', certificateFile, keyFile, ...(security === 'mutual' ? asking : {}) };
    const listener = { ...(security === 'none' ? { type: 'tcp' } : tls), host: '127.0.0.1', port };
    const config = join(directory, 'broker.json');
    writeFileSync(config, JSON.stringify({ memory: true, logLevel: 'error', listeners: [listener] }));
    return [process.execPath, program, 'start', '--config', config];
  };
}

function launchMosquitto(security: Security, files: Certificates): Peer['launch'] {
  return ({ port, directory, program }) => {
    const tls = [`certfile ${files.serverCertificate}`, `keyfile ${files.serverKey}`];
    const asking = [`cafile ${files.authority}`, 'require_certificate true', 'use_identity_as_username true'];
    const lines = [
      // Started as root it would become a user who can not read the key.
      ...(process.getuid?.() === 0 ? ['user root'] : []),
      ...['persistence false', 'log_dest none', 'max_queued_messages 0'],
      ...[`listener ${port} 127.0.0.1`, 'allow_anonymous true'],
      ...(security === 'none' ? [] : tls),
      ...(security === 'mutual' ? asking : []),
    ];
    const config = join(directory, 'mosquitto.conf');
    writeFileSync(config, `${lines.join('\n')}\n`);
    return [program, '-c', config];
  };
}

const launchers = { countersign: launchOurs, mosquitto: launchMosquitto } as const;
type MeasuredPeer = keyof typeof launchers;

async function runOnce(name: MeasuredPeer, tlsCase: TlsCase, run: number, files: Certificates, seconds: number) {
  const peer = peers.find((candidate) => candidate.name === name);
  const program = peer?.find() ?? null;
  if (peer === undefined || program === null) throw new Error(`${name} is not on this machine`);
  const { security, opensConnections, title } = tlsCase;
  const broker = await startBroker({ ...peer, launch: launchers[name](security, files) }, program);
  try {
    const authority = security === 'none' ? null : readFileSync(files.authority, 'utf8');
    const cert = readFileSync(files.clientCertificate, 'utf8');
    const shown = security === 'mutual' ? { cert, key: readFileSync(files.clientKey, 'utf8') } : null;
    const place = { port: broker.port, brokerPid: broker.pid, authority, seconds, warmupSeconds };
    const result = opensConnections
      ? await generate({ ...place, concurrency, shown }, connectionsPath)
      : await generate({ ...place, scenario: 'pairs', qos: 0, payloadBytes });
    const findings = describeFindings([result]);
    if (findings !== '') throw new Error(`${name}, ${tlsCase.name}: ${findings}`);
    return { caseName: tlsCase.name, group: 'tls', title, peer: peer.title, run, result, error: null };
  } finally {
    await broker.stop();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      write: { type: 'boolean', default: false },
    },
  });
  const openssl = findProgram('openssl');
  if (openssl === null) throw new Error('openssl, which makes the certificates, is not on this machine');
  const directory = mkdtempSync(join(tmpdir(), 'bench-tls-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const files = makeCertificates(openssl, directory);
  const [loadBefore] = loadavg();
  const records: RunRecord[] = [];
  for (let run = 1; run <= Number(values.runs); run++) {
    for (const tlsCase of cases) {
      for (const name of Object.keys(launchers) as MeasuredPeer[]) {
        const record = await runOnce(name, tlsCase, run, files, Number(values.seconds));
        records.push(record);
        const [{ count, seconds, brokerCpuSeconds }] = record.result.phases;
        const cpu = ((brokerCpuSeconds ?? 0) / count) * 1e6;
        process.stdout.write(
          `${run} ${tlsCase.name} ${name}: ${Math.round(count / seconds)}/s, ${cpu.toFixed(2)} µs\n`,
        );
      }
    }
  }
  const mosquitto = peers.find(({ name }) => name === 'mosquitto')?.version(findProgram('mosquitto') ?? '') ?? '';
  const place = `${cpus()[0]?.model.trim() ?? 'an unknown machine'}, Node ${process.version}, Mosquitto ${mosquitto}`;
  const date = new Date().toISOString().slice(0, 10);
  const facts = { date, place, loadAverage: loadBefore, runs: Number(values.runs), payloadBytes };
  const text = describeTls(summarize(records), facts);
  process.stdout.write(`\n${text}\n`);
  if (!values.write) return;
  const path = join(repositoryRoot, docsPath);
  writeFileSync(path, replaceTlsBlock(readFileSync(path, 'utf8'), text));
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
