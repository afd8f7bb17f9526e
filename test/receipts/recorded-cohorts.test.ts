import t from 'tap';
import { Table } from '../../lib/store/store.js';
import { CoreWorld, ManualClock } from '../helpers/core-world.js';
import { CrashStore } from '../helpers/crash-store.js';

/** A cohort so large that it takes several turns to write it down, and what ends the broker in their midst. */

const sizes = { largeCohortMin: 10, writtenMax: 4, sliceMax: 4, unwrittenMax: 1000, standingMax: 16 };
const recipients = 14;
/** Turns that writing it down takes, after that of the message. */
const writingTurns = 4;

function worldOn(store: CrashStore): CoreWorld {
  return new CoreWorld(store, {}, new ManualClock(), {}, sizes);
}

function settle(world: CoreWorld, store: CrashStore): void {
  while (world.clock.turn() || store.flush());
}

function rows(store: CrashStore, table: Table): number {
  return store.countRange(table, Buffer.alloc(0), null, 1000);
}

/** Clients that are away and a publisher; it has published, and its turn is not over. */
function scene() {
  const store = new CrashStore();
  const world = worldOn(store);
  for (let at = 0; at < recipients; at++) {
    const device = world.connect(`device-${at}`);
    world.subscribe(device, 'cmd/all', 1);
    world.disconnect(device);
  }
  const publisher = world.connect('publisher');
  world.subscribe(publisher, '$receipts/~/+', 0);
  settle(world, store);
  world.publish(publisher, 'cmd/all', [['receipt', 'delivered']], 7);
  return { store, world, publisher };
}

/** What the publisher learns of a message after a restart. */
function tallies(store: CrashStore) {
  const world = worldOn(store);
  settle(world, store);
  const publisher = world.connect('publisher');
  world.subscribe(publisher, '$receipts/~/+', 0);
  settle(world, store);
  return publisher.link.receipts();
}

t.test('nothing is recorded, answered or told before the whole cohort is written down', async (t) => {
  const { store, world, publisher } = scene();
  for (let turn = 0; turn < writingTurns; turn++) {
    world.clock.turn();
    t.equal(store.commitsInFlight, 0, `after turn ${turn}`);
    t.equal(publisher.link.acks.length, 0);
    t.equal(publisher.link.receipts().length, 0);
  }
  world.clock.turn();
  t.equal(store.commitsInFlight, 1);
  settle(world, store);
  t.equal(publisher.link.acks.length, 1);
  t.match(publisher.link.receipts(), [{ matched: recipients, pending: recipients, final: false }]);
  t.equal(rows(store, Table.fanOuts), 0);
});

t.test('what others do meanwhile is recorded with it', async (t) => {
  const { store, world } = scene();
  const other = world.connect('other');
  const durable = world.connect('durable');
  world.subscribe(durable, 'b', 1);
  world.disconnect(durable);
  world.publish(other, 'b', [], 3);
  for (let turn = 0; turn < writingTurns; turn++) world.clock.turn();
  t.equal(other.link.acks.length, 0);
  settle(world, store);
  t.equal(other.link.acks.length, 1);
});

t.test('a crash in between leaves the message with its publisher; one after it interrupts a fan-out', async (t) => {
  for (let turns = 0; turns < 12; turns++) {
    const { store, world, publisher } = scene();
    for (let turn = 0; turn < turns; turn++) {
      world.clock.turn();
      store.flush();
    }
    const answered = publisher.link.acks.length;
    const after = store.crash(0);
    const isRecorded = rows(after, Table.records) > 0;
    t.equal(isRecorded, turns > writingTurns, `after ${turns} turns`);
    t.ok(isRecorded || answered === 0);
    const told = tallies(after);
    if (isRecorded) t.match(told, [{ matched: recipients, pending: recipients }]);
    else t.same(told, []);
    t.equal(rows(after, Table.deliveries), isRecorded ? recipients : 0);
    t.equal(rows(after, Table.fanOuts) + rows(after, Table.fanOutCursors), 0);
  }
});

t.test('a stop in between writes the rest down at once', async (t) => {
  for (let turns = 0; turns <= writingTurns; turns++) {
    const { store, world } = scene();
    for (let turn = 0; turn < turns; turn++) world.clock.turn();
    world.core.stop();
    settle(world, store);
    const after = store.crash(0);
    t.equal(rows(after, Table.fanOuts), 1, `after ${turns} turns`);
    t.match(tallies(after), [{ matched: recipients, pending: recipients }]);
    t.equal(rows(after, Table.deliveries), recipients);
  }
});
