import t from 'tap';
import { filterCovers, filtersOverlap } from '../../../lib/topic/filter-relations.js';
import { filterMatches, isTopicFilter } from '../../../lib/topic/names.js';

const level = ['a', 'b', '', '+', '#', '$a'];
const names = ['a', 'b', '', '$a', 'x'];

/** All joins of one to three of the parts. */
function joins(parts: readonly string[]): string[] {
  const two = parts.flatMap((first) => parts.map((second) => `${first}/${second}`));
  const three = two.flatMap((head) => parts.map((last) => `${head}/${last}`));
  return [...parts, ...two, ...three].filter((name) => name !== '');
}

const filters = joins(level).filter(isTopicFilter);
// One level more than filters have: what lies below them.
const topics = [...joins(names), ...joins(names).map((name) => `${name}/x`)];

t.test('two filters overlap, and one covers another, as the topics that they match say', async (t) => {
  const matched = new Map(filters.map((filter) => [filter, topics.filter((topic) => filterMatches(filter, topic))]));
  const wrong: string[] = [];
  for (const [one, ofOne] of matched) {
    const set = new Set(ofOne);
    for (const [other, ofOther] of matched) {
      if (filtersOverlap(one, other) !== ofOther.some((topic) => set.has(topic)))
        wrong.push(`${one} overlaps ${other}`);
      if (filterCovers(one, other) !== ofOther.every((topic) => set.has(topic))) wrong.push(`${one} covers ${other}`);
    }
  }
  // Where a wildcard stands for what there is not, an empty name, or in several ways for the same: on the safe side.
  const tolerated = ['+ overlaps /#', '/# overlaps +', '+/# covers #', '/+/# covers /#', '+/+/# covers /#'];
  t.same(wrong, tolerated);
});
