import { ack, connect, property, publish, subscribe } from '../helpers/packets.js';
import { concurrently, nextControl, StreamClient, type StreamEvents } from '../helpers/stream-client.js';

/** What a store is filled with: each session has three subscriptions and ten messages waiting. */
export interface Size {
  readonly sessions: number;
}

export const subscriptionsEach = 3;
export const messagesEach = 10;
const groupSize = 100;
const payloadBytes = 100;
const publishersMax = 8;
const publisherWindow = 500;
const connectsAtOnce = 100;
const weekSeconds = 7 * 86_400;
const connackType = 2;
const subackType = 9;

const clientIdOf = (session: number): string => `device-${session}`;
const groupOf = (session: number): number => Math.floor(session / groupSize);

function resumed(session: number): Buffer {
  const properties = [property.sessionExpiryInterval(weekSeconds), property.receiveMaximum(1000)];
  return connect({ clientId: clientIdOf(session), cleanStart: false, properties });
}

async function connected(port: number, packet: Buffer, events: StreamEvents = {}): Promise<StreamClient> {
  const client = new StreamClient(port, events);
  const answer = nextControl(client, connackType);
  client.send(packet);
  const connack = await answer;
  if (connack[1] !== 0) throw new Error(`CONNACK ${connack[1]}`);
  return client;
}

/** Connects every session, subscribes it, and drops its connection. */
export async function makeSessions(port: number, { sessions }: Size, say: (done: number) => void): Promise<void> {
  let done = 0;
  await concurrently(sessions, connectsAtOnce, async (session) => {
    const client = await connected(port, resumed(session));
    const suback = nextControl(client, subackType);
    const group = groupOf(session);
    const filters = [`device/${session}/cmd`, `device/${session}/+/set`, `fleet/${group}/#`] as const;
    client.send(subscribe({ filters: filters.map((filter) => [filter, 1] as const) }));
    const codes = (await suback).subarray(-subscriptionsEach);
    if (codes.some((code) => code !== 1)) throw new Error('a subscription was refused');
    client.reset();
    if (++done % 10_000 === 0) say(done);
  });
}

function body(text: string): Buffer {
  return Buffer.alloc(payloadBytes, `${text} `);
}

/**
 * Publishes at QoS 1 until each session has ten messages waiting: nine of its own, round by round, then one that it
 * shares with its group.
 */
export async function makeMessages(port: number, { sessions }: Size, say: (done: number) => void): Promise<void> {
  const own = messagesEach - 1;
  const groups = Math.ceil(sessions / groupSize);
  const total = own * sessions;
  const publishers = Math.min(publishersMax, sessions);
  let acked = 0;
  // A publisher has its own sessions, so that the order of each session's messages is one publisher's.
  await concurrently(publishers, publishers, async (publisher) => {
    const mine: number[] = [];
    for (let session = publisher; session < sessions; session += publishers) mine.push(session);
    const send = (client: StreamClient, at: number): void => {
      const session = mine[at % mine.length] ?? 0;
      const round = Math.floor(at / mine.length) + 1;
      const packetId = (at % publisherWindow) + 1;
      client.send(publish({ topic: `device/${session}/cmd`, qos: 1, packetId, payload: body(`${session}:${round}`) }));
    };
    await publishWindowed(port, own * mine.length, send, () => {
      if (++acked % 100_000 === 0) say(acked);
    });
  });
  const sendToGroup = (client: StreamClient, at: number): void => {
    const packetId = (at % publisherWindow) + 1;
    client.send(publish({ topic: `fleet/${at}/cmd`, qos: 1, packetId, payload: body(`fleet:${messagesEach}`) }));
  };
  await publishWindowed(port, groups, sendToGroup, () => undefined);
  say(total + sessions);
}

/** Sends `count` messages with a bounded number unacknowledged. */
async function publishWindowed(
  port: number,
  count: number,
  send: (client: StreamClient, at: number) => void,
  onAcked: () => void,
): Promise<void> {
  let sent = 0;
  let acked = 0;
  await new Promise<void>((resolve, reject) => {
    const events: StreamEvents = {
      onAck: (client, _type, _packetId, reasonCode) => {
        if (reasonCode >= 0x80) reject(new Error(`PUBACK ${reasonCode}`));
        acked++;
        onAcked();
        if (sent < count) send(client, sent++);
        else if (acked === count) {
          client.reset();
          resolve();
        }
      },
    };
    connected(port, connect(), events).then((client) => {
      while (sent < count && sent < publisherWindow) send(client, sent++);
      client.events.onClose = () => reject(new Error('the broker closed a publisher'));
    }, reject);
  });
}

/** Resumes sessions and takes all that waits; returns what was wrong with what came. */
export async function takeSample(port: number, sample: readonly number[]): Promise<string[]> {
  const problems: string[] = [];
  await concurrently(sample.length, connectsAtOnce, async (index) => {
    const session = sample[index] ?? 0;
    const wanted = Array.from({ length: messagesEach - 1 }, (_, round) => `${session}:${round + 1}`);
    wanted.push(`fleet:${messagesEach}`);
    const got: string[] = [];
    const client = new StreamClient(port);
    const pinged = new Promise<void>((resolve, reject) => {
      client.events = {
        onPublish: (from, packetId, payload) => {
          got.push(payload.toString('latin1').split(' ')[0] ?? '');
          from.send(ack('puback', packetId));
          if (got.length === wanted.length) from.send(pingreq);
        },
        onControl: (_from, type, packet) => {
          if (type === connackType && packet[0] !== 1) reject(new Error(`session ${session} is gone`));
          if (type === pingrespType) resolve();
        },
        onClose: () => reject(new Error(`session ${session}: closed after ${got.length} messages`)),
      };
    });
    client.send(resumed(session));
    await pinged;
    if (got.join() !== wanted.join()) problems.push(`session ${session}: ${got.join()} in place of ${wanted.join()}`);
    client.reset();
  });
  return problems;
}

const pingreq = Buffer.from([0xc0, 0]);
const pingrespType = 13;
