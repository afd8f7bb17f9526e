import { ProtocolError } from '../../../lib/base/errors.js';
import { AckView, decodeAck } from '../../../lib/codec/acks.js';
import { decodeAuth } from '../../../lib/codec/auth.js';
import { ConnectError, decodeConnect } from '../../../lib/codec/connect.js';
import { decodeDisconnect } from '../../../lib/codec/disconnect.js';
import { FrameSplitter } from '../../../lib/codec/frame-splitter.js';
import { decodePingreq } from '../../../lib/codec/ping.js';
import * as publish from '../../../lib/codec/publish.js';
import { decodeSubscribe, decodeUnsubscribe } from '../../../lib/codec/subscribe.js';
import { TopicCache } from '../../../lib/codec/topic-cache.js';
import { type PacketType, type ProtocolVersion, PacketType as Type } from '../../../lib/spec/packet-types.js';

const view = new publish.PublishView();
const ack = new AckView();
const topics = new TopicCache(16);

/** Decodes any packet of a client to a plain object in which Buffers are hex. */
export function describePacket(
  buffer: Buffer,
  frameStart: number,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): Record<string, unknown> {
  const type = (buffer[frameStart] >> 4) as PacketType;
  switch (type) {
    case Type.publish:
      publish.decodePublish(view, buffer, frameStart, bodyStart, end, version);
      return describePublish();
    case Type.puback:
    case Type.pubrec:
    case Type.pubrel:
    case Type.pubcomp:
      decodeAck(ack, buffer, type, buffer[frameStart], bodyStart, end, version);
      return describeAck(type, buffer);
    case Type.connect:
      return { type, ...plain(decodeConnect(buffer, frameStart, bodyStart, end)) };
    case Type.subscribe:
      return { type, ...decodeSubscribe(buffer, frameStart, bodyStart, end, version) };
    case Type.unsubscribe:
      return { type, ...decodeUnsubscribe(buffer, frameStart, bodyStart, end, version) };
    case Type.disconnect:
      return { type, ...decodeDisconnect(buffer, frameStart, bodyStart, end, version) };
    case Type.auth:
      return { type, ...plain(decodeAuth(buffer, frameStart, bodyStart, end, version)) };
    case Type.pingreq:
      decodePingreq(buffer, frameStart, bodyStart, end, version);
      return { type };
    default:
      return { type, unexpected: true };
  }
}

function describePublish(): Record<string, unknown> {
  const { buffer, end } = view;
  const slice = (from: number, to: number) => (from === -1 ? null : buffer.subarray(from, to));
  return {
    type: Type.publish,
    qos: view.qos,
    dup: view.dup,
    retain: view.retain,
    topicName: topics.lookup(buffer, view.topicStart, view.topicEnd),
    packetId: view.packetId,
    topicAlias: view.topicAlias,
    messageExpirySeconds: view.messageExpirySeconds,
    payloadFormat: view.payloadFormat,
    responseTopic: slice(view.responseTopicStart, view.responseTopicEnd)?.toString() ?? null,
    correlationData: slice(view.correlationDataStart, view.correlationDataEnd)?.toString('hex') ?? null,
    contentType: slice(view.contentTypeStart, view.contentTypeEnd)?.toString() ?? null,
    userProperties: publish.readUserProperties(buffer, view.propertiesStart, view.propertiesEnd),
    forwardable: publish.forwardableProperties(view).toString('hex'),
    hasUserProperties: view.hasUserProperties,
    hasReceiptProperty: view.hasReceiptProperty,
    payload: buffer.subarray(view.payloadStart, end).toString('hex'),
  };
}

function describeAck(type: PacketType, buffer: Buffer): Record<string, unknown> {
  const text = ack.reasonStringStart === 0 ? null : buffer.toString('utf8', ack.reasonStringStart, ack.reasonStringEnd);
  return { type, packetId: ack.packetId, reasonCode: ack.reasonCode, reasonString: text };
}

function plain(value: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value, hexBuffers)) as Record<string, unknown>;
}

function hexBuffers(_key: string, value: unknown): unknown {
  if (typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' && 'data' in value) {
    return Buffer.from(value.data as number[]).toString('hex');
  }
  return value;
}

/** Decodes one whole packet. */
export function describe(bytes: Buffer, version: ProtocolVersion): Record<string, unknown> {
  const [first, ...more] = describeStream([bytes], version);
  if (first === undefined || more.length > 0) throw new Error(`${1 + more.length} packets instead of one`);
  if (first instanceof ProtocolError) throw first;
  return first;
}

export type Outcome = Record<string, unknown> | ProtocolError;

/** Decodes a stream that arrives in these chunks: the packets, and the error that ended it. */
export function describeStream(chunks: Buffer[], version: ProtocolVersion, maximumPacketSize = 1e6): Outcome[] {
  const outcomes: Outcome[] = [];
  const splitter = new FrameSplitter(maximumPacketSize);
  const sink = {
    onFrame(buffer: Buffer, frameStart: number, bodyStart: number, end: number): boolean {
      outcomes.push(describePacket(buffer, frameStart, bodyStart, end, version));
      return true;
    },
  };
  try {
    for (const chunk of chunks) splitter.push(chunk, sink);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    outcomes.push(error);
  }
  return outcomes;
}

/** The reason code of the ProtocolError that ends `bytes`, or null if all of them are fine. */
export function refusal(bytes: Buffer, version: ProtocolVersion): number | null {
  const last = describeStream([bytes], version).at(-1);
  return last instanceof ProtocolError ? last.reasonCode : null;
}

/** For comparing outcomes: errors as their code, version and message. */
export function comparable(outcomes: Outcome[]): unknown[] {
  return outcomes.map((outcome) => {
    if (!(outcome instanceof ProtocolError)) return outcome;
    const version = outcome instanceof ConnectError ? outcome.version : null;
    return { reasonCode: outcome.reasonCode, version, message: outcome.message };
  });
}
