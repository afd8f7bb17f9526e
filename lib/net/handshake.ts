import { assert } from '../base/assert.js';
import { ProtocolError } from '../base/errors.js';
import type { BrokerCore } from '../broker/broker-core.js';
import type { Refusal } from '../broker/on-connect.js';
import { decodeAuth } from '../codec/auth.js';
import { ConnectError, decodeConnect } from '../codec/connect.js';
import type { ConnectPacket } from '../codec/control-packets.js';
import { PacketType, type ProtocolVersion } from '../spec/packet-types.js';
import { ReasonCode } from '../spec/reason-codes.js';
import type { MountPoint } from '../topic/mount-point.js';
import { Authentication, type AuthenticationDecision } from './authentication.js';

/** What a handshake asks of its connection. */
export interface HandshakePort {
  readonly address: string;
  readonly mountPoint: MountPoint | null;
  /** The CONNECT is understood: the connection speaks its version from now on. */
  greet(packet: ConnectPacket): void;
  accept(packet: ConnectPacket, authentication: Authentication, userName: string | null, data: Buffer | null): void;
  /** Answers CONNACK with a failure and closes. */
  refuse(refusal: Refusal, version: ProtocolVersion): void;
  /** Closes without a packet. */
  drop(reason: string): void;
  sendAuth(reasonCode: number, method: string, data: Buffer | null): void;
  /** Takes no input until `work` is settled, then handles it where errors end the connection only. */
  await<T>(work: Promise<T>, handle: (result: T) => void): void;
}

/** First bytes of what speaks to the wrong listener: the log tells its operator more than that it was no CONNECT. */
const strangers: Readonly<Record<number, string>> = {
  13: 'a header of the PROXY protocol, which listeners with proxyProtocol take',
  71: 'HTTP, which listeners of type ws and wss speak',
  80: 'a header of the PROXY protocol, which listeners with proxyProtocol take',
};

/** From the first byte to CONNACK: CONNECT, and the AUTH packets of an enhanced authentication. @see MQTT 5 §4.12 */
export class Handshake {
  private readonly core: BrokerCore;
  private readonly port: HandshakePort;
  private readonly certificateUser: string | null;
  private packet: ConnectPacket | null = null;
  private authentication: Authentication | null = null;

  /** @param certificateUser whom the client's certificate names; null if nothing is taken from one */
  constructor(core: BrokerCore, port: HandshakePort, certificateUser: string | null) {
    this.core = core;
    this.port = port;
    this.certificateUser = certificateUser;
  }

  /** Looks at the first byte of a packet: what is no CONNECT need not come to its end, or to the time limit. */
  onPacketStart(byte: number): void {
    if (this.packet !== null || byte >> 4 === PacketType.connect) return;
    const stranger = strangers[byte];
    // [MQTT-3.1.0-1] nothing is answered: there is no protocol yet to answer in
    this.port.drop(`the first packet is not CONNECT${stranger === undefined ? '' : `, but ${stranger}`}`);
  }

  /** Takes a packet that comes before CONNACK. @throws ProtocolError */
  onFrame(buffer: Buffer, frameStart: number, bodyStart: number, end: number): void {
    const packetType = buffer[frameStart] >> 4;
    if (this.packet !== null && this.authentication !== null) {
      this.onAuth(this.packet, this.authentication, packetType, buffer, frameStart, bodyStart, end);
      return;
    }
    assert(packetType === PacketType.connect, 'what is no CONNECT was dropped at its first byte');
    this.packet = decodeConnect(buffer, frameStart, bodyStart, end);
    const packet = mounted(this.packet, this.port.mountPoint);
    this.packet = packet;
    this.port.greet(packet);
    const refusal = this.core.check(packet);
    if (refusal !== null) {
      this.port.refuse(refusal, packet.version);
      return;
    }
    const { hooks, timers, settings } = this.core.context;
    const deadline = { timers, seconds: settings.authenticationTimeout };
    const shown = { packet, address: this.port.address, certificateUser: this.certificateUser };
    const authentication = new Authentication(hooks, shown, deadline);
    this.authentication = authentication;
    this.settle(authentication.begin(), packet, authentication);
  }

  /** Answers what broke the protocol before CONNACK, in the version that the client has shown to speak. */
  onProtocolError(error: ProtocolError): void {
    const version = error instanceof ConnectError ? error.version : (this.packet?.version ?? 0);
    if (version === 0) this.port.drop(error.message);
    else this.port.refuse({ reasonCode: error.reasonCode, reason: error.message }, version);
  }

  private onAuth(
    packet: ConnectPacket,
    authentication: Authentication,
    packetType: number,
    buffer: Buffer,
    frameStart: number,
    bodyStart: number,
    end: number,
  ): void {
    if (packetType === PacketType.disconnect) {
      this.port.drop('the client gave up its authentication');
      return;
    }
    // [MQTT-3.1.2-30]
    if (packetType !== PacketType.auth) {
      throw new ProtocolError(ReasonCode.protocolError, 'a packet other than AUTH before CONNACK');
    }
    const auth = decodeAuth(buffer, frameStart, bodyStart, end, packet.version);
    checkAuth(auth.reasonCode, auth.authenticationMethod, authentication, ReasonCode.continueAuthentication);
    const data = auth.authenticationData === null ? null : Buffer.from(auth.authenticationData);
    this.settle(authentication.step(data, false), packet, authentication);
  }

  private settle(
    decision: AuthenticationDecision | Promise<AuthenticationDecision>,
    packet: ConnectPacket,
    authentication: Authentication,
  ): void {
    if (decision instanceof Promise) {
      this.port.await(decision, (result) => this.settle(result, packet, authentication));
    } else if (decision.kind === 'accepted') {
      this.port.accept(packet, authentication, decision.userName, decision.data);
    } else if (decision.kind === 'continue') {
      // [MQTT-4.12.0-2]
      this.port.sendAuth(ReasonCode.continueAuthentication, authentication.method ?? '', decision.data);
    } else {
      this.core.context.metrics.authenticationsFailed++;
      this.port.refuse(decision, packet.version); // [MQTT-4.12.0-4]
    }
  }
}

/** The CONNECT with the broker's name for the topic of its will. */
function mounted(packet: ConnectPacket, mountPoint: MountPoint | null): ConnectPacket {
  const { will } = packet;
  if (will === null || mountPoint === null) return packet;
  return { ...packet, will: { ...will, topicName: mountPoint.topic(will.topicName) } };
}

/** [MQTT-4.12.0-3] [MQTT-4.12.0-5] an AUTH goes on with the method of CONNECT. @throws ProtocolError */
export function checkAuth(
  reasonCode: number,
  method: string | null,
  authentication: Authentication,
  expected: number,
): void {
  if (authentication.method === null) {
    // [MQTT-4.12.0-7]
    throw new ProtocolError(ReasonCode.protocolError, 'AUTH without an Authentication Method in CONNECT');
  }
  if (method !== authentication.method) {
    throw new ProtocolError(ReasonCode.protocolError, 'AUTH with another method than CONNECT');
  }
  if (reasonCode !== expected) {
    throw new ProtocolError(ReasonCode.protocolError, `AUTH with reason code ${reasonCode} here, §4.12`);
  }
}
