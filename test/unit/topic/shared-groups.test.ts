import t from 'tap';
import { type SharedGroup, SharedGroups } from '../../../lib/topic/shared-groups.js';

const everyone = (): boolean => true;
const workers = { group: 'workers', topicFilter: 'job/+' };

function groupOf<M>(members: readonly M[]): [SharedGroups<M>, SharedGroup<M>] {
  const groups = new SharedGroups<M>();
  for (const member of members) groups.join(workers, member);
  const group = groups.get(workers);
  if (group === null) throw new Error('no members');
  return [groups, group];
}

function names(groups: SharedGroups<string>, topicName: string): string[] {
  const into: SharedGroup<string>[] = [];
  groups.match(topicName, into);
  return into.map((group) => group.name).sort();
}

t.test('§4.8.2: a group is a share name with a topic filter', async (t) => {
  const groups = new SharedGroups<string>();
  groups.join({ group: 'g', topicFilter: 'a/+' }, 'one');
  groups.join({ group: 'g', topicFilter: 'a/b' }, 'one');
  groups.join({ group: 'h', topicFilter: 'a/+' }, 'two');
  const joined = groups.join({ group: 'g', topicFilter: 'a/+' }, 'two');
  t.match(joined, { name: '$share/g/a/+', group: 'g', topicFilter: 'a/+' });
  t.same(joined.members, ['one', 'two']);
  t.equal(groups.get({ group: 'g', topicFilter: 'a/+' }), joined);
  t.equal(groups.get({ group: 'i', topicFilter: 'a/+' }), null);
  t.equal(groups.size, 3);
  t.same(names(groups, 'a/b'), ['$share/g/a/+', '$share/g/a/b', '$share/h/a/+']);
  t.same(names(groups, 'a/c'), ['$share/g/a/+', '$share/h/a/+']);
  t.same(names(groups, 'a'), []);
});

t.test('[MQTT-4.8.2-2] "$share/g//t" is another group than "$share/g/t"', async (t) => {
  const groups = new SharedGroups<string>();
  groups.join({ group: 'g', topicFilter: '/t' }, 'one');
  groups.join({ group: 'g', topicFilter: 't' }, 'two');
  t.same(names(groups, '/t'), ['$share/g//t']);
  t.same(names(groups, 't'), ['$share/g/t']);
});

t.test('[MQTT-4.7.2-1] a group that begins with a wildcard gets nothing of "$" topics', async (t) => {
  const groups = new SharedGroups<string>();
  for (const topicFilter of ['#', '+/x', '$SYS/#']) groups.join({ group: 'g', topicFilter }, 'one');
  t.same(names(groups, '$SYS/x'), ['$share/g/$SYS/#']);
});

t.test('§4.8.2: members take turns', async (t) => {
  const [groups, group] = groupOf(['a', 'b', 'c']);
  const chosen = Array.from({ length: 7 }, () => groups.choose(group, everyone));
  t.same(chosen, ['a', 'b', 'c', 'a', 'b', 'c', 'a']);
});

t.test('§4.8.2: a member that is not accepted is passed over, each asked once', async (t) => {
  const [groups, group] = groupOf(['a', 'b', 'c']);
  t.equal(
    groups.choose(group, (member) => member === 'c'),
    'c',
  );
  t.equal(groups.choose(group, everyone), 'a');
  const asked: string[] = [];
  t.equal(
    groups.choose(group, (member) => {
      asked.push(member);
      return false;
    }),
    null,
  );
  t.same(asked, ['b', 'c', 'a']);
  t.equal(groups.choose(group, everyone), 'b', 'the turn stays');
});

t.test('joining again keeps the place', async (t) => {
  const [groups, group] = groupOf(['a', 'b']);
  groups.join(workers, 'a');
  t.same(group.members, ['a', 'b']);
});

t.test('one who joins is the last of the round', async (t) => {
  const [groups, group] = groupOf(['a', 'b']);
  t.equal(groups.choose(group, everyone), 'a');
  t.equal(groups.choose(group, everyone), 'b');
  groups.join(workers, 'c');
  t.same([groups.choose(group, everyone), groups.choose(group, everyone)], ['c', 'a']);
});

t.test('[MQTT-3.10.4-1] leaving needs the group and the member', async (t) => {
  const [groups] = groupOf(['a']);
  t.notOk(groups.leave(workers, 'b'));
  t.notOk(groups.leave({ group: 'workers', topicFilter: 'job/#' }, 'a'));
  t.notOk(groups.leave({ group: 'others', topicFilter: 'job/+' }, 'a'));
  t.ok(groups.leave(workers, 'a'));
  t.notOk(groups.leave(workers, 'a'));
  t.equal(groups.size, 0);
  t.same(names(groups, 'job/1'), [], 'the group went with its last member');
});

t.test('a group whose members all left has nobody to choose', async (t) => {
  const [groups, group] = groupOf(['a']);
  groups.leave(workers, 'a');
  t.equal(groups.choose(group, everyone), null);
});

t.test('§4.8.2: nobody loses the turn, or has it twice, when another leaves', async (t) => {
  for (const count of [2, 3, 8, 17, 18, 40]) {
    for (let turns = 0; turns <= count; turns++) {
      for (let leaver = 0; leaver < count; leaver++) {
        const members = Array.from({ length: count }, (_, index) => index);
        const [groups, group] = groupOf(members);
        const served = Array.from({ length: turns }, () => groups.choose(group, everyone));
        groups.leave(workers, leaver);
        const waiting = members.filter((member) => !served.includes(member) && member !== leaver);
        const next = waiting.map(() => groups.choose(group, everyone));
        if (new Set(next).size !== waiting.length || next.some((each) => each === null || !waiting.includes(each))) {
          t.fail('a round is complete', { count, turns, leaver, waiting, next });
        }
      }
    }
  }
});

t.test('members of a small group stay in the order of joining', async (t) => {
  const [groups, group] = groupOf(['a', 'b', 'c', 'd']);
  groups.leave(workers, 'b');
  t.same(group.members, ['a', 'c', 'd']);
});

t.test('100 000 members leave one group in about linear time', async (t) => {
  const start = performance.now();
  const [groups] = groupOf(Array.from({ length: 100_000 }, (_, index) => index));
  for (let member = 0; member < 100_000; member++) groups.leave(workers, member);
  t.equal(groups.size, 0);
  t.ok(performance.now() - start < 3000);
});
