import t from 'tap';
import { Timers } from '../../../lib/broker/timers.js';
import { TurnClock } from '../../../lib/broker/turn-clock.js';
import { ManualClock } from '../../helpers/core-world.js';

t.test('timers fire in order, and cancelled ones do not', async (t) => {
  const clock = new ManualClock();
  const timers = new Timers(new TurnClock(clock));
  const fired: number[] = [];
  const handles = Array.from({ length: 1000 }, (_, at) => {
    const delay = (at * 617) % 1000;
    return { delay, handle: timers.after(delay, () => fired.push(delay)) };
  });
  for (const { delay, handle } of handles) if (delay % 3 !== 0) timers.cancel(handle);
  clock.advance(1000);
  t.strictSame(
    fired,
    [...Array(1000).keys()].filter((delay) => delay % 3 === 0),
  );
  t.equal(timers.size, 0);
  for (const { handle } of handles) timers.cancel(handle);
});

t.test('timers that are cancelled long before they are due are not kept', async (t) => {
  const timers = new Timers(new TurnClock(new ManualClock()));
  const dayMs = 86_400_000;
  let fired = 0;
  for (let at = 0; at < 100; at++) timers.after(dayMs, () => fired++);
  for (let at = 0; at < 10_000; at++) timers.cancel(timers.after(dayMs, () => fired++));
  t.ok(timers.size <= 300, `${timers.size} kept`);
});

t.test('cancelling twice, or what has fired, counts once', async (t) => {
  const clock = new ManualClock();
  const timers = new Timers(new TurnClock(clock));
  const old = Array.from({ length: 500 }, () => timers.after(1, () => undefined));
  clock.advance(1);
  for (const handle of old) timers.cancel(handle);
  let fired = 0;
  const live = Array.from({ length: 500 }, () => timers.after(10, () => fired++));
  for (let again = 0; again < 500; again++) timers.cancel(live[0]);
  clock.advance(10);
  t.equal(fired, 499);
});
