import t from 'tap';
import { SoleOutput } from '../../../lib/broker/sole-output.js';
import { type Flushable, Turns } from '../../../lib/broker/turn.js';
import { TurnClock } from '../../../lib/broker/turn-clock.js';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { Table } from '../../../lib/store/store.js';
import { ManualClock } from '../../helpers/core-world.js';
import { CrashStore } from '../../helpers/crash-store.js';

const crowd = 20;
const much = 4096;
const little = 100;

/** Turns on a clock that every write moves on by a millisecond; `written` has the names of the targets in order. */
function scene() {
  const clock = new ManualClock();
  const turns = new Turns(new TurnClock(clock), new MemoryStore(), new SoleOutput(1));
  const written: string[] = [];
  const target = (name: string, gatheredBytes: number): Flushable => ({
    outbox: { gatheredBytes },
    flush: () => {
      written.push(name);
      clock.advance(1);
    },
  });
  /** One at whose work so many targets get so many bytes. */
  const work = (name: string, count: number, bytes: number): void => {
    turns.nextWorker();
    for (let at = 0; at < count; at++) turns.flushLater(target(`${name}${at}`, bytes));
  };
  return { clock, turns, written, work };
}

t.test('who is one of few is written before the many, and little before much', async (t) => {
  const { clock, turns, written, work } = scene();
  work('much', 1, much);
  work('many', 10, little);
  work('one', 2, little);
  clock.turn();
  t.same(written.slice(0, 2), ['one0', 'one1']);
  t.same(written.slice(2), ['many0', 'many1', 'many2', 'many3', 'many4'], 'as long as a turn may write');
  t.ok(turns.isBehind);
  clock.settle();
  t.same(written.slice(7), ['many5', 'many6', 'many7', 'many8', 'many9', 'much0']);
  t.notOk(turns.isBehind);
});

t.test('writes of many are spread over turns, and what few get meanwhile does not wait for them', async (t) => {
  const { clock, turns, written, work } = scene();
  work('many', crowd, much);
  let turnsTaken = 0;
  for (; turns.isBehind || turnsTaken === 0; turnsTaken++) {
    const before = written.length;
    work(`polite${turnsTaken}-`, 1, little);
    clock.turn();
    t.equal(written[before], `polite${turnsTaken}-0`);
    t.ok(written.length - before <= 8, `${written.length - before} writes in a turn`);
  }
  t.ok(turnsTaken >= 3, `${turnsTaken} turns`);
  const many = written.filter((name) => name.startsWith('many'));
  t.same(
    many,
    Array.from({ length: crowd }, (_, at) => `many${at}`),
    'each once, in order',
  );
});

t.test('the end of the broker writes everything', async (t) => {
  const { turns, written, work } = scene();
  work('many', crowd, much);
  turns.sealNow();
  t.equal(written.length, crowd);
  t.notOk(turns.isBehind);
});

t.test('a commit that grows large is handed over before more is decided', async (t) => {
  const clock = new ManualClock();
  const store = new CrashStore();
  const turns = new Turns(new TurnClock(clock), store, new SoleOutput(1));
  const put = (count: number): void => {
    for (let at = 0; at < count; at++) {
      const key = Buffer.alloc(4);
      key.writeUInt32BE(at);
      store.put(Table.fanOutCursors, key, key);
    }
  };
  put(6000);
  t.notOk(turns.isBehind);
  put(1);
  t.ok(turns.awaitsStore);
  t.ok(turns.isBehind);
  turns.begin();
  clock.settle();
  store.flush();
  clock.settle();
  t.notOk(turns.isBehind);
});
