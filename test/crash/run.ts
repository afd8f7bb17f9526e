import type { Test } from 'tap';
import { type BrokerChild, startChild } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { deadlineMs } from '../helpers/deadline.js';
import { auditCopy } from '../helpers/store-audit.js';
import { Actor } from './actor.js';
import { casts, fence, withoutTallies } from './cast.js';
import { Deliveries } from './deliveries.js';
import { RetainedFacts } from './facts.js';
import { Groups } from './groups.js';
import type { Log } from './log.js';
import { compareRecords, readRecords, readRetained } from './probes.js';
import { Random } from './random.js';
import { ReceiptsLedger } from './receipts-ledger.js';
import { RecipientLog } from './recipient-log.js';
import { WillFacts } from './wills.js';
import { World } from './world.js';

async function steadyMachine(t: Test): Promise<Machine> {
  return { directory: await temporaryDirectory(t), environment: () => ({}), onKilled: () => undefined };
}

/** Somebody may read all records, as many as there are. */
const options = { COUNTERSIGN_RECEIPTS__ACCESS: 'all', COUNTERSIGN_RECEIPTS__REPLAY: '10000000' };
/** Part of the restarts that are killed before they are ready, or right after. */
const dyingPart = 0.3;
/** A start may take so long on a machine that does much else. */
const startLimitMs = 2 * deadlineMs;

/** How many packets the clients receive before the kill: from the first few after a start to a busy broker. */
const instants = [30, 500, 5000, 20_000] as const;
/** Part of the kills after which clients come to rest and everything is checked; else the load goes on at once. */
const checkedPart = 0.7;

/** What the broker runs on, and what becomes of that when the broker is killed. */
export interface Machine {
  /** Directory of the broker's data. */
  readonly directory: string;
  /** Environment for the next start. @param dies true if it is to die soon, where the machine can have it so */
  environment(dies: boolean): Record<string, string>;
  /** The broker is dead and not started yet. */
  onKilled(): void;
}

/** What to run. */
export interface CrashPlan {
  readonly seed: number;
  readonly durability: string;
  /** Name of who takes part; everyone where not given. */
  readonly cast?: string;
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
  /** Starts that were killed. */
  private dead = 0;
  /** How long the first start took. */
  private readonly startMs: number;

  private constructor(t: Test, broker: BrokerChild, machine: Machine, plan: CrashPlan, startMs: number) {
    const world = new World(new Random(plan.seed));
    this.startMs = startMs;
    this.t = t;
    this.broker = broker;
    this.machine = machine;
    this.world = world;
    world.port = broker.port;
    const deliveries = new Deliveries(world);
    const recipients = new RecipientLog(world);
    this.log = {
      deliveries,
      recipients,
      groups: new Groups(world, deliveries.accounts),
      receipts: new ReceiptsLedger(world, recipients),
      retained: new RetainedFacts(world),
      wills: new WillFacts(world),
      churnTopics: () => this.actors.flatMap((actor) => actor.churnTopics()),
    };
    const cast = casts[plan.cast ?? 'everyone'];
    if (cast === undefined)
      throw new Error(`there is no cast ${plan.cast}: use one of ${Object.keys(casts).join(', ')}`);
    this.actors = cast.map((role) => new Actor(world, this.log, role));
  }

  static async start(t: Test, plan: CrashPlan, machine?: Machine): Promise<CrashRun> {
    const used = machine ?? (await steadyMachine(t));
    const flags = ['--data', used.directory, '--log-level', 'warn', '--durability', plan.durability];
    const beganAtMs = performance.now();
    const broker = await startChild(t, flags, { ...options, ...used.environment(false) });
    return new CrashRun(t, broker, used, plan, performance.now() - beganAtMs);
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
    this.log.retained.check(await readRetained(world, `probe-${++this.probes}`), 'after the restart');
    await this.checkRecords(false);
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
    for (const wrong of await auditCopy(this.machine.directory)) world.violation(wrong);
    while (world.random.chance(dyingPart)) await this.startAndDie();
    this.broker = await this.broker.restart({ ...options, ...this.machine.environment(false) }, startLimitMs);
    world.up = true;
  }

  /** A start that is killed while it reads its data, or while it sets out to do what has fallen due. */
  private async startAndDie(): Promise<void> {
    const { machine, world } = this;
    const limitMs = world.random.next() * 1.3 * this.startMs;
    await this.broker.startAndDie({ ...options, ...machine.environment(true) }, limitMs);
    this.dead++;
    machine.onKilled();
  }

  /** The records must say what their publishers were told. @param atRest true if they were told everything */
  private async checkRecords(atRest: boolean): Promise<void> {
    for (const { role } of this.actors) {
      const { since, told } = this.log.receipts.toldTo(role.clientId);
      const last = [...told.keys()].at(-1);
      if (last === undefined) continue;
      const records = await readRecords(this.world, `auditor-${++this.probes}`, role.clientId, since, last);
      for (const wrong of compareRecords(told, records, atRest, !withoutTallies.has(role.clientId)))
        this.world.violation(`${role.clientId}: ${wrong}`);
    }
  }

  /** Everyone connects and finishes what is open; then nothing may be missing. */
  private async settle(): Promise<void> {
    const { world, log } = this;
    world.calmDown();
    for (const actor of this.actors) actor.connect();
    for (const actor of this.actors) actor.peer.flush();
    const isDone = (): boolean =>
      this.areAllBack() &&
      log.deliveries.isPaid &&
      log.groups.isPaid &&
      log.receipts.isComplete &&
      log.wills.missing().length === 0;
    if (!(await this.reach(isDone))) return;
    // What comes after everything else shows that nothing more was on its way.
    const publisher = this.actors.find(({ role }) => role.publishes !== undefined);
    publisher?.publish({ topic: fence, qos: 1 });
    if (!(await this.reach(isDone))) return;
    log.retained.check(await readRetained(world, `probe-${++this.probes}`), 'at rest');
    await this.checkRecords(true);
    log.deliveries.settle();
    log.groups.settle();
    log.receipts.settle();
    log.wills.settle();
  }

  /** True when everybody is connected and at rest; who has been away for long enough comes back. */
  private areAllBack(): boolean {
    for (const actor of this.actors) if (actor.peer.isClosed) actor.connect();
    return this.actors.every((actor) => actor.isAtRest);
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
    const { deliveries, groups, receipts, wills } = this.log;
    const busy = this.actors.filter((actor) => !actor.isAtRest);
    const open = busy.map(({ role, peer }) => {
      const overdue = receipts.overdueFor(role.clientId);
      const waits = peer.isClosed && overdue.length > 0 ? `, waits for tallies of what is overdue: ${overdue[0]}` : '';
      return `${role.clientId} (${peer.online ? peer.openFlows : 'offline'}${waits})`;
    });
    const missing = [deliveries, groups, receipts, wills].flatMap((facts) => facts.missing());
    return [`open: ${open.join(', ')}`, ...missing].join('; ');
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
    const { taken: acknowledged, arrived: received } = deliveries;
    return { acknowledged, received, receipts: receipts.received, deadStarts: this.dead };
  }

  /** Ends the clients; the broker goes with the test. */
  end(): void {
    this.world.up = false;
    this.world.forgetPlans();
    for (const { peer } of this.actors) peer.cut();
    this.t.comment(this.summary());
  }
}
