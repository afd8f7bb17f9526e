import t from 'tap';
import { encodeAckWithProperties, writeAck } from '../../../lib/codec/acks.js';
import { encodeUserProperties } from '../../../lib/codec/publish.js';
import * as publishFrame from '../../../lib/codec/publish-frame.js';
import { PacketType } from '../../../lib/spec/packet-types.js';
import { packetOf } from '../../helpers/packet-of.js';
import { wholeOf } from '../../helpers/publish-fields.js';
import { comparable, describe, describeStream } from './describe-packet.js';
import { oracle } from './oracle.js';
import type { Vector } from './vector.js';
import { vectors } from './vectors.js';

/** Encodes what a PUBLISH vector says, in our order of properties. */
function encodePublish({ packet, version }: Vector): Buffer {
  const fields: publishFrame.PublishFields = {
    ...wholeOf(
      Buffer.from(packet.topicName as string),
      Buffer.from(packet.forwardable as string, 'hex'),
      Buffer.from(packet.payload as string, 'hex'),
    ),
    messageExpirySeconds: packet.messageExpirySeconds as number,
    subscriptionIds: null,
    extraUserProperties: null,
    topicAlias: packet.topicAlias as number,
  };
  const frame = publishFrame.encodePublishFrame(fields, version === 5, packet.qos !== 0);
  const bytes = packetOf(frame, packet.packetId as number);
  bytes[0] |= (packet.dup ? 8 : 0) | ((packet.qos as number) << 1) | (packet.retain ? 1 : 0);
  return bytes;
}

function encodeAck({ packet, version }: Vector): Buffer {
  const type = packet.type as number;
  const packetId = packet.packetId as number;
  const reasonCode = packet.reasonCode as number;
  if (packet.reasonString !== null) {
    const pairs = encodeUserProperties([['n', 'v']]);
    return packetOf(encodeAckWithProperties(type, reasonCode, packet.reasonString as string, pairs), packetId);
  }
  const target = Buffer.alloc(9, 0xee);
  return Buffer.from(target.subarray(2, writeAck(target, 2, type, packetId, reasonCode, version)));
}

for (const vector of vectors) {
  const type = vector.packet.type as number;

  t.test(`${vector.title}: decodes`, async (t) => {
    t.strictSame(describe(vector.bytes, vector.version), vector.packet);
  });

  if (type >= PacketType.publish && type <= PacketType.pubcomp) {
    const encoded = type === PacketType.publish ? encodePublish(vector) : encodeAck(vector);
    t.test(`${vector.title}: encodes and comes back the same`, async (t) => {
      if (vector.asWritten !== false) {
        t.equal(encoded.toString('hex'), vector.bytes.toString('hex'));
      }
      t.strictSame(describe(encoded, vector.version), vector.packet);
    });
  }

  t.test(`${vector.title}: is the same split at every byte`, async (t) => {
    const twice = Buffer.concat([vector.bytes, vector.bytes]);
    for (let cut = 0; cut <= twice.length; cut++) {
      const found = describeStream([twice.subarray(0, cut), twice.subarray(cut)], vector.version);
      if (JSON.stringify(comparable(found)) !== JSON.stringify([vector.packet, vector.packet])) t.fail(`cut at ${cut}`);
    }
    const singly = describeStream(
      Array.from(twice, (byte) => Buffer.from([byte])),
      vector.version,
    );
    t.strictSame(comparable(singly), [vector.packet, vector.packet]);
  });

  t.test(`${vector.title}: cut short it is no packet`, async (t) => {
    for (let length = 0; length < vector.bytes.length; length++) {
      const found = describeStream([vector.bytes.subarray(0, length)], vector.version);
      if (found.length > 0) t.fail(`${length} bytes`);
    }
  });

  t.test(`${vector.title}: mqtt-packet reads it too`, async (t) => {
    const found = oracle(vector.bytes, vector.version);
    t.ok(Array.isArray(found) && found.length === 1, String(found));
  });
}
