import { Duplex } from 'node:stream';
import { silentLog } from '../../lib/base/log.js';
import { BrokerCore } from '../../lib/broker/broker-core.js';
import { TopicCache } from '../../lib/codec/topic-cache.js';
import { type BrokerOptions, parseOptions } from '../../lib/config/schema.js';
import { BufferPool } from '../../lib/net/buffer-pool.js';
import { Connection } from '../../lib/net/connection.js';
import { sharedViews } from '../../lib/net/connection-parts.js';
import { IncompletePackets } from '../../lib/net/incomplete-packets.js';
import { TurnYields } from '../../lib/net/turn-yields.js';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { ManualClock } from './core-world.js';
import { type ConnectFields, connect, subscribe } from './packets.js';

/** Output buffers are used again once written; what is larger is kept as it is, so that sharing shows. */
const copiedMax = 64 * 1024;

/** The broker's side of a connection that is only memory. Keeps what is written. */
export class Pipe extends Duplex {
  readonly chunks: Buffer[] = [];
  /** Bytes written so far. */
  bytes = 0;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.chunks.push(chunk.length <= copiedMax ? Buffer.from(chunk) : chunk);
    this.bytes += chunk.length;
    callback();
  }

  /**
   * Gives the broker bytes within the turn at hand, as a socket does while the event loop polls: good for this call, as
   * the memory is read into again.
   */
  receive(...parts: readonly Buffer[]): void {
    const chunk = Buffer.concat(parts);
    this.emit('data', chunk);
    chunk.fill(0xee);
  }
}

/** A broker with connections but without sockets: turns end when the test says so, and time stands still. */
export class PipeWorld {
  readonly clock = new ManualClock();
  readonly core: BrokerCore;
  readonly yields: TurnYields;
  private readonly parts: ConstructorParameters<typeof Connection>[2];

  constructor(options: BrokerOptions = {}) {
    const settings = parseOptions({ memory: true, sysInterval: 0, ...options }, '');
    this.core = new BrokerCore(settings, new MemoryStore(), this.clock, silentLog);
    this.core.start();
    this.yields = new TurnYields(this.core.context);
    const { metrics } = this.core.context;
    const incomplete = new IncompletePackets(metrics, settings.maximumIncompleteBytes);
    const shared = {
      pool: new BufferPool(),
      topics: new TopicCache(64),
      yields: this.yields,
      incomplete,
      ...sharedViews(),
    };
    this.parts = { core: this.core, log: silentLog, ...shared, onClosed: () => undefined };
  }

  /** A client that is connected (MQTT 5 unless asked otherwise) and subscribed, with what that brought taken away. */
  client(clientId: string, filters: readonly [string, number][] = [], fields: ConnectFields = {}): Pipe {
    const pipe = new Pipe({ allowHalfOpen: false });
    new Connection(pipe, { address: 'memory', certificateUser: null }, this.parts);
    pipe.receive(connect({ clientId, ...fields }));
    if (filters.length > 0) pipe.receive(subscribe({ version: fields.version ?? 5, filters }));
    this.clock.settle();
    pipe.chunks.length = 0;
    pipe.bytes = 0;
    return pipe;
  }
}
