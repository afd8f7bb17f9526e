import type { PublishFrame } from '../../lib/codec/publish-frame.js';

/** The packet that a frame is for one recipient; its first byte is still the frame's. */
export function packetOf({ bytes, start, end, packetIdAt }: PublishFrame, packetId: number): Buffer {
  const packet = Buffer.from(bytes.subarray(start, end));
  if (packetIdAt !== -1) packet.writeUInt16BE(packetId, packetIdAt - start);
  return packet;
}
