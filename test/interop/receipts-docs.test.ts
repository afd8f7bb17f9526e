import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { IClientOptions } from 'mqtt';
import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { cleanEnvironment, type Outcome, Running, temporaryDirectory } from '../helpers/command.js';
import { findClient, RealClient, startClient, startPython } from '../helpers/real-clients.js';
import { JsClient } from './mqttjs-client.js';

/** The snippets of docs/receipts.md are programs: they are run as they stand there, but for the port. */

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = readFileSync(new URL('../../docs/receipts.md', import.meta.url), 'utf8');

/** The snippets under a heading of the third level. */
function snippets(heading: string, language: string, port: number): string[] {
  const [, section = ''] = text.split(new RegExp(`^### ${heading}\n`, 'm'));
  const [own = ''] = section.split(/^##/m);
  const blocks = [...own.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))];
  return blocks.map(([, code = '']) => code.replaceAll('1883', String(port)));
}

/** Runs a snippet where `countersign` is this package. */
function startJs(t: Test, code: string): Running {
  const args = ['--input-type=module', '--eval', code];
  return new Running(t, process.execPath, args, cleanEnvironment(), root);
}

function startShell(t: Test, code: string): Promise<Outcome> {
  return new Running(t, '/bin/sh', ['-c', code], cleanEnvironment()).finish();
}

/** A client that takes no message. */
const refusing: IClientOptions = { customHandleAcks: (_topic, _message, _packet, done) => done(0x83) };

async function device(t: Test, port: number): Promise<JsClient> {
  const client = await JsClient.connect(t, port, { clientId: 'device-7' });
  await client.mqtt.subscribeAsync('cmd/7/#', { qos: 1 });
  return client;
}

t.test('the mosquitto snippets show a receipt and a tally, and the code of a held PUBACK', async (t) => {
  if (findClient(t, RealClient.mosquittoPub) === undefined) return;
  const { port } = await startBroker(t);
  await device(t, port);
  const [ask = '', hold = ''] = snippets('mosquitto', 'sh', port).map((code) =>
    code.replaceAll(/mosquitto_(pub|sub)/g, `mosquitto_$1 -p ${port}`),
  );
  const { stdout } = await startShell(t, ask);
  const [receipt, tally] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(receipt, { topic: 'cmd/7/reboot', to: 'device-7', state: 'delivered' });
  t.match(tally, { matched: 1, delivered: 1, final: true });
  t.match(await startShell(t, hold), { code: 0, stdout: /PUBACK \(Mid: \d+, RC:0\)/ });
  await (await JsClient.connect(t, port, refusing)).mqtt.subscribeAsync('cmd/#', { qos: 1 });
  const warned = { code: 0, stdout: /PUBACK \(Mid: \d+, RC:131\)/, stderr: /delivered to 1 of 2/ };
  t.match(await startShell(t, hold), warned, 'not everyone has it');
});

t.test('the MQTT.js snippets publish, acknowledge, and do without the helper', async (t) => {
  const { port } = await startBroker(t);
  const [publish = '', answer = '', plain = ''] = snippets('MQTT.js', 'js', port);
  const first = await device(t, port);
  t.match(await startJs(t, publish).finish(), { code: 0, stdout: /1 recipients\ndevice-7 delivered/, stderr: '' });
  t.match(await startJs(t, plain).finish(), { code: 0, stdout: /device-7 delivered\ntally, final: true/, stderr: '' });
  await first.end();
  const application = startJs(t, answer);
  const asked = publish.replace("receipt: 'delivered'", "receipt: 'processed'");
  await untilSubscribed(t, port);
  t.match(await startJs(t, asked).finish(), { code: 0, stdout: /device-7 processed.*processed: 1/s });
  await application.kill('SIGTERM');
});

t.test('the Paho Python snippets publish and acknowledge', async (t) => {
  const path = findClient(t, RealClient.paho);
  if (path === undefined) return;
  const { port } = await startBroker(t);
  const source = 'import paho.mqtt.client as c; print(hasattr(c, "CallbackAPIVersion"))';
  const isPaho2 = spawnSync(path, ['-c', source], { encoding: 'utf8' }).stdout.trim() === 'True';
  const [publish = '', answer = ''] = snippets('Paho Python', 'python', port).map((code) =>
    isPaho2 ? code : code.replace('mqtt.CallbackAPIVersion.VERSION2, ', ''),
  );
  const first = await device(t, port);
  t.match(await startPython(t, path, publish).finish(), {
    code: 0,
    stdout: /device-7 delivered.*delivered to 1 of 1/s,
  });
  await first.end();
  const application = startPython(t, path, answer);
  await untilSubscribed(t, port);
  const asked = publish.replace('("receipt", "delivered")', '("receipt", "processed")');
  t.match(await startPython(t, path, asked).finish(), { code: 0, stdout: /device-7 processed/ });
  await application.kill('SIGTERM');
});

t.test('the Paho C snippet compiles without a warning, and publishes', async (t) => {
  const header = ['-E', '-include', 'MQTTClient.h', '-x', 'c', '/dev/null'];
  if (spawnSync('gcc', header, { stdio: 'ignore' }).status !== 0) {
    const message = 'gcc and libpaho-mqtt-dev are not installed';
    t.pass(`skipped: ${message}`, { skip: message });
    return;
  }
  const { port } = await startBroker(t);
  await device(t, port);
  const [code = ''] = snippets('Paho C', 'c', port);
  const program = join(await temporaryDirectory(t), 'receipts');
  const args = ['-Wall', '-Wextra', '-Werror', '-o', program, '-x', 'c', '-', '-x', 'none', '-lpaho-mqtt3c'];
  const { status, stderr } = spawnSync('gcc', args, { input: code, encoding: 'utf8' });
  t.same([status, stderr], [0, '']);
  const { code: exitCode, stdout } = await startClient(t, program, []).finish();
  t.equal(exitCode, 0);
  const receipts = stdout.trim().split('\n').map((line) => JSON.parse(line)); // biome-ignore format: one line
  t.match(receipts, [{ pending: 1 }, { to: 'device-7', state: 'delivered' }, { delivered: 1, final: true }]);
});

t.test('the embedded snippet publishes', async (t) => {
  const { broker, port } = await startBroker(t);
  await broker.close();
  const [code = ''] = snippets('Embedded', 'js', port);
  const message = /failed: 0 of 0/;
  t.match(await startJs(t, code).finish(), { code: 0, stdout: message, stderr: '' });
});

/** Resolves when somebody subscribes to the commands. */
async function untilSubscribed(t: Test, port: number): Promise<void> {
  const probe = await JsClient.connect(t, port);
  for (;;) {
    const properties = { userProperties: { receipt: 'delivered' } };
    probe.mqtt.publish('cmd/7/probe', '', { qos: 1, properties });
    const { reasonCode } = await probe.packet('puback');
    if (reasonCode !== 0x10) return probe.end();
  }
}
