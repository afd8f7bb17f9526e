import fc from 'fast-check';

const levels = ['', 'a', 'b', 'a-', 'a0', '$x', 'name-of-a-level'];

function joined(level: string[], most: number): fc.Arbitrary<string[]> {
  return fc.array(fc.constantFrom(...level), { minLength: 1, maxLength: most });
}

/** Topic names over a small alphabet, so that filters often match. */
export const topicNames: fc.Arbitrary<string> = joined(levels, 5)
  .map((parts) => parts.join('/'))
  .filter((name) => name !== '');

/** Topic filters over the same alphabet. */
export const topicFilters: fc.Arbitrary<string> = fc
  .tuple(joined([...levels, '+', '+', '+'], 5), fc.constantFrom('', '', '#'), fc.nat({ max: 20 }))
  .map(([parts, last, odd]) => (odd === 0 ? '#' : [...parts, ...(last === '' ? [] : [last])].join('/')))
  .filter((filter) => filter !== '');

/** §4.7 as it reads, level by level. */
export function naiveMatches(topicFilter: string, topicName: string): boolean {
  const filter = topicFilter.split('/');
  const topic = topicName.split('/');
  if (topicName.startsWith('$') && (filter[0] === '+' || filter[0] === '#')) return false;
  const open = filter.at(-1) === '#';
  if (open) filter.pop();
  if (open ? topic.length < filter.length : topic.length !== filter.length) return false;
  return filter.every((level, index) => level === '+' || level === topic[index]);
}
