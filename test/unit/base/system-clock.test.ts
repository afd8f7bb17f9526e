import t from 'tap';
import { systemClock } from '../../../lib/base/system-clock.js';

t.test('now never goes backwards, though the machine clock does', async (t) => {
  const before = systemClock.now();
  t.intercept(Date, 'now', { value: () => before - 60_000 });
  t.ok(systemClock.now() >= before);
});

/**
 * Resolves when the clock calls back; the promise keeps the process alive by a handle, for the clock itself does not.
 */
function wait(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    const alive = setInterval(() => undefined, 1000);
    systemClock.after(delayMs, () => {
      clearInterval(alive);
      resolve();
    });
  });
}

t.test('after calls once; a delay below zero counts as none', async () => {
  await wait(1);
  await wait(-5);
});

t.test('a wake-up further away than one timer reaches does not fire at once, and can be cancelled', async (t) => {
  const far = systemClock.after(2 ** 40, () => t.fail('fired too early'));
  t.ok(far.dueAtMs > Date.now() + 2 ** 39);
  const near = systemClock.after(1, () => t.fail('fired although cancelled'));
  systemClock.cancel(near);
  await wait(5);
  systemClock.cancel(far);
});

t.test('endOfTurn comes after all microtasks of the turn', async (t) => {
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    systemClock.endOfTurn(() => {
      order.push('end');
      resolve();
    });
    queueMicrotask(() => order.push('microtask'));
  });
  t.same(order, ['microtask', 'end']);
});
