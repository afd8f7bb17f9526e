// Measures what compression of WebSocket messages would cost: `npm run bench:compression -- [--runs N] [--seconds S]`.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { formatNumber } from '../load/summary.js';
import type { Order, Sent } from './sender.js';

const senderPath = join(dirname(fileURLToPath(import.meta.url)), 'sender.js');
const payloads = [100, 1000, 10_000] as const;

async function runOnce(order: Order): Promise<Sent> {
  const sender = fork(senderPath);
  try {
    sender.send(order);
    const [port] = await once(sender, 'message');
    const client = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: order.compresses });
    client.on('message', () => undefined);
    const [sent] = await once(sender, 'message');
    client.terminate();
    return sent as Sent;
  } finally {
    sender.disconnect();
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Medians for each message: CPU of all threads and of the main thread in µs, bytes sent. */
function describe(runs: readonly Sent[]): string[] {
  const each = (of: (sent: Sent) => number) => median(runs.map((sent) => of(sent) / sent.messages));
  return [
    formatNumber(each(({ cpuSeconds }) => cpuSeconds * 1e6)),
    formatNumber(each(({ mainThreadSeconds }) => mainThreadSeconds * 1e6)),
    formatNumber(each(({ bytesOnTheWire }) => bytesOnTheWire)),
  ];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { runs: { type: 'string', default: '5' }, seconds: { type: 'string', default: '1.5' } },
  });
  const seconds = Number(values.seconds);
  const found = new Map<string, Sent[]>();
  for (let run = 1; run <= Number(values.runs); run++) {
    for (const payloadBytes of payloads) {
      for (const compresses of [false, true]) {
        const name = `${payloadBytes} ${compresses}`;
        found.set(name, [...(found.get(name) ?? []), await runOnce({ payloadBytes, compresses, seconds })]);
      }
    }
  }
  const columns = ['CPU µs', 'of the main thread', 'bytes'];
  const head = ['payload', ...columns, ...columns.map((column) => `compressed: ${column}`)];
  const rows = payloads.map((bytes) => [
    `${bytes} bytes`,
    ...describe(found.get(`${bytes} false`) ?? []),
    ...describe(found.get(`${bytes} true`) ?? []),
  ]);
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
