import t from 'tap';
import { TurnBudget } from '../../../lib/broker/turn-budget.js';
import { TurnClock } from '../../../lib/broker/turn-clock.js';
import { PacketType } from '../../../lib/spec/packet-types.js';
import { FakeClock } from '../../helpers/fake-clock.js';

function begun(): { budget: TurnBudget; clock: TurnClock; time: FakeClock } {
  const time = new FakeClock();
  const clock = new TurnClock(time);
  const budget = new TurnBudget(clock);
  clock.open();
  budget.enter();
  return { budget, clock, time };
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
  budget.enter();
  budget.spend(1000);
  t.notOk(budget.isSpent);
});

t.test('each connection may do a little in a turn that is spent', async (t) => {
  const { budget } = begun();
  budget.offers(100_000, 0);
  t.ok(budget.isOver, 'the one that spent it is over');
  budget.enter();
  t.ok(budget.isSpent);
  t.notOk(budget.isOver);
  for (let packets = 0; packets < 63; packets++) budget.packet(PacketType.publish, 100);
  t.notOk(budget.isOver);
  for (let acknowledgements = 0; acknowledgements < 100; acknowledgements++) budget.packet(PacketType.puback, 4);
  t.notOk(budget.isOver, 'acknowledgements make room');
  budget.packet(PacketType.publish, 100);
  t.ok(budget.isOver);
});
