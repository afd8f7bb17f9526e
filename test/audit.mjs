/**
 * Asks the registry for advisories against the locked dependencies: exits 1 if there is one that a broker would run
 * with. Where the registry does not answer such questions it says so, and nothing is shown.
 *
 *     node test/audit.mjs
 */
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The answer to `npm audit`: advisories by package, or why there is none. */
function ask(...options) {
  const { stdout } = spawnSync('npm', ['audit', '--json', ...options], { cwd: root, encoding: 'utf8' });
  try {
    const { vulnerabilities, metadata, statusCode, error } = JSON.parse(stdout);
    if (metadata?.vulnerabilities === undefined) return { reason: error?.summary || `status ${statusCode}` };
    return { found: Object.values(vulnerabilities) };
  } catch {
    return { reason: 'no answer' };
  }
}

const all = ask();
const used = ask('--omit=dev');
if (all.found === undefined || used.found === undefined) {
  console.log(`the registry does not say which advisories there are (${all.reason ?? used.reason}): not checked`);
} else {
  const names = new Set(used.found.map(({ name }) => name));
  for (const { name, severity, range } of all.found) {
    console.log(`${name} ${range}: ${severity}${names.has(name) ? '' : ' (development only)'}`);
  }
  console.log(`${names.size} packages with advisories in use, ${all.found.length - names.size} for development only`);
  process.exitCode = names.size > 0 ? 1 : 0;
}
