import { type LoadConnection, openConnection } from './connection.js';
import { type Identity, numberedTopic } from './frames.js';
import type { LoadOptions } from './options.js';
import { Traffic } from './traffic.js';

const frameOverheadBytes = 256;
const openAtOnce = 50;
const sessionExpirySeconds = 3600;

/** Runs `open` for 0 to `count - 1`, some at a time, and returns the results in order. */
export async function openMany<T>(count: number, open: (index: number) => Promise<T>): Promise<T[]> {
  const opened: T[] = [];
  for (let first = 0; first < count; first += openAtOnce) {
    const indexes = Array.from({ length: Math.min(openAtOnce, count - first) }, (_, index) => first + index);
    opened.push(...(await Promise.all(indexes.map(open))));
  }
  return opened;
}

/** What a part of a run has to itself: counters, topics and clients. */
export class Stage {
  readonly options: LoadOptions;
  readonly traffic: Traffic;
  /** Of this process and this stage only: what an earlier run left retained on the broker does not disturb. */
  readonly topicPrefix: string;
  private readonly suffix: string;
  private readonly connections: LoadConnection[] = [];
  private readonly durableIds = new Set<string>();

  /** @param suffix marks its topics and its client ids: stages of one process differ in it */
  constructor(options: LoadOptions, suffix = '') {
    this.options = options;
    this.suffix = suffix;
    this.traffic = new Traffic(options.payloadBytes + frameOverheadBytes);
    this.topicPrefix = `${numberedTopic('bench/', process.pid)}${suffix}/`;
  }

  /** The topics of a publisher are numbered from here. */
  topicOf(publisher: number, topicSpan: number, index = 0): string {
    return numberedTopic(this.topicPrefix, publisher * topicSpan + index);
  }

  /**
   * Connects a client with an id of its own; its session is kept only where asked. `prepare` may set the roles before
   * the first packet arrives.
   */
  async connect(
    role: string,
    index: number,
    isDurable = false,
    prepare?: (connection: LoadConnection) => void,
  ): Promise<LoadConnection> {
    const clientId = `${role}-${process.pid}-${index}${this.suffix}`;
    const identity: Identity = isDurable
      ? { clientId, cleanStart: false, sessionExpirySeconds }
      : { clientId, cleanStart: true, sessionExpirySeconds: 0 };
    if (isDurable) this.durableIds.add(clientId);
    const connection = await openConnection(this.traffic, this.options, identity, prepare);
    this.connections.push(connection);
    return connection;
  }

  /** Disconnects all clients and ends their sessions, those that were to be kept too. */
  async end(): Promise<void> {
    await Promise.all(this.connections.map((connection) => connection.disconnect()));
    const ids = [...this.durableIds];
    await openMany(ids.length, async (index) => {
      const identity = { clientId: ids[index], cleanStart: true, sessionExpirySeconds: 0 };
      const connection = await openConnection(this.traffic, this.options, identity);
      await connection.disconnect();
    });
  }
}
