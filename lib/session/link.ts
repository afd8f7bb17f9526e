import type { PublishFrame } from '../codec/publish-frame.js';
import type { ProtocolVersion } from '../spec/packet-types.js';
import type { MountPoint } from '../topic/mount-point.js';

/** What orders a link's output, and bounds its input. All are 0 at first. */
export class LinkGates {
  /** Turn whose commit must come before further PUBLISH and PUBREL packets on this link. */
  publishGate = 0;
  /** The last turn in whose output there were acknowledgements or other answers. */
  answerGate = 0;
  /** The one before it: its commit must come before any of `answerGate`'s are sent. */
  earlierAnswerGate = 0;
  /** The turns' own: number of the last walk through waiting output that left some of this link where it was. */
  sweptOver = 0;
  /** Turn whose commit CONNACK waits for: nothing at all comes before it. */
  greetingGate = 0;
  /** QoS 1 publishes of the client that are not yet answered; part of its Receive Maximum. */
  unansweredPublishes = 0;
}

/**
 * A session's port to its client: one network connection, seen from above. Implemented by `net/connection` and by the
 * simulator. Nothing here is recorded or decided; bytes given to a link leave with its next flush, in order.
 */
export interface Link extends LinkGates {
  readonly version: ProtocolVersion;
  /** The client's Maximum Packet Size, 0 for none. [MQTT-3.1.2-24] */
  readonly maximumPacketSize: number;
  /** False if the client asked for no reason strings and user properties. [MQTT-3.1.2-29] */
  readonly problemInformation: boolean;
  /** Remote address for logs. */
  readonly address: string;
  /** Where the client's topics are in the broker's tree; null for at its root. */
  readonly mountPoint: MountPoint | null;
  /** True from the moment nothing more can be sent; sends are then ignored. */
  readonly closed: boolean;
  /** True while the unsent bytes exceed the byte cap: QoS 0 is dropped, QoS 1 and 2 wait. */
  readonly slow: boolean;

  /**
   * Sends a PUBLISH: the frame's bytes with this first byte and, unless 0, this packet identifier. What is needed of
   * the frame when the call is over is `frame.lasting()`.
   */
  sendPublish(frame: PublishFrame, firstByte: number, packetId: number): void;
  /** Sends PUBACK, PUBREC, PUBREL or PUBCOMP; `encoded` is a frame of the packet where it has properties. */
  sendAck(packetType: number, packetId: number, reasonCode: number, encoded: PublishFrame | null): void;
  /** Sends encoded packets. */
  sendBytes(bytes: Buffer): void;
  /** Ends the connection; to an MQTT 5 client a DISCONNECT with this reason goes first. */
  close(reasonCode: number, reason: string): void;
}
