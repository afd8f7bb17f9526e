import t from 'tap';
import { OwnSubscriptions } from '../../../lib/session/own-subscriptions.js';
import { Session } from '../../../lib/session/session.js';
import { Subscription } from '../../../lib/session/subscription.js';
import { Random } from '../../crash/random.js';

const session = new Session(1, 'c', null, false, 5, 0);
const options = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;

t.test('a few subscriptions and many are what a map of them would be', async (t) => {
  for (const filters of [3, 8, 9, 30]) {
    const random = new Random(filters);
    const own = new OwnSubscriptions();
    const map = new Map<string, Subscription>();
    for (let step = 0; step < 500; step++) {
      const topicFilter = `f/${random.below(filters)}`;
      if (random.chance(0.6)) {
        const subscription = new Subscription(session, topicFilter, options, step);
        own.put(subscription);
        map.set(topicFilter, subscription);
      } else {
        own.remove(topicFilter);
        map.delete(topicFilter);
      }
      const isSame =
        own.size === map.size &&
        own.filterCharacters === [...map.keys()].join('').length &&
        own.get(topicFilter) === map.get(topicFilter) &&
        own.has(topicFilter) === map.has(topicFilter) &&
        [...own.values()].every((each) => map.get(each.topicFilter) === each);
      if (!isSame) t.fail(`step ${step} of ${filters} filters`);
    }
    t.equal([...own.values()].length, map.size);
  }
});
