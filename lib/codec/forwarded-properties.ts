import { PropertyId } from '../spec/properties.js';
import { noProperties } from './property-block.js';
import { encodeUserProperties } from './publish.js';

/** The properties of a message that a broker forwards. @see MQTT 5 §3.3.2.3 */
export interface ForwardedProperties {
  /** 1 if the payload is UTF-8 text. */
  readonly payloadFormat: 0 | 1 | null;
  readonly contentType: string | null;
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
  readonly userProperties: readonly (readonly [string, string])[];
}

/** Encodes them in wire form without length; every string is well-formed and at most 65 535 bytes. */
export function encodeForwardedProperties(properties: ForwardedProperties): Buffer {
  const { payloadFormat, contentType, responseTopic, correlationData, userProperties } = properties;
  const parts: Buffer[] = [];
  if (payloadFormat !== null) parts.push(Buffer.from([PropertyId.payloadFormatIndicator, payloadFormat]));
  if (contentType !== null) parts.push(field(PropertyId.contentType, Buffer.from(contentType)));
  if (responseTopic !== null) parts.push(field(PropertyId.responseTopic, Buffer.from(responseTopic)));
  if (correlationData !== null) parts.push(field(PropertyId.correlationData, correlationData));
  if (userProperties.length > 0) parts.push(encodeUserProperties(userProperties));
  return parts.length === 0 ? noProperties : Buffer.concat(parts);
}

function field(id: PropertyId, value: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(3 + value.length);
  bytes[0] = id;
  bytes.writeUInt16BE(value.length, 1);
  bytes.set(value, 3);
  return bytes;
}
