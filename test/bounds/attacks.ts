/** Hostile clients, one or thousands. Each attack resolves when it has done its worst, and holds on to it. */
import { type ConnectFields, connect, property, publish, subscribe } from '../helpers/packets.js';
import { concurrently, nextControl, StreamClient, type StreamEvents } from '../helpers/stream-client.js';

/** What an attack has seen, in numbers. */
export type Facts = Readonly<Record<string, number>>;

const connackType = 2;
const subackType = 9;
const window = 500;
const atOnce = 200;
const credentials = { userName: 'pair', password: 'right' } as const;

const open: StreamClient[] = [];

function opened(port: number, events: StreamEvents = {}): StreamClient {
  const client = new StreamClient(port, events);
  open.push(client);
  return client;
}

/** Ends all attackers of this process. */
export function endAttacks(): void {
  for (const client of open.splice(0)) {
    client.events = {};
    client.reset();
  }
}

async function joined(port: number, fields: ConnectFields = {}, events: StreamEvents = {}): Promise<StreamClient> {
  const client = opened(port, events);
  const answer = nextControl(client, connackType);
  client.send(connect({ ...credentials, ...fields }));
  const connack = await answer;
  if (connack[1] !== 0) throw new Error(`CONNACK ${connack[1]}`);
  return client;
}

async function subscribed(client: StreamClient, filters: readonly (readonly [string, number])[]): Promise<Buffer> {
  const answer = nextControl(client, subackType);
  client.send(subscribe({ filters }));
  const suback = await answer;
  return suback.subarray(-filters.length);
}

/** Publishes at QoS 1 with a window; counts answers that are failures. */
async function publishAll(
  client: StreamClient,
  count: number,
  packet: (at: number, packetId: number) => Buffer,
  inFlight = window,
): Promise<{ refused: number }> {
  let sent = 0;
  let acked = 0;
  let refused = 0;
  const send = (): void => {
    client.send(packet(sent, (sent % inFlight) + 1));
    sent++;
  };
  await new Promise<void>((resolve, reject) => {
    const { events } = client;
    client.events = {
      ...events,
      onAck: (_client, _type, _packetId, reasonCode) => {
        acked++;
        if (reasonCode >= 0x80) refused++;
        if (sent < count) send();
        else if (acked === count) resolve();
      },
      onClose: () => reject(new Error('the broker closed a publisher')),
    };
    while (sent < count && sent < inFlight) send();
  });
  return { refused };
}

const expiry = (seconds: number): Buffer => property.sessionExpiryInterval(seconds);

