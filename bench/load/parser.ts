import type { ProtocolLevel } from './options.js';

/** Takes what the parser finds. Positions are offsets into `buffer`, valid during the call only. */
export interface FrameSink {
  onPublish(buffer: Buffer, qos: number, packetId: number, payloadStart: number, payloadEnd: number): void;
  /** PUBACK, PUBREC, PUBREL or PUBCOMP by packet type (4 to 7). */
  onAck(packetType: number, packetId: number, reasonCode: number): void;
  onControl(packetType: number, buffer: Buffer, bodyStart: number, bodyEnd: number): void;
}

function publish(sink: FrameSink, buffer: Buffer, flags: number, body: number, end: number, protocol: ProtocolLevel) {
  let position = body + 2 + ((buffer[body] << 8) | buffer[body + 1]);
  const qos = (flags >> 1) & 3;
  let packetId = 0;
  if (qos > 0) {
    packetId = (buffer[position] << 8) | buffer[position + 1];
    position += 2;
  }
  if (protocol === 5) {
    let length = buffer[position] & 0x7f;
    for (let shift = 7; buffer[position] >= 0x80; shift += 7) length |= (buffer[++position] & 0x7f) << shift;
    position += 1 + length;
  }
  if (position > end) throw new Error('a PUBLISH from the broker is malformed');
  sink.onPublish(buffer, qos, packetId, position, end);
}

/**
 * Hands each whole frame between `start` and `end` to the sink.
 * @returns the offset of the first byte that belongs to an incomplete frame, `end` if there is none
 * @throws Error on bytes that are no MQTT
 */
export function parseFrames(
  buffer: Buffer,
  start: number,
  end: number,
  protocol: ProtocolLevel,
  sink: FrameSink,
): number {
  let position = start;
  while (end - position >= 2) {
    const first = buffer[position];
    let body = position + 1;
    let length = buffer[body] & 0x7f;
    for (let shift = 7; buffer[body] >= 0x80; shift += 7) {
      if (shift > 21) throw new Error('a remaining length from the broker is malformed');
      if (++body >= end) return position;
      length |= (buffer[body] & 0x7f) << shift;
    }
    body++;
    const next = body + length;
    if (next > end) return position;
    const packetType = first >> 4;
    if (packetType === 3) publish(sink, buffer, first & 0x0f, body, next, protocol);
    else if (packetType >= 4 && packetType <= 7) {
      sink.onAck(packetType, (buffer[body] << 8) | buffer[body + 1], length > 2 ? buffer[body + 2] : 0);
    } else sink.onControl(packetType, buffer, body, next);
    position = next;
  }
  return position;
}
