import t from 'tap';
import { Routes } from '../../../lib/broker/routes.js';
import { Session } from '../../../lib/session/session.js';
import { Subscription } from '../../../lib/session/subscription.js';

/** Lookups after which it is decided whether to cache, and those that then do without. */
const tried = 20_000;
const uncached = 200_000;
const options = { qos: 1 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const };

/** Ways of topics below `a/`, and how many were found anew. */
function scene() {
  const work = { found: 0 };
  const routes = new Routes(null, () => work.found++);
  const subscription = new Subscription(new Session(1, 'client', null, false, 5, 0), 'a/#', options, 0);
  routes.add(subscription);
  const find = (topicName: string): boolean => routes.route(topicName).targets[0] === subscription;
  return { routes, work, find };
}

t.test('the ways of topics that come again are found once', async (t) => {
  const { work, find } = scene();
  for (let at = 0; at < 3 * tried; at++) if (!find(`a/${at % 100}`)) t.fail(`a/${at % 100}`);
  t.equal(work.found, 100);
});

t.test('also when as many others come once', async (t) => {
  const { work, find } = scene();
  const before = 2 * tried;
  for (let at = 0; at < before; at++) if (!find(at % 2 === 0 ? 'a/again' : `a/${at}`)) t.fail(`${at}`);
  work.found = 0;
  find('a/again');
  t.equal(work.found, 0);
});

t.test('where topics come once nothing is cached, until it is tried again', async (t) => {
  const { work, find, routes } = scene();
  for (let at = 0; at < tried; at++) if (!find(`a/${at}`)) t.fail(`a/${at}`);
  work.found = 0;
  for (let at = 0; at < 10; at++) t.ok(find('a/again'));
  t.equal(work.found, 10);
  t.notOk(find('b/again'));
  routes.add(new Subscription(new Session(2, 'other', null, false, 5, 0), 'b/+', options, 0));
  t.equal(routes.route('b/again').targets.length, 1, 'and every change counts at once');
  for (let at = 0; at < uncached; at++) find('a/again');
  work.found = 0;
  for (let at = 0; at < 10; at++) t.ok(find('a/again'));
  t.equal(work.found, 0, 'found in the cache again');
});

t.test('a subscription that comes or goes forgets all ways', async (t) => {
  const { work, find, routes } = scene();
  find('a/b');
  const other = new Subscription(new Session(2, 'other', null, false, 5, 0), 'a/+', options, 0);
  routes.add(other);
  t.equal(routes.route('a/b').targets.length, 2);
  routes.remove(other);
  t.equal(routes.route('a/b').targets.length, 1);
  t.equal(work.found, 3);
});
