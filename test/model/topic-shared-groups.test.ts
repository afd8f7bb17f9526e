import fc from 'fast-check';
import t from 'tap';
import { type SharedGroup, SharedGroups } from '../../lib/topic/shared-groups.js';
import { naiveMatches, topicFilters, topicNames } from './topic-naive.js';

const operation = fc.record({
  kind: fc.constantFrom('join', 'join', 'leave', 'match'),
  shared: fc.record({ group: fc.constantFrom('g', 'h'), topicFilter: topicFilters }),
  member: fc.nat({ max: 3 }),
  topicName: topicNames,
});

t.test('[MQTT-4.8.2-1] shared groups are what a naive map of them is', async () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60, size: 'max' }), (operations) => {
      const groups = new SharedGroups<number>();
      const model = new Map<string, { topicFilter: string; members: number[] }>();
      for (const { kind, shared, member, topicName } of operations) {
        const name = `$share/${shared.group}/${shared.topicFilter}`;
        const entry = model.get(name) ?? { topicFilter: shared.topicFilter, members: [] };
        const place = entry.members.indexOf(member);
        if (kind === 'join') {
          if (place === -1) entry.members.push(member);
          model.set(name, entry);
          if (groups.join(shared, member).members.join() !== entry.members.join()) throw new Error('members');
        } else if (kind === 'leave') {
          if (place >= 0) entry.members.splice(place, 1);
          if (entry.members.length === 0) model.delete(name);
          if (groups.leave(shared, member) !== place >= 0) throw new Error('leave');
        }
        const into: SharedGroup<number>[] = [];
        groups.match(topicName, into);
        const expected = [...model]
          .filter(([, each]) => naiveMatches(each.topicFilter, topicName))
          .map(([each]) => each);
        if (
          into
            .map((group) => group.name)
            .sort()
            .join() !== expected.sort().join()
        )
          throw new Error('match');
        if (groups.size !== model.size || (groups.get(shared) !== null) !== model.has(name)) throw new Error('groups');
      }
    }),
    { numRuns: 800 },
  );
});

t.test('§4.8.2: who stays in a group is chosen once before anyone is chosen again', async () => {
  const shared = { group: 'g', topicFilter: 'a' };
  const steps = fc.array(fc.tuple(fc.constantFrom('join', 'leave', 'choose', 'choose'), fc.nat({ max: 30 })), {
    maxLength: 200,
    size: 'max',
  });
  fc.assert(
    fc.property(steps, fc.nat({ max: 40 }), (changes, count) => {
      const groups = new SharedGroups<number>();
      const group = groups.join(shared, -1);
      for (let member = 0; member < count; member++) groups.join(shared, member);
      let waiting = new Set(group.members);
      for (const [kind, member] of changes) {
        if (kind === 'join') {
          if (!group.members.includes(member)) waiting.add(member);
          groups.join(shared, member);
        } else if (kind === 'leave') {
          groups.leave(shared, member);
          waiting.delete(member);
        } else {
          if (waiting.size === 0) waiting = new Set(group.members);
          const chosen = groups.choose(group, () => true);
          if (chosen === null || !waiting.delete(chosen)) throw new Error(`${chosen} is not one of ${[...waiting]}`);
        }
      }
    }),
    { numRuns: 1000 },
  );
});
