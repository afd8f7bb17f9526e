import { generate, type Packet, type UserProperties, writeToStream } from 'mqtt-packet';
import { uint16Max } from '../spec/limits.js';

// else mqtt-packet keeps a Buffer for each of 65536 numbers
writeToStream.cacheNumbers = false;

/** The properties that may be left out of an answer, as mqtt-packet has them. */
interface Explanation {
  reasonString?: string;
  userProperties?: UserProperties;
}

/**
 * Encodes a packet for MQTT 5. If that is larger than `maximumPacketSize` (0: no limit), user properties and then the
 * reason string are left out; what is still too large is for the caller to drop.
 */
export function encodeWithin(packet: Packet & { properties: Explanation }, maximumPacketSize: number): Buffer {
  // [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.9.2-1] [MQTT-3.11.2-1] [MQTT-3.14.2-3] [MQTT-3.15.2-2]
  const whole = generate(packet, { protocolVersion: 5 });
  if (maximumPacketSize === 0 || whole.length <= maximumPacketSize) return whole;
  const { userProperties, ...fewer } = packet.properties;
  if (userProperties !== undefined)
    return encodeWithin({ ...packet, properties: fewer } as typeof packet, maximumPacketSize);
  if (fewer.reasonString === undefined) return whole;
  const { reasonString, ...fewest } = fewer;
  return generate({ ...packet, properties: fewest } as typeof packet, { protocolVersion: 5 });
}

/** Those of `fields` that have a value: mqtt-packet takes neither null nor undefined. */
export function withoutAbsent<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  const present = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(present) as { [Name in keyof Fields]?: NonNullable<Fields[Name]> };
}

/** A reason string that a packet can hold, else undefined: it explains, and must not break the packet. */
export function sendableText(text: string | null | undefined): string | undefined {
  // [MQTT-1.5.4-2]
  if (text === null || text === undefined || text.includes('\0')) return undefined;
  return Buffer.byteLength(text) > uint16Max ? undefined : text;
}

/** User properties as mqtt-packet has them; pairs of one name keep their order. */
export function groupByName(pairs: readonly (readonly [string, string])[] | undefined): UserProperties | undefined {
  if (pairs === undefined || pairs.length === 0) return undefined;
  const grouped: Record<string, string[]> = Object.create(null);
  for (const [name, value] of pairs) {
    grouped[name] ??= [];
    grouped[name].push(value);
  }
  return grouped;
}
