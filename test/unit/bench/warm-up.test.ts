import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { completeOptions, type Findings, type LoadOptions, type LoadResult } from '../../../bench/load/options.js';
import { openSenders, setLimit } from '../../../bench/load/stream.js';
import { warmUp } from '../../../bench/load/warm-up.js';
import type { BrokerCore } from '../../../lib/broker/broker-core.js';
import type { Retained } from '../../../lib/broker/retained.js';
import type { Broker } from '../../../lib/index.js';
import { Table } from '../../../lib/store/store.js';
import { startBroker } from '../../helpers/broker.js';
import { cleanEnvironment, Running, temporaryDirectory } from '../../helpers/command.js';
import { deadlineMs } from '../../helpers/deadline.js';

/** The compiled generator, which `npm test` builds first. */
const generatorPath = fileURLToPath(new URL('../../../dist/bench/load/generator.js', import.meta.url));
const sound: Findings = { lost: 0, doubled: 0, reordered: 0, misrouted: 0, refused: 0, isStalled: false };
const count = 1000;
/** Ends within the first round. */
const briefly = 0.001;

/** What the broker holds for clients. */
function held(broker: Broker) {
  const { core } = broker as unknown as { readonly core: BrokerCore };
  const { retained } = core as unknown as { readonly retained: Retained };
  const { context } = core;
  const { store } = context.persistence;
  const rowsOf = (table: Table) => store.countRange(table, Buffer.alloc(0), null, Number.MAX_SAFE_INTEGER);
  return {
    connections: context.metrics.connectionsOpen,
    clientIds: [...context.sessions.keys()],
    subscriptions: context.routes.size,
    retained: retained.size,
    deliveries: rowsOf(Table.deliveries),
    messages: rowsOf(Table.messages),
  };
}

const nothing = { clientIds: [], subscriptions: 0, retained: 0, deliveries: 0, messages: 0 };

async function settled(broker: Broker): Promise<void> {
  const untilMs = performance.now() + deadlineMs;
  while (broker.metrics.connectionsOpen > 0 && performance.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function generate(t: Test, options: Partial<LoadOptions>): Promise<LoadResult> {
  const running = new Running(t, process.execPath, [generatorPath, JSON.stringify(options)], cleanEnvironment());
  const { code, stdout, stderr } = await running.finish();
  t.equal(code, 0, stderr);
  return JSON.parse(stdout) as LoadResult;
}

const cases = [
  { scenario: 'offline', protocol: 4, qos: 1, phases: ['enqueue', 'drain'] },
  { scenario: 'offline', protocol: 5, qos: 2, phases: ['enqueue', 'drain'] },
  { scenario: 'retained', protocol: 4, qos: 1, phases: ['store', 'replay'] },
  { scenario: 'retained', protocol: 5, qos: 2, phases: ['store', 'replay'] },
  { scenario: 'subscriptions', protocol: 4, qos: 0, phases: ['subscribe', 'route'] },
  { scenario: 'subscriptions', protocol: 5, qos: 1, phases: ['subscribe', 'route'] },
  { scenario: 'connections', protocol: 5, qos: 0, phases: ['connect'] },
] as const;

for (const place of ['in memory', 'on the disk']) {
  for (const { phases, ...options } of cases) {
    const title = `${options.scenario} at QoS ${options.qos} ${place}`;
    t.test(`the warm-up of ${title} leaves nothing behind and does not count`, async (t) => {
      const stored = place === 'in memory' ? {} : { data: await temporaryDirectory(t) };
      const { broker, port } = await startBroker(t, { ...stored, host: '127.0.0.1' });
      const timing = { warmupSeconds: briefly, seconds: 0.1 };
      const result = await generate(t, { ...options, ...timing, port, count, brokerPid: process.pid });
      await settled(broker);
      const { publishesReceived, connectionsAccepted } = broker.metrics;
      const { clientIds, ...left } = held(broker);
      t.match(result, sound);
      t.same(
        result.phases.map(({ name }) => name),
        phases,
      );
      t.equal(result.phases[0].count, count, 'the first phase has what was asked for');
      if (options.scenario === 'offline') t.equal(result.phases[1].count, count);
      if (options.scenario === 'retained') t.equal(result.phases[1].count % count, 0, 'all of it, again and again');
      t.same(
        clientIds.filter((clientId) => /warmup|cold/.test(clientId)),
        [],
      );
      t.equal(clientIds.length, options.scenario === 'offline' ? 10 : 0);
      t.match(left, { connections: 0, subscriptions: clientIds.length, deliveries: 0 });
      t.equal(left.retained, options.scenario === 'retained' ? count : 0, 'only what was counted is retained');
      t.equal(left.messages, left.retained, 'no other message is kept');
      if (options.scenario === 'connections') t.ok(connectionsAccepted > 2 * count, 'others had connected before');
      else if (options.scenario !== 'subscriptions') t.ok(publishesReceived >= count + 5000, 'others were sent before');
    });
  }
}

t.test('sessions at QoS 2 that took their messages have finished them, however slow the disk', async (t) => {
  const { broker, port } = await startBroker(t, { data: await temporaryDirectory(t), host: '127.0.0.1' });
  const { store } = (broker as unknown as { readonly core: BrokerCore }).core.context.persistence;
  const commit = store.commit.bind(store);
  store.commit = (done) => commit(() => setTimeout(done, 100));
  const result = await generate(t, { scenario: 'offline', protocol: 5, qos: 2, port, count: 100, warmupSeconds: 0 });
  await settled(broker);
  t.match(result, sound);
  t.match(held(broker), { connections: 0, deliveries: 0, messages: 0 });
});

t.test('without seconds there is no warm-up', async (t) => {
  const { broker, port } = await startBroker(t, { host: '127.0.0.1' });
  const result = await generate(t, { scenario: 'offline', qos: 1, port, count, warmupSeconds: 0 });
  t.equal(result.phases[0].count, count);
  t.equal(broker.metrics.publishesReceived, count);
});

t.test(
  'rounds go on for the time, each with clients, topics and counters of its own, and end their sessions',
  async (t) => {
    const { broker, port } = await startBroker(t, { host: '127.0.0.1' });
    const options = completeOptions({ port, qos: 1, publishers: 2, warmupSeconds: 3 });
    const prefixes = new Set<string>();
    let rounds = 0;
    await warmUp(options, 7, async (stage) => {
      rounds++;
      prefixes.add(stage.topicPrefix);
      t.equal(stage.options.count, 7);
      t.equal(stage.traffic.acked, 0);
      // The broker may notice a moment later than the client that the socket is closed.
      const { connections: _closing, ...left } = held(broker);
      t.same(left, nothing, 'the sessions of the round before have ended');
      const away = await stage.connect('subscriber', 0, true);
      await away.subscribe([`${stage.topicPrefix}#`], 1);
      await away.disconnect();
      await openSenders(stage, { publishers: 2, receivers: 0, topicSpan: 1 });
      setLimit(stage.traffic, 5);
      t.ok(await stage.traffic.when(() => stage.traffic.acked === 10, 3));
      t.match(held(broker), { deliveries: 10, subscriptions: 1 }, 'all wait for the session');
      return sound;
    });
    t.ok(rounds > 1);
    t.equal(prefixes.size, rounds);
    await settled(broker);
    t.same(held(broker), { connections: 0, ...nothing });
  },
);

t.test('a warm-up that is not sound fails the run', async (t) => {
  const round = async (): Promise<Findings> => ({ ...sound, lost: 2, isStalled: true });
  await t.rejects(warmUp(completeOptions({}), 1, round), /the warm-up was not sound: 2 lost, stalled/);
});
