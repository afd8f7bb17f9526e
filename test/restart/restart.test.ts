import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { readRssBytes } from '../../bench/load/process-usage.js';
import { type BrokerChild, startChild } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { keepResults } from '../helpers/results.js';
import { makeMessages, makeSessions, messagesEach, subscriptionsEach, takeSample } from './fill.js';

// `test/restart/run --sessions N` sets this.
const sessions = Number(process.env.COUNTERSIGN_RESTART_SESSIONS ?? 300);
const isLong = process.env.COUNTERSIGN_RESTART_SESSIONS !== undefined;
/** What the full size must keep on a machine that has nothing else to do. */
const bounds = { startMs: 5000, stopMs: 5000, rssMegabytes: 400 };
const fullSessions = 100_000;
const sampleSize = 200;
const settleMs = 10_000;
const mebibyte = 2 ** 20;

t.setTimeout(isLong ? 0 : 600_000);

function say(text: string): void {
  if (isLong) process.stderr.write(`restart: ${text}\n`);
}

/** Sessions spread over all, none twice for different `turn`s. */
function sampleOf(turn: number): number[] {
  const step = Math.max(3, Math.floor(sessions / sampleSize));
  return Array.from({ length: Math.floor(sessions / step) }, (_, index) => index * step + turn);
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const before = performance.now();
  const value = await work();
  return [value, Math.round(performance.now() - before)];
}

const rss = (broker: BrokerChild): number => Math.round(readRssBytes(broker.running.child.pid ?? 0) / mebibyte);

async function settledRss(broker: BrokerChild): Promise<number> {
  if (isLong) await sleep(settleMs);
  return rss(broker);
}

t.test(`a restart with ${sessions} sessions and ${sessions * messagesEach} messages that wait`, async (t) => {
  const directory = await temporaryDirectory(t);
  const flags = ['--data', directory, '--log-level', 'warn'];
  const first = await startChild(t, flags);
  const size = { sessions };
  const [, sessionsMs] = await timed(() => makeSessions(first.port, size, (done) => say(`${done} sessions`)));
  const [, messagesMs] = await timed(() => makeMessages(first.port, size, (done) => say(`${done} messages`)));
  say(`filled in ${sessionsMs} + ${messagesMs} ms, ${rss(first)} MB resident`);
  const [firstEnd, stopAfterFillMs] = await timed(() => first.stop());
  t.equal(firstEnd.code, 0, firstEnd.stderr);

  const [second, startMs] = await timed(() => first.restart());
  const rssAtReady = rss(second);
  const rssSettled = await settledRss(second);
  say(`ready after ${startMs} ms with ${rssAtReady} MB, ${rssSettled} MB settled`);
  t.same(await takeSample(second.port, sampleOf(0)), [], 'each session of a sample has its messages in order');

  await second.kill9();
  const [third, startAfterKillMs] = await timed(() => second.restart());
  const rssAfterKill = rss(third);
  say(`after kill -9: ready after ${startAfterKillMs} ms with ${rssAfterKill} MB`);
  const [thirdEnd, stopMs] = await timed(() => third.stop());
  t.equal(thirdEnd.code, 0, thirdEnd.stderr);
  say(`stopped in ${stopAfterFillMs} ms after the load, in ${stopMs} ms after the start`);
  const [fourth] = await timed(() => third.restart());
  t.same(await takeSample(fourth.port, sampleOf(1)), [], 'and so after a kill and two more starts');

  const queued = sessions * messagesEach;
  const facts = { startMs, startAfterKillMs, stopAfterFillMs, stopMs, rssAtReady, rssSettled, rssAfterKill };
  const sample = 2 * sampleOf(0).length;
  keepResults('restart', { sessions, subscriptions: sessions * subscriptionsEach, queued, sample, ...facts });
  if (sessions < fullSessions) return;
  t.ok(Math.max(startMs, startAfterKillMs) <= bounds.startMs, 'start to ready');
  t.ok(Math.max(stopAfterFillMs, stopMs) <= bounds.stopMs, 'clean stop');
  t.ok(Math.max(rssAtReady, rssSettled, rssAfterKill) <= bounds.rssMegabytes, 'RSS');
});
