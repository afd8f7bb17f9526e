import fc from 'fast-check';
import t from 'tap';
import { type RetainedEntry, RetainedIndex } from '../../lib/topic/retained-index.js';
import { naiveMatches, topicFilters, topicNames } from './topic-naive.js';

/** Levels in common: none, few, and about as many as the index has branches for. */
const prefixes = fc.constantFrom('', '', 'a/', 'a/b/', 'a/b/a/b/a/b/a/b/', 'a/b/a/b/a/b/a/b/a/b/');
const names = fc.tuple(prefixes, topicNames).map((parts) => parts.join(''));
const filters = fc
  .tuple(fc.oneof(prefixes, prefixes, fc.constant('a/+/a/b/+/b/a/b/')), topicFilters)
  .map((parts) => parts.join(''));
/** Many of them, so that groups become branches. */
const manyNames = fc.array(names, { maxLength: 120, size: 'max' });

/** Between two calls of a cursor: topics set, deleted, and deleted and set again, and how many to ask for next. */
const step = fc.record({
  again: fc.array(fc.nat(), { maxLength: 4 }),
  set: fc.array(names, { maxLength: 4 }),
  delete: fc.array(names, { maxLength: 4 }),
  limit: fc.integer({ min: 1, max: 4 }),
});

t.test('[MQTT-3.3.1-9] [MQTT-4.7.2-1] a replay finds what a naive search does', async () => {
  fc.assert(
    fc.property(manyNames, filters, fc.integer({ min: 1, max: 70 }), (initial, filter, limit) => {
      const index = new RetainedIndex();
      for (const [sequence, name] of initial.entries()) index.set(name, sequence);
      const cursor = index.match(filter);
      const into: RetainedEntry[] = [];
      while (cursor.next(limit, into));
      const expected = [...new Set(initial)].filter((name) => naiveMatches(filter, name)).sort();
      const found = into.map((entry) => entry.topicName).sort();
      if (found.join() !== expected.join()) throw new Error('topics');
      if (into.some((entry) => initial.lastIndexOf(entry.topicName) !== entry.sequence)) throw new Error('sequences');
    }),
    { numRuns: 2500 },
  );
});

t.test('a replay in a changing index finds what stays exactly once, and nothing that was not there', async () => {
  fc.assert(
    fc.property(manyNames, filters, fc.array(step, { maxLength: 20, size: 'max' }), (initial, filter, steps) => {
      const index = new RetainedIndex();
      const present = new Map<string, number>();
      let sequence = 0;
      const set = (name: string): void => {
        index.set(name, ++sequence);
        present.set(name, sequence);
      };
      for (const name of initial) set(name);
      const staying = new Set(present.keys());
      const cursor = index.match(filter);
      const seen = new Set<string>();
      const turn = (limit: number): boolean => {
        const into: RetainedEntry[] = [];
        const more = cursor.next(limit, into);
        if (into.length > limit) throw new Error('limit');
        for (const entry of into) {
          if (seen.has(entry.topicName)) throw new Error(`twice: ${entry.topicName}`);
          if (present.get(entry.topicName) !== entry.sequence) throw new Error(`not there: ${entry.topicName}`);
          if (!naiveMatches(filter, entry.topicName)) throw new Error(`no match: ${entry.topicName}`);
          seen.add(entry.topicName);
        }
        return more;
      };
      for (const change of steps) {
        turn(change.limit);
        for (const name of change.delete) {
          if (index.delete(name) !== present.get(name)) throw new Error('delete');
          present.delete(name);
          staying.delete(name);
        }
        for (const name of change.set) set(name);
        for (const at of initial.length === 0 ? [] : change.again) {
          const name = initial[at % initial.length] ?? '';
          index.delete(name);
          staying.delete(name);
          set(name);
        }
        if (index.size !== present.size) throw new Error('size');
      }
      while (turn(5));
      for (const name of staying) {
        if (naiveMatches(filter, name) && !seen.has(name)) throw new Error(`missed: ${name}`);
      }
      for (const [name, value] of present) if (index.get(name) !== value) throw new Error('get');
    }),
    { numRuns: 1500 },
  );
});
