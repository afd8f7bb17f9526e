/**
 * Payload bytes of the messages that are in flight to one client, where they have a bound. One message is always let
 * through, however large: else it would wait for ever.
 */
export class InflightBytes {
  private readonly maximum: number;
  private readonly sizes = new Map<number, number>();
  private total = 0;

  /** @param maximum most bytes in flight */
  constructor(maximum: number) {
    this.maximum = maximum;
  }

  /** True if a message with a payload of so many bytes may be sent now. */
  hasRoom(bytes: number): boolean {
    return this.sizes.size === 0 || this.total + bytes <= this.maximum;
  }

  add(packetId: number, bytes: number): void {
    this.remove(packetId);
    this.sizes.set(packetId, bytes);
    this.total += bytes;
  }

  /** The message is acknowledged in full, or given up. */
  remove(packetId: number): void {
    this.total -= this.sizes.get(packetId) ?? 0;
    this.sizes.delete(packetId);
  }
}
