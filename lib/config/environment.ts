import { optionFacts } from './schema.js';
import { coerceValue } from './values.js';

const prefix = 'COUNTERSIGN_';

/** The variable of an option: `COUNTERSIGN_RECEIPTS__RETENTION` for `receipts.retention`. */
export function spellVariable(path: string): string {
  return (
    prefix +
    path
      .replace(/[A-Z]/g, (letter) => `_${letter}`)
      .replaceAll('.', '__')
      .toUpperCase()
  );
}

/**
 * Options from variables that begin with `COUNTERSIGN_`; an empty variable counts as not given. A variable of no
 * option becomes a key of none, which the check refuses.
 */
export function readEnvironment(environment: Readonly<Record<string, string | undefined>>): Record<string, unknown> {
  const facts = new Map(optionFacts().map((fact) => [spellVariable(fact.path), fact]));
  const options: Record<string, unknown> = {};
  // Groups come before their members, so that a member's own variable wins over one with the whole group.
  const names = Object.keys(environment).filter((name) => name.startsWith(prefix));
  for (const name of names.sort()) {
    const text = environment[name];
    if (text === undefined || text === '') continue;
    const fact = facts.get(name);
    putOption(options, fact?.path ?? pathOf(name), coerceValue(text, fact?.type));
  }
  return options;
}

/** The path that an unknown variable would stand for: `COUNTERSIGN_RECEIPTS__RETAIN_FOR` is `receipts.retainFor`. */
function pathOf(name: string): string {
  return name
    .slice(prefix.length)
    .toLowerCase()
    .replaceAll('__', '.')
    .replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function putOption(options: Record<string, unknown>, path: string, value: unknown): void {
  const dot = path.indexOf('.');
  if (dot < 0) {
    options[path] = value;
    return;
  }
  const group = path.slice(0, dot);
  const members = options[group];
  const inner = typeof members === 'object' && members !== null ? { ...members } : {};
  options[group] = inner;
  putOption(inner, path.slice(dot + 1), value);
}
