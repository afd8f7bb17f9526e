/**
 * The receiving side of QoS 2: identifiers a client has published under and not yet released. Separate from the
 * outbound identifiers: the two directions share numbers, never state. @see MQTT 5 §4.3.3
 */

/** What the broker answered, to be repeated word for word while the identifier is held. */
export interface HeldPublish {
  readonly reasonCode: number;
  /** Sequence of the tracked message, 0 if it was not tracked. */
  readonly sequence: number;
  /** Size of the tracked message's cohort. */
  readonly matched: number;
}

export class InboundQos2 {
  private readonly held = new Map<number, HeldPublish>();

  get size(): number {
    return this.held.size;
  }

  /** The answer given before, if the packet identifier is held: then the PUBLISH is a repeat. [MQTT-4.3.3-10] */
  find(packetId: number): HeldPublish | undefined {
    return this.held.get(packetId);
  }

  hold(packetId: number, answer: HeldPublish): void {
    this.held.set(packetId, answer);
  }

  /** Ends the flow at PUBREL. @returns what was held; null if the identifier was not. [MQTT-4.3.3-12] */
  release(packetId: number): HeldPublish | null {
    const held = this.held.get(packetId);
    if (held === undefined) return null;
    this.held.delete(packetId);
    return held;
  }

  packetIds(): IterableIterator<number> {
    return this.held.keys();
  }
}
