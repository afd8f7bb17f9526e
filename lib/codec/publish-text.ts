import { assert } from '../base/assert.js';
import { uint16Max } from '../spec/limits.js';
import { frameSlab } from './frame-slab.js';
import { PublishFrame, sizeOfIdentifiers, writeIdentifiers, writeUint16 } from './publish.js';
import { variableByteIntegerSize, writeVariableByteInteger } from './variable-byte-integer.js';

/** What an outbound PUBLISH of the broker's own says, whose payload is text. */
export interface TextPublishFields {
  topicName: string;
  /** In wire form, without length. */
  properties: Buffer;
  subscriptionIds: readonly number[] | null;
  text: string;
}

/** `encodePublishFrame` for a message that is made of strings: into one buffer, with none in between. */
export function encodeTextPublishFrame(
  { topicName, properties, subscriptionIds, text }: TextPublishFields,
  version5: boolean,
  withPacketId: boolean,
): PublishFrame {
  const topicLength = Buffer.byteLength(topicName);
  assert(topicLength <= uint16Max, 'a topic name fits its length');
  const propertiesSize = version5 ? properties.length + sizeOfIdentifiers(subscriptionIds) : 0;
  const head = 2 + topicLength + (withPacketId ? 2 : 0);
  const block = version5 ? variableByteIntegerSize(propertiesSize) + propertiesSize : 0;
  const remaining = head + block + Buffer.byteLength(text);
  const start = frameSlab.take(1 + variableByteIntegerSize(remaining) + remaining);
  const { bytes } = frameSlab;
  bytes[start] = 0x30;
  let position = writeVariableByteInteger(bytes, start + 1, remaining);
  position = writeUint16(bytes, position, topicLength);
  position += bytes.write(topicName, position, 'utf8');
  const packetIdAt = withPacketId ? position : -1;
  if (withPacketId) position = writeUint16(bytes, position, 0);
  if (version5) {
    position = writeVariableByteInteger(bytes, position, propertiesSize);
    position = writeIdentifiers(bytes, position, subscriptionIds);
    bytes.set(properties, position);
    position += properties.length;
  }
  position += bytes.write(text, position, 'utf8');
  return new PublishFrame(bytes, frameSlab.view, start, position, packetIdAt);
}
