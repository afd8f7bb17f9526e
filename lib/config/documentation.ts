import { spellVariable } from './environment.js';
import type { OptionFacts } from './facts.js';
import { optionFacts } from './schema.js';

const introduction = `# Configuration

<!-- Generated from lib/config/schema.ts by "npm run docs": do not edit. -->

Every option can be written in a file, in the environment and, where \`countersign start --help\` lists it, as a flag.
Where several give the same option, a flag wins over the environment, the environment over the file, the file over the
default; a list is replaced as a whole.

- **File**: \`countersign start --config FILE\`, YAML, or JSON if the name ends in \`.json\`.
  \`countersign config check FILE\` checks one without starting; \`countersign config schema\` prints a JSON Schema for
  editors; \`countersign config import FILE\` translates a \`mosquitto.conf\`, see
  [migrating-from-mosquitto.md](migrating-from-mosquitto.md).
- **Environment**: the variable of each option is beside it. Lists and groups are written as JSON. An empty variable
  counts as not given.
- **Library**: \`new Broker({ … })\` takes the same keys.

An unknown key or a value that is not allowed is refused, with its path, what was given, what is allowed and the nearest
valid key. SIGHUP reads everything again, see [operation.md](operation.md#reloading).
`;

/** All options as a page in Markdown: `docs/configuration.md`. */
export function describeOptions(): string {
  const facts = optionFacts();
  const groups = facts.filter(({ path }) => membersOf(facts, path).length > 0);
  const sections = groups.map((group) => describeGroup(group, facts));
  const top = facts.filter(({ path }) => !/[.[]/.test(path));
  return [introduction, '## All options\n', describeTable(top, ''), ...sections].join('\n');
}

function membersOf(facts: readonly OptionFacts[], group: string): OptionFacts[] {
  return facts.filter(({ path }) => {
    if (!path.startsWith(group)) return false;
    const rest = path.slice(group.length);
    return /^(\[\])?\.[^.[]+$/.test(rest);
  });
}

function describeGroup({ path, type, description }: OptionFacts, facts: readonly OptionFacts[]): string {
  const title = type === 'array' ? `\`${path}\`, each of them` : `\`${path}\``;
  const members = membersOf(facts, path);
  return `## ${title}\n\n${description}\n\n${describeTable(members, path)}`;
}

function describeTable(facts: readonly OptionFacts[], group: string): string {
  const isInList = facts.some(({ path }) => path.includes('[]'));
  const head = isInList ? '| key | allowed | default | meaning |' : '| key, variable | allowed | default | meaning |';
  const rows = facts.map(({ path, allowed, fallback, isRequired, description }) => {
    const name = `\`${path.slice(group.length).replace(/^(\[\])?\./, '')}\``;
    const key = isInList ? name : `${name}<br>\`${spellVariable(path)}\``;
    const usual = isRequired ? 'required' : describeDefault(fallback);
    return `| ${[key, allowed, usual, description].map(escapeCell).join(' | ')} |`;
  });
  return `${[head, '| --- | --- | --- | --- |', ...rows].join('\n')}\n`;
}

function describeDefault(fallback: unknown): string {
  if (fallback === undefined) return 'none';
  if (typeof fallback === 'object') return Array.isArray(fallback) ? 'empty' : 'see below';
  return `\`${String(fallback)}\``;
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replace(/\s*\n\s*/g, ' ');
}
