import { PassThrough } from 'node:stream';
import { Metrics } from '../../lib/broker/metrics.js';
import { Routes } from '../../lib/broker/routes.js';
import { AckView, decodeAck, encodeAckWithProperties, simpleAckLength, writeAck } from '../../lib/codec/acks.js';
import { FrameSplitter } from '../../lib/codec/frame-splitter.js';
import { decodePublish, encodeUserProperties, PublishView } from '../../lib/codec/publish.js';
import { encodePublishFrame, PublishFrame } from '../../lib/codec/publish-frame.js';
import { TopicCache } from '../../lib/codec/topic-cache.js';
import { PacketIds } from '../../lib/delivery/packet-ids.js';
import { DeliveryEvent, DeliveryState, effectsOf, nextState, step } from '../../lib/delivery/table.js';
import { BufferPool } from '../../lib/net/buffer-pool.js';
import { Outbox } from '../../lib/net/outbox.js';
import { DeliveryKind } from '../../lib/session/delivery.js';
import { DeliveryRing, QueuedFrame } from '../../lib/session/delivery-ring.js';
import { queueMemory } from '../../lib/session/queue-memory.js';
import { Session } from '../../lib/session/session.js';
import { Subscription } from '../../lib/session/subscription.js';
import { encodeDelivery } from '../../lib/store/records.js';
import { encodeMessage } from '../../lib/store/records-message.js';

/** One hot function. */
export interface MicroCase {
  readonly name: string;
  /** Bytes that one operation may allocate: more is a regression. */
  readonly bytesMax: number;
  /** Operations in one call of `run`. */
  readonly operations: number;
  run(): void;
}

/** Results go here, so that nothing is optimized away. */
const kept = { sum: 0 };

const pubackType = 4;
const framesPerChunk = 500;
const topicCount = 1000;
const steadyTopics = 16;
const publishFirstByte = 0x32;

const topicNames = Array.from({ length: topicCount }, (_, at) => `site/${at % 10}/device/${at}/temperature`);

function publishFields(topicName: string) {
  const topic = Buffer.from(topicName);
  const payload = Buffer.alloc(64, 1);
  return {
    topic,
    topicStart: 0,
    topicEnd: topic.length,
    properties: Buffer.alloc(0),
    propertiesStart: 0,
    propertiesEnd: 0,
    messageExpirySeconds: -1,
    subscriptionIds: null,
    extraUserProperties: null,
    topicAlias: 0,
    payload,
    payloadStart: 0,
    payloadEnd: payload.length,
  };
}

/** A PUBLISH at QoS 1 as it comes from a socket. */
function publishBytes(topicName: string): Buffer {
  const frame = encodePublishFrame(publishFields(topicName), true, true);
  const bytes = Buffer.from(frame.bytes.subarray(frame.start, frame.end));
  bytes[0] = publishFirstByte;
  bytes.writeUInt16BE(7, frame.packetIdAt - frame.start);
  return bytes;
}

function frameSplitter(): MicroCase {
  const chunk = Buffer.concat(Array.from({ length: framesPerChunk }, () => publishBytes(topicNames[0])));
  const splitter = new FrameSplitter(1_000_000);
  const sink = {
    onFrame(_buffer: Buffer, _start: number, bodyStart: number, end: number): boolean {
      kept.sum += end - bodyStart;
      return true;
    },
  };
  const run = () => splitter.push(chunk, sink);
  return { name: 'frame splitter, per frame', bytesMax: 1, operations: framesPerChunk, run };
}

function publishDecoding(): MicroCase {
  const bytes = publishBytes(topicNames[0]);
  const view = new PublishView();
  const run = () => decodePublish(view, bytes, 0, 2, bytes.length, 5);
  return { name: 'decode PUBLISH', bytesMax: 1, operations: 1, run };
}

function topicCache(): MicroCase {
  const cache = new TopicCache(4096);
  const names = topicNames.slice(0, steadyTopics);
  // As in a chunk: one behind the other.
  const chunk = Buffer.from(names.join(''));
  const ends: number[] = [];
  for (const name of names) ends.push((ends.at(-1) ?? 0) + name.length);
  const run = () => {
    let start = 0;
    for (const end of ends) {
      cache.lookup(chunk, start, end);
      start = end;
    }
  };
  return { name: 'topic cache, hit', bytesMax: 4, operations: steadyTopics, run };
}

function routes(): Routes {
  const table = new Routes();
  const options = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  for (const [at, topicName] of topicNames.entries()) {
    const session = new Session(at, `client-${at}`, null, false, 5, 0);
    table.add(new Subscription(session, topicName, options, 0));
  }
  return table;
}

function routeLookup(): MicroCase {
  const table = routes();
  const run = () => {
    for (const topicName of topicNames) table.route(topicName);
  };
  return { name: 'route, cached', bytesMax: 1, operations: topicCount, run };
}

function routeBuilding(): MicroCase {
  const table = routes();
  let next = 0;
  const session = new Session(topicCount, 'another', null, false, 5, 0);
  const options = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  const other = new Subscription(session, 'elsewhere', options, 0);
  const run = () => {
    // Any change makes all routes stale.
    table.add(other);
    table.remove(other);
    for (let left = 100; left > 0; left--) table.route(topicNames[next++ % topicCount]);
  };
  return { name: 'route, built anew', bytesMax: 700, operations: 100, run };
}

