import { randomUUID } from 'node:crypto';
import { encodeConnack } from '../codec/connack.js';
import type { ConnackProperties, ConnectPacket, WillRequest } from '../codec/control-packets.js';
import { readResponseTopic } from '../codec/publish.js';
import { Cause } from '../receipts/causes.js';
import { identityKeyOf } from '../receipts/identities.js';
import { encodeSegment, isReceiptsTopic } from '../receipts/names.js';
import { asksForReceipts, noRequest, parseRequest } from '../receipts/request.js';
import { InflightBytes } from '../session/inflight-bytes.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { countLevels } from '../topic/names.js';
import { ClientIdTemplate } from './client-id-template.js';
import type { Context } from './context.js';
import { type Holds, heldPublishKind } from './holds.js';
import { receiptAccess } from './receipt-access.js';
import type { ReceiptReplays } from './receipt-replays.js';
import type { SendWindow } from './send-window.js';
import type { SessionLifecycle } from './session-lifecycle.js';
import { applyRules, namesAnotherPublisher } from './tracking.js';
import type { Wills } from './wills.js';

/** A CONNECT that the broker does not accept. */
export interface Refusal {
  readonly reasonCode: number;
  readonly reason: string;
  /** Where the client should go instead. */
  readonly serverReference?: string | undefined;
}

/** An accepted CONNECT. */
export interface Accepted {
  readonly session: Session;
  /** Keep alive in force, seconds; 0 for none. */
  readonly keepAliveSeconds: number;
}

/** For clients of 3.x, whose CONNACK has none. */
const noProperties: ConnackProperties = {};

const refuse = (reasonCode: number, reason: string): Refusal => ({ reasonCode, reason });

function refuseTo(isPermanent: boolean): Refusal {
  return isPermanent
    ? refuse(ReasonCode.serverMoved, 'the broker has moved')
    : refuse(ReasonCode.useAnotherServer, 'use another server for now');
}

/** The rules of CONNECT. @see MQTT 5 §3.1.4 */
export class OnConnect {
  private readonly context: Context;
  private readonly lifecycle: SessionLifecycle;
  private readonly wills: Wills;
  private readonly window: SendWindow;
  private readonly holds: Holds;
  private readonly replays: ReceiptReplays;
  private readonly template: ClientIdTemplate | null;

  constructor(
    context: Context,
    lifecycle: SessionLifecycle,
    wills: Wills,
    window: SendWindow,
    holds: Holds,
    replays: ReceiptReplays,
  ) {
    this.context = context;
    this.lifecycle = lifecycle;
    this.wills = wills;
    this.window = window;
    this.holds = holds;
    this.replays = replays;
    const { clientIdTemplate } = context.settings;
    this.template = clientIdTemplate === undefined ? null : new ClientIdTemplate(clientIdTemplate);
  }

  /** What is wrong with a CONNECT whatever its credentials; null if nothing is. [MQTT-3.1.4-2] */
  check(packet: ConnectPacket): Refusal | null {
    const { settings } = this.context;
    const { redirect } = settings;
    if (redirect !== undefined) return { ...refuseTo(redirect.permanent), serverReference: redirect.to };
    const method = packet.authenticationMethod;
    if (method !== null && !Object.hasOwn(this.context.hooks.enhancedAuthentication ?? {}, method)) {
      // [MQTT-4.12.0-1]
      return refuse(ReasonCode.badAuthenticationMethod, 'this authentication method is not configured');
    }
    if (packet.clientId === '') {
      // [MQTT-3.1.3-6] 3.1.1 may leave its identifier out with CleanSession only, 3.1 never
      const allowed = packet.version === 5 || (packet.version === 4 && packet.cleanStart);
      if (!allowed || !settings.allowEmptyClientId) {
        return refuse(ReasonCode.clientIdentifierNotValid, 'an empty client identifier: give one');
      }
    }
    if (Buffer.byteLength(packet.clientId) > settings.maximumClientIdLength) {
      const limit = settings.maximumClientIdLength;
      // [MQTT-3.1.3-8]
      return refuse(ReasonCode.clientIdentifierNotValid, `a client identifier may have ${limit} bytes`);
    }
    return packet.will === null ? null : this.checkWill(packet.will, packet.clientId);
  }

