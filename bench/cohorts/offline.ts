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

/** What one message to all sessions took. */
export interface OfflineRun {
  readonly sessions: number;
  readonly matched: number;
  /** From publish to PUBACK, which comes when everybody has been offered the message; milliseconds. */
  readonly acknowledgedMs: number;
  /** The longest iterations of the event loop meanwhile, longest first; milliseconds. */
  readonly longestTurnsMs: readonly number[];
  /** The same in CPU time of the main thread, to which others do not add; zeros if the system does not tell. */
  readonly longestTurnsCpuMs: readonly number[];
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

/** CPU time of the main thread, in milliseconds, where the system tells. */
function mainThreadCpuMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
  } catch {
    return 0;
  }
}

const longest = (turns: number[]): number[] => turns.sort((a, b) => b - a).slice(0, 10);

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
  const before = { used: usedBytes(), rss: anonymousRss() };
  const peak = { ...before };
  const turns: number[] = [];
  const cpuTurns: number[] = [];
  let isOver = false;
  const watch = async (): Promise<void> => {
    let last = performance.now();
    let lastCpu = mainThreadCpuMs();
    for (let iteration = 0; !isOver; iteration++) {
      await nextIteration();
      const now = performance.now();
      turns.push(now - last);
      last = now;
      const nowCpu = mainThreadCpuMs();
      cpuTurns.push(nowCpu - lastCpu);
      lastCpu = nowCpu;
      if (iteration % 100 > 0) continue;
      peak.used = Math.max(peak.used, usedBytes());
      peak.rss = Math.max(peak.rss, anonymousRss());
      last = performance.now();
      lastCpu = mainThreadCpuMs();
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
    longestTurnsMs: longest(turns),
    longestTurnsCpuMs: longest(cpuTurns),
    ...{ usedBefore: before.used, usedPeak: peak.used, rssBefore: before.rss, rssPeak: peak.rss },
  };
  await publisher.endAsync();
  await broker.close();
  rmSync(data, { recursive: true, force: true });
  return result;
}