function frameEncoding(): MicroCase {
  const fields = publishFields(topicNames[0]);
  const run = () => void encodePublishFrame(fields, true, true);
  return { name: 'encode PUBLISH frame', bytesMax: 500, operations: 1, run };
}

function ackDecoding(): MicroCase {
  const bytes = Buffer.alloc(simpleAckLength);
  writeAck(bytes, 0, pubackType, 7, 0, 5);
  const view = new AckView();
  const run = () => decodeAck(view, bytes, pubackType, bytes[0], 2, bytes.length, 5);
  return { name: 'decode PUBACK', bytesMax: 1, operations: 1, run };
}

function ackEncoding(): MicroCase {
  const bytes = Buffer.alloc(16);
  return { name: 'write PUBACK', bytesMax: 1, operations: 1, run: () => void writeAck(bytes, 0, pubackType, 7, 0, 5) };
}

function ackWithProperties(): MicroCase {
  const pairs = encodeUserProperties([['receipt-id', '0123456789abcdef']]);
  const run = () => void encodeAckWithProperties(pubackType, 0, null, pairs);
  return { name: 'encode PUBACK with a user property', bytesMax: 1500, operations: 1, run };
}

/** An outbox before a kernel that takes all at once. */
function newOutbox(): Outbox {
  const stream = new PassThrough();
  stream.resume();
  stream.write = () => true;
  return new Outbox(stream, new BufferPool(), new Metrics());
}

function outbox(): MicroCase {
  const box = newOutbox();
  const frame = encodePublishFrame(publishFields(topicNames[0]), true, true);
  const run = () => {
    for (let left = 100; left > 0; left--) box.publish(frame, publishFirstByte, left);
    box.flush();
  };
  return { name: 'outbox, per packet of 100', bytesMax: 8, operations: 100, run };
}

function outboxOfRuns(): MicroCase {
  const box = newOutbox();
  const { bytes, start, end } = encodePublishFrame(publishFields(topicNames[0]), true, true);
  const size = end - start;
  const chunk = Buffer.concat(Array.from({ length: 100 }, () => bytes.subarray(start, end)));
  const frames = Array.from({ length: 100 }, (_, at) => {
    const frame = PublishFrame.ofReceived();
    frame.receive(chunk, at * size, (at + 1) * size, -1);
    return frame;
  });
  const run = () => {
    for (const frame of frames) box.publish(frame, publishFirstByte, 0);
    box.flush();
  };
  return { name: 'outbox, per packet of 100 that came in a row', bytesMax: 16, operations: 100, run };
}

/** A packet takes its place behind five hundred others, and the first of them leaves. */
function packetQueue(): MicroCase {
  const ring = new DeliveryRing();
  const frame = encodePublishFrame(publishFields(topicNames[0]), true, true);
  const add = (sequence: number): void => {
    const held = queueMemory.hold(frame, sequence);
    ring.pushFrame(new QueuedFrame(sequence, 1, false, held, queueMemory.slab, topicNames[sequence % topicCount], 64));
  };
  for (let sequence = 0; sequence < 500; sequence++) add(sequence);
  const run = () => {
    add(kept.sum++);
    const first = ring.first();
    ring.removeFirst();
    if (!(first instanceof QueuedFrame)) return;
    kept.sum += first.frame.start;
    queueMemory.release(first.slab);
  };
  return { name: 'queue of packets, in and out', bytesMax: 300, operations: 1, run };
}

function deliveryStep(): MicroCase {
  const run = () => {
    const sent = step(DeliveryState.new, DeliveryEvent.sendQos1);
    kept.sum += effectsOf(step(nextState(sent), DeliveryEvent.pubackSuccess));
  };
  return { name: 'delivery step, two', bytesMax: 1, operations: 1, run };
}

function packetIds(): MicroCase {
  const ids = new PacketIds<object>();
  const run = () => {
    const first = ids.take(DeliveryState.awaitPuback, 1, null);
    const second = ids.take(DeliveryState.awaitPuback, 2, null);
    ids.release(first);
    ids.release(second);
  };
  return { name: 'packet id, take and release', bytesMax: 1, operations: 2, run };
}

function messageRecord(): MicroCase {
  const message = {
    sequence: 9e14,
    topicName: topicNames[0],
    payload: Buffer.alloc(64),
    properties: Buffer.alloc(0),
    propertiesStart: 0,
    propertiesEnd: 0,
    qos: 1,
    retain: false,
    expiryAtMs: 0,
    publisherId: 'publisher',
    tracked: false,
  } as const;
  return { name: 'encode message record', bytesMax: 600, operations: 1, run: () => void encodeMessage(message) };
}

function deliveryRecord(): MicroCase {
  const delivery = {
    sequence: 9e14,
    messageSequence: 9e14,
    qos: 1,
    retain: false,
    subscriptionIds: null,
    kind: DeliveryKind.message,
    reference: null,
    group: null,
  } as const;
  const run = () => void encodeDelivery(delivery, DeliveryState.awaitPuback, 7);
  return { name: 'encode delivery record', bytesMax: 400, operations: 1, run };
}

/** The cases; each is made when it is measured, so that none pays for another's memory. */
export const microCases: readonly (() => MicroCase)[] = [
  frameSplitter,
  publishDecoding,
  topicCache,
  routeLookup,
  routeBuilding,
  frameEncoding,
  ackDecoding,
  ackEncoding,
  ackWithProperties,
  outbox,
  outboxOfRuns,
  packetQueue,
  deliveryStep,
  packetIds,
  messageRecord,
  deliveryRecord,
];
