// Opens connections over TLS one after the other, each with a full handshake, CONNECT and CONNACK: options as JSON in
// the first argument, result as one JSON line on stdout, as of bench/load/generator.js.
import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { encodeConnect } from '../load/frames.js';
import { completeOptions, type LoadOptions, type LoadResult } from '../load/options.js';
import { PhaseClock } from '../load/process-usage.js';

/** What one run does besides `LoadOptions`. */
export interface ConnectionsOptions extends Partial<LoadOptions> {
  /** Handshakes under way at a time. */
  readonly concurrency: number;
  /** The client's own certificate and key in PEM; null shows none. */
  readonly shown: { readonly cert: string; readonly key: string } | null;
}

const limitMs = 120_000;
/** So many, at least, until the code on both sides is compiled. */
const warmupConnections = 1000;
const pollMs = 20;
const connackType = 0x20;

let opened = 0;
let isOver = false;

function abort(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

/** One connection from its first byte to CONNACK, then cut. */
function openOnce(host: string, port: number, context: SecureContext, clientId: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port, noDelay: true });
    const secure = connectTls({ socket, host, secureContext: context });
    secure.write(encodeConnect(4, { clientId, cleanStart: true, sessionExpirySeconds: 0 }));
    secure.once('data', (chunk: Buffer) => {
      if (chunk[0] !== connackType || chunk[3] !== 0) reject(new Error('the broker refused CONNECT'));
      // A reset leaves no port in TIME_WAIT.
      socket.resetAndDestroy();
    });
    secure.once('error', reject);
    socket.once('close', () => resolve());
  });
}

async function openAgainAndAgain(host: string, port: number, context: SecureContext, worker: number): Promise<void> {
  for (let number = 0; !isOver; number++) {
    await openOnce(host, port, context, `c${worker}-${number}`);
    opened++;
  }
}

async function main(): Promise<void> {
  const given = JSON.parse(process.argv[2] ?? '{}') as ConnectionsOptions;
  const options = completeOptions(given);
  const { host, port, authority, warmupSeconds, seconds, brokerPid } = options;
  setTimeout(() => abort(new Error('not done in time')), limitMs).unref();
  const context = createSecureContext({ ca: authority ?? '', ...given.shown });
  const workers = Array.from({ length: given.concurrency }, (_, worker) =>
    openAgainAndAgain(host, port, context, worker),
  );
  const failed = Promise.all(workers);
  failed.catch(abort);
  await sleep(warmupSeconds * 1000);
  while (opened < warmupConnections) await sleep(pollMs);
  const clock = new PhaseClock(brokerPid);
  const before = opened;
  await sleep(seconds * 1000);
  const phase = clock.finish('connect', 'connection', opened - before);
  isOver = true;
  await failed;
  const findings = { lost: 0, doubled: 0, reordered: 0, misrouted: 0, refused: 0, isStalled: false };
  const result: LoadResult = { options, phases: [phase], ...findings, rssBytesEach: null, latency: null };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

process.on('uncaughtException', abort);
main().catch(abort);
