import fc from 'fast-check';
import { generate, type Packet } from 'mqtt-packet';
import t from 'tap';
import { encodeAckWithProperties, writeAck } from '../../../lib/codec/acks.js';
import * as publish from '../../../lib/codec/publish.js';
import { encodeUserProperties } from '../../../lib/codec/publish.js';
import * as publishFrame from '../../../lib/codec/publish-frame.js';
import { PacketType, type ProtocolVersion } from '../../../lib/spec/packet-types.js';
import { packetOf } from '../../helpers/packet-of.js';
import { wholeOf } from '../../helpers/publish-fields.js';
import { describe } from './describe-packet.js';
import { oraclePacket } from './oracle.js';

const options = { seed: 7, numRuns: 2_000 };
const version = fc.constantFrom<ProtocolVersion>(3, 4, 5);
const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((value) => !value.includes('\0'));
const topic = text.filter((value) => value !== '' && !/[#+]/.test(value));
const binary = fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value));
const packetId = fc.integer({ min: 1, max: 65_535 });
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
// mqtt-packet keeps user properties in a map, so names differ and are no array indices
const pairs = fc.uniqueArray(
  fc.tuple(
    text.map((name) => `n${name}`),
    text,
  ),
  { selector: ([name]) => name, maxLength: 4 },
);
const optional = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });

const publishProperties = fc.record({
  payloadFormatIndicator: optional(fc.boolean()),
  messageExpiryInterval: optional(uint32),
  topicAlias: optional(packetId),
  responseTopic: optional(topic),
  correlationData: optional(binary),
  contentType: optional(text),
  userProperties: optional(pairs.filter((list) => list.length > 0)),
});

t.test('PUBLISH as mqtt-packet writes it is read as it was meant', async () => {
  const input = fc.record({
    version,
    qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    dup: fc.boolean(),
    retain: fc.boolean(),
    topic,
    messageId: packetId,
    payload: binary,
    properties: publishProperties,
  });
  fc.assert(
    fc.property(input, ({ version, properties, ...fields }) => {
      const dup = fields.dup && fields.qos > 0;
      const userProperties = properties.userProperties && Object.fromEntries(properties.userProperties);
      const packet = { cmd: 'publish', ...fields, dup, properties: { ...properties, userProperties } } as Packet;
      const found = describe(generate(packet, { protocolVersion: version }), version);
      const v5 = version === 5 ? properties : ({} as Partial<typeof properties>);
      const indicator = v5.payloadFormatIndicator;
      t.match(found, {
        qos: fields.qos,
        dup,
        retain: fields.retain,
        topicName: fields.topic,
        packetId: fields.qos === 0 ? 0 : fields.messageId,
        payload: fields.payload.toString('hex'),
        payloadFormat: indicator === undefined ? -1 : Number(indicator),
        messageExpirySeconds: v5.messageExpiryInterval ?? -1,
        topicAlias: v5.topicAlias ?? 0,
        responseTopic: v5.responseTopic ?? null,
        correlationData: v5.correlationData?.toString('hex') ?? null,
        contentType: v5.contentType ?? null,
        userProperties: v5.userProperties ?? [],
      });
    }),
    { ...options, numRuns: 500 },
  );
});

