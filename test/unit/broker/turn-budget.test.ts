import t from 'tap';
import { TurnBudget } from '../../../lib/broker/turn-budget.js';
import { TurnClock } from '../../../lib/broker/turn-clock.js';
import { PacketType } from '../../../lib/spec/packet-types.js';
import { FakeClock } from '../../helpers/fake-clock.js';

function begun(): { budget: TurnBudget; clock: TurnClock; time: FakeClock; output: { isBehind: boolean } } {
  const time = new FakeClock();
  const clock = new TurnClock(time);
  const output = { isBehind: false };
  const budget = new TurnBudget(clock, output);
  clock.open();
  budget.enter(null);
  return { budget, clock, time, output };
}

/** How many messages of one size a turn offers to so many sessions each. */
function messagesPerTurn(sessions: number, payloadBytes: number): number {
  const { budget } = begun();
  let messages = 0;
  while (!budget.isSpent) {
    budget.offers(sessions, payloadBytes);
    messages++;
  }
  return messages;
}

t.test('a turn ends after so many offers, and after fewer of larger messages', async (t) => {
  t.equal(messagesPerTurn(1000, 0), 50);
  t.equal(messagesPerTurn(1000, 127), 50);
  t.equal(messagesPerTurn(1000, 1152), 5);
  t.equal(messagesPerTurn(1000, 4096), 2);
  t.equal(messagesPerTurn(1000, 1_000_000), 1, 'a message goes to all');
  const small = messagesPerTurn(1, 4096);
  t.ok(small >= 50_000 / 33 && small <= 51_100 / 33, `${small}: it is looked at now and then only`);
});

t.test('a turn ends after its time, and the next one begins anew', async (t) => {
  const { budget, clock, time } = begun();
  budget.spend(1000);
  t.notOk(budget.isSpent);
  time.advance(15);
  budget.spend(1000);
  t.ok(budget.isSpent);
  clock.close();
  clock.open();
  t.notOk(budget.isSpent);
  budget.enter(null);
  budget.spend(1000);
  t.notOk(budget.isSpent);
});

t.test('each connection may do a little in a turn that is spent', async (t) => {
  const { budget } = begun();
  budget.offers(100_000, 0);
  t.ok(budget.isOver, 'the one that spent it is over');
  budget.enter(null);
  t.ok(budget.isSpent);
  t.notOk(budget.isOver);
  for (let packets = 0; packets < 63; packets++) budget.packet(PacketType.publish);
  t.notOk(budget.isOver);
  for (let acknowledgements = 0; acknowledgements < 100; acknowledgements++) budget.packet(PacketType.puback);
  t.notOk(budget.isOver, 'acknowledgements make room');
  budget.packet(PacketType.publish);
  t.ok(budget.isOver);
});

/** How long a turn may take, ms, in which `worker` goes on after what `before` has done. */
function turnMs(before: (budget: TurnBudget) => void, worker: object): number {
  const { budget, clock, time } = begun();
  before(budget);
  clock.close();
  clock.open();
  budget.enter(worker);
  let ms = 0;
  for (; !budget.isSpent; ms++) {
    time.advance(1);
    budget.spend(1000);
  }
  return ms;
}

t.test('turns are shorter while several clients work, not while others only keep alive or acknowledge', async (t) => {
  const [one, other] = [{}, {}];
  const works = (worker: object, packetType: number) => (budget: TurnBudget) => {
    budget.enter(one);
    budget.packet(PacketType.publish);
    budget.enter(worker);
    budget.packet(packetType);
  };
  t.equal(turnMs(works(one, PacketType.publish), one), 15);
  t.equal(turnMs(works(other, PacketType.publish), one), 3);
  t.equal(turnMs(works(other, PacketType.connect), one), 3);
  t.equal(turnMs(works(other, PacketType.puback), one), 15);
  t.equal(turnMs(works(other, PacketType.pingreq), one), 15);
  const large = (budget: TurnBudget) => {
    works(other, PacketType.puback)(budget);
    budget.bytes(64 * 1024);
  };
  t.equal(turnMs(large, one), 3, 'bytes count before the packet is whole');
});

t.test('nothing but small talk is taken while output of earlier turns waits to be written', async (t) => {
  const { budget, clock, output } = begun();
  output.isBehind = true;
  clock.close();
  clock.open();
  budget.enter(null);
  t.ok(budget.isSpent);
  t.notOk(budget.isOver);
  budget.offers(1000, 0);
  t.ok(budget.isOver);
});

t.test('work counts by what it takes', async (t) => {
  const { budget } = begun();
  let connects = 0;
  for (; !budget.isSpent; connects++) budget.packet(PacketType.connect);
  t.ok(connects < 350, `${connects} CONNECT packets fill a turn`);
  const { budget: next } = begun();
  let tracked = 0;
  for (; !next.isSpent; tracked++) next.tracked(1);
  t.ok(tracked < 1750, `and ${tracked} tracked deliveries`);
});
