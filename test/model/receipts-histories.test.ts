import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Row, TrackedRecord } from '../../lib/receipts/record.js';
import { ReceiptState, stateNames } from '../../lib/receipts/states.js';
import type { HistoryClient, Told } from '../helpers/history-client.js';
import { HistoryWorld, type Said } from '../helpers/history-world.js';

type Step = readonly [what: string, who: number, detail: number];

const maxPending = 3600;

const weights: Readonly<Record<string, number>> = {
  ...{ publish: 8, take: 10, takeAll: 4, acknowledge: 8, refuse: 2, answer: 5, turn: 4, flush: 3, settle: 5 },
  ...{ reconnect: 5, clean: 1, cut: 3, leave: 1, toggle: 1, pass: 4, crash: 2, serve: 6, resubscribe: 1 },
};

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.tuple(
    fc.oneof(...Object.entries(weights).map(([what, weight]) => ({ weight, arbitrary: fc.constant(what) }))),
    fc.nat(7),
    fc.nat(999),
  ),
  { minLength: 5, maxLength: 90, size: 'max' },
);
/** Half of the histories begin in the middle of a long replay. */
const histories = fc
  .tuple(fc.boolean(), steps)
  .map(([isLong, rest]): Step[] => (isLong ? [['backlog', 0, 0], ...rest] : rest));

const pauses = [1, 500, 20_000, 40_000, 61_000, 350_000, 700_000];

const actions: Readonly<Record<string, (world: HistoryWorld, client: HistoryClient, detail: number) => void>> = {
  publish: (world, client, detail) => {
    const publisher = world.publishers[client.clientId.charCodeAt(1) % 2] ?? client;
    const receipt = detail % 5 < 3 ? 'delivered' : 'processed';
    world.publish(publisher, (detail % 3) as 0 | 1 | 2, receipt, detail % 7 === 0, detail % 4 === 0);
  },
  take: (world, client) => void world.take(client),
  takeAll: (world) => {
    world.settle();
    for (const client of world.clients) world.take(client);
  },
  acknowledge: (world, client, detail) => world.acknowledge(client, detail, detail % 9 === 0 ? 0x10 : 0),
  refuse: (world, client, detail) => {
    if (client.version === 5) world.acknowledge(client, detail, detail % 2 === 0 ? 0x80 : 0x99);
  },
  answer: (world, client, detail) => {
    if (client.version === 5) world.answer(client, detail, detail % 4 > 0);
  },
  turn: (world) => world.turn(),
  flush: (world) => void world.flush(),
  settle: (world) => world.settle(),
  serve: (world, client) => world.serve(client),
  resubscribe: (world, client) => world.resubscribe(world.publishers[client.clientId.charCodeAt(1) % 2] ?? client),
  backlog: (world) => world.backlog(world.publishers[1] as HistoryClient),
  reconnect: (world, client) => world.connect(client, false),
  clean: (world, client) => world.connect(client, true),
  cut: (world, client) => world.disconnect(client, false),
  leave: (world, client) => world.disconnect(client, true),
  toggle: (world, client) => world.toggle(client),
  pass: (world, _client, detail) => world.pass(pauses[detail % pauses.length] ?? 0),
  crash: (world, _client, detail) => world.crash(detail % 3),
};

function play(history: readonly Step[]): HistoryWorld {
  const world = new HistoryWorld({ receipts: { maxPending, retention: 1_000_000 } });
  for (const [what, who, detail] of history) {
    actions[what]?.(world, world.clients[who % world.clients.length] as HistoryClient, detail);
  }
  world.drain((maxPending + 2000) * 1000);
  return world;
}

interface Whole {
  readonly record: TrackedRecord;
  readonly rows: readonly Row[];
  readonly id: string;
}

function recordsOf(world: HistoryWorld): Whole[] {
  const { records, tracker } = world.core.context;
  return records.publisherKeys().flatMap((key) =>
    records.oldestSequences(key, 0, 100_000).flatMap((sequence) => {
      const record = records.find(key, sequence);
      if (record === null) return [];
      const rows = records.rowsAfter(record, null, 1000).map(({ row }) => row);
      return [{ record, rows, id: tracker.id(sequence) }];
    }),
  );
}

/** Every delivery has one outcome, and the tally adds up. */
function checkRecord(world: HistoryWorld, { record, rows }: Whole): void {
  const { topicName, matched, counts } = record;
  const expected = [...(world.expected.get(topicName) ?? [])];
  assert.ok(expected.includes(matched), `${topicName}: matched ${matched}, expected ${expected}`);
  assert.equal(rows.length, matched, `${topicName}: rows`);
  const found = { processed: 0, delivered: 0, sent: 0, failed: 0, pending: 0 };
  for (const { state, final } of rows) {
    const name = stateNames[state] as string;
    if (!final) found.pending++;
    else if (name === 'processed' || name === 'delivered' || name === 'sent') found[name]++;
    else found.failed++;
  }
  assert.deepEqual({ ...counts }, found, `${topicName}: counts`);
  assert.equal(found.pending, 0, `${topicName}: nothing is pending at the end`);
  assert.ok(record.finalAtMs > 0);
}

