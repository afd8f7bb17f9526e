import { assert } from '../base/assert.js';
import { utf8Length, writeUtf8 } from '../base/bytes.js';
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
  const topicLength = utf8Length(topicName);
  const textLength = utf8Length(text);
  assert(topicLength <= uint16Max, 'a topic name fits its length');
  const propertiesSize = version5 ? properties.length + sizeOfIdentifiers(subscriptionIds) : 0;
  const head = 2 + topicLength + (withPacketId ? 2 : 0);
  const block = version5 ? variableByteIntegerSize(propertiesSize) + propertiesSize : 0;
  const remaining = head + block + textLength;
  const start = frameSlab.take(1 + variableByteIntegerSize(remaining) + remaining);
  const { bytes } = frameSlab;
  bytes[start] = 0x30;
  let position = writeVariableByteInteger(bytes, start + 1, remaining);
  position = writeUint16(bytes, position, topicLength);
  writeUtf8(topicName, topicLength, bytes, position);
  position += topicLength;
  const packetIdAt = withPacketId ? position : -1;
  if (withPacketId) position = writeUint16(bytes, position, 0);
  if (version5) {
    position = writeVariableByteInteger(bytes, position, propertiesSize);
    position = writeIdentifiers(bytes, position, subscriptionIds);
    bytes.set(properties, position);
    position += properties.length;
  }
  writeUtf8(text, textLength, bytes, position);
  return new PublishFrame(bytes, frameSlab.view, start, position + textLength, packetIdAt);
}
