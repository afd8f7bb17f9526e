import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { loadSettings } from '../../lib/config/load.js';
import { Broker, type BrokerOptions } from '../../lib/index.js';
import { startBroker, startChild } from '../helpers/broker.js';
import { Authority } from '../helpers/certificates.js';
import { cleanEnvironment, Running, runProgram, temporaryDirectory } from '../helpers/command.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const examples = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.yaml'));

/** The same configuration with files, sockets and ports of this test's own. */
function localized(options: unknown, files: Readonly<Record<string, string>>, directory: string): unknown {
  if (Array.isArray(options)) return options.map((member) => localized(member, files, directory));
  if (typeof options !== 'object' || options === null) return options;
  const entries = Object.entries(options).map(([key, value]) => {
    if (key === 'port') return [key, 0];
    if (key === 'data' || key === 'socket' || (key === 'path' && String(value).endsWith('.sock'))) {
      return [key, join(directory, basename(String(value)))];
    }
    if (key === 'accessFile') return [key, join(root, 'examples', basename(String(value)))];
    if (key.endsWith('File')) return [key, files[key]];
    return [key, localized(value, files, directory)];
  });
  return Object.fromEntries(entries);
}

async function filesFor(t: Test, directory: string): Promise<Readonly<Record<string, string>> | undefined> {
  const authority = await Authority.make(t);
  if (authority === undefined) return undefined;
  const server = await authority.issue({ subject: '/CN=localhost' });
  const passwordFile = join(directory, 'passwords');
  await writeFile(passwordFile, '');
  const crlFile = join(directory, 'list.crl');
  await writeFile(crlFile, await authority.revocationList());
  return { ...server, caFile: authority.certificateFile, crlFile, passwordFile };
}

for (const name of examples) {
  t.test(`examples/${name} is accepted, and a broker starts with it`, async (t) => {
    t.doesNotThrow(() => loadSettings({ file: { name, text: read(`examples/${name}`) } }));
    const directory = await temporaryDirectory(t);
    const files = await filesFor(t, directory);
    if (files === undefined) return;
    const broker = new Broker(localized(parse(read(`examples/${name}`)), files, directory) as BrokerOptions);
    t.teardown(() => broker.close());
    await broker.listen();
    t.ok(broker.addresses.length >= 2, `${broker.addresses.length} listeners`);
    t.ok(read('docs/deploying.md').includes(`examples/${name}`), 'and is documented');
  });
}

/** Instructions of the Dockerfile with their arguments, comments and line ends inside them taken out. */
function instructions(): { readonly name: string; readonly text: string }[] {
  const lines = read('Dockerfile')
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => ({ name: line.split(' ', 1)[0] as string, text: line.slice(line.indexOf(' ') + 1) }));
}

const textsOf = (name: string): string[] => instructions().flatMap((each) => (each.name === name ? [each.text] : []));

t.test('what the image is built from is there, and not kept out of it', async (t) => {
  const kept = read('.dockerignore')
    .split('\n')
    .flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []));
  const copied: string[] = [];
  for (const text of textsOf('COPY')) {
    const isFromStage = text.startsWith('--from=build ');
    const sources = text.replace('--from=build ', '').split(' ').slice(0, -1);
    for (const source of sources) {
      t.ok(existsSync(join(root, source.replace('/src/', ''))), source);
      if (!isFromStage) copied.push(source);
    }
  }
  t.same(copied.sort(), kept.sort(), '.dockerignore lets in exactly what is copied');
  const [build = '', image = ''] = textsOf('FROM').map((text) => text.split(' ')[0] as string);
  t.equal(build, image, 'native code is of the system that it runs on');
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } };
  const version = Number(/node:(\d+)/.exec(image)?.[1]);
  t.ok(version >= Number(/\d+/.exec(engines.node)), image);
  t.match(textsOf('RUN').join(), /chmod \+x dist\/bin\/countersign\.js/);
  t.match(textsOf('RUN').join(), /ln -s \/app\/dist\/bin\/countersign\.js \/usr\/local\/bin\/countersign /);
});