  private checkWill(will: WillRequest, clientId: string): Refusal | null {
    const { settings } = this.context;
    // [MQTT-3.2.2-12]
    if (will.qos > settings.maximumQos) return refuse(ReasonCode.qosNotSupported, 'the will is above Maximum QoS');
    if (will.retain && !settings.retainAvailable) {
      return refuse(ReasonCode.retainNotSupported, 'a retained will with Retain Available 0'); // [MQTT-3.2.2-13]
    }
    const { maximumMessageSize } = settings;
    if (maximumMessageSize > 0 && will.payload.length > maximumMessageSize) {
      return refuse(ReasonCode.quotaExceeded, `a message may have ${maximumMessageSize} bytes`);
    }
    if (countLevels(will.topicName) > settings.maximumTopicLevels) {
      return refuse(ReasonCode.topicNameInvalid, `a topic name may have ${settings.maximumTopicLevels} levels`);
    }
    if (will.topicName.startsWith('$SYS/') || (settings.receipts.enabled && isReceiptsTopic(will.topicName))) {
      return refuse(ReasonCode.notAuthorized, `nothing under ${will.topicName.split('/')[0]}/ can be published`);
    }
    if (!settings.receipts.enabled) return null;
    const responseTopic = readResponseTopic(will.properties);
    if (responseTopic !== null && namesAnotherPublisher(responseTopic, clientId)) {
      return refuse(ReasonCode.notAuthorized, "the will's response topic names another publisher");
    }
    const asks = will.userProperties.some(([name]) => name.startsWith('receipt'));
    const request = asks ? parseRequest(will.userProperties, will.qos, true) : noRequest;
    const decided = typeof request === 'string' ? request : applyRules(this.context, request, will.topicName);
    return typeof decided === 'string' ? refuse(ReasonCode.implementationSpecificError, decided) : null;
  }

  /** Begins or resumes the client's session and answers CONNACK; or says why not. */
  accept(link: Link, packet: ConnectPacket, userName: string | null, data: Buffer | null): Accepted | Refusal {
    const { settings, sessions, persistence, turns } = this.context;
    const before = persistence.uncommitted;
    const clientId = packet.clientId === '' ? this.assignClientId(userName) : packet.clientId;
    if (this.template !== null && !this.mayHave(this.template, clientId, packet.clientId, userName)) {
      return refuse(ReasonCode.clientIdentifierNotValid, "the client identifier is not one of this user's");
    }
    const known = sessions.get(clientId);
    // Receipts belong to identifier and user: nobody gets at another user's by taking over its identifier.
    if (known !== undefined && known.userName !== userName) {
      return refuse(ReasonCode.notAuthorized, "the client identifier is in use by another user's session");
    }
    if (known === undefined && sessions.size >= settings.maximumSessions) {
      return refuse(ReasonCode.quotaExceeded, 'the broker has no room for more sessions');
    }
    const asks = packet.will !== null && asksForReceipts(packet.will.userProperties);
    if (asks && settings.receipts.enabled && receiptAccess(this.context, { clientId, userName }) === 'none') {
      return refuse(ReasonCode.notAuthorized, 'this client may not ask for receipts');
    }
    const requested = packet.sessionExpirySeconds ?? 0;
    const expirySeconds = Math.min(requested, settings.maximumSessionExpiry);
    if (expirySeconds > 0 && !persistence.healthy) {
      return refuse(ReasonCode.serverUnavailable, 'the store can not record sessions now');
    }
    const keepAliveSeconds = this.keepAlive(packet);
    const sessionPresent = known !== undefined && keeps(known, packet.cleanStart);
    const properties =
      packet.version === 5
        ? this.connackProperties(packet, clientId, expirySeconds, requested, keepAliveSeconds, data)
        : noProperties;
    const fields = { sessionPresent, reasonCode: ReasonCode.success, properties };
    const connack = encodeConnack(fields, packet.version, packet.maximumPacketSize);
    // [MQTT-3.1.2-24]
    if (connack === null) return refuse(ReasonCode.packetTooLarge, 'CONNACK is above the Maximum Packet Size');
    const resumed = known === undefined ? null : this.takeOver(known, packet.cleanStart);
    const session = resumed ?? this.lifecycle.begin(clientId, userName, packet.version, expirySeconds);
    this.attach(session, link, packet, expirySeconds, requested);
    if (session.stored) persistence.restartRows.putSession(session);

    const waits = persistence.uncommitted !== before || (!sessionPresent && this.lifecycle.isEnding);
    turns.bytes(link, connack, waits);
    // CONNACK comes before everything else. [MQTT-3.2.0-1]
    if (waits) link.publishGate = link.greetingGate = link.answerGate;
    if (resumed !== null) this.resume(session);
    return { session, keepAliveSeconds };
  }

  /** Ends the old connection, and the old session unless it goes on; returns it if it does. [MQTT-3.1.4-3] */
  private takeOver(known: Session, cleanStart: boolean): Session | null {
    const { link } = known;
    if (link !== null) {
      this.context.metrics.takeovers++;
      known.link = null;
      link.close(ReasonCode.sessionTakenOver, 'the client connected again');
      // A will without delay goes out: the old connection closed without DISCONNECT. [MQTT-3.1.2-8]
      if (known.will !== null && known.will.delaySeconds === 0) this.wills.publishNow(known);
    }
    if (keeps(known, cleanStart)) {
      this.wills.cancel(known); // [MQTT-3.1.3-9]
      this.context.timers.cancel(known.expiryTimer);
      return known;
    }
    let cause: Cause = Cause.cleanStart;
    if (!cleanStart) cause = Cause.takenOver;
    this.lifecycle.end(known, cause); // [MQTT-3.1.2-4] [MQTT-3.1.4-4]
    return null;
  }

