import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { runProgram, temporaryDirectory } from '../helpers/command.js';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

t.test('--version prints the version of package.json', async (t) => {
  t.match(await runProgram(t, ['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
});

t.test('--help and start --help tell the commands and flags', async (t) => {
  t.match(await runProgram(t, ['--help']), { code: 0, stdout: /start/, stderr: '' });
  const { code, stdout } = await runProgram(t, ['start', '--help']);
  t.equal(code, 0);
  for (const flag of ['--host', '--port', '--data', '--memory', '--durability', '--config', '--log-level']) {
    t.ok(stdout.includes(flag), flag);
  }
});

t.test('no command at all shows the help and is a usage error', async (t) => {
  t.match(await runProgram(t, []), { code: 2, stdout: '', stderr: /^Usage: countersign/ });
});

t.test('config check accepts a right file and refuses a wrong one', async (t) => {
  const file = join(await temporaryDirectory(t), 'broker.json');
  await writeFile(file, '{ "port": 1884, "receipts": { "retention": 60 } }');
  t.match(await runProgram(t, ['config', 'check', file]), { code: 0, stdout: /correct/, stderr: '' });
  await writeFile(file, '{ "receipts": { "retenton": 60 }, "port": -1 }');
  const { code, stderr } = await runProgram(t, ['config', 'check', file]);
  t.equal(code, 2);
  t.match(stderr, /^countersign: .*broker\.json: port: -1 is not allowed/m);
  t.match(stderr, /^countersign: .*receipts\.retenton: unknown key; .* receipts\.retention$/m);
});

t.test('config schema prints a JSON Schema', async (t) => {
  const { code, stdout } = await runProgram(t, ['config', 'schema']);
  t.equal(code, 0);
  t.match(JSON.parse(stdout), { type: 'object', properties: { port: { type: 'integer', maximum: 65_535 } } });
});
