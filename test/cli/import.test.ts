import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { runProgram, temporaryDirectory } from '../helpers/command.js';

t.test('config import writes YAML that config check accepts, and tells what does not come over', async (t) => {
  const directory = await temporaryDirectory(t);
  const [from, to] = [join(directory, 'mosquitto.conf'), join(directory, 'broker.yaml')];
  const included = join(directory, 'conf.d');
  await mkdir(included);
  await writeFile(join(included, 'b.conf'), 'max_queued_messages 0\n');
  await writeFile(join(included, 'c.conf.off'), 'max_keepalive 9\n');
  await writeFile(from, `listener 1883 127.0.0.1\ninclude_dir ${included}\nuser mosquitto\nconnection x\n`);
  const { code, stdout, stderr } = await runProgram(t, ['config', 'import', from]);
  t.equal(code, 0);
  t.match(stdout, /^maximumQueuedMessages: 0$/m);
  const bridge = 'not supported: there are no bridges; the directives of this one are skipped';
  t.same(stderr.split('\n').slice(0, -1), [
    `countersign: ${from}: line 3: user: not needed: start it as the user that it should run as`,
    `countersign: ${from}: line 4: connection x: ${bridge}`,
  ]);
  await writeFile(to, stdout);
  t.equal((await runProgram(t, ['config', 'check', to])).code, 0);
});

t.test('config import of a file that is not there is one line', async (t) => {
  t.match(await runProgram(t, ['config', 'import', '/nowhere/mosquitto.conf']), {
    code: 2,
    stderr: /there is no such file\n$/,
  });
});
