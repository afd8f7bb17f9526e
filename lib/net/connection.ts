import type { Duplex } from 'node:stream';
import { ProtocolError } from '../base/errors.js';
import type { Refusal } from '../broker/on-connect.js';
import { ackFirstByte } from '../codec/acks.js';
import { decodeAuth, encodeAuth } from '../codec/auth.js';
import { encodeConnack } from '../codec/connack.js';
import { ConnectError } from '../codec/connect.js';
import type { ConnectPacket } from '../codec/control-packets.js';
import { decodeDisconnect, encodeDisconnect } from '../codec/disconnect.js';
import { type FrameSink, FrameSplitter } from '../codec/frame-splitter.js';
import { decodePingreq } from '../codec/ping.js';
import type { PublishFrame } from '../codec/publish-frame.js';
import { decodeSubscribe, decodeUnsubscribe } from '../codec/subscribe.js';
import { type Link, LinkGates } from '../session/link.js';
import type { Session, TimerHandle } from '../session/session.js';
import { PacketType, type ProtocolVersion } from '../spec/packet-types.js';
import { ReasonCode } from '../spec/reason-codes.js';
import type { MountPoint } from '../topic/mount-point.js';
import type { Authentication } from './authentication.js';
import { ConnectionLog } from './connection-log.js';
import type { ConnectionParts } from './connection-parts.js';
import { takeAck, takePublish } from './flow-packets.js';
import { Handshake, type HandshakePort } from './handshake.js';
import type { IncompleteHolder } from './incomplete-packets.js';
import { KeepAlive } from './keep-alive.js';
import type { Origin } from './origin.js';
import { Outbox } from './outbox.js';
import { ReAuthentication } from './re-authentication.js';
import { PauseReason, ReadPauses } from './read-pauses.js';
import { listenTo, type StreamSink } from './stream-events.js';
import { InboundTopicAliases } from './topic-aliases.js';
import type { Yielding } from './turn-yields.js';

/** How long a closing connection may take to deliver its last packet before the socket is cut. */
const closeGraceMs = 2000;

