import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { parser } from 'mqtt-packet';
import t from 'tap';
import type { Log } from '../../lib/base/log.js';
import { BrokerCore } from '../../lib/broker/broker-core.js';
import type { EnhancedAuthenticationResult, EnhancedAuthenticationStep } from '../../lib/broker/hooks.js';
import { TopicCache } from '../../lib/codec/topic-cache.js';
import { type BrokerOptions, parseOptions } from '../../lib/config/schema.js';
import { BufferPool } from '../../lib/net/buffer-pool.js';
import { Connection } from '../../lib/net/connection.js';
import { sharedViews } from '../../lib/net/connection-parts.js';
import { IncompletePackets } from '../../lib/net/incomplete-packets.js';
import { TurnYields } from '../../lib/net/turn-yields.js';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { withDeadline } from '../helpers/deadline.js';
import { FakeClock } from '../helpers/fake-clock.js';
import { cutAt, framed, type Mutation, mutate, mutation } from '../helpers/mutations.js';
import { ack, auth, connect, disconnect, pingreq, property, publish, subscribe } from '../helpers/packets.js';
import { strictnessCases } from '../unit/codec/strictness-cases.js';
import { vectors } from '../unit/codec/vectors.js';

const seed = Number(process.env.FUZZ_SEED ?? 20_261_121);
/** Some seconds' worth; a million take hours. */
const numRuns = Number(process.env.FUZZ_CONNECTIONS ?? 600);

/** The broker's side of a connection that is only memory. */
class Pipe extends Duplex {
  readonly written: Buffer[] = [];
  wake: () => void = () => undefined;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.written.push(Buffer.from(chunk));
    this.wake();
    callback();
  }

  get output(): Buffer {
    return Buffer.concat(this.written);
  }
}

/** Lets in after two steps who says anything, at once or later as the data asks. */
function handler({ data, exchange }: EnhancedAuthenticationStep) {
  const result: EnhancedAuthenticationResult =
    exchange.asked === true ? { status: 'success' } : { status: 'continue', data: Buffer.from('more') };
  exchange.asked = true;
  return data?.[0] === 0x6c ? Promise.resolve(result) : result;
}

/** A broker without a network, whose time stands still. */
class Bench {
  readonly clock = new FakeClock();
  readonly bugs: unknown[] = [];
  readonly core: BrokerCore;
  open = 0;
  private readonly parts: ConstructorParameters<typeof Connection>[2];

  constructor(options: BrokerOptions = {}) {
    const log: Log = { debug: ignore, info: ignore, warn: ignore, error: (fields) => this.bugs.push(fields) };
    const settings = parseOptions({ memory: true, sysInterval: 0, ...options }, '');
    const hooks = { enhancedAuthentication: { m: handler, SCRAM: handler } };
    this.core = new BrokerCore(settings, new MemoryStore(), this.clock, log, hooks);
    this.core.start();
    const shared = { pool: new BufferPool(), topics: new TopicCache(16), ...sharedViews() };
    this.parts = {
      core: this.core,
      log,
      ...shared,
      yields: new TurnYields(this.core.context),
      incomplete: new IncompletePackets(this.core.context.metrics, Number.MAX_SAFE_INTEGER),
      onClosed: () => this.open--,
    };
  }

  /** A connection that reads what is pushed at once. */
  async connect(): Promise<Pipe> {
    const pipe = new Pipe({ allowHalfOpen: false });
    this.open++;
    new Connection(pipe, { address: 'memory', certificateUser: null }, this.parts);
    await tick();
    return pipe;
  }
}

function ignore(): void {}

function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Sends a PINGREQ and waits for its answer, `rounds` times: what was decided before has then been sent. */
async function settle(pipe: Pipe, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const answered = new Promise<void>((resolve) => {
      pipe.wake = () => {
        if (pipe.written[pipe.written.length - 1].subarray(-2).equals(pingresp)) resolve();
      };
    });
    pipe.push(pingreq());
    await withDeadline(answered, () => 'no PINGRESP');
    await tick();
  }
}

const pingresp = Buffer.from([0xd0, 0]);