export const attacks: Readonly<Record<string, (port: number, size: number) => Promise<Facts>>> = {
  /** Three subscribers stop reading; so many MB go to them. */
  async stalled(port, size) {
    const kinds = [
      ['qos0', 0, 0],
      ['transient', 1, 0],
      ['durable', 1, 3600],
    ] as const;
    for (const [clientId, qos, seconds] of kinds) {
      const client = await joined(port, { clientId, properties: [expiry(seconds)] });
      await subscribed(client, [['flood', qos]]);
      client.socket.pause();
    }
    const payload = Buffer.alloc(10_000, 'x');
    const count = Math.ceil((size * 1e6) / payload.length);
    const publisher = await joined(port);
    const packet = (_at: number, packetId: number) => publish({ topic: 'flood', qos: 1, packetId, payload });
    const { refused } = await publishAll(publisher, count, packet, 50);
    return { published: count, refused };
  },

  /** A thousand subscribers stop reading, and each is sent MBs. */
  async stalledMany(port, size) {
    await concurrently(size, atOnce, async () => {
      const client = await joined(port);
      await subscribed(client, [['flood', 0]]);
      client.socket.pause();
    });
    const payload = Buffer.alloc(4000, 'x');
    const publisher = await joined(port);
    const packet = (_at: number, packetId: number) => publish({ topic: 'flood', qos: 1, packetId, payload });
    const { refused } = await publishAll(publisher, 3000, packet, 50);
    return { published: 3000, refused };
  },

  /** Connections that send the first half of a CONNECT and no more. */
  async halfPackets(port, size) {
    const half = connect({ clientId: 'half', will: { topic: 'w', payload: Buffer.alloc(60_000) } }).subarray(0, 30_000);
    await concurrently(size, atOnce, async () => {
      const client = opened(port);
      await new Promise<void>((resolve) => client.socket.write(half, () => resolve()));
    });
    return { opened: size };
  },

  /** Connected clients that send almost all of a packet as large as is allowed. */
  async unfinished(port, size) {
    const begun = publish({ topic: 'big', payload: Buffer.alloc(2_000_000) }).subarray(0, 1_999_000);
    await concurrently(size, 20, async () => {
      const client = await joined(port);
      await new Promise<void>((resolve) => client.socket.write(begun, () => resolve()));
    });
    return { opened: size };
  },

  async filters(port, size) {
    const client = await joined(port, { clientId: 'greedy', properties: [expiry(3600)] });
    const each = 1000;
    let granted = 0;
    let quotaExceeded = 0;
    for (let at = 0; at < size; at += each) {
      const filters = Array.from({ length: each }, (_, index) => [`greedy/${at + index}/+`, 1] as const);
      for (const code of await subscribed(client, filters)) {
        if (code < 3) granted++;
        else if (code === 0x97) quotaExceeded++;
      }
    }
    return { asked: size, granted, quotaExceeded };
  },

  async retained(port, size) {
    const client = await joined(port);
    const payload = Buffer.alloc(20, 'r');
    const packet = (at: number, packetId: number) =>
      publish({ topic: `retained/${at % 1000}/${at}`, qos: 1, packetId, retain: true, payload });
    const { refused } = await publishAll(client, size, packet);
    return { published: size, refused };
  },

  /** Packets that announce 256 MB, before CONNECT and after it. */
  async announced(port, size) {
    let refused = 0;
    await concurrently(size, atOnce, async (index) => {
      const client = index % 2 === 0 ? opened(port) : await joined(port);
      const closed = new Promise<void>((resolve) => {
        client.events = { onClose: () => resolve() };
      });
      const first = index % 2 === 0 ? 0x10 : 0x30;
      client.send(Buffer.concat([Buffer.from([first, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(20_000)]));
      await closed;
      refused++;
    });
    return { announced: size, refused };
  },

  /** A publisher of tracked messages that acknowledges none of its receipts. */
  async receipts(port, size) {
    const device = await joined(port, { clientId: 'device', properties: [property.receiveMaximum(60_000)] });
    device.events = { onPublish: (from, packetId) => from.send(Buffer.from([0x40, 2, packetId >> 8, packetId & 255])) };
    await subscribed(device, [['cmd', 1]]);
    let receipts = 0;
    const events = { onPublish: () => receipts++ };
    const publisher = await joined(port, { clientId: 'asker', properties: [expiry(3600)] }, events);
    await subscribed(publisher, [['$receipts/~/#', 1]]);
    const asks = [property.userProperty('receipt', 'delivered')];
    const packet = (_at: number, packetId: number) =>
      publish({ topic: 'cmd', qos: 1, packetId, payload: 'reboot', properties: asks });
    const { refused } = await publishAll(publisher, size, packet);
    return { published: size, refused, receipts };
  },

  /** CONNECTs with wrong passwords, as fast as they are answered, for so many seconds. */
  async passwords(port, size) {
    let refused = 0;
    const until = performance.now() + size * 1000;
    await concurrently(100, 100, async (index) => {
      while (performance.now() < until) {
        const client = opened(port);
        const closed = new Promise<void>((resolve) => {
          client.events = { onClose: () => resolve() };
        });
        client.send(connect({ clientId: `wrong-${index}`, userName: 'pair', password: 'wrong' }));
        await closed;
        refused++;
      }
    });
    return { refused };
  },

  /** Topics as long and as deep as they can be, against filters that all of them match. */
  async topics(port, size) {
    const watcher = await joined(port);
    const filters = Array.from({ length: 8192 }, (_, bits) => {
      const levels = Array.from({ length: 13 }, (_each, level) => ((bits >> level) & 1 ? '+' : 'a'));
      return [`${levels.join('/')}/#`, 0] as const;
    });
    for (let at = 0; at < filters.length; at += 512) await subscribed(watcher, filters.slice(at, at + 512));
    const deep = 'a/'.repeat(30_000);
    const wide = (at: number) => `${'a/'.repeat(13)}${String(at).padEnd(65_000, 'x')}`;
    const permitted = (at: number) => `${'a/'.repeat(190)}${at}`;
    const names = [permitted, wide, () => deep];
    const publisher = await joined(port);
    const packet = (at: number, packetId: number) =>
      publish({ topic: names[at % names.length]?.(at) ?? '', qos: 1, packetId });
    const { refused } = await publishAll(publisher, size, packet, 20);
    return { published: size, refused };
  },

  /** Sessions that never acknowledge what they are sent. */
  async unacknowledged(port, size) {
    let arrived = 0;
    await concurrently(size, atOnce, async (index) => {
      const seconds = index % 2 === 0 ? 0 : 3600;
      const fields = { clientId: `mute-${index}`, properties: [expiry(seconds)] };
      const client = await joined(port, fields, { onPublish: () => arrived++ });
      await subscribed(client, [['mute', 1]]);
    });
    const payload = Buffer.alloc(1000, 'm');
    const publisher = await joined(port);
    const packet = (_at: number, packetId: number) => publish({ topic: 'mute', qos: 1, packetId, payload });
    const { refused } = await publishAll(publisher, 3000, packet, 50);
    return { published: 3000, refused, arrived };
  },
};
