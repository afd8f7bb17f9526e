const dollar = 0x24;

/** True if a valid topic filter begins with a wildcard, which matches no topic that begins with `$`. [MQTT-4.7.2-1] */
function beginsWithWildcard(levels: readonly string[]): boolean {
  return levels[0] === '#' || levels[0] === '+';
}

function excludesDollar(wild: readonly string[], other: readonly string[]): boolean {
  return beginsWithWildcard(wild) && other[0]?.charCodeAt(0) === dollar;
}

/** True if a topic name can match both valid topic filters (without `$share/group/`). */
export function filtersOverlap(one: string, other: string): boolean {
  const left = one.split('/');
  const right = other.split('/');
  if (excludesDollar(left, right) || excludesDollar(right, left)) return false;
  for (let at = 0; ; at++) {
    const a = left[at];
    const b = right[at];
    // "a/#" matches its parent "a" as well. [MQTT-4.7.1-1]
    if (a === '#' || b === '#') return true;
    if (a === undefined || b === undefined) return a === b;
    if (a !== b && a !== '+' && b !== '+') return false;
  }
}

/**
 * True if the valid topic filter `wide` matches every topic name that `narrow` matches; not for `+/#` in the place of
 * `#`, which is the same by another name.
 */
export function filterCovers(wide: string, narrow: string): boolean {
  const outer = wide.split('/');
  const inner = narrow.split('/');
  if (excludesDollar(outer, inner)) return false;
  for (let at = 0; ; at++) {
    const a = outer[at];
    const b = inner[at];
    if (a === '#') return true;
    if (a === undefined || b === undefined) return a === b;
    if (b === '#' || (a !== '+' && a !== b)) return false;
  }
}
