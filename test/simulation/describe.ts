import type { Packet } from 'mqtt-packet';

/** A packet in a few words, for a trace. */
export function describePacket(packet: Packet): string {
  const id = packet.messageId === undefined ? '' : ` ${packet.messageId}`;
  if (packet.cmd !== 'publish') {
    const code = 'reasonCode' in packet && packet.reasonCode ? ` with ${packet.reasonCode}` : '';
    return `${packet.cmd}${id}${code}`;
  }
  const flags = `${packet.dup ? ' dup' : ''}${packet.retain ? ' retain' : ''}`;
  return `publish${id} on ${packet.topic} at QoS ${packet.qos}${flags}: ${packet.payload.toString().slice(0, 200)}`;
}
