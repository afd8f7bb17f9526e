/**
 * Which tests prove which normative statement of MQTT 5, by the statement ids in their titles.
 *
 *     node test/conformance.mjs            prints the table; exits 1 while a statement is missing or a test of one fails
 *     node test/conformance.mjs --write    writes docs/conformance.md as well
 *
 * Results are those that `tap` left in .tap/test-results; without them only what is missing counts.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tests = join(root, 'test');
const results = join(root, '.tap', 'test-results');

/** Rows of a table with a head, as objects. */
function readTable(name) {
  const [head, ...rows] = readFileSync(join(tests, 'conformance', name), 'utf8').trimEnd().split('\n');
  const columns = head.split('\t');
  return rows.map((row) => Object.fromEntries(row.split('\t').map((cell, at) => [columns[at], cell])));
}

function filesBelow(folder, ending) {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith(ending)).sort();
}

/** A comment (to be passed over) or a string with its quotes; the longest match wins, so `//` in a string is no comment. */
const token = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;

/** What titles name: statements, and edge cases as `edge case 8` or `edge cases 8, 9`. */
function namesIn(text) {
  const names = [...text.matchAll(/\[(MQTT-\d+\.\d+\.\d+-\d+)\]/g)].map(([, id]) => id);
  for (const [, numbers] of text.matchAll(/edge cases? ((?:\d+(?:, | and )?)+)/g)) {
    for (const number of numbers.match(/\d+/g)) names.push(`edge case ${number}`);
  }
  return names;
}

/** Test files by the names that stand in their strings. */
function scanTests() {
  const found = new Map();
  for (const file of filesBelow(tests, '.test.ts')) {
    const strings = readFileSync(join(tests, file), 'utf8').match(token) ?? [];
    for (const name of strings.filter((text) => !text.startsWith('/')).flatMap(namesIn)) {
      if (!found.has(name)) found.set(name, new Set());
      found.get(name).add(file);
    }
  }
  return found;
}

/** How the tests of each name went in the last run. */
function scanResults() {
  const found = new Map();
  for (const file of filesBelow(results, '.tap')) {
    if (!existsSync(join(root, file.replace(/\.tap$/, '')))) continue; // of a test that is gone
    for (const line of readFileSync(join(results, file), 'utf8').split('\n')) {
      const [, verdict, title] = /^\s*((?:not )?ok) \d+ - (.*)$/.exec(line) ?? [];
      if (verdict === undefined || /(?<!\\)# (?:SKIP|TODO)/i.test(title)) continue;
      for (const name of new Set(namesIn(title))) {
        const tally = found.get(name) ?? { passed: 0, failed: 0 };
        if (verdict === 'ok') tally.passed++;
        else tally.failed++;
        found.set(name, tally);
      }
    }
  }
  return found;
}

function verdictOf(tally) {
  if (tally === undefined) return 'not run';
  return tally.failed > 0 ? `${tally.failed} FAILED of ${tally.failed + tally.passed}` : `${tally.passed} passed`;
}

/** Statements of the client are the client's: a test shows what the broker does when one is broken, where it can. */
function isRequired({ applies, testable }) {
  return applies !== 'client' && testable !== 'n-a';
}

function collect() {
  const files = scanTests();
  const tallies = scanResults();
  const complete = (name, row) => ({
    ...row,
    name,
    files: [...(files.get(name) ?? [])],
    tally: tallies.get(name),
  });
  const statements = readTable('statements.tsv').map((row) => complete(row.id, { ...row, required: isRequired(row) }));
  const edgeCases = readTable('edge-cases.tsv').map((row) =>
    complete(`edge case ${row.number}`, { ...row, required: true }),
  );
  const known = new Set(statements.map(({ id }) => id));
  const unknown = [...files.keys()].filter((name) => name.startsWith('MQTT-') && !known.has(name)).sort();
  return { statements, edgeCases, unknown };
}

function print(rows) {
  for (const { name, title, files, tally, required } of rows) {
    const named = files.length > 0 ? files.join(' ') : required ? 'MISSING' : '-';
    console.log(`${name.padEnd(16)} ${title.padEnd(44)} ${verdictOf(tally).padEnd(14)} ${named}`);
  }
}

function markdownTable(head, rows) {
  const link = (file) => `[${file}](${relative(join(root, 'docs'), join(tests, file))})`;
  const cell = ({ files, required }) => (files.length > 0 ? files.map(link).join(', ') : required ? '**missing**' : '–');
  const lines = rows.map((row) => `| ${row.name} | ${row.title} | ${row.applies ?? 'server'} | ${cell(row)} |`);
  return [`| ${head} | subject | applies to | tests |`, '|---|---|---|---|', ...lines].join('\n');
}

function document(statements, edgeCases) {
  const required = statements.filter(({ required }) => required);
  const proven = required.filter(({ files }) => files.length > 0);
  const others = statements.filter(({ required, files }) => !required && files.length > 0);
  return `# Conformance

Generated by \`npm run conformance -- --write\` from the titles of the tests.

Of the ${statements.length} normative statements of MQTT 5, ${required.length} bind a server and can be tested: tests name ${proven.length} of them.
Of those that bind clients, tests show for ${others.length} what the broker does when one is broken.
A dash means that there is nothing for a broker to do, or to see.

## Statements

${markdownTable('statement', statements)}

## Cases that brokers in the field got wrong

${markdownTable('case', edgeCases)}
`;
}

const { statements, edgeCases, unknown } = collect();
const all = [...statements, ...edgeCases];
const missing = all.filter(({ required, files }) => required && files.length === 0);
const failing = all.filter(({ tally }) => (tally?.failed ?? 0) > 0);
print(statements);
console.log('');
print(edgeCases);
if (process.argv.includes('--write')) {
  writeFileSync(join(root, 'docs', 'conformance.md'), document(statements, edgeCases));
}
const listed = (rows) => rows.map(({ name }) => name).join(', ');
console.log(`\nmissing: ${missing.length}${missing.length > 0 ? ` (${listed(missing)})` : ''}`);
console.log(`failing: ${failing.length}${failing.length > 0 ? ` (${listed(failing)})` : ''}`);
if (unknown.length > 0) console.log(`named by tests, but no statement: ${unknown.join(', ')}`);
if (missing.length + failing.length + unknown.length > 0) process.exitCode = 1;
