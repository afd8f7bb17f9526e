import type { Packet } from 'mqtt-packet';
import { type Log, silentLog } from '../../lib/base/log.js';
import { BrokerCore } from '../../lib/broker/broker-core.js';
import { usualSizes } from '../../lib/broker/sizes.js';
import { TopicCache } from '../../lib/codec/topic-cache.js';
import { parseOptions, type Settings } from '../../lib/config/schema.js';
import { BufferPool } from '../../lib/net/buffer-pool.js';
import { type ConnectionParts, sharedViews } from '../../lib/net/connection-parts.js';
import { IncompletePackets } from '../../lib/net/incomplete-packets.js';
import { TurnYields } from '../../lib/net/turn-yields.js';
import { decodeMessage } from '../../lib/store/records-message.js';
import { Table } from '../../lib/store/store.js';
import { hashOf, Random } from '../crash/random.js';
import { Audit } from './audit.js';
import { SimulatedClient } from './client.js';
import { Deliveries } from './deliveries.js';
import { SimulatedDisk } from './disk.js';
import type { Environment } from './environment.js';
import { DurableImage } from './image.js';
import type { Plan } from './plan.js';
import { probe } from './probe.js';
import type { Publication, PublishChoice } from './publication.js';
import { Receipts } from './receipts.js';
import { RetainedFacts } from './retained.js';
import { ProcessClock, SimulatedTime } from './time.js';
import { Verdicts } from './verdicts.js';
import { Wills } from './wills.js';
import type { Wire } from './wire.js';

/** Steps between looks at everything. */
const auditEvery = 200;
/** No client of a world has so many receipts waiting. */
const waitingMin = 10_000;

/** One broker process. */
interface Process {
  readonly clock: ProcessClock;
  readonly core: BrokerCore;
  readonly parts: ConnectionParts;
}

/** A broker, its clients, the network between them and the disk under it, at one time, by one seed. */
export class World implements Environment {
  readonly time = new SimulatedTime();
  readonly verdicts = new Verdicts();
  readonly deliveries = new Deliveries(this.verdicts);
  readonly receipts: Receipts;
  readonly retained = new RetainedFacts(this.verdicts);
  readonly wills = new Wills(this.verdicts, this.deliveries);
  readonly clients: readonly SimulatedClient[];
  readonly disk: SimulatedDisk;
  readonly audit = new Audit(this.verdicts);
  private readonly image = new DurableImage(this.verdicts);
  onEvent: ((text: string) => void) | null = null;
  /** How often tracked deliveries came to each outcome, with its cause. */
  readonly outcomes = new Map<string, number>();
  steps = 0;
  crashes = 0;
  readonly plan: Plan;
  private readonly settings: Settings;
  private readonly turnRandom: Random;
  private readonly numbers = new Map<string, number>();
  private process: Process | null = null;
  private hasFailed = false;
  /** By brokers that have died. */
  private dropped = 0;
  /** Connections of the present process, ended ones among them. */
  private wires: Wire[] = [];

  constructor(plan: Plan) {
    this.plan = plan;
    this.receipts = new Receipts(this.verdicts, plan.sizes.largeCohortMin !== usualSizes.largeCohortMin);
    this.settings = parseOptions(plan.options, '');
    this.turnRandom = this.randomFor('turns');
    this.disk = new SimulatedDisk(this.time, this.randomFor('disk'), plan.durability);
    this.disk.store.onDurable = (operation) => {
      const { table, value } = operation;
      this.image.onDurable(operation);
      if (table === Table.messages && value !== null) {
        this.deliveries.everDurable.add(decodeMessage(0, value).payload.toString());
      }
    };
    const { maximumQueuedMessages = 0, maximumQueuedBytes = 0 } = plan.options;
    this.receipts.mayCollapse = (plan.options.receipts?.maxWaiting ?? waitingMin) < waitingMin;
    this.deliveries.mayDrop = maximumQueuedMessages + maximumQueuedBytes > 0;
    this.clients = plan.roles.map((role) => new SimulatedClient(this, role, this.randomFor(role.clientId)));
    this.start();
  }

  /** The broker that runs; null while there is none. */
  get core(): BrokerCore | null {
    return this.process?.core ?? null;
  }

  // ---- what clients see ----

  onWritten(clientId: string, wire: Wire, packet: Packet, filters: readonly string[]): void {
    const session = this.core?.context.sessions.get(clientId);
    if (session !== undefined && session.link === wire.connection) this.image.check(session, packet, filters);
  }