  private attach(session: Session, link: Link, packet: ConnectPacket, expirySeconds: number, requested: number): void {
    session.link = link;
    if (session.mountPoint !== link.mountPoint) {
      session.mountPoint = link.mountPoint;
      // It came by another listener: what it is sent is another part of the tree.
      if (session.subscriptions.size > 0) this.context.routes.forget();
    }
    session.version = packet.version;
    session.expirySeconds = expirySeconds;
    session.requestedExpirySeconds = requested;
    session.disconnectedAtMs = 0;
    session.expiryTimer = null;
    const { maximumInflightMessages, maximumInflightBytes } = this.context.settings;
    session.sendQuotaMax = Math.min(packet.receiveMaximum, maximumInflightMessages);
    session.inflightBytes = maximumInflightBytes > 0 ? new InflightBytes(maximumInflightBytes) : null;
    session.sendQuota = session.sendQuotaMax; // [MQTT-4.9.0-1]
    session.will = packet.will;
  }

  private resume(session: Session): void {
    if (session.restored) {
      session.restored = false;
      for (const row of this.context.persistence.readInbound(session.number)) {
        const { packetId, reasonCode, sequence, matched } = row;
        if (row.kind === heldPublishKind) this.holds.restore(session, packetId, identityKeyOf(session), sequence);
        else session.inbound.hold(packetId, { reasonCode, sequence, matched });
      }
    }
    this.window.resume(session);
    this.replays.goOn(session);
  }

  private keepAlive(packet: ConnectPacket): number {
    const { maximumKeepAlive } = this.context.settings;
    const asked = packet.keepAliveSeconds;
    // A limit can not be announced to 3.x: there the client's own value holds. [MQTT-3.2.2-22]
    if (packet.version !== 5 || maximumKeepAlive >= 65_535) return asked;
    return asked === 0 || asked > maximumKeepAlive ? maximumKeepAlive : asked;
  }

  private connackProperties(
    packet: ConnectPacket,
    clientId: string,
    expirySeconds: number,
    requested: number,
    keepAliveSeconds: number,
    authenticationData: Buffer | null,
  ): ConnackProperties {
    const { settings } = this.context;
    const unless = <T>(value: T, usual: T): T | undefined => (value === usual ? undefined : value);
    return {
      assignedClientId: packet.clientId === '' ? clientId : undefined, // [MQTT-3.1.3-7]
      sessionExpirySeconds: unless(expirySeconds, requested),
      serverKeepAlive: unless(keepAliveSeconds, packet.keepAliveSeconds), // [MQTT-3.2.2-21]
      receiveMaximum: unless(settings.receiveMaximum, 65_535),
      maximumPacketSize: settings.maximumPacketSize,
      topicAliasMaximum: unless(settings.topicAliasMaximum, 0),
      maximumQos: settings.maximumQos === 2 ? undefined : settings.maximumQos, // [MQTT-3.2.2-9]
      retainAvailable: unless(settings.retainAvailable, true),
      wildcardSubscriptionAvailable: unless(settings.wildcardSubscriptionAvailable, true),
      subscriptionIdentifiersAvailable: unless(settings.subscriptionIdentifiersAvailable, true),
      sharedSubscriptionAvailable: unless(settings.sharedSubscriptionAvailable, true),
      responseInformation: this.responseInformation(packet, clientId),
      authenticationMethod: packet.authenticationMethod ?? undefined, // [MQTT-4.12.0-5] [MQTT-4.12.0-6]
      authenticationData: authenticationData ?? undefined,
    };
  }

  /** [MQTT-3.1.2-28] only for clients that ask, and where a prefix is configured. */
  private responseInformation(packet: ConnectPacket, clientId: string): string | undefined {
    const { responseTopicPrefix } = this.context.settings;
    if (!packet.requestResponseInformation || responseTopicPrefix === undefined) return undefined;
    return `${responseTopicPrefix}${encodeSegment(clientId)}`;
  }

  /** [MQTT-3.2.2-16] */
  private assignClientId(userName: string | null): string {
    return this.template === null || userName === null ? `auto-${randomUUID()}` : this.template.assign(userName);
  }

  /** Where identifiers belong to users, who has no user name may have none but what the broker assigns. */
  private mayHave(template: ClientIdTemplate, clientId: string, given: string, userName: string | null): boolean {
    return userName === null ? given === '' : template.owns(userName, clientId);
  }
}

/** True if a known session goes on with a new connection. [MQTT-3.1.2-5] */
function keeps(known: Session, cleanStart: boolean): boolean {
  return !cleanStart && known.expirySeconds > 0;
}