interface Outcome {
  readonly output: string;
  readonly seen: string;
  readonly closed: boolean;
  readonly counts: unknown;
}

/** What becomes of chunks from one client, and what another one sees of it. */
async function play(chunks: readonly Buffer[], isTurnEach: boolean): Promise<Outcome> {
  const bench = new Bench();
  const watcher = await bench.connect();
  watcher.push(connect({ clientId: 'watcher' }));
  watcher.push(subscribe({ filters: [['#', 0]] }));
  const prober = await bench.connect();
  prober.push(connect({ clientId: 'prober' }));
  const pipe = await bench.connect();
  for (const chunk of chunks) {
    if (!pipe.destroyed) pipe.push(chunk);
    if (isTurnEach) await tick();
  }
  await settle(prober, 3);
  const closed = pipe.writableEnded || pipe.destroyed;
  const { bytesReceived, bytesSent, ...counts } = bench.core.context.metrics;
  const output = normal(pipe.output);
  const seen = watcher.output;
  // The end of everything: no timer, no connection and no bug may be left.
  if (!pipe.destroyed) pipe.push(null);
  if (!watcher.destroyed) watcher.push(null);
  prober.push(null);
  await tick();
  bench.clock.advance(60_000);
  await tick();
  bench.core.stop();
  if (bench.bugs.length > 0) throw new Error(`a bug: ${JSON.stringify(bench.bugs)}`);
  if (bench.open > 0) throw new Error(`${bench.open} connections stay open`);
  checkPackets(seen);
  return { output, seen: normal(seen), closed, counts };
}

/** As text, with identifiers that are chance replaced. */
function normal(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/auto-[0-9a-f-]{36}/g, 'auto');
}

/** What a client of version 5 got must be packets to another implementation. */
function checkPackets(bytes: Buffer): void {
  const parse = parser({ protocolVersion: 5 });
  parse.on('error', (error) => {
    throw error;
  });
  if (parse.parse(bytes) !== 0) throw new Error('an incomplete packet was sent');
}

/** The bytes of the last packet, if it is DISCONNECT or a refusing CONNACK: code alone, since texts may differ. */
function verdictOf({ output, closed }: Outcome): string {
  const bytes = Buffer.from(output, 'latin1');
  let at = 0;
  let last = '';
  while (at < bytes.length) {
    let size = 0;
    let end = at + 1;
    for (let shift = 0; ; shift += 7) {
      size |= (bytes[end] & 0x7f) << shift;
      if (bytes[end++] < 0x80) break;
    }
    const codeAt = bytes[at] === 0x20 ? end + 1 : end;
    last = bytes[at] === 0x20 || bytes[at] === 0xe0 ? `${bytes[at]} ${bytes[codeAt]}` : last;
    at = end + size;
  }
  return `${last} ${closed}`;
}

const usual = [
  subscribe({
    filters: [
      ['a/+', 1],
      ['$receipts/~/+', 1],
    ],
  }),
  publish({ topic: 'a/b', qos: 1, payload: 'x', properties: [property.userProperty('receipt', 'delivered')] }),
  publish({ topic: 'a/b', qos: 2, packetId: 2, payload: 'y', retain: true }),
  publish({ topic: 'a/c', properties: [property.topicAlias(1), property.messageExpiryInterval(9)] }),
  publish({ topic: '', properties: [property.topicAlias(1)] }),
  ack('pubrel', 2),
  ...(['puback', 'pubrec', 'pubcomp'] as const).map((type) => ack(type, 1)),
  auth(0x19, [property.authenticationMethod('m'), property.authenticationData('l')]),
  auth(0x18, [property.authenticationMethod('m'), property.authenticationData('now')]),
  pingreq(),
  disconnect(0x04),
];
const greetings = [
  ...([3, 4, 5] as const).map((version) => connect({ version, clientId: 'c', will: { topic: 'will' } })),
  connect({ clientId: 'c', cleanStart: false, properties: [property.sessionExpiryInterval(1000)] }),
  connect({ properties: [property.maximumPacketSize(40), property.receiveMaximum(1)] }),
  connect({ clientId: 'watcher' }),
  connect({ properties: [property.authenticationMethod('m'), property.authenticationData('later')] }),
];
const known = [...vectors, ...strictnessCases].map(({ bytes }) => bytes);