/** What ENV sets. */
function imageEnvironment(): Record<string, string> {
  const pairs = textsOf('ENV').flatMap((text) => [...text.matchAll(/([A-Z_]+)=('[^']*'|\S+)/g)]);
  return Object.fromEntries(pairs.map(([, name, value]) => [name as string, (value as string).replace(/^'|'$/g, '')]));
}

t.test("the image's environment is one that the broker accepts; it is not root and keeps its data", async (t) => {
  const environment = imageEnvironment();
  const settings = loadSettings({ environment });
  t.match(settings, { host: '0.0.0.0', data: '/data', metrics: { host: '127.0.0.1', port: 9464 } });
  t.same(textsOf('VOLUME'), [settings.data]);
  t.same(textsOf('EXPOSE'), [String(settings.port)]);
  t.same(textsOf('USER'), ['1000:1000']);
  t.match(textsOf('RUN').join(), new RegExp(`install -d -o node -g node -m 0700 ${settings.data}$`));
  const data = await temporaryDirectory(t);
  const refused = await runProgram(t, ['start', '--port', '0', '--data', data], { ...environment });
  t.match(refused, { code: 2, stderr: /give passwordFile or jwt, or write allowAnonymous: true/ });
});

t.test("the image's health check tells a broker that answers from one that does not", async (t) => {
  const [check = ''] = textsOf('HEALTHCHECK');
  const [program, ...args] = JSON.parse(check.slice(check.indexOf('['))) as [string, ...string[]];
  t.equal(program, 'node');
  const { broker } = await startBroker(t, { metrics: { port: 0 } });
  const place = broker.operationAddresses.metrics;
  if (place === null || 'socket' in place) throw new Error('no metrics listener');
  const { port } = loadSettings({ environment: imageEnvironment() }).metrics ?? {};
  const here = args.map((arg) => arg.replace(`127.0.0.1:${port}/`, `127.0.0.1:${place.port}/`));
  t.not(here.at(-1), args.at(-1), 'it asks where the image listens');
  const healthy = new Running(t, process.execPath, here, cleanEnvironment());
  t.equal((await healthy.ended).code, 0);
  await broker.close();
  const dead = new Running(t, process.execPath, here, cleanEnvironment());
  t.equal((await dead.ended).code, 1);
});

/** The systemd unit's settings, by name. */
function unit(): Map<string, string> {
  const lines = read('packaging/countersign.service').split('\n');
  const settings = lines.filter((line) => /^\w+=/.test(line)).map((line) => line.split(/=(.*)/s, 2));
  return new Map(settings as [string, string][]);
}

t.test('the systemd unit is what systemd understands, and its command what the program does', async (t) => {
  const settings = unit();
  const [program, ...args] = settings.get('ExecStart')?.split(' ') ?? [];
  t.equal(program, '/usr/local/bin/countersign');
  const asked = await runProgram(t, [...args, '--help']);
  t.equal(asked.code, 0);
  for (const name of examples) {
    const { data, admin } = parse(read(`examples/${name}`)) as { data: string; admin: { socket: string } };
    t.ok(data.startsWith(`/var/lib/${settings.get('StateDirectory')}`), data);
    t.ok(admin.socket.startsWith(`/run/${settings.get('RuntimeDirectory')}/`), admin.socket);
  }
  if (spawnSync('systemd-analyze', ['--version']).status !== 0) {
    t.pass('skipped: no systemd-analyze', { skip: 'no systemd-analyze' });
    return;
  }
  const copy = join(await temporaryDirectory(t), 'countersign.service');
  await writeFile(copy, read('packaging/countersign.service').replace(String(program), process.execPath));
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
  const about = stderr.split('\n').filter((line) => line.includes('countersign'));
  t.same([status, about], [0, []], stderr);
});

t.test('systemd is told when clients can connect, where it wants to know', async (t) => {
  const directory = await temporaryDirectory(t);
  const told = join(directory, 'told');
  const fake = join(directory, 'systemd-notify');
  await writeFile(fake, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> ${told}\n`);
  await chmod(fake, 0o755);
  const environment = { NOTIFY_SOCKET: '/run/x', PATH: `${directory}:${process.env.PATH}` };
  const child = await startChild(t, ['--memory', '--log-level', 'debug'], environment);
  await child.running.errors(/systemd was told/);
  t.equal((await child.stop()).code, 0);
  t.match(readFileSync(told, 'utf8'), /^\/run\/x --ready --status=countersign \S+ accepts connections\n$/);
  await chmod(fake, 0o644);
  const other = await startChild(t, ['--memory'], { ...environment, PATH: directory });
  await other.running.errors(/systemd could not be told that the broker is ready/);
  t.equal((await other.stop()).code, 0, 'which is no reason to stop');
});

t.test('the README says why each dependency is there', async (t) => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  const table = read('README.md').split('| dependency | why |')[1] ?? '';
  const named = [...table.matchAll(/`([\w-]+)`(?=[^|]*\|)/g)].map(([, name]) => name as string);
  t.same(Object.keys(dependencies).sort(), named.filter((name) => name in dependencies).sort());
});
