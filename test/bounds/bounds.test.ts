import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { freePort } from '../../bench/load/brokers.js';
import { type BrokerChild, startChild } from '../helpers/broker.js';
import { runProgram, temporaryDirectory } from '../helpers/command.js';
import { keepResults } from '../helpers/results.js';
import { attacks, endAttacks, type Facts } from './attacks.js';
import { type Case, cases } from './cases.js';
import { Pair, p99 } from './pair.js';

// `test/bounds/run` sets these.
const isLong = process.env.COUNTERSIGN_BOUNDS === 'full';
const only = process.env.COUNTERSIGN_BOUNDS_CASES?.split(',') ?? null;
const idleMs = isLong ? 5000 : 100;
/** How much slower the well-behaved pair may be than when nothing else happens. */
const slowerMax = 10;
/** Below this, in ms, the machine itself is what is measured. */
const idleLeastMs = 2;
const triesMax = 50;
const mebibyte = 2 ** 20;
const script = fileURLToPath(new URL('./attacker.ts', import.meta.url));

t.setTimeout(isLong ? 0 : 600_000);

function peakRss(broker: BrokerChild): number {
  const status = readFileSync(`/proc/${broker.running.child.pid}/status`, 'utf8');
  return Math.round((Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) * 1024) / mebibyte);
}

async function scrape(port: number): Promise<Map<string, number>> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

/** Attackers that are ready. */
interface Attack {
  /** Resolves with what they have seen when they have done their worst. */
  begin(): Promise<Facts>;
  end(): Promise<void>;
}

/** In the long run attackers have a process of their own, which starts before anything is measured. */
async function prepare(t: Test, name: string, port: number, size: number): Promise<Attack> {
  if (!isLong) {
    t.teardown(endAttacks);
    return { begin: async () => (await attacks[name]?.(port, size)) ?? {}, end: async () => endAttacks() };
  }
  const child = fork(script, [name, String(port), String(size)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  t.teardown(() => child.kill('SIGKILL'));
  // Elsewhere attackers compute on machines of their own: here they get what broker and pair leave of the processors.
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
  const ended = once(child, 'exit');
  const died = ended.then(() => Promise.reject(new Error('the attacker has died')));
  died.catch(() => undefined);
  await Promise.race([once(child, 'message'), died]);
  const begin = async (): Promise<Facts> => {
    child.send('begin');
    const [facts] = (await Promise.race([once(child, 'message'), died])) as [Facts];
    return facts;
  };
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  return { begin, end };
}

/** Metrics of what was refused: packets, filters, connections, whole or in part. */
const refusals = /^countersign_(\w+_refused|authentications_failed|authentications_not_checked|protocol_errors)_total$/;
const drops = /^countersign_messages_dropped_total\{/;

/** What the broker counted that it has refused or dropped. */
async function countRefused(metricsPort: number): Promise<{ refused: number; dropped: number }> {
  const metrics = [...(await scrape(metricsPort))];
  const sum = (of: RegExp) => metrics.filter(([name]) => of.test(name)).reduce((all, [, value]) => all + value, 0);
  return { refused: sum(refusals), dropped: sum(drops) };
}

/** What is wrong with the outcome, once the broker has read all that was sent to it. */
async function findProblems({ check }: Case, facts: Facts, metricsPort: number): Promise<readonly string[]> {
  for (let tries = 0; ; tries++) {
    const metrics = await scrape(metricsPort);
    const problems = check(facts, (name) => metrics.get(`countersign_${name}`) ?? Number.NaN, isLong);
    if (problems.length === 0 || tries === triesMax) return problems;
    await sleep(100);
  }
}

async function start(t: Test, { small, withPasswords = false }: Case) {
  const directory = await temporaryDirectory(t);
  const metricsPort = await freePort();
  const passwordFile = join(directory, 'passwords');
  if (withPasswords) await runProgram(t, ['passwd', passwordFile, 'pair'], {}, 'right\n');
  const options = { ...(isLong ? {} : small), ...(withPasswords ? { passwordFile } : {}) };
  const file = join(directory, 'countersign.json');
  await writeFile(file, JSON.stringify({ ...options, metrics: { port: metricsPort } }));
  const broker = await startChild(t, ['--config', file, '--data', join(directory, 'data'), '--log-level', 'error']);
  return { broker, metricsPort };
}

for (const each of cases) {
  const size = each.size[isLong ? 1 : 0];
  const skip = size === 0 || (only !== null && !only.includes(each.name));
  t.test(`${each.title} (${size} ${each.unit})`, { skip }, async (t) => {
    const { broker, metricsPort } = await start(t, each);
    const attack = await prepare(t, each.name, broker.port, size);
    const pair = await Pair.begin(broker.port);
    await sleep(idleMs);
    const idle = pair.takeLatencies();
    const rssBefore = peakRss(broker);
    const facts = await attack.begin();
    if (isLong) await sleep(1000);
    const attacked = pair.takeLatencies();
    const problems = await findProblems(each, facts, metricsPort);
    const counts = await countRefused(metricsPort);
    await attack.end();
    if (isLong) await sleep(2000);
    pair.takeLatencies();
    await sleep(idleMs);
    idle.push(...pair.takeLatencies());
    const { messages, problems: pairProblems } = await pair.end();
    t.same(pairProblems, [], `the well-behaved pair lost none of ${messages} messages`);
    t.same(problems, [], `the limit holds: ${JSON.stringify(facts)}`);
    const rss = peakRss(broker);
    const [idleP99, attackedP99] = [p99(idle), p99(attacked)];
    const stopped = await broker.stop();
    t.equal(stopped.code, 0, stopped.stderr);
    if (!isLong) return;
    const round = (ms: number): number => Math.round(ms * 10) / 10;
    const latency = { idleP99Ms: round(idleP99), attackedP99Ms: round(attackedP99) };
    const result = { title: each.title, size, unit: each.unit, rssBefore, rss, bound: each.megabytes, ...latency };
    process.stderr.write(`bounds: ${each.name}: ${JSON.stringify({ ...result, ...facts, problems, messages })}\n`);
    const outcome = { messages, lost: pairProblems.length, violations: problems.length, ...counts };
    keepResults(`bounds-${each.name}`, { ...result, ...outcome });
    t.ok(rss <= each.megabytes, `${rss} MB resident at most`);
    t.ok(attackedP99 <= slowerMax * Math.max(idleP99, idleLeastMs), `p99 ${attackedP99} ms, idle ${idleP99} ms`);
  });
}
