// The side whose cost is measured: a WebSocket server that sends PUBLISH packets as fast as its client takes them.
import { readFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';

/** What the parent process says, once the server listens. */
export interface Order {
  readonly payloadBytes: number;
  readonly compresses: boolean;
  readonly seconds: number;
}

/** What came of it; CPU in seconds. */
export interface Sent {
  readonly messages: number;
  readonly cpuSeconds: number;
  /** Of the thread that runs JavaScript; 0 where the system does not tell. */
  readonly mainThreadSeconds: number;
  readonly bytesOnTheWire: number;
}

const highWaterBytes = 256 * 1024;
/** So many that a payload does not come again while the compressor remembers it, 32 KB back. */
const variants = 4096;

/** Telemetry as devices send it: the same names again and again, other numbers. */
function telemetry(bytes: number, seed: number): Buffer {
  const readings: string[] = [];
  let length = 0;
  for (let at = 0; length < bytes; at++) {
    const value = Math.sin(seed * 7919 + at) * 50 + 20;
    const reading = `{"sensor":"temperature-${at}","value":${value.toFixed(3)},"unit":"C","quality":"good"}`;
    readings.push(reading);
    length += reading.length + 1;
  }
  return Buffer.from(readings.join(',').slice(0, bytes));
}

function publish(payload: Buffer): Buffer {
  const topic = Buffer.from('plant/7/line/3/telemetry');
  const remaining = 2 + topic.length + payload.length;
  const length: number[] = [];
  for (let left = remaining; ; left >>>= 7) {
    length.push(left < 0x80 ? left : (left & 0x7f) | 0x80);
    if (left < 0x80) break;
  }
  return Buffer.concat([Buffer.of(0x30, ...length, 0, topic.length), topic, payload]);
}

function mainThreadSeconds(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9;
  } catch {
    return 0;
  }
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function send(socket: WebSocket, wire: Socket, { payloadBytes, seconds }: Order): void {
  const packets = Array.from({ length: variants }, (_, seed) => publish(telemetry(payloadBytes, seed)));
  const [cpu, main, bytes] = [cpuSeconds(), mainThreadSeconds(), wire.bytesWritten];
  const endsAtMs = performance.now() + seconds * 1000;
  let messages = 0;
  const more = (): void => {
    if (performance.now() >= endsAtMs && socket.bufferedAmount === 0) {
      const sent: Sent = {
        messages,
        cpuSeconds: cpuSeconds() - cpu,
        mainThreadSeconds: mainThreadSeconds() - main,
        bytesOnTheWire: wire.bytesWritten - bytes,
      };
      process.send?.(sent);
      return;
    }
    const isOver = performance.now() >= endsAtMs;
    for (let turn = 0; !isOver && turn < 32 && socket.bufferedAmount < highWaterBytes; turn++) {
      socket.send(packets[messages++ % variants]);
    }
    setImmediate(more);
  };
  more();
}

process.once('message', (order: Order) => {
  const perMessageDeflate = order.compresses ? { threshold: 0 } : false;
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate });
  server.on('connection', (socket, request) => send(socket, request.socket, order));
  server.on('listening', () => process.send?.((server.address() as AddressInfo).port));
});
process.once('disconnect', () => process.exit());