t.test('PUBLISH as we write it is read by mqtt-packet as it was meant', async () => {
  const input = fc.record({
    version,
    withPacketId: fc.boolean(),
    topic,
    payload: binary,
    messageExpirySeconds: fc.oneof(fc.constant(-1), uint32),
    subscriptionIds: fc.option(fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 3 })),
    topicAlias: fc.integer({ min: 0, max: 65_535 }),
    pairs,
    extra: fc.option(pairs),
  });
  fc.assert(
    fc.property(input, (input) => {
      const extra = input.extra?.map(([name, value]) => [`x${name}`, value] as const) ?? null;
      const frame = publishFrame.encodePublishFrame(
        {
          ...wholeOf(Buffer.from(input.topic), publish.encodeUserProperties(input.pairs), input.payload),
          messageExpirySeconds: input.messageExpirySeconds,
          subscriptionIds: input.subscriptionIds,
          extraUserProperties: extra === null ? null : publish.encodeUserProperties(extra),
          topicAlias: input.topicAlias,
        },
        input.version === 5,
        input.withPacketId,
      );
      const bytes = Buffer.from(frame.bytes.subarray(frame.start, frame.end));
      if (bytes.length !== frame.length) return false;
      if (input.withPacketId) {
        bytes[0] |= 2;
        bytes.writeUInt16BE(0x1234, frame.packetIdAt - frame.start);
      }
      const found = oraclePacket(bytes, input.version);
      const ids = input.subscriptionIds;
      const allPairs = [...input.pairs, ...(extra ?? [])];
      const expected: Record<string, unknown> = {};
      if (input.version === 5) {
        if (input.messageExpirySeconds >= 0) expected.messageExpiryInterval = input.messageExpirySeconds;
        if (input.topicAlias > 0) expected.topicAlias = input.topicAlias;
        if (ids !== null) expected.subscriptionIdentifier = ids.length === 1 ? ids[0] : ids;
        if (allPairs.length > 0) expected.userProperties = Object.fromEntries(allPairs);
      }
      const same =
        JSON.stringify(sorted(found.properties ?? {})) === JSON.stringify(sorted(expected)) &&
        found.topic === input.topic &&
        input.payload.equals(found.payload as Buffer) &&
        found.messageId === (input.withPacketId ? 0x1234 : undefined);
      return same;
    }),
    options,
  );
});

function sorted(fields: object): [string, unknown][] {
  return Object.entries(fields).sort(([one], [other]) => (one < other ? -1 : 1));
}

const ackNames = ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const;
const ack = fc.record({
  version,
  type: fc.constantFrom<4 | 5 | 6 | 7>(PacketType.puback, PacketType.pubrec, PacketType.pubrel, PacketType.pubcomp),
  packetId,
  failed: fc.boolean(),
  reasonString: fc.option(text),
  pairs,
});
const failureOf = (type: number) => (type >= PacketType.pubrel ? 0x92 : 0x97);

t.test('[MQTT-2.2.1-5] acknowledgements as mqtt-packet writes them are read as they were meant', async () => {
  fc.assert(
    fc.property(ack, ({ version, type, packetId, failed, reasonString, pairs }) => {
      const reasonCode = version === 5 && failed ? failureOf(type) : 0;
      const properties: Record<string, unknown> = {};
      if (reasonString !== null) properties.reasonString = reasonString;
      if (pairs.length > 0) properties.userProperties = Object.fromEntries(pairs);
      const packet = { cmd: ackNames[type - 4], messageId: packetId, reasonCode, properties } as Packet;
      const found = describe(generate(packet, { protocolVersion: version }), version);
      return (
        found.type === type &&
        found.packetId === packetId &&
        found.reasonCode === reasonCode &&
        found.reasonString === (version === 5 ? reasonString : null)
      );
    }),
    options,
  );
});

t.test('acknowledgements as we write them are read by mqtt-packet as they were meant', async () => {
  fc.assert(
    fc.property(ack, ({ version, type, packetId, failed, reasonString, pairs }) => {
      const reasonCode = failed ? failureOf(type) : 0;
      const target = Buffer.alloc(8, 0xee);
      const end = writeAck(target, 1, type, packetId, reasonCode, version);
      const short = oraclePacket(target.subarray(1, end), version);
      if (target[end] !== 0xee || short.cmd !== ackNames[type - 4] || short.messageId !== packetId) return false;
      if (version !== 5) return end === 5 && short.reasonCode === undefined;
      const properties = encodeUserProperties(pairs);
      const long = oraclePacket(
        packetOf(encodeAckWithProperties(type, reasonCode, reasonString, properties), packetId),
        5,
      );
      const expected: Record<string, unknown> = {};
      if (reasonString !== null) expected.reasonString = reasonString;
      if (pairs.length > 0) expected.userProperties = Object.fromEntries(pairs);
      return (
        short.reasonCode === reasonCode &&
        long.reasonCode === reasonCode &&
        long.messageId === packetId &&
        JSON.stringify(long.properties ?? {}) === JSON.stringify(expected)
      );
    }),
    options,
  );
});
