import { connect, publish, subscribe } from '../helpers/packets.js';
import { nextControl, StreamClient } from '../helpers/stream-client.js';

const connackType = 2;
const subackType = 9;
const everyMs = 10;
const inFlightMax = 1000;
const payloadBytes = 16;
const credentials = { userName: 'pair', password: 'right' } as const;

/** A publisher and a subscriber at QoS 1 that go about their business, and what that is like. */
export class Pair {
  /** Times from PUBLISH to PUBLISH, ms, since they were last taken. */
  private latencies: number[] = [];
  private sent = 0;
  private received = 0;
  private acknowledged = 0;
  private readonly problems: string[] = [];
  private readonly publisher: StreamClient;
  private readonly subscriber: StreamClient;
  private timer: NodeJS.Timeout | null = null;
  private wake: () => void = () => undefined;

  private constructor(port: number) {
    this.publisher = new StreamClient(port, {
      onAck: (_client, _type, _packetId, reasonCode) => {
        if (reasonCode !== 0) this.problems.push(`PUBACK ${reasonCode}`);
        this.acknowledged++;
        this.wake();
      },
      onClose: () => this.problems.push('the publisher was closed'),
    });
    this.subscriber = new StreamClient(port, {
      onPublish: (client, packetId, payload) => this.take(client, packetId, payload),
      onClose: () => this.problems.push('the subscriber was closed'),
    });
  }

  static async begin(port: number): Promise<Pair> {
    const pair = new Pair(port);
    for (const client of [pair.publisher, pair.subscriber]) {
      const answer = nextControl(client, connackType);
      client.send(connect(credentials));
      const connack = await answer;
      if (connack[1] !== 0) throw new Error(`CONNACK ${connack[1]}`);
    }
    const answer = nextControl(pair.subscriber, subackType);
    pair.subscriber.send(subscribe({ filters: [['polite', 1]] }));
    await answer;
    pair.timer = setInterval(() => pair.say(), everyMs);
    return pair;
  }

  private say(): void {
    // Where the broker is slow, waiting is polite.
    if (this.sent - this.acknowledged >= inFlightMax) return;
    this.sent++;
    const payload = Buffer.alloc(payloadBytes);
    payload.writeUInt32BE(this.sent, 0);
    payload.writeDoubleBE(performance.now(), 8);
    this.publisher.send(publish({ topic: 'polite', qos: 1, packetId: (this.sent % 60_000) + 1, payload }));
  }

  private take(client: StreamClient, packetId: number, payload: Buffer): void {
    client.send(Buffer.from([0x40, 2, packetId >> 8, packetId & 0xff]));
    const number = payload.readUInt32BE(0);
    if (number !== this.received + 1) this.problems.push(`message ${number} after ${this.received}`);
    this.received = number;
    this.latencies.push(performance.now() - payload.readDoubleBE(8));
    this.wake();
  }

  /** The latencies since the last call. */
  takeLatencies(): number[] {
    const taken = this.latencies;
    this.latencies = [];
    return taken;
  }

  /** Stops, waits until everything has arrived, and tells what was wrong. */
  async end(): Promise<{ messages: number; problems: readonly string[] }> {
    if (this.timer !== null) clearInterval(this.timer);
    while ((this.received < this.sent || this.acknowledged < this.sent) && this.problems.length === 0) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    for (const client of [this.publisher, this.subscriber]) {
      client.events.onClose = () => undefined;
      client.reset();
    }
    return { messages: this.sent, problems: this.problems.slice(0, 5) };
  }
}

/** The value that 99 of 100 do not exceed. */
export function p99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * 0.99) - 1)] ?? 0;
}