const mutations = (maxLength: number) => fc.array(mutation, { maxLength });
const packet = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...usual) },
  { weight: 2, arbitrary: fc.constantFrom(...known) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom(...usual, ...known.filter(isShort)), mutations(3)).map(framedOf) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 30 }).map((list) => Buffer.from(list)) },
);
const greeting = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...greetings) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...greetings), mutations(3)).map(framedOf) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom(...known), mutations(2)).map(([bytes, list]) => mutate(bytes, list)),
  },
);
const stream = fc
  .tuple(greeting, fc.array(packet, { maxLength: 8 }))
  .map(([first, others]) => Buffer.concat([first, ...others]));

function isShort({ length }: Buffer): boolean {
  return length > 2 && length < 129;
}

function framedOf([bytes, list]: [Buffer, readonly Mutation[]]): Buffer {
  return framed(bytes, list);
}

function singly(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (byte) => Buffer.from([byte]));
}

async function sameHowever(bytes: Buffer, cuts: readonly number[]): Promise<'connected' | 'closed'> {
  const whole = await play([Buffer.from(bytes)], false);
  const wanted = JSON.stringify(whole);
  for (const chunks of [cutAt(bytes, cuts).map((chunk) => Buffer.from(chunk)), singly(bytes)]) {
    const split = JSON.stringify(await play(chunks, false));
    if (split !== wanted) throw new Error(`in one piece ${wanted}\nin ${chunks.length} ${split}`);
  }
  // Turns between the bytes let answers out that an error else overtakes, CONNACK among them; the verdict stays.
  const slow = await play(singly(bytes), true);
  const isOvertaken = whole.closed && whole.output === '';
  const differs = isOvertaken ? !slow.closed : verdictOf(slow) !== verdictOf(whole);
  if (differs) throw new Error(`in one turn ${verdictOf(whole)}, in many ${verdictOf(slow)}`);
  return whole.closed ? 'closed' : 'connected';
}

t.test(`no bytes break the broker, and splitting them changes nothing (seed ${seed})`, async (t) => {
  const ends = { connected: 0, closed: 0 };
  await fc.assert(
    fc.asyncProperty(stream, fc.array(fc.nat(400), { maxLength: 5 }), async (bytes, cuts) => {
      ends[await sameHowever(bytes, cuts)]++;
    }),
    { seed, numRuns },
  );
  t.ok(ends.connected > numRuns / 20, `${ends.connected} streams left their connection open`);
  t.ok(ends.closed > numRuns / 10, `${ends.closed} did not`);
});

t.test('a length that announces 256 MB before CONNECT allocates nothing', async (t) => {
  const bench = new Bench({ maximumPacketSize: 268_435_460, maximumConnections: 2000 });
  const pipes: Pipe[] = [];
  while (pipes.length < 500) pipes.push(await bench.connect());
  const before = process.memoryUsage().arrayBuffers;
  pipes.forEach((pipe) => {
    pipe.push(Buffer.from([0x10, 0xff, 0xff, 0xff]));
    pipe.push(Buffer.from([0x7f, 0, 4, 0x4d]));
  });
  t.equal(bench.core.context.metrics.bytesReceived, 500 * 8, 'all was read');
  const grown = process.memoryUsage().arrayBuffers - before;
  t.ok(grown < 500 * 1024, `${grown} bytes for 500 connections`);
  t.ok(pipes.every((pipe) => !pipe.destroyed && !pipe.writableEnded));
  bench.clock.advance(20_000);
  await tick();
  bench.clock.advance(20_000);
  await tick();
  t.equal(bench.open, 0, 'all are cut in time');
  bench.core.stop();
});

t.test('a length above the largest packet is refused from its header', async (t) => {
  const bench = new Bench({ maximumPacketSize: 1000 });
  const pipe = await bench.connect();
  pipe.push(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]));
  t.ok(pipe.writableEnded);
  t.equal(bench.core.context.metrics.protocolErrors, 1);
  bench.core.stop();
});
