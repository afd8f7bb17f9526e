import type { Test } from 'tap';
import { type BrokerChild, startChild } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { Actor } from './actor.js';
import { cast, fence } from './cast.js';
import { Deliveries } from './deliveries.js';
import { RetainedFacts, WillFacts } from './facts.js';
import type { Log } from './log.js';
import { type Application, Peer } from './peer.js';
import { Random } from './random.js';
import { ReceiptsLedger } from './receipts-ledger.js';
import { World } from './world.js';

async function steadyMachine(t: Test): Promise<Machine> {
  return { directory: await temporaryDirectory(t), environment: () => ({}), onKilled: () => undefined };
}

/** How many packets the clients receive before the kill: from the first few after a start to a busy broker. */
const instants = [30, 500, 5000, 20_000] as const;
/** Part of the kills after which clients come to rest and everything is checked; else the load goes on at once. */
const checkedPart = 0.7;

/** What the broker runs on, and what becomes of that when the broker is killed. */
export interface Machine {
  /** Directory of the broker's data. */
  readonly directory: string;
  /** Environment for the next start. */
  environment(): Record<string, string>;
  /** The broker is dead and not started yet. */
  onKilled(): void;
}

/** A broker that is killed again and again under the load of the whole cast. */
export class CrashRun {
  readonly world: World;
  readonly log: Log;
  private readonly t: Test;
  private readonly actors: readonly Actor[];
  private readonly machine: Machine;
  private broker: BrokerChild;
  private probes = 0;

  private constructor(t: Test, broker: BrokerChild, machine: Machine, seed: number) {
    const world = new World(new Random(seed));
    this.t = t;
    this.broker = broker;
    this.machine = machine;
    this.world = world;
    world.port = broker.port;
    this.log = {
      deliveries: new Deliveries(world),
      receipts: new ReceiptsLedger(world),
      retained: new RetainedFacts(world),
      wills: new WillFacts(world),
      churnTopics: () => this.actors.flatMap((actor) => actor.churnTopics()),
    };
    this.actors = cast.map((role) => new Actor(world, this.log, role));
  }

  static async start(t: Test, seed: number, args: readonly string[] = [], machine?: Machine): Promise<CrashRun> {
    const used = machine ?? (await steadyMachine(t));
    const flags = ['--data', used.directory, '--log-level', 'warn', ...args];
    return new CrashRun(t, await startChild(t, flags, used.environment()), used, seed);
  }

  /** Load, a kill, a restart; and, when it is time, a check of everything. @param check true to check in any case */
  async round(check: boolean): Promise<void> {
    const { world } = this;
    const { random } = world;
    world.up = true;
    world.calm = false;
    for (const actor of this.actors) {
      actor.connect();
      actor.work();
    }
    const target = world.packets + random.below(random.pick(instants)) + 1;
    await world.until(
      () => world.packets >= target,
      () => `the load stands still: ${this.describeRest()}`,
    );
    await this.killAndRestart();
    this.log.retained.check(await this.probe(), 'after the restart');
    if (check || random.chance(checkedPart)) await this.settle();
  }

  private async killAndRestart(): Promise<void> {
    const { world } = this;
    const dying = this.broker.kill9();
    world.up = false;
    world.forgetPlans();
    await dying;
    const { stderr } = this.broker.running;
    // Sockets of a dead process are closed by the kernel; what they still held has been received by then.
    const isOver = (): boolean => this.actors.every(({ peer }) => peer.isClosed);
    while (!isOver()) await new Promise((resolve) => setImmediate(resolve));
    if (stderr.includes('"level":50')) world.violation(`the broker logged an error: ${stderr.slice(0, 2000)}`);
    this.log.wills.onKilled();
    this.machine.onKilled();
    this.broker = await this.broker.restart(this.machine.environment());
    world.up = true;
  }

  /** What a new subscriber is told to be retained. */
  private async probe(): Promise<Map<string, number>> {
    const { world } = this;
    const found = new Map<string, number>();
    const topic = 'retained/probe';
    let isOver = false;
    const nothing = (): void => undefined;
    const application: Application = {
      onConnected: () => peer.subscribe([{ topic: 'retained/#', qos: 1 }]),
      onSubscribed: () => {
        const message = { topic, n: 1, payload: '1', qos: 1 as const, retain: false, tracked: false, expires: false };
        peer.publish({ ...message, sentAt: world.now() });
      },
      onMessage: (packet) => {
        if (packet.topic === topic) isOver = true;
        else if (packet.retain) found.set(packet.topic, Number(packet.payload.toString()));
        return 0;
      },
      ...{ onClosed: nothing, onAnswered: nothing, onTaken: nothing, onCompleted: nothing, onUnsubscribed: nothing },
    };
    const clientId = `probe-${++this.probes}`;
    const peer = new Peer(world, { clientId, version: 5, receiveMaximum: 100 }, application);
    world.calm = true;
    peer.connect(true, false);
    await world.until(
      () => isOver && peer.isAtRest,
      () => 'no answer to a probe for retained messages',
    );
    peer.end(true);
    return found;
  }

  /** Everyone connects and finishes what is open; then nothing may be missing. */
  private async settle(): Promise<void> {
    const { world, log } = this;
    world.calmDown();
    for (const actor of this.actors) actor.connect();
    for (const actor of this.actors) actor.peer.flush();
    const isDone = (): boolean =>
      this.actors.every((actor) => actor.isAtRest) &&
      log.deliveries.isPaid &&
      log.receipts.isComplete &&
      log.wills.missing().length === 0;
    if (!(await this.reach(isDone))) return;
    // What comes after everything else shows that nothing more was on its way.
    const publisher = this.actors.find(({ role }) => role.clientId === 'p4');
    publisher?.publish({ topic: fence, qos: 1 });
    if (!(await this.reach(isDone))) return;
    log.retained.check(await this.probe(), 'at rest');
    log.deliveries.settle();
    log.receipts.settle();
    log.wills.settle();
  }

  /** True if it came to that, and nothing was broken on the way. */
  private async reach(isDone: () => boolean): Promise<boolean> {
    const { world } = this;
    const isOver = (): boolean => isDone() || world.violations.length > 0;
    await world
      .until(isOver, () => 'not at rest')
      .catch(() => {
        world.violation(`not at rest: ${this.describeRest()}`);
      });
    return world.violations.length === 0;
  }

  private describeRest(): string {
    const { deliveries, receipts, wills } = this.log;
    const busy = this.actors.filter((actor) => !actor.isAtRest);
    const open = busy.map(({ role, peer }) => `${role.clientId} (${peer.online ? peer.openFlows : 'offline'})`);
    return [`open: ${open.join(', ')}`, ...deliveries.missing(), ...receipts.missing(), ...wills.missing()].join('; ');
  }

  /** One line about what the run has seen. */
  summary(): string {
    const { deliveries, receipts } = this.log;
    const states = [...receipts.counts].map(([state, count]) => `${count} ${state}`).join(', ');
    const { taken, arrived } = deliveries;
    return `${taken} messages acknowledged, ${arrived} received, ${receipts.received} receipts (${states})`;
  }

  /** What the run has seen, in numbers. */
  tally(): Record<string, number> {
    const { deliveries, receipts } = this.log;
    return { acknowledged: deliveries.taken, received: deliveries.arrived, receipts: receipts.received };
  }

  /** Ends the clients; the broker goes with the test. */
  end(): void {
    this.world.up = false;
    this.world.forgetPlans();
    for (const { peer } of this.actors) peer.cut();
    this.t.comment(this.summary());
  }
}
