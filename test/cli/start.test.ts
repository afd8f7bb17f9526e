import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startChild } from '../helpers/broker.js';
import { type Outcome, runProgram, temporaryDirectory } from '../helpers/command.js';
import { ack, connect, property, publish } from '../helpers/packets.js';
import { WireClient } from '../helpers/wire-client.js';

/** A start that must fail: the exit code, and exactly one line on stderr, which tells what is wrong. */
function expectRefusal(t: Test, outcome: Outcome, code: number, line: RegExp): void {
  t.equal(outcome.code, code, 'exit code');
  t.equal(outcome.stdout, '', 'nothing on stdout');
  const lines = outcome.stderr.split('\n').filter((text) => text !== '' && !text.startsWith('{'));
  t.equal(lines.length, 1, `one line: ${outcome.stderr}`);
  t.match(lines[0], /^countersign: /);
  t.match(lines[0], line);
  t.notMatch(outcome.stderr, /^\s+at /m, 'no stack trace');
}

t.test('the ready line names version, address and data directory, and nothing else is on stdout', async (t) => {
  const directory = await temporaryDirectory(t);
  const child = await startChild(t, ['--data', directory]);
  const { code, stdout } = await child.stop();
  const place = `127.0.0.1:${child.port}, data in ${directory}`;
  t.match(stdout, /^countersign \d+\.\d+\.\d+ ready on mqtt:\/\//);
  t.ok(stdout.endsWith(` ready on mqtt://${place} (flushed)\n`), stdout);
  t.not(child.port, 0, '--port 0 takes a free port');
  t.equal(code, 0);
});

t.test('the ready line tells the durability, and that memory is not durable', async (t) => {
  const directory = await temporaryDirectory(t);
  const committed = await startChild(t, ['--data', directory, '--durability', 'committed']);
  t.match(committed.running.stdout, / \(committed\)\n$/);
  const memory = await startChild(t, ['--memory']);
  t.match(memory.running.stdout, /, data in memory\n$/);
});

t.test('the ready line names the first listener as its type is called, and more lines the others', async (t) => {
  const file = join(await temporaryDirectory(t), 'countersign.yaml');
  const listeners = ['  - { type: ws, port: 0, path: /broker }', '  - { type: tcp, port: 0 }'];
  await writeFile(file, ['memory: true', 'listeners:', ...listeners, ''].join('\n'));
  const { running } = await startChild(t, ['--config', file]);
  t.match(running.stdout, /^countersign \S+ ready on ws:\/\/127\.0\.0\.1:\d+\/broker, data in memory\n/);
  t.match(running.stdout, /\nalso listening on mqtt:\/\/127\.0\.0\.1:\d+\n$/);
});

t.test('an IPv6 address stands in brackets', async (t) => {
  const child = await startChild(t, ['--memory', '--host', '::1']).catch((error: Error) => error);
  if (child instanceof Error) {
    t.match(child.message, /an address of this machine/);
    return;
  }
  t.match(child.running.stdout, / ready on mqtt:\/\/\[::1\]:\d+, /);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} ends with exit code 0 within 5 seconds, and tells MQTT 5 clients`, async (t) => {
    const child = await startChild(t, ['--memory', '--log-level', 'silent']);
    const client = await WireClient.connect(child.port);
    client.send(connect({ clientId: 'c' }));
    t.equal((await client.packet())[0], 0x20, 'CONNACK');
    const startedAtMs = performance.now();
    const ended = child.running.kill(signal);
    const disconnect = await client.packet();
    t.equal(disconnect[0], 0xe0, 'DISCONNECT');
    t.equal(disconnect[2], 0x8b, 'server shutting down');
    await client.expectClose();
    const { code, stderr } = await ended;
    t.equal(code, 0);
    t.equal(stderr, '');
    t.ok(performance.now() - startedAtMs < 5000, 'within 5 seconds');
  });
}

t.test('what was acknowledged before SIGTERM is there after a restart', async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await startChild(t, ['--data', directory]);
  const publisher = await WireClient.connect(first.port);
  publisher.send(connect({ clientId: 'p' }));
  await publisher.packet();
  publisher.send(publish({ topic: 'kept', payload: 'x', qos: 1, retain: true }));
  const puback = await publisher.packet();
  t.ok(puback.subarray(0, 4).equals(ack('puback', 1)) || puback[4] < 0x80, 'PUBACK');
  t.equal((await first.stop()).code, 0);

  const second = await first.restart();
  t.equal(second.port, first.port);
  const subscriber = await WireClient.connect(second.port);
  subscriber.send(
    connect({ clientId: 's', properties: [property.receiveMaximum(5)] }),
    '82 0a 00 01 00 00 04 6b657074 00',
  );
  await subscriber.packet();
  await subscriber.expect('90 04 00 01 00 00', '31 08 00 04 6b657074 00 78');
});

t.test('usage errors are one line with exit code 2', async (t) => {
  expectRefusal(t, await runProgram(t, ['start', '--prot', '1884']), 2, /unknown option '--prot'.*--port/);
  expectRefusal(t, await runProgram(t, ['start', '--frobnicate']), 2, /unknown option '--frobnicate'.*--help/);
  expectRefusal(t, await runProgram(t, ['strat']), 2, /unknown command 'strat'.*start/);
  expectRefusal(t, await runProgram(t, ['start', 'extra']), 2, /too many arguments/);
  expectRefusal(t, await runProgram(t, ['start', '--port', '70000']), 2, /--port: 70000 is not allowed.*0 to 65535/);
  expectRefusal(t, await runProgram(t, ['start', '--durability', 'x']), 2, /--durability: "x".*flushed or committed/);
  expectRefusal(t, await runProgram(t, ['start', '--data', 'x', '--memory']), 2, /'--memory' cannot be used with/);
});

t.test('a port in use is one line with exit code 1', async (t) => {
  const child = await startChild(t, ['--memory']);
  const outcome = await runProgram(t, ['start', '--memory', '--port', String(child.port)]);
  expectRefusal(t, outcome, 1, new RegExp(`127\\.0\\.0\\.1:${child.port} is in use .*port`));
});

t.test('an address of another machine is one line with exit code 1', async (t) => {
  const args = ['start', '--memory', '--port', '0', '--host', '192.0.2.1'];
  const outcome = await runProgram(t, args, { COUNTERSIGN_ALLOW_ANONYMOUS: 'true' });
  expectRefusal(t, outcome, 1, /192\.0\.2\.1.* address of this machine/);
});

t.test('a data directory that another broker has open is one line with exit code 1', async (t) => {
  const directory = await temporaryDirectory(t);
  const child = await startChild(t, ['--data', directory]);
  expectRefusal(t, await runProgram(t, ['start', '--port', '0', '--data', directory]), 1, new RegExp(directory));
  t.equal((await child.stop()).code, 0, 'the first broker was not disturbed');
});

t.test('a data directory whose lock was left by a killed broker opens again', async (t) => {
  const directory = await temporaryDirectory(t);
  const child = await startChild(t, ['--data', directory]);
  await child.kill9();
  const again = await child.restart();
  t.equal((await again.stop()).code, 0);
});

t.test('a data directory that is a file is one line with exit code 1', async (t) => {
  const path = join(await temporaryDirectory(t), 'file');
  await writeFile(path, 'x');
  expectRefusal(t, await runProgram(t, ['start', '--port', '0', '--data', path]), 1, /file/);
});

t.test('flags win over the environment, the environment over the file', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'broker.yaml');
  await writeFile(file, `port: 1\nhost: 192.0.2.1\ndata: ${join(directory, 'from-file')}\n`);
  const environment = { COUNTERSIGN_HOST: '127.0.0.1', COUNTERSIGN_DURABILITY: 'committed' };
  const child = await startChild(t, ['--config', file], environment);
  t.match(child.running.stdout, /from-file \(committed\)\n$/);
  t.equal((await child.stop()).code, 0);
});

t.test('a wrong configuration is one line that names the place and the nearest key, with exit code 2', async (t) => {
  const file = join(await temporaryDirectory(t), 'broker.yaml');
  await writeFile(file, 'prot: 1884\n');
  expectRefusal(t, await runProgram(t, ['start', '--config', file]), 2, /broker\.yaml: prot: unknown key.* port$/);
  await writeFile(file, 'port: [\n');
  expectRefusal(t, await runProgram(t, ['start', '--config', file]), 2, /broker\.yaml: line \d+: /);
  expectRefusal(t, await runProgram(t, ['start', '--config', `${file}.not`]), 2, /there is no such file$/);
  const wrongVariable = await runProgram(t, ['start'], { COUNTERSIGN_PROT: '1' });
  expectRefusal(t, wrongVariable, 2, /COUNTERSIGN_PROT: unknown key.* COUNTERSIGN_PORT$/);
});
