import type { Clock } from '../base/clock.js';
import { type CountersignError, ProtocolError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { SequenceSource } from '../base/sequence.js';
import type { ConnectPacket, DisconnectPacket, SubscribePacket, UnsubscribePacket } from '../codec/control-packets.js';
import type { PublishView } from '../codec/publish.js';
import type { Settings } from '../config/schema.js';
import { Cause } from '../receipts/causes.js';
import { Housekeeping } from '../receipts/housekeeping.js';
import { RecordStore } from '../receipts/record-store.js';
import { RequestReader } from '../receipts/request-reader.js';
import type { TrackedMessage } from '../receipts/tracked-message.js';
import { Tracker } from '../receipts/tracker.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import type { Subscription } from '../session/subscription.js';
import { PacketType } from '../spec/packet-types.js';
import { ReasonCode } from '../spec/reason-codes.js';
import type { Store } from '../store/store.js';
import type { Context } from './context.js';
import { FanOut } from './fan-out.js';
import { Holds } from './holds.js';
import type { Hooks } from './hooks.js';
import { LargeFanOuts } from './large-fan-outs.js';
import { Metrics } from './metrics.js';
import { Offers } from './offers.js';
import { OnAck } from './on-ack.js';
import { type Accepted, OnConnect, type Refusal } from './on-connect.js';
import { OnPublish } from './on-publish.js';
import { OnSubscribe } from './on-subscribe.js';
import { Persistence } from './persistence.js';
import { ReceiptDelivery } from './receipt-delivery.js';
import { ReceiptReplays } from './receipt-replays.js';
import { recover } from './recovery.js';
import { Retained } from './retained.js';
import { Rights } from './rights.js';
import { Routes } from './routes.js';
import { SendWindow } from './send-window.js';
import { type Published, type PublishRequest, ServerPublish } from './server-publish.js';
import { ServerReceipts } from './server-receipts.js';
import { SessionLifecycle } from './session-lifecycle.js';
import { SessionSweeps } from './session-sweeps.js';
import { type Sizes, usualSizes } from './sizes.js';
import { SoleOutput } from './sole-output.js';
import { SoleRecipients } from './sole-recipients.js';
import { StandingCohorts } from './standing-cohorts.js';
import { awaitsReceipts } from './stored-queues.js';
import { StoredTimers } from './stored-timers.js';
import { Subscriptions } from './subscriptions.js';
import { SysTopics } from './sys-topics.js';
import { Timers } from './timers.js';
import { Turns } from './turn.js';
import { TurnBudget } from './turn-budget.js';
import { TurnClock } from './turn-clock.js';
import { UnrecordedSends } from './unrecorded-sends.js';
import { Wills } from './wills.js';

/**
 * The broker without sockets: owns sessions, topic indexes and timers over a store, and takes decoded packets from
 * links. Every method that takes input decides at once and adds to the turn under way.
 */
export class BrokerCore {
  readonly context: Context;
  /** Told how long each tracked message took to its final tally, in ms; null unless somebody measures. */
  onTrackedFinished: ((durationMs: number) => void) | null = null;
  private readonly housekeepingMs: number;
  private readonly receipts: ReceiptDelivery;
  private readonly serverReceipts: ServerReceipts;
  private readonly serverPublish: ServerPublish;
  private readonly replays: ReceiptReplays;
  private readonly holds: Holds;
  private readonly fanOut: FanOut;
  private readonly largeFanOuts: LargeFanOuts;
  private readonly onPublish: OnPublish;
  private readonly onAck: OnAck;
  private readonly onSubscribe: OnSubscribe;
  private readonly onConnect: OnConnect;
  private readonly sweeps: SessionSweeps;
  private readonly lifecycle: SessionLifecycle;
  private readonly window: SendWindow;
  private readonly retained: Retained;
  private readonly wills: Wills;
  private readonly subscriptions: Subscriptions;
  private readonly storedTimers: StoredTimers;

  /** @param ownSizes other than the usual ones */
  constructor(
    settings: Settings,
    store: Store,
    systemClock: Clock,
    log: Log,
    hooks: Hooks = {},
    ownSizes: Partial<Sizes> = {},
  ) {
    const sizes = { ...usualSizes, ...ownSizes };
    const persistence = new Persistence(store);
    const clock = new TurnClock(systemClock);
    const soleOutput = new SoleOutput(settings.nodeNumber);
    const turns = new Turns(clock, store, soleOutput, sizes);
    const sequences = new SequenceSource(clock, persistence.sequenceFloor);
    const records = new RecordStore(store);
    const tracker = new Tracker(records, clock, settings.nodeNumber, {
      emit: (record, kind, state, recipientKey, row) => this.receipts.emit(record, kind, state, recipientKey, row),
      finished: (record) => {
        this.holds.resolve(record);
        this.onTrackedFinished?.(clock.now() - record.acceptedAtMs);
      },
    });
    const housekeeping = new Housekeeping(records, tracker, clock, settings.receipts, (record) =>
      awaitsReceipts(this.context, record),
    );
    const rights = new Rights(
      hooks,
      settings.listeners.some(({ mountPoint }) => mountPoint !== undefined),
    );
    const mayFollow = (subscription: Subscription, topicName: string): boolean =>
      rights.mayFollow(subscription, topicName);
    const budget = new TurnBudget(clock, turns);
    const context: Context = {
      ...{ settings, clock, log, turns, persistence, sequences, tracker, records, housekeeping, hooks, rights },
      requests: new RequestReader(),
      budget,
      unrecorded: new UnrecordedSends(clock, turns, persistence),
      cohorts: new StandingCohorts(clock, turns, persistence, records, tracker, sizes),
      metrics: new Metrics(),
      timers: new Timers(clock),
      routes: new Routes(rights.isLimited ? mayFollow : null, (found) => budget.spend(found)),
      sessions: new Map(),
      storedSessions: new Map(),
    };
    this.context = context;
    const { retention, maxPending } = settings.receipts;
    this.housekeepingMs = Math.min(60_000, Math.max(1000, Math.min(retention, maxPending) * 100));
    const offers = new Offers(context);
    this.replays = new ReceiptReplays(context);
    this.serverReceipts = new ServerReceipts(context);
    this.receipts = new ReceiptDelivery(context, offers, this.replays, this.serverReceipts);
    this.holds = new Holds(context);
    this.fanOut = new FanOut(context, offers);
    this.largeFanOuts = new LargeFanOuts(context, offers, this.fanOut, sizes);
    this.retained = new Retained(context, offers);
    this.window = new SendWindow(context);
    const soles = new SoleRecipients(context, offers, this.receipts, soleOutput.answerBytes, (durationMs) =>
      this.onTrackedFinished?.(durationMs),
    );
    this.onPublish = new OnPublish(context, this.fanOut, this.retained, this.holds, this.largeFanOuts, soles);
    this.serverPublish = new ServerPublish(context, this.onPublish, this.retained, this.serverReceipts);
    this.wills = new Wills(context, this.onPublish);
    this.subscriptions = new Subscriptions(context, this.receipts);
    this.sweeps = new SessionSweeps(context, this.fanOut, this.largeFanOuts);
    this.lifecycle = new SessionLifecycle(
      context,
      this.wills,
      this.subscriptions,
      this.holds,
      this.largeFanOuts,
      this.sweeps,
    );
    this.onAck = new OnAck(context, this.window, soles);
    this.onSubscribe = new OnSubscribe(context, this.subscriptions, this.retained, this.replays);
    this.onConnect = new OnConnect(context, this.lifecycle, this.wills, this.window, this.holds, this.replays);
    this.storedTimers = new StoredTimers(context, this.retained);
    turns.beforeSeal = () => {
      persistence.reserveSequences(sequences.current);
      records.putTurn();
    };
    store.onHealthChange = (error) => this.onStoreHealth(error);
  }

  /** Retained messages, without the broker's own. */
  get retainedMessages(): number {
    return this.retained.size;
  }

  /** Messages that are being offered to large cohorts. */
  get largeFanOutsUnderWay(): number {
    return this.largeFanOuts.size;
  }

  /** Sessions that have ended and whose deliveries are still to be. */
  get sessionsEnding(): number {
    return this.sweeps.size;
  }

  /** Deliveries under way for which a stored cohort speaks. */
  get cohortDeliveries(): number {
    return this.context.cohorts.unwritten;
  }

  /** Messages sent from stored queues whose rows do not say so yet. */
  get unrecordedSends(): number {
    return this.context.unrecorded.size;
  }

  /** Takes the options that may change while clients are connected. */
  reload({ tracking }: Settings): void {
    this.context.settings = { ...this.context.settings, tracking };
  }

  /** Brings back what the store holds. Call once, before the first link. */
  start(): void {
    const { lifecycle, sweeps, subscriptions, retained, wills, replays, largeFanOuts } = this;
    recover(this.context, { lifecycle, sweeps, subscriptions, retained, wills, replays, largeFanOuts });
    this.storedTimers.start();
    this.keepHouse();
    new SysTopics(this.context, this.fanOut, this.retained).start();
    this.context.turns.begin();
  }

  /** Commits what is decided and stops the timers; links are the caller's to close, before. */
  stop(): void {
    // Before the timers: what moves to another member may begin some.
    this.sweeps.finishInMemory();
    this.context.timers.stop();
    this.context.unrecorded.recordAll();
    this.context.turns.sealNow();
    this.context.clock.stop();
  }

  /** The store has closed: what the embedding program still waits for will not come. */
  abandon(error: CountersignError): void {
    this.serverPublish.close(error);
    this.serverReceipts.close(error);
  }

  /** The embedding program publishes. Throws at once what is wrong with the request. */
  publishFromServer(request: PublishRequest): Promise<Published | TrackedMessage> {
    return this.serverPublish.publish(request);
  }

  /** What is wrong with a CONNECT whatever its credentials; null if nothing is. */
  check(packet: ConnectPacket): Refusal | null {
    return this.onConnect.check(packet);
  }

  /**
   * A CONNECT that was checked, and whose client is who it says. Answers it, unless it is refused.
   * @param data Authentication Data of the success CONNACK
   */
  connect(link: Link, packet: ConnectPacket, userName: string | null, data: Buffer | null): Accepted | Refusal {
    this.context.turns.begin();
    return this.onConnect.accept(link, packet, userName, data);
  }

  publish(session: Session, link: Link, view: PublishView, topicName: string): void {
    this.context.turns.begin();
    this.onPublish.publish(session, link, view, topicName);
  }

  /** PUBACK, PUBREC or PUBCOMP from a subscriber, PUBREL from a publisher. */
  acknowledge(
    session: Session,
    link: Link,
    packetType: number,
    packetId: number,
    reasonCode: number,
    reasonString: string | null,
  ): void {
    this.context.turns.begin();
    if (packetType === PacketType.pubrel) this.onAck.release(session, link, packetId);
    else this.onAck.acknowledge(session, link, packetType, packetId, reasonCode, reasonString);
    this.goOn(session);
  }

  subscribe(session: Session, link: Link, packet: SubscribePacket): void {
    this.context.turns.begin();
    this.onSubscribe.subscribe(session, link, packet);
  }

  unsubscribe(session: Session, link: Link, packet: UnsubscribePacket): void {
    this.context.turns.begin();
    this.onSubscribe.unsubscribe(session, link, packet);
  }

  /** The client says goodbye; its connection is about to end. @see MQTT 5 §3.14.4 */
  disconnect(session: Session, packet: DisconnectPacket): void {
    const { sessionExpirySeconds, reasonCode } = packet;
    if (sessionExpirySeconds !== null) {
      if (sessionExpirySeconds > 0 && session.requestedExpirySeconds === 0) {
        throw new ProtocolError(ReasonCode.protocolError, 'a session expiry after CONNECT had none, §3.14.2.2.2');
      }
      session.expirySeconds = Math.min(sessionExpirySeconds, this.context.settings.maximumSessionExpiry);
    }
    this.connectionGone(session, reasonCode !== ReasonCode.success);
  }

  /** A session's connection is gone. @param withWill false if the client dropped its will */
  connectionGone(session: Session, withWill: boolean): void {
    this.context.turns.begin();
    this.lifecycle.connectionGone(session, withWill, Cause.disconnected);
  }

  /** Ends the connections of these users (0x87); their sessions stay. */
  disconnectUsers(users: ReadonlySet<string>, reason: string): void {
    this.context.turns.begin();
    for (const { userName, link } of [...this.context.sessions.values()]) {
      if (userName !== null && users.has(userName)) link?.close(ReasonCode.notAuthorized, reason);
    }
  }

  /** Ends a connection (0x98), and the session with it if wanted. */
  endByOperator(session: Session, withSession: boolean): void {
    this.context.turns.begin();
    session.link?.close(ReasonCode.administrativeAction, 'ended by the operator');
    if (withSession) this.lifecycle.end(session, Cause.deleted);
  }

  /** What the hooks say of clients' rights has changed: they are asked again, from the next message on. */
  rightsChanged(): void {
    this.context.rights.forget();
    this.context.routes.forget();
  }

  /** A link that was slow takes output again. */
  drained(session: Session): void {
    this.context.turns.begin();
    this.context.budget.enter(null);
    this.window.refill(session);
    this.goOn(session);
  }

  /** Old records go, a slice per turn while there is work, else now and then. */
  private keepHouse(): void {
    const { timers, turns, housekeeping } = this.context;
    turns.begin();
    const delayMs = housekeeping.run() ? 1 : this.housekeepingMs;
    timers.after(delayMs, () => this.keepHouse());
  }

  /** Replays go on as their session takes more. */
  private goOn(session: Session): void {
    if (this.retained.replaying > 0) this.retained.goOn(session);
    if (this.replays.size > 0) this.replays.goOn(session);
  }

  private onStoreHealth(error: Error | null): void {
    const { log, metrics } = this.context;
    if (error !== null) metrics.storeFailures++;
    if (error === null) log.info({}, 'the store records again: QoS 1 and 2 are accepted');
    else log.error({ error: error.message }, 'the store can not record: QoS 1 and 2 are refused until it can');
  }
}
