import type { z } from 'zod';
import type { OptionFacts } from './facts.js';

/** How an option's path is written where it was given: `COUNTERSIGN_PORT`, `--port`. */
export type Spell = (path: string) => string;

type Issue = z.core.$ZodIssue;

/** Longest part of a wrong value that an error repeats, in characters. */
const shownLength = 60;

/** One line per problem: the key, what was given, what is allowed; for an unknown key the nearest one. */
export function describeProblems(issues: readonly Issue[], facts: readonly OptionFacts[], spell: Spell): string[] {
  return issues.flatMap((issue) => {
    const path = joinPath(issue.path);
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => describeUnknownKey(path === '' ? key : `${path}.${key}`, facts, spell));
    }
    return [describeWrongValue(path, issue, facts, spell)];
  });
}

function describeUnknownKey(path: string, facts: readonly OptionFacts[], spell: Spell): string {
  const inList = path.includes('[');
  const known = facts.map((fact) => fact.path).filter((candidate) => inList || !candidate.includes('['));
  const nearest = nearestPath(path.replace(/\[\d+\]/g, '[]'), known);
  return `${spell(path)}: unknown key; the nearest valid key is ${spell(nearest)}`;
}

function describeWrongValue(path: string, issue: Issue, facts: readonly OptionFacts[], spell: Spell): string {
  if (path === '') return `${showValue(issue.input)} is not allowed; allowed: options by their keys`;
  // What stands in a list of plain values is described with the list.
  const described = path.replace(/\[\d+\]$/, '').replace(/\[\d+\]/g, '[]');
  const fact = facts.find(({ path: known }) => known === described);
  const allowed = fact?.allowed ?? 'a group of options, by their keys';
  const given = issue.input === undefined ? 'is missing' : `${showValue(issue.input)} is not allowed`;
  // A rule of our own (a refinement) says better than the type what is wrong.
  return issue.code === 'custom'
    ? `${spell(path)}: ${given}: ${issue.message}`
    : `${spell(path)}: ${given}; allowed: ${allowed}`;
}

function joinPath(path: readonly PropertyKey[]): string {
  let joined = '';
  for (const key of path) {
    if (typeof key === 'number') joined += `[${key}]`;
    else joined += joined === '' ? String(key) : `.${String(key)}`;
  }
  return joined;
}

function showValue(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a group';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length <= shownLength ? text : `${text.slice(0, shownLength)}…`;
}

/** The known path that takes the fewest edits to reach, by its whole or by its last key alone. */
export function nearestPath(path: string, known: readonly string[]): string {
  let nearest = '';
  let fewest = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const distance = Math.min(editDistance(path, candidate), editDistance(lastKey(path), lastKey(candidate)) + 1);
    if (distance < fewest) {
      fewest = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

function lastKey(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

/** Insertions, deletions and replacements of one character between two keys, upper and lower case being the same. */
export function editDistance(left: string, right: string): number {
  const from = left.toLowerCase().slice(0, shownLength);
  const to = right.toLowerCase().slice(0, shownLength);
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let index = 1; index <= from.length; index++) {
    const next = [index];
    for (let column = 1; column <= to.length; column++) {
      const replace = row[column - 1] + (from[index - 1] === to[column - 1] ? 0 : 1);
      next.push(Math.min(replace, row[column] + 1, next[column - 1] + 1));
    }
    row = next;
  }
  return row[to.length];
}
