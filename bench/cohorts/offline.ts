// One tracked message to many durable sessions without a connection, in process: how long the turns are, what it needs.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextIteration, setTimeout as sleep } from 'node:timers/promises';
import { connectAsync } from 'mqtt';
import { Broker } from '../../lib/index.js';
import { encodeConnect, encodeSubscribe } from '../load/frames.js';

const topic = 'fleet/all';
const atOnce = 64;

/** One iteration of the event loop, in milliseconds. The last two are zeros if the system does not tell. */
export interface Iteration {
  readonly ms: number;
  /** CPU time of the main thread, to which others do not add. */
  readonly cpuMs: number;
  /** How long the main thread was ready to run and had no CPU: others had them, of this process and of others. */
  readonly waitedMs: number;
}

/** What one message to all sessions took. */
export interface OfflineRun {
  readonly sessions: number;
  readonly matched: number;
  /** From publish to PUBACK, which comes when everybody has been offered the message; milliseconds. */
  readonly acknowledgedMs: number;
  /** The longest iterations of the event loop meanwhile, longest first: by the clock, and by CPU time. */
  readonly longest: readonly Iteration[];
  readonly longestCpu: readonly Iteration[];
  /** Heap and buffers before, at most, and after garbage collection; bytes. */
  readonly usedBefore: number;
  readonly usedPeak: number;
  /** Anonymous memory of the process, without pages of the data file; bytes. */
  readonly rssBefore: number;
  readonly rssPeak: number;
}

function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** RssAnon, where the system tells. */
function anonymousRss(): number {
  const line = /RssAnon:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(line?.[1] ?? 0) * 1024;
}

/** The clock, and the main thread's CPU time and waits where the system tells; milliseconds since some time. */
function times(): Iteration {
  const ms = performance.now();
  try {
    const [cpu, waited] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ');
    return { ms, cpuMs: Number(cpu) / 1e6, waitedMs: Number(waited) / 1e6 };
  } catch {
    return { ms, cpuMs: 0, waitedMs: 0 };
  }
}

function longest(iterations: readonly Iteration[], of: keyof Iteration): Iteration[] {
  return [...iterations].sort((a, b) => b[of] - a[of]).slice(0, 10);
}

/** Connects, subscribes and leaves: what stays is a session with an expiry. */
async function leaveSession(port: number, clientId: string): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const identity = { clientId, cleanStart: true, sessionExpirySeconds: 86_400 };
  socket.write(Buffer.concat([encodeConnect(5, identity), encodeSubscribe(5, 1, [topic], 1)]));
  let bytes = 0;
  const subacked = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (chunk.includes(0x90)) resolve();
    });
  });
  await subacked;
  socket.resetAndDestroy();
  await once(socket, 'close');
  if (bytes === 0) throw new Error('no answer');
}

/** @param count sessions to make */
export async function measureOffline(count: number): Promise<OfflineRun> {
  const data = mkdtempSync(join(tmpdir(), 'bench-cohort-'));
  const broker = new Broker({ data, port: 0, logLevel: 'error' });
  const { port } = await broker.listen({ port: 0 });
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await leaveSession(port, `offline-${next++}`);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  await sleep(1000);
  const publisher = await connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, clientId: 'publisher' });
  await publisher.subscribeAsync('$receipts/~/+', { qos: 1 });
  globalThis.gc?.();
  // The collection goes on in threads of its own for a while, which would take the CPUs from what is measured.
  await sleep(1000);
  const before = { used: usedBytes(), rss: anonymousRss() };
  const peak = { ...before };
  const iterations: Iteration[] = [];
  let isOver = false;
  const watch = async (): Promise<void> => {
    let last = times();
    for (let iteration = 0; !isOver; iteration++) {
      await nextIteration();
      const now = times();
      const { ms, cpuMs, waitedMs } = last;
      iterations.push({ ms: now.ms - ms, cpuMs: now.cpuMs - cpuMs, waitedMs: now.waitedMs - waitedMs });
      last = now;
      if (iteration % 100 > 0) continue;
      peak.used = Math.max(peak.used, usedBytes());
      peak.rss = Math.max(peak.rss, anonymousRss());
      last = times();
    }
  };
  const watching = watch();
  const matched = new Promise<number>((resolve) => {
    publisher.on('message', (_topic, payload) =>
      resolve((JSON.parse(payload.toString()) as { matched: number }).matched),
    );
  });
  const startMs = performance.now();
  await publisher.publishAsync(topic, Buffer.alloc(64), {
    qos: 1,
    properties: { userProperties: { receipt: 'delivered' } },
  });
  const acknowledgedMs = performance.now() - startMs;
  isOver = true;
  await watching;
  const result = {
    sessions: count,
    matched: await matched,
    acknowledgedMs,
    longest: longest(iterations, 'ms'),
    longestCpu: longest(iterations, 'cpuMs'),
    ...{ usedBefore: before.used, usedPeak: peak.used, rssBefore: before.rss, rssPeak: peak.rss },
  };
  await publisher.endAsync();
  await broker.close();
  rmSync(data, { recursive: true, force: true });
  return result;
}
