// One message to many connected subscribers, tracked and untracked in turn: how long until the last has it.
import { connectAsync, type MqttClient } from 'mqtt';
import { type LoadConnection, openConnection } from '../load/connection.js';
import { completeOptions } from '../load/options.js';
import { Traffic } from '../load/traffic.js';
import type { Verifier } from '../load/verifier.js';

const topic = 'fleet/all';
const idleSeconds = 30;
const connectAtOnce = 64;

/** Times of one message to all, milliseconds from the call of publish. */
export interface OnlineRun {
  readonly isTracked: boolean;
  /** When the last subscriber had the message. */
  readonly lastMs: number;
  /** When half of them had it. */
  readonly medianMs: number;
  /** How long the broker's event loop stood still at most meanwhile. */
  readonly stallMs: number;
  /** The final tally as the publisher got it, and how many packets it was told in; null when untracked. */
  readonly tally: { readonly delivered: number; readonly matched: number; readonly packets: number } | null;
}

interface Tally {
  readonly final: boolean;
  readonly delivered: number;
  readonly matched: number;
}

/** When each copy of the message came. */
class Arrivals implements Verifier {
  readonly doubled = 0;
  readonly reordered = 0;
  readonly misrouted = 0;
  readonly times: Float64Array;
  count = 0;

  constructor(size: number) {
    this.times = new Float64Array(size);
  }

  accept(): boolean {
    this.times[this.count++] = performance.now();
    return false;
  }

  countLost(): number {
    return 0;
  }
}

/** Collects tallies of a publisher that is subscribed to nothing else. */
class Tallies {
  packets = 0;
  private resolve: (tally: Tally) => void = () => undefined;

  constructor(client: MqttClient) {
    client.on('message', (_topic, payload) => {
      this.packets++;
      const tally = JSON.parse(payload.toString()) as Tally;
      if (tally.final) this.resolve(tally);
    });
  }

  next(): Promise<Tally> {
    this.packets = 0;
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }
}

/**
 * @param broker on 127.0.0.1; `longestStall` tells of the time since its last call
 * @param durable whether the subscribers' sessions outlive their connections
 * @param runs messages of each kind
 */
export async function measureOnline(
  { port, longestStall }: { readonly port: number; longestStall(): Promise<number> },
  count: number,
  durable: boolean,
  runs: number,
): Promise<OnlineRun[]> {
  const options = completeOptions({ port, protocol: 5, qos: 1, durable });
  const traffic = new Traffic(1024);
  const arrivals = new Arrivals(count);
  const connections: LoadConnection[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const clientId = `online-${durable ? 'd' : 't'}-${next++}`;
      const identity = { clientId, cleanStart: true, sessionExpirySeconds: durable ? 3600 : 0 };
      const connection = await openConnection(traffic, options, identity);
      connection.verifier = arrivals;
      await connection.subscribe([topic], 1);
      connections.push(connection);
    }
  };
  await Promise.all(Array.from({ length: connectAtOnce }, worker));
  const publisher = await connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, clientId: 'publisher' });
  const tallies = new Tallies(publisher);
  await publisher.subscribeAsync('$receipts/~/+', { qos: 1 });
  const publish = async (isTracked: boolean): Promise<OnlineRun> => {
    arrivals.count = 0;
    const final = isTracked ? tallies.next() : null;
    const properties = isTracked ? { userProperties: { receipt: 'delivered' } } : {};
    await longestStall();
    const startMs = performance.now();
    const acknowledged = publisher.publishAsync(topic, Buffer.alloc(64), { qos: 1, properties });
    const isDone = await traffic.when(() => arrivals.count >= count, idleSeconds);
    if (!isDone) throw new Error(`only ${arrivals.count} of ${count} got it`);
    await acknowledged;
    const tally = final === null ? null : await final;
    const stallMs = await longestStall();
    return {
      isTracked,
      lastMs: (arrivals.times[count - 1] as number) - startMs,
      medianMs: (arrivals.times[count >> 1] as number) - startMs,
      stallMs,
      tally: tally === null ? null : { delivered: tally.delivered, matched: tally.matched, packets: tallies.packets },
    };
  };
  const results: OnlineRun[] = [];
  // The first ones make the broker compile its code.
  for (const isTracked of [false, true]) await publish(isTracked);
  for (let run = 0; run < runs; run++) {
    for (const isTracked of [false, true]) results.push(await publish(isTracked));
  }
  await publisher.endAsync();
  for (const connection of connections) connection.reset();
  return results;
}
