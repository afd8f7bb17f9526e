import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { describeOptions } from '../../lib/config/documentation.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Files that break a rule today and may go on doing so. Lists only shrink: an entry that conforms must go. */
const ratchet: Readonly<Record<string, readonly string[]>> = {
  'at most 400 lines': [],
  'at most 120 columns': [],
  'imports go down': [],
  'no clock, timer, socket, disk or chance': [],
  'no default export': [],
  'no any': [],
};

const ground = ['lib/spec', 'lib/base'];
const rules = [...ground, 'lib/codec', 'lib/topic', 'lib/delivery'];
const stored = [...rules, 'lib/session', 'lib/store'];
const served = [...stored, 'lib/config', 'lib/receipts', 'lib/broker', 'lib/net', 'lib/access', 'lib/operation'];
const everything = [...served, 'lib/server.ts', 'lib/index.ts', 'lib/client.ts', 'lib/client'];

/** What each part may import besides itself. A file of `lib` that is not below one of these breaks the rule. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'lib/spec': [],
  'lib/base': ['lib/spec'],
  'lib/codec': ground,
  'lib/topic': ground,
  'lib/delivery': ground,
  'lib/config': [...ground, 'lib/topic'],
  'lib/session': rules,
  'lib/store': [...rules, 'lib/session'],
  'lib/receipts': [...stored, 'lib/config'],
  'lib/broker': [...stored, 'lib/config', 'lib/receipts'],
  'lib/net': [...stored, 'lib/config', 'lib/receipts', 'lib/broker'],
  'lib/access': [...ground, 'lib/topic', 'lib/config', 'lib/broker'],
  'lib/operation': [...stored, 'lib/config', 'lib/receipts', 'lib/broker', 'lib/net'],
  'lib/server.ts': served,
  'lib/index.ts': everything,
  'lib/client.ts': [...ground, 'lib/receipts', 'lib/client'],
  'lib/client': [...ground, 'lib/receipts'],
  bin: everything,
};

/** The parts that must run in a simulated world. */
const pure = [...rules, 'lib/session'];
/** The one adapter among the ports: the machine's clock itself. */
const clockAdapter = 'lib/base/system-clock.ts';
const worldly = new RegExp(
  [
    String.raw`\b(setTimeout|setInterval|setImmediate|queueMicrotask)\s*\(`,
    String.raw`\b(Date\.now|new Date|Math\.random)\b`,
    String.raw`\b(performance|process)\.`,
  ].join('|'),
);
const worldlyModule = /^node:(net|tls|http|https|dgram|dns|fs|fs\/promises|timers|timers\/promises|child_process|os)$/;

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** The text without comments. */
  readonly code: string;
  readonly imports: readonly string[];
}

const files = ['lib', 'bin', 'bench', 'test'].flatMap(readSources);

function readSources(folder: string): SourceFile[] {
  const entries = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  const names = entries.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  return names.sort().map((name) => {
    const text = readFileSync(join(root, folder, name), 'utf8');
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`\\])\/\/.*$/gm, '$1');
    const imports = [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]+)['"]/g)].map((match) => match[1]);
    return { path: join(folder, name), text, code, imports };
  });
}

function partOf(path: string): string | undefined {
  return Object.keys(mayImport).find((part) => path === part || path.startsWith(`${part}/`));
}

function resolveImport(file: SourceFile, specifier: string): string {
  return relative(root, join(root, dirname(file.path), specifier)).replace(/\.js$/, '.ts');
}

/** Every file conforms or is in the ratchet's list, and no file of that list conforms. */
function enforce(rule: string, inspect: (file: SourceFile) => readonly string[]): void {
  t.test(rule, async (t) => {
    const tolerated = ratchet[rule];
    const violations = files.map((file) => ({ path: file.path, problems: inspect(file) }));
    const broken = violations.filter(({ problems }) => problems.length > 0);
    const found = broken.filter(({ path }) => !tolerated.includes(path));
    t.same(
      found.flatMap(({ path, problems }) => problems.map((problem) => `${path}: ${problem}`)),
      [],
    );
    const conforming = tolerated.filter((path) => !broken.some((violation) => violation.path === path));
    t.same(conforming, [], 'the ratchet lists only files that break the rule');
  });
}

enforce('at most 400 lines', ({ text }) => {
  const count = text.split('\n').length - 1;
  return count > 400 ? [`${count} lines`] : [];
});

enforce('at most 120 columns', ({ text }) =>
  text.split('\n').flatMap((line, index) => ([...line].length > 120 ? [`line ${index + 1}`] : [])),
);

enforce('imports go down', (file) => {
  if (!/^(lib|bin)\//.test(file.path)) return [];
  const part = partOf(file.path);
  if (part === undefined) return ['is in no layer: see mayImport in this test'];
  const targets = file.imports
    .filter((specifier) => specifier.startsWith('.'))
    .map((name) => resolveImport(file, name));
  return targets
    .filter((target) => ![part, ...mayImport[part]].includes(partOf(target) ?? ''))
    .map((target) => `imports ${target}`);
});

enforce('no clock, timer, socket, disk or chance', (file) => {
  if (file.path === clockAdapter || !pure.includes(partOf(file.path) ?? '')) return [];
  const modules = file.imports.filter((specifier) => worldlyModule.test(specifier));
  const use = worldly.exec(file.code);
  return use === null ? modules : [...modules, use[0]];
});

enforce('no default export', ({ code }) => (/^export default\b|\bas default\b/m.test(code) ? ['export default'] : []));

enforce('no any', ({ code }) => (/(?::|<|\bas|\||&|,)\s*any\b\s*[;,)>=|&[\]{]/.test(code) ? ['any'] : []));

t.test('docs/configuration.md is what "npm run docs" writes', async (t) => {
  t.equal(readFileSync(join(root, 'docs/configuration.md'), 'utf8'), describeOptions());
});