  onWire(wire: Wire): void {
    this.wires.push(wire);
  }

  parts(): ConnectionParts | null {
    return this.process?.parts ?? null;
  }

  batch(): number {
    return this.disk.store.batch;
  }

  isWell(): boolean {
    return !this.hasFailed;
  }

  name(stream: string, clientId: string, choice: PublishChoice): Publication {
    const n = (this.numbers.get(stream) ?? 0) + 1;
    this.numbers.set(stream, n);
    return {
      ...choice,
      name: `${stream}:${n}`,
      stream,
      n,
      clientId,
      sentAt: this.time.events,
      ...{ takenAt: 0, takenAtMs: 0 },
      recipients: [],
    };
  }

  // ---- what happens to it ----

  /** Lets time pass, event by event, and looks after each whether all is right. */
  pass(ms: number): void {
    const untilMs = this.time.nowMs + ms;
    while (this.verdicts.found.length === 0 && this.step(untilMs));
  }

  /** Does something between two events. */
  act(action: () => void): void {
    this.time.events++;
    this.guard(action);
    this.look();
  }

  /** The broker dies, or its machine; it starts again after a while. */
  crash(losesPower: boolean, downMs: number): void {
    const { process, disk } = this;
    if (process === null) return;
    this.crashes++;
    process.clock.kill();
    this.dropped += process.core.context.metrics.droppedQueueFull;
    this.process = null;
    const before = disk.reported;
    const last = disk.crash(losesPower);
    this.image.reset(disk.store);
    // What was told of batches that are lost must not count as told later.
    const isLossy = last < before;
    for (const wire of this.wires) wire.die(isLossy ? 0 : this.turnRandom.below(4));
    this.wires = [];
    this.receipts.onCrash(last);
    this.wills.onCrash(last, this.time.nowMs);
    for (const client of this.clients) client.facts.onCrash(downMs);
    if (isLossy) {
      for (const fact of [this.deliveries, this.receipts, this.retained, this.wills]) fact.forgetAfter(last);
      for (const client of this.clients) client.blur();
    }
    this.time.after(downMs, () => this.start());
  }

  /** Nothing can be committed for a while. */
  loseDisk(): void {
    this.disk.isFull = true;
    this.hasFailed = true;
    this.deliveries.mayRefuse = true;
  }

  /** Deliveries refused because a queue was full. */
  get drops(): number {
    return this.dropped + (this.core?.context.metrics.droppedQueueFull ?? 0);
  }

  /** What a new subscriber is told to be retained. */
  probe(): void {
    const { parts } = this.process ?? { parts: null };
    if (parts !== null) this.retained.check(probe(parts), this.time.nowMs);
  }

  countOutcome(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  /** Looks at everything that the broker has. */
  inspect(): void {
    const { core } = this;
    if (core !== null) this.guard(() => this.audit.thorough(core));
  }

  private step(untilMs: number): boolean {
    let isMore = false;
    this.guard(() => {
      isMore = this.time.step(untilMs);
    });
    if (isMore) this.look();
    return isMore;
  }

  private look(): void {
    this.disk.watch();
    this.steps++;
    const { core } = this;
    if (core === null) return;
    this.audit.quick(core);
    if (this.steps % auditEvery === 0) this.inspect();
  }

  private start(): void {
    const clock = new ProcessClock(this.time, () => this.turnRandom.pick([0, 0, 0, 1, 3]));
    const log: Log = { ...silentLog, error: (fields, message) => this.onError(fields, message) };
    const core = new BrokerCore(this.settings, this.disk.store, clock, log, {}, this.plan.sizes);
    core.start();
    this.audit.watch(core);
    const yields = new TurnYields(core.context);
    const { metrics, settings } = core.context;
    const incomplete = new IncompletePackets(metrics, settings.maximumIncompleteBytes);
    const shared = { pool: new BufferPool(), topics: new TopicCache(16), yields, incomplete, ...sharedViews() };
    this.process = { clock, core, parts: { core, log, ...shared, onClosed: () => undefined } };
    this.inspect();
  }

  private onError(fields: object, message: string): void {
    if (!message.startsWith('the store can not record')) {
      this.verdicts.broken('no bugs', `${message}: ${JSON.stringify(fields)}`);
    }
  }

  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.verdicts.broken('no bugs', error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  }

  /** Chance for one thing, whatever happens to the others. */
  private randomFor(what: string): Random {
    return new Random(hashOf(`${this.plan.seed} ${what}`));
  }
}