/** What rows say is what recipients did. */
function checkTruth(world: HistoryWorld, { record: { topicName }, rows }: Whole): void {
  const has = (list: readonly Said[], to: string, ok: boolean) =>
    list.some((said) => said.topic === topicName && said.clientId === to && said.ok === ok);
  for (const { to, group, state, cause, sentAtMs, deliveredAtMs } of rows) {
    const name = `${topicName} to ${to}: ${stateNames[state]} ${cause}`;
    if (deliveredAtMs > 0) assert.ok(has(world.acks, to, true), `${name}: acknowledged`);
    if (deliveredAtMs > 0 && state === ReceiptState.lost) assert.equal(cause, 'unanswered', name);
    if (state === ReceiptState.rejected && cause === null) assert.ok(has(world.acks, to, false), `${name}: refused`);
    if (state === ReceiptState.processed) assert.ok(has(world.answers, to, true), `${name}: answered`);
    if (cause === 'application') assert.ok(has(world.answers, to, false), `${name}: answered`);
    if (state === ReceiptState.expired) assert.ok(world.expiring.has(topicName), `${name}: could expire`);
    if (state >= ReceiptState.expired && sentAtMs === 0) {
      const mayHave = world.recipients.filter(({ clientId }) =>
        group === null ? clientId === to : clientId.startsWith('G'),
      );
      assert.ok(
        mayHave.every(({ received }) => !received.has(topicName)),
        `${name}: without sentAt nobody has it`,
      );
    }
  }
  for (const { topic, clientId, ok, isDurable } of world.acks) {
    if (topic !== topicName || !ok || !isDurable) continue;
    const row = rows.find((one) => (clientId.startsWith('G') ? one.group !== null : one.to === clientId));
    const state = stateNames[row?.state ?? 0];
    const isKept = state === 'delivered' || state === 'processed' || row?.cause === 'application';
    const isOver = row?.cause === 'unanswered' || row?.cause === 'gave-up';
    assert.ok(isKept || isOver, `${topicName}: ${clientId} acknowledged, yet it is ${state} ${row?.cause}`);
  }
}

/** A session that was subscribed got each receipt once, the first tally first, one final tally last. */
function checkTold(publisher: HistoryClient, { record, rows, id }: Whole): void {
  const told = publisher.told.filter((one) => one.id === id);
  const name = `${publisher.clientId} about ${record.topicName}`;
  const tallies = told.filter(({ to }) => to === null);
  const finals = tallies.filter(({ body }) => body.final === true);
  assert.equal(finals.length, 1, `${name}: one final tally of ${JSON.stringify(told)}`);
  const [final] = finals as [Told];
  const { processed, delivered, sent, failed, pending } = final.body;
  assert.deepEqual({ processed, delivered, sent, failed, pending }, { ...record.counts }, `${name}: its counts`);
  assert.equal(told.at(-1), final, `${name}: the final tally is the last`);
  const [first] = told as [Told];
  if (!first.retain) assert.ok(first.to === null && first.body.pending === record.matched, `${name}: the first tally`);
  for (const row of rows) {
    const segment = row.group === null ? row.to : '%24%73%68%61re%2Fg%2Fa%2F%2B';
    const states = told.filter(({ to }) => to === segment).map(({ body }) => body.state);
    assert.equal(new Set(states).size, states.length, `${name}: ${segment} each state once: ${states}`);
    assert.equal(states.at(-1), stateNames[row.state], `${name}: ${segment} the outcome last: ${states}`);
  }
}

function check(history: readonly Step[]): Map<string, number> {
  const world = play(history);
  const wholes = recordsOf(world);
  const topics = wholes.map(({ record }) => record.topicName);
  assert.equal(new Set(topics).size, topics.length, 'a publish is accepted once, however often it is sent');
  for (const whole of wholes) {
    checkRecord(world, whole);
    checkTruth(world, whole);
    const publisher = world.publishers.find(({ clientId }) => clientId === whole.record.owner.clientId);
    checkTold(publisher as HistoryClient, whole);
  }
  const known = new Set(wholes.map(({ id }) => id));
  for (const { told, clientId } of world.publishers) {
    for (const { id } of told) assert.ok(known.has(id), `${clientId} was told of ${id}, which has no record`);
  }
  const [first] = world.recipients as [HistoryClient];
  for (const [topic, times] of first.received) assert.equal(times, 1, `${topic} at QoS 2 came ${times} times`);
  const outcomes = new Map<string, number>();
  for (const { state, cause } of wholes.flatMap(({ rows }) => rows)) {
    const outcome = `${stateNames[state]} ${cause ?? ''}`.trim();
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  return outcomes;
}

t.test(
  '"no silent outcomes": after any history every delivery has one outcome, told once to every subscriber',
  async (t) => {
    const all = new Map<string, number>();
    const property = fc.property(histories, (history) => {
      for (const [outcome, times] of check(history)) all.set(outcome, (all.get(outcome) ?? 0) + times);
    });
    fc.assert(property, { seed: Number(process.env.SEED ?? 20261121), numRuns: Number(process.env.RUNS ?? 400) });
    t.comment([...all].map(([outcome, times]) => `${outcome} ${times}`).join(', '));
    for (const outcome of ['delivered', 'processed', 'rejected', 'rejected application', 'sent', 'expired']) {
      t.ok((all.get(outcome) ?? 0) > 0, `histories come to ${outcome}`);
    }
    for (const cause of ['clean-start', 'taken-over', 'session-expired', 'disconnected', 'broker-restart']) {
      t.ok((all.get(`lost ${cause}`) ?? 0) > 0, `histories come to lost, ${cause}`);
    }
  },
);
