import fc from 'fast-check';
import t from 'tap';
import { type RetainedEntry, RetainedIndex } from '../../lib/topic/retained-index.js';
import { naiveMatches, topicFilters, topicNames } from './topic-naive.js';

/** Between two calls of a cursor: topics set and deleted, and how many to ask for next. */
const step = fc.record({
  set: fc.array(topicNames, { maxLength: 4 }),
  delete: fc.array(topicNames, { maxLength: 4 }),
  limit: fc.integer({ min: 1, max: 4 }),
});

t.test('[MQTT-3.3.1-9] [MQTT-4.7.2-1] a replay finds what a naive search does', async () => {
  fc.assert(
    fc.property(
      fc.array(topicNames, { maxLength: 60, size: 'max' }),
      topicFilters,
      fc.integer({ min: 1, max: 70 }),
      (names, filter, limit) => {
        const index = new RetainedIndex();
        for (const [sequence, name] of names.entries()) index.set(name, sequence);
        const cursor = index.match(filter);
        const into: RetainedEntry[] = [];
        while (cursor.next(limit, into));
        const expected = [...new Set(names)].filter((name) => naiveMatches(filter, name)).sort();
        if (into.map((entry) => entry.topicName).join() !== expected.join()) throw new Error('topics');
        if (into.some((entry) => names.lastIndexOf(entry.topicName) !== entry.sequence)) throw new Error('sequences');
      },
    ),
    { numRuns: 2500 },
  );
});

t.test('a replay in a changing index finds what stays exactly once, and nothing that was not there', async () => {
  fc.assert(
    fc.property(
      fc.array(topicNames, { maxLength: 60, size: 'max' }),
      topicFilters,
      fc.array(step, { maxLength: 20, size: 'max' }),
      (names, filter, steps) => {
        const index = new RetainedIndex();
        const present = new Map<string, number>();
        let sequence = 0;
        const set = (name: string): void => {
          index.set(name, ++sequence);
          present.set(name, sequence);
        };
        for (const name of names) set(name);
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
            if (index.delete(name) !== present.delete(name)) throw new Error('delete');
            staying.delete(name);
          }
          for (const name of change.set) set(name);
          if (index.size !== present.size) throw new Error('size');
        }
        while (turn(5));
        for (const name of staying) {
          if (naiveMatches(filter, name) && !seen.has(name)) throw new Error(`missed: ${name}`);
        }
        for (const [name, value] of present) if (index.get(name) !== value) throw new Error('get');
      },
    ),
    { numRuns: 1500 },
  );
});
