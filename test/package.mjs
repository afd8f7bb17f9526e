// What `npm pack` makes is installed into an empty folder and used there as a newcomer would: the command line, the
// library, the client and the types. Needs a registry, or npm's cache, for the dependencies: `npm run test:package`.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
const patienceMs = 120_000;

/** Written into the folder, compiled there with the package's own types, and run. */
const consumer = `import { Broker, type BrokerOptions, CountersignError } from 'countersign';
import { type Receipts, withReceipts } from 'countersign/client';
import mqtt from 'mqtt';

const options: BrokerOptions = { port: 0, memory: true };
const broker = new Broker(options);
const { host, port } = await broker.listen();
const url = \`mqtt://\${host}:\${port}\`;
const device = await mqtt.connectAsync(url, { protocolVersion: 5, clientId: 'device' });
await device.subscribeAsync('cmd/#', { qos: 1 });
const operator = await mqtt.connectAsync(url, { protocolVersion: 5, clientId: 'console' });
const receipts: Receipts = withReceipts(operator);
const states: string[] = [];
const tracked = await receipts.publish('cmd/7', 'now', { receipt: 'delivered' });
for await (const { to, state } of tracked) states.push(\`\${to} \${state}\`);
const byServer = await broker.publish({ topic: 'cmd/8', payload: 'now', receipt: 'delivered' });
const { delivered, final } = await byServer.tally;
console.log(JSON.stringify({ states, delivered, final }));
await receipts.close();
for (const client of [device, operator]) await client.endAsync();
await broker.close();
try {
  new Broker({ port: -1 });
} catch (error) {
  if (!(error instanceof CountersignError)) throw error;
  console.log(error.code);
}
`;

const compilerOptions = {
  target: 'ES2022',
  lib: ['ES2023'],
  module: 'NodeNext',
  moduleResolution: 'NodeNext',
  strict: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
  skipLibCheck: true,
  types: ['node'],
  typeRoots: [join(root, 'node_modules/@types')],
};

const folder = await mkdtemp(join(tmpdir(), 'countersign-package-'));
try {
  const tarball = await pack();
  await install(tarball);
  await checkContents();
  await checkProgram();
  await checkLibrary();
  console.log(`countersign ${version} installs, runs and compiles`);
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function pack() {
  const { stdout } = await run(npm, ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: root,
  });
  const [{ filename, files }] = JSON.parse(stdout);
  const paths = files.map(({ path }) => path);
  const strangers = paths.filter((path) => /^(test|bench|dist\/bench|dist\/simulation|\.ci|\.tap)\b|\.test\./.test(path));
  assert.deepEqual(strangers, [], 'the package has what its users need, and nothing else');
  return join(folder, filename);
}

async function install(tarball) {
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--omit=dev', '--loglevel=error'];
  await run(npm, ['install', ...quiet, tarball], { cwd: folder, timeout: patienceMs });
}

/** Everything that package.json and the documents point to is there. */
async function checkContents() {
  const installed = join(folder, 'node_modules/countersign');
  const { bin, exports } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  const targets = [...Object.values(bin), ...Object.values(exports).flatMap((target) => Object.values(Object(target)))];
  for (const target of targets.filter((text) => text.length > 1)) assert.ok(existsSync(join(installed, target)), target);
  for (const page of ['README.md', 'ARCHITECTURE.md', 'SECURITY.md']) {
    const text = readFileSync(join(installed, page), 'utf8');
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      assert.ok(existsSync(join(installed, link)), `${page} links to ${link}, which is not in the package`);
    }
  }
}

async function checkProgram() {
  const { stdout } = await run('npx', ['--no-install', 'countersign', '--version'], { cwd: folder });
  assert.equal(stdout.trim(), version);
  const program = join(folder, 'node_modules/.bin/countersign');
  const started = spawn(program, ['start', '--port', '0', '--data', join(folder, 'data')], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, COUNTERSIGN_LOG_LEVEL: 'error' },
  });
  const ended = once(started, 'exit');
  try {
    const line = await firstLine(started);
    assert.match(line, /^countersign \S+ ready on mqtt:\/\/127\.0\.0\.1:\d+, data in .+ \(flushed\)$/);
    const port = line.match(/:(\d+),/)[1];
    await run(program, ['publish', 'nobody/there', 'x', '--port', port]);
  } finally {
    started.kill('SIGTERM');
  }
  assert.deepEqual(await ended, [0, null], 'SIGTERM ends it in order');
}

async function firstLine({ stdout }) {
  const timeout = AbortSignal.timeout(patienceMs);
  const [line] = await once(createInterface({ input: stdout }), 'line', { signal: timeout });
  return line;
}

async function checkLibrary() {
  await writeFile(join(folder, 'consumer.ts'), consumer);
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  try {
    await run(process.execPath, [compiler, '-p', folder], { cwd: folder });
  } catch (error) {
    throw new Error(`the package's types do not compile:\n${error.stdout}`);
  }
  const { stdout } = await run(process.execPath, [join(folder, 'consumer.js')], { cwd: folder, timeout: patienceMs });
  const [outcome, code] = stdout.trim().split('\n');
  assert.deepEqual(JSON.parse(outcome), { states: ['device delivered'], delivered: 1, final: true });
  assert.equal(code, 'ERR_COUNTERSIGN_CONFIG');
}