const Phase = { awaitingConnect: 0, connected: 1, closed: 2 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

/**
 * One network connection: bytes in, packets to the broker; packets from the broker, bytes out. Owns what lives as long
 * as the socket: phase, keep alive, topic aliases, the client's limits.
 */
export class Connection
  extends LinkGates
  implements Link, FrameSink, HandshakePort, StreamSink, Yielding, IncompleteHolder
{
  version: ProtocolVersion = 5;
  maximumPacketSize = 0;
  problemInformation = true;
  readonly address: string;
  readonly mountPoint: MountPoint | null;
  private readonly parts: ConnectionParts;
  private readonly stream: Duplex;
  private readonly splitter: FrameSplitter;
  readonly outbox: Outbox;
  private phase: Phase = Phase.awaitingConnect;
  private session: Session | null = null;
  private aliases: InboundTopicAliases | null = null;
  private timer: TimerHandle | null = null;
  private readonly keepAlive: KeepAlive;
  private dirty = false;
  private readonly pauses: ReadPauses;
  private handshake: Handshake | null;
  private reAuthentication: ReAuthentication | null = null;
  private readonly log: ConnectionLog;
  /** True once CONNACK has left. */
  private greeted = false;

  constructor(stream: Duplex, { address, certificateUser }: Origin, parts: ConnectionParts) {
    super();
    const { settings, clock, timers, metrics } = parts.core.context;
    this.stream = stream;
    this.address = address;
    this.mountPoint = parts.mountPoint ?? null;
    this.parts = parts;
    this.splitter = new FrameSplitter(settings.maximumPacketSize);
    this.outbox = new Outbox(stream, parts.pool, metrics);
    this.handshake = new Handshake(parts.core, this, certificateUser);
    this.keepAlive = new KeepAlive(clock, timers, this);
    this.pauses = new ReadPauses(stream, parts, this.keepAlive);
    this.timer = timers.after(settings.connectTimeout * 1000, () => this.drop('no CONNECT in time'));
    this.log = new ConnectionLog(parts, address);
    metrics.connectionsAccepted++;
    listenTo(stream, this);
  }

  get closed(): boolean {
    return this.phase === Phase.closed;
  }

  get slow(): boolean {
    const { maximumOutboxBytes, maximumOutboxBytesTotal } = this.parts.core.context.settings;
    return this.outbox.isBehind(maximumOutboxBytes, maximumOutboxBytesTotal);
  }

  onData(chunk: Buffer): void {
    if (this.closed) return;
    this.parts.core.context.metrics.bytesReceived += chunk.length;
    if (this.handshake !== null && this.splitter.bufferedBytes === 0) this.handshake.onPacketStart(chunk[0]);
    if (this.closed) return;
    this.parts.yields.enter(this, chunk.length);
    this.guard(() => this.splitter.push(chunk, this));
    this.afterInput();
  }

  private afterInput(): void {
    if (!this.closed) this.parts.incomplete.changed(this.splitter, this.splitter.bufferedBytes, this);
    if (!this.closed) this.pauses.check(this.slow, this);
  }

  giveUp(reasonCode: number, reason: string): void {
    if (this.phase === Phase.connected) this.close(reasonCode, reason);
    else this.drop(reason);
  }

  /** Everything a peer's input can throw ends here, with its connection. */
  private guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof ProtocolError) this.onProtocolError(error);
      else this.onBug(error);
    }
  }

  onFrame(buffer: Buffer, frameStart: number, bodyStart: number, end: number): boolean {
    if (this.closed) return false;
    const { core } = this.parts;
    this.keepAlive.packet();
    core.context.metrics.countReceived(buffer[frameStart] >> 4);
    core.context.budget.packet(buffer[frameStart] >> 4);
    if (this.handshake !== null) this.handshake.onFrame(buffer, frameStart, bodyStart, end);
    else this.onPacket(buffer, frameStart, bodyStart, end);
    return !this.closed && this.pauses.takesMore(this);
  }

  goOn(): void {
    this.parts.yields.enter(this, 0);
    this.guard(() => this.splitter.resume(this));
    if (!this.splitter.stopped || this.closed || this.pauses.isForHook) this.pauses.remove(PauseReason.turn);
    this.afterInput();
  }

  // ---- the handshake's port ----

  greet(packet: ConnectPacket): void {
    this.version = packet.version;
    this.maximumPacketSize = packet.maximumPacketSize;
    this.problemInformation = packet.requestProblemInformation;
    this.log.clientId = packet.clientId;
    const aliases = Math.min(packet.topicAliasMaximum, this.parts.core.context.settings.outboundTopicAliasMaximum);
    this.outbox.useAliases(aliases, packet.maximumPacketSize);
  }

  accept(packet: ConnectPacket, authentication: Authentication, userName: string | null, data: Buffer | null): void {
    const { core } = this.parts;
    const { settings, timers } = core.context;
    const decision = core.connect(this, packet, userName, data);
    if (!('session' in decision)) {
      this.refuse(decision, packet.version);
      return;
    }
    const { session, keepAliveSeconds } = decision;
    this.session = session;
    this.phase = Phase.connected;
    this.handshake = null;
    if (authentication.method !== null) this.reAuthentication = new ReAuthentication(authentication, this);
    if (packet.version === 5) this.aliases = new InboundTopicAliases(settings.topicAliasMaximum);
    timers.cancel(this.timer);
    this.timer = authentication.limit(this);
    this.keepAlive.start(keepAliveSeconds);
    this.log.connected(session.clientId, session.userName, packet.version);
  }

  sendAuth(reasonCode: number, method: string, data: Buffer | null): void {
    const packet = encodeAuth(reasonCode, method, data, null, this.maximumPacketSize);
    if (this.phase === Phase.connected) {
      this.parts.core.context.turns.bytes(this, packet, false); // not before CONNACK
    } else if (this.maximumPacketSize > 0 && packet.length > this.maximumPacketSize) {
      // [MQTT-3.1.2-24]
      this.refuse({ reasonCode: ReasonCode.packetTooLarge, reason: 'AUTH is above the Maximum Packet Size' }, 5);
    } else {
      this.outbox.bytes(packet);
      this.parts.core.context.metrics.countSent(PacketType.auth, reasonCode);
      this.touch();
    }
  }

  await<T>(work: Promise<T>, handle: (result: T) => void): void {
    this.pauses.add(PauseReason.hook);
    this.whenDone(work, (result) => {
      this.pauses.remove(PauseReason.hook);
      this.guard(() => handle(result));
      this.splitter.resume(this);
    });
  }

  whenDone<T>(work: Promise<T>, handle: (result: T) => void): void {
    work.then(
      (result) => {
        if (this.phase === Phase.closed) return;
        this.parts.core.context.turns.begin();
        this.guard(() => handle(result));
      },
      (error: unknown) => this.onBug(error),
    );
  }

  private onPacket(buffer: Buffer, frameStart: number, bodyStart: number, end: number): void {
    const session = this.session;
    if (session === null) return;
    const { core } = this.parts;
    const packetType = buffer[frameStart] >> 4;
    switch (packetType) {
      case PacketType.publish:
        takePublish(this.parts, session, this, this.aliases, buffer, frameStart, bodyStart, end);
        return;
      case PacketType.puback:
      case PacketType.pubrec:
      case PacketType.pubrel:
      case PacketType.pubcomp:
        takeAck(this.parts, session, this, buffer, frameStart, bodyStart, end);
        return;
      case PacketType.subscribe:
        core.subscribe(session, this, decodeSubscribe(buffer, frameStart, bodyStart, end, this.version));
        return;
      case PacketType.unsubscribe:
        core.unsubscribe(session, this, decodeUnsubscribe(buffer, frameStart, bodyStart, end, this.version));
        return;
      case PacketType.pingreq:
        decodePingreq(buffer, frameStart, bodyStart, end, this.version);
        core.context.turns.pong(this);
        return;
      case PacketType.disconnect:
        this.onDisconnect(session, buffer, frameStart, bodyStart, end);
        return;
      case PacketType.auth: {
        const packet = decodeAuth(buffer, frameStart, bodyStart, end, this.version);
        // [MQTT-4.12.0-7]
        if (this.reAuthentication === null) throw new ProtocolError(ReasonCode.protocolError, 'AUTH without a method');
        this.reAuthentication.onAuth(packet);
        return;
      }
      case PacketType.connect:
        throw new ProtocolError(ReasonCode.protocolError, 'a second CONNECT'); // [MQTT-3.1.0-2]
      default:
        throw new ProtocolError(ReasonCode.malformedPacket, `packet type ${packetType} from a client`);
    }
  }

  private onDisconnect(session: Session, buffer: Buffer, frameStart: number, bodyStart: number, end: number): void {
    const packet = decodeDisconnect(buffer, frameStart, bodyStart, end, this.version);
    this.parts.core.disconnect(session, packet);
    this.session = null;
    this.log.left(packet.reasonCode);
    const { turns } = this.parts.core.context;
    // [MQTT-3.14.4-2] once what answers earlier packets, CONNECT among them, is out [MQTT-3.1.4-5]
    if (this.answerGate > turns.released) turns.afterCommit(() => this.finish());
    else this.finish();
  }

  onDrain(): void {
    if (this.phase === Phase.closed) return;
    if (this.outbox.hasOutput) this.flush();
    if (this.stream.writableNeedDrain) return;
    this.pauses.remove(PauseReason.drain);
    if (this.session !== null) this.parts.core.drained(this.session);
  }

  onSilence(): void {
    this.close(ReasonCode.keepAliveTimeout, 'no packet for one and a half times the keep alive');
  }

  sendPublish(frame: PublishFrame, firstByte: number, packetId: number): void {
    if (this.phase === Phase.closed) return;
    this.outbox.publish(frame, firstByte, packetId);
    this.parts.core.context.metrics.publishesSent++;
    this.touch();
  }

  sendAck(packetType: number, packetId: number, reasonCode: number, encoded: PublishFrame | null): void {
    if (packetType === PacketType.puback) this.unansweredPublishes--;
    if (this.phase === Phase.closed) return;
    this.parts.core.context.metrics.countSent(packetType, reasonCode);
    if (encoded === null) this.outbox.ack(packetType, packetId, reasonCode, this.version);
    else this.outbox.packet(encoded, ackFirstByte(packetType), packetId);
    this.touch();
  }

  sendBytes(bytes: Buffer): void {
    if (this.phase === Phase.closed) return;
    this.greeted = true;
    if (this.maximumPacketSize > 0 && bytes.length > this.maximumPacketSize) {
      // [MQTT-3.1.2-24] an answer that is due and can not be sent
      this.close(ReasonCode.packetTooLarge, 'an answer is above the Maximum Packet Size of the client');
      return;
    }
    this.outbox.bytes(bytes);
    this.parts.core.context.metrics.countSent(bytes[0] >> 4, 0);
    this.touch();
  }

  private touch(): void {
    if (this.dirty) return;
    this.dirty = true;
    this.parts.core.context.turns.flushLater(this);
  }

  /** Writes what the turn gathered. */
  flush(): void {
    this.dirty = false;
    const { slow } = this;
    this.outbox.flush();
    // What the kernel takes whole makes no 'drain'.
    if (slow && !this.stream.writableNeedDrain) this.parts.core.context.clock.endOfTurn(() => this.onDrain());
  }

  private onProtocolError(error: ProtocolError): void {
    if (this.closed) return;
    this.log.protocolError(error);
    if (error instanceof ConnectError) this.maximumPacketSize = error.maximumPacketSize;
    if (this.phase === Phase.connected) this.close(error.reasonCode, error.message);
    else this.handshake?.onProtocolError(error);
  }

  private onBug(error: unknown): void {
    this.log.bug(error);
    this.giveUp(ReasonCode.unspecifiedError, 'internal error');
  }

  /** Answers CONNECT with a failure and closes. [MQTT-3.2.2-7] */
  refuse({ reasonCode, reason, serverReference }: Refusal, version: ProtocolVersion): void {
    this.log.refused(reasonCode, reason);
    // [MQTT-3.2.2-6]
    const fields = { sessionPresent: false, reasonCode, properties: { reasonString: reason, serverReference } };
    const connack = encodeConnack(fields, version, this.maximumPacketSize);
    if (connack !== null) this.outbox.bytes(connack);
    this.finish();
  }

  close(reasonCode: number, reason: string): void {
    if (this.phase === Phase.closed) return;
    const { session, parts } = this;
    // [MQTT-3.14.0-1] no DISCONNECT before a CONNACK that still waits for its commit
    if (this.phase === Phase.connected && this.version === 5 && this.greeted) {
      const text = this.problemInformation ? reason : null;
      this.outbox.bytes(encodeDisconnect(reasonCode, text, this.maximumPacketSize)); // [MQTT-4.13.1-1]
      parts.core.context.metrics.countSent(PacketType.disconnect, reasonCode);
    }
    this.log.closed(reasonCode, reason);
    this.session = null;
    // After a takeover the session is another connection's.
    if (session !== null && session.link === this) parts.core.connectionGone(session, true);
    this.finish();
  }

  /** Closes without a packet. */
  drop(reason: string): void {
    if (this.phase === Phase.closed) return;
    this.log.dropped(reason);
    this.finish();
  }

  /** Nothing more is read or decided; what is in the outbox still leaves, then the socket closes. */
  private finish(): void {
    if (this.phase === Phase.closed) return;
    const { timers } = this.parts.core.context;
    this.phase = Phase.closed;
    this.keepAlive.stop();
    timers.cancel(this.timer);
    this.timer = timers.after(closeGraceMs, () => this.stream.destroy());
    this.parts.incomplete.release(this.splitter);
    this.outbox.flush(true);
    this.stream.end();
    this.stream.resume();
  }

  onEnd(): void {
    if (this.phase !== Phase.closed) this.onStreamClosed();
  }

  onStreamClosed(): void {
    const { core, onClosed } = this.parts;
    this.keepAlive.stop();
    core.context.timers.cancel(this.timer);
    this.timer = null;
    const { session } = this;
    const wasOpen = this.phase !== Phase.closed;
    this.phase = Phase.closed;
    this.session = null;
    this.parts.incomplete.release(this.splitter);
    this.outbox.discard();
    if (wasOpen) this.log.lost();
    if (session !== null && session.link === this) this.guard(() => core.connectionGone(session, true));
    this.stream.destroy();
    onClosed.call(this.parts, this);
  }
}
