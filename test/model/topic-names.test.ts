import fc from 'fast-check';
import t from 'tap';
import { countLevels, filterMatches, isTopicFilter, parseSharedFilter } from '../../lib/topic/names.js';
import { naiveMatches, topicFilters, topicNames } from './topic-naive.js';

t.test('[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] one filter matches as §4.7 reads', async () => {
  fc.assert(
    fc.property(topicFilters, topicNames, (filter, name) => filterMatches(filter, name) === naiveMatches(filter, name)),
    { numRuns: 20_000 },
  );
});

t.test('[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] filters are valid as §4.7 reads', async () => {
  const texts = fc.array(fc.constantFrom('/', '+', '#', 'a', '\0'), { maxLength: 7 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(texts, (text) => {
      const levels = text.split('/');
      const last = levels.length - 1;
      const valid = levels.every((level, index) => /^[^+#\0]*$|^\+$/.test(level) || (level === '#' && index === last));
      return isTopicFilter(text) === (valid && text !== '') && countLevels(text) === levels.length;
    }),
    { numRuns: 20_000 },
  );
});

t.test('[MQTT-4.8.2-1] [MQTT-4.8.2-2] shared filters are a share name and a filter', async () => {
  const groups = fc.array(fc.constantFrom('+', '#', 'a', 'b', 'a'), { maxLength: 3 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(groups, topicFilters, (group, topicFilter) => {
      const parsed = parseSharedFilter(`$share/${group}/${topicFilter}`);
      if (/^[^+#]+$/.test(group)) return JSON.stringify(parsed) === JSON.stringify({ group, topicFilter });
      return parsed === 'invalid';
    }),
  );
});
