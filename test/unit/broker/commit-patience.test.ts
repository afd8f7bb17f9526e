import t from 'tap';
import { CommitPatience, Due } from '../../../lib/broker/commit-patience.js';
import { ManualClock } from '../../helpers/core-world.js';

function scene() {
  const clock = new ManualClock();
  const store = {
    deferred: 0,
    uncommitted: 0,
    needed: 0,
    countDeferred: (count: number) => Math.min(count, store.needed),
  };
  let over = 0;
  const patience = new CommitPatience(clock, { patientFrom: 32, patienceMs: 2 }, () => over++);
  /** So many rows are open, and so many of them still needed. */
  const open = (rows: number, needed: number): Due => {
    store.deferred = store.uncommitted = rows;
    store.needed = needed;
    return patience.due(store, false);
  };
  const waitFor = (rows: number): void => {
    open(rows, rows);
    patience.begin(rows);
    clock.advance(2);
  };
  return { clock, store, patience, open, waitFor, overs: () => over };
}

t.test('a few rows, or any others beside them, are committed at once', async (t) => {
  const { store, patience, open } = scene();
  t.equal(open(31, 31), Due.all);
  t.equal(open(32, 32), Due.nothing);
  store.uncommitted++;
  t.equal(patience.due(store, false), Due.all);
});

t.test('the last acknowledgement ends a wait, time does after two milliseconds', async (t) => {
  const { clock, patience, open, overs } = scene();
  t.equal(open(40, 40), Due.nothing);
  patience.begin(40);
  t.ok(patience.isWaiting);
  t.equal(open(10, 1), Due.nothing, 'few are no reason to stop');
  t.equal(open(40, 0), Due.all);
  clock.advance(1);
  t.equal(overs(), 0);
  clock.advance(1);
  t.equal(overs(), 1);
  t.notOk(patience.isWaiting);
  patience.end();
});

t.test('after a wait only the old is due, if younger ones are there and it was worth it', async (t) => {
  const { store, patience, open, waitFor } = scene();
  waitFor(40);
  t.equal(patience.rows, 40);
  t.equal(open(60, 10), Due.old);
  patience.end();
  waitFor(40);
  t.equal(open(40, 10), Due.all, 'nothing has come meanwhile');
  patience.end();
  waitFor(40);
  store.deferred = store.uncommitted = 60;
  store.needed = 10;
  t.equal(patience.due(store, true), Due.all, 'something waits for the commit itself');
});

t.test('waits for nothing are repeated less and less often', async (t) => {
  const { patience, open, waitFor } = scene();
  const skipped: number[] = [];
  for (let wait = 0; wait < 8; wait++) {
    waitFor(40);
    t.equal(open(60, 39), Due.all);
    patience.end();
    let count = 0;
    while (open(40, 40) === Due.all) count++;
    skipped.push(count);
  }
  t.same(skipped, [2, 4, 8, 16, 32, 64, 64, 64]);
  waitFor(40);
  open(60, 0);
  patience.end();
  t.equal(open(40, 40), Due.nothing, 'one that was worth it makes good for all');
});
