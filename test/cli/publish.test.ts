import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DeliveryBoard, spellTime } from '../../bin/delivery-board.js';
import type { Receipt, Tally } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import {
  cleanEnvironment,
  type Outcome,
  programPath,
  Running,
  runProgram,
  temporaryDirectory,
} from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { JsClient } from '../interop/mqttjs-client.js';

/** Runs `countersign publish` against a broker of this process, which must go on meanwhile. */
function publish(t: Test, port: number, ...args: readonly string[]): Promise<Outcome> {
  return runProgram(t, ['publish', '--port', String(port), ...args]);
}

async function device(t: Test, port: number, clientId: string, reasonCode = 0): Promise<JsClient> {
  const client = await JsClient.connect(t, port, {
    clientId,
    clean: false,
    properties: { sessionExpiryInterval: 600 },
    customHandleAcks: (_topic, _message, _packet, done) => done(reasonCode),
  });
  if (!client.sessionPresent) await client.mqtt.subscribeAsync('cmd/#', { qos: 1 });
  return client;
}

function linesOf({ stdout }: Outcome): (Receipt | Tally)[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Receipt | Tally);
}

t.test('publish prints a JSON line per receipt and tally where stdout is no terminal, and exits 0', async (t) => {
  const { port } = await startBroker(t);
  const one = await device(t, port, 'one');
  await device(t, port, 'two');
  const flags = ['--receipt', 'delivered', '--client-id', 'console', '--property', 'k=1', '--property', 'k=2=3'];
  const outcome = await publish(t, port, 'cmd/7', 'now', ...flags, '--expiry', '60', '--retain');
  t.match(outcome, { code: 0, stderr: '' });
  const lines = linesOf(outcome);
  t.equal(lines.length, 4);
  t.match(lines[0], { topic: 'cmd/7', matched: 2, pending: 2, final: false });
  t.same(
    new Set(lines.slice(1, 3).map((line) => 'to' in line && `${line.to} ${line.state}`)),
    new Set(['one delivered', 'two delivered']),
  );
  t.match(lines[3], { delivered: 2, final: true });
  const packet = await one.packet('publish');
  t.equal(packet.payload.toString(), 'now');
  t.match(packet.properties?.userProperties, { k: ['1', '2=3'], receipt: 'delivered' });
  t.ok([59, 60].includes(packet.properties?.messageExpiryInterval ?? 0));
});

t.test('publish exits 3 if some delivery failed, or nobody subscribes', async (t) => {
  const { port } = await startBroker(t);
  await device(t, port, 'one');
  await device(t, port, 'refuses', 0x83);
  const failed = await publish(t, port, 'cmd/7', 'x', '--receipt', 'delivered', '--json');
  t.match(failed, { code: 3, stderr: 'countersign: 1 of 2 failed\n' });
  t.match(linesOf(failed).at(-1), { failures: [{ to: 'refuses', state: 'rejected', reason: 0x83 }] });
  const nobody = await publish(t, port, 'nobody', 'x', '--receipt', 'delivered');
  t.match(nobody, { code: 3, stderr: 'countersign: nobody subscribes to nobody\n' });
  const unconfirmed = await publish(t, port, 'cmd/7', 'x', '--receipt', 'delivered', '--qos', '0');
  t.match(unconfirmed, { code: 3, stderr: /nobody confirmed/ });
});

t.test('publish exits 4 when deliveries are pending at the deadline', async (t) => {
  const { port } = await startBroker(t);
  await (await device(t, port, 'away')).end();
  const outcome = await publish(t, port, 'cmd/7', 'x', '--receipt', 'delivered', '--deadline', '1');
  t.match(outcome, { code: 4, stderr: /^countersign: 1 of 1 pending at the deadline/ });
  t.match(linesOf(outcome).at(-1), { overdue: true, pending: 1 });
});

t.test('publish goes on after the broker was away', async (t) => {
  const { broker, port } = await startBroker(t, { data: await temporaryDirectory(t) });
  await (await device(t, port, 'away')).end();
  const args = ['publish', '--port', String(port), 'cmd/7', 'x', '--receipt', 'delivered'];
  const running = new Running(t, process.execPath, [programPath, ...args], cleanEnvironment());
  await running.output(/"queued"/);
  await broker.close();
  const again = await startBroker(t, { data: broker.settings.data, port });
  await device(t, again.port, 'away');
  t.match(await running.finish(), { code: 0, stdout: /"delivered":1,.*"final":true/ });
});

t.test('publish takes its message from stdin, byte by byte, and a plain one needs no receipt', async (t) => {
  const { port } = await startBroker(t);
  const one = await device(t, port, 'one');
  const args = ['publish', '--url', `mqtt://127.0.0.1:${port}`, 'cmd/7'];
  const running = new Running(t, process.execPath, [programPath, ...args], cleanEnvironment());
  running.child.stdin?.end(Buffer.from([0, 255, 10]));
  t.match(await running.finish(), { code: 0, stdout: '', stderr: '' });
  t.same(Buffer.from((await one.packet('publish')).payload), Buffer.from([0, 255, 10]));
});

t.test('the password comes from the environment or a file', async (t) => {
  const { broker, port } = await startBroker(t);
  const directory = await temporaryDirectory(t);
  await writeFile(join(directory, 'password'), 'secret\n');
  const flags = ['--username', 'me', '--port', String(port), 'a', 'x'];
  t.match(await runProgram(t, ['publish', ...flags], { COUNTERSIGN_PASSWORD: 'secret' }), { code: 0 });
  t.match(await publish(t, port, ...flags, '--password-file', join(directory, 'password')), { code: 0 });
  t.equal(broker.metrics.publishesReceived, 2);
  const missing = await publish(t, port, ...flags, '--password-file', join(directory, 'none'));
  t.match(missing, { code: 2, stderr: /--password-file .*none cannot be read \(ENOENT\)\n$/ });
});

t.test('wrong usage is one line and exit code 2', async (t) => {
  const wrong: [RegExp, ...string[]][] = [
    [/missing required argument 'topic'/],
    [/--qos .* must be 0, 1 or 2/, 'a', 'x', '--qos', '3'],
    [/--receipt .*delivered, processed/, 'a', 'x', '--receipt', 'read'],
    [/--deadline needs --receipt/, 'a', 'x', '--deadline', '5'],
    [/--deadline .* from 1 to 2592000/, 'a', 'x', '--receipt', 'delivered', '--deadline', '0'],
    [/--property .* name=value/, 'a', 'x', '--property', 'k'],
    [/no topic name/, 'a/#', 'x'],
    [/--url: it must begin with mqtt/, 'a', 'x', '--url', 'http://127.0.0.1'],
    [/--url: a password does not belong/, 'a', 'x', '--url', 'mqtt://me:secret@127.0.0.1'],
    [/--url.* cannot be used with .*--host/, 'a', 'x', '--url', 'mqtt://127.0.0.1', '--host', 'x'],
    [/both the password and the message/, 'a', '--password-file', '-'],
  ];
  for (const [message, ...args] of wrong) {
    const outcome = await runProgram(t, ['publish', ...args]);
    t.match(outcome, { code: 2, stdout: '' }, args.join(' '));
    t.match(outcome.stderr, message);
    t.match(outcome.stderr, /^countersign: [^\n]+\n$/);
  }
});

t.test('what keeps the broker from taking the message is one line and exit code 1', async (t) => {
  const { broker, port } = await startBroker(t);
  const refused = await publish(t, port, '$SYS/x', 'x', '--receipt', 'delivered');
  t.match(refused, { code: 1, stderr: /^countersign: [^\n]*\$SYS is published by the broker\n$/ });
  const own = await publish(t, port, 'a', 'x', '--receipt', 'delivered', '--property', 'receipt-id=1');
  t.match(own, { code: 1, stderr: /receipt-id is set by the broker/ });
  await broker.close();
  const gone = await publish(t, port, 'a', 'x', '--receipt', 'delivered');
  t.match(gone, { code: 1, stderr: /^countersign: mqtt:\/\/127\.0\.0\.1:\d+: connection refused[^\n]*\n$/ });
});

t.test('on a terminal a table is drawn, with recipient, state and time', async (t) => {
  if (!existsSync('/usr/bin/script')) {
    t.pass('skipped: util-linux is not installed', { skip: 'needs script of util-linux' });
    return;
  }
  const { port } = await startBroker(t);
  await device(t, port, 'device-7');
  const command = `${process.execPath} ${programPath} publish --port ${port} cmd/7 x --receipt delivered`;
  const running = new Running(
    t,
    '/usr/bin/script',
    ['-qec', command, '/dev/null'],
    cleanEnvironment({ NO_COLOR: '1' }),
  );
  const { code, stdout } = await withDeadline(running.ended, () => 'no end');
  t.equal(code, 0);
  t.match(stdout, /RECIPIENT {2}STATE {10,}TIME\r\ndevice-7 {3}delivered {2,}\d+ ms\r\ndelivered 1\r\n$/);
});

const receipt: Receipt = { id: 'I', topic: 't', to: 'd', state: 'delivered', qos: 1, reason: 0, at: 1500, matched: 3 };
const tally: Tally = {
  ...{ id: 'I', topic: 't', matched: 3, processed: 0, delivered: 0, sent: 0, failed: 0, pending: 3 },
  ...{ final: false, at: 1000 },
};

t.test('the table names who was not heard of, causes and answers, and nothing that a terminal acts upon', async (t) => {
  const board = new DeliveryBoard('t', 3, false);
  board.add(tally);
  t.same(board.render(24, 80), ['t', '3 of whom nothing was heard yet', 'pending 3']);
  board.add({ ...receipt, to: 'evil\x1b[2J\u202e', state: 'rejected', reason: 0x97, reasonString: 'full' });
  board.add({ ...receipt, to: '', group: '$share/g/t', state: 'dropped', cause: 'offline' });
  t.same(board.render(24, 80), [
    't',
    'RECIPIENT   STATE          TIME',
    'evil?[2J?   rejected     500 ms  0x97 full',
    '$share/g/t  dropped      500 ms  offline',
    '… and 1 of whom nothing was heard yet',
    'failed 2, pending 1',
  ]);
  t.same(board.render(24, 20)[2], 'evil?[2J?   rejecte…', 'lines are cut, not wrapped');
});

t.test('many recipients have a bar and the last failures', async (t) => {
  const board = new DeliveryBoard('t', 100, true);
  board.add({ ...tally, matched: 100, pending: 100 });
  for (let n = 0; n < 40; n++) board.add({ ...receipt, to: `d${n}` });
  for (let n = 40; n < 50; n++) board.add({ ...receipt, to: `d${n}`, state: 'expired' });
  const lines = board.render(24, 80);
  t.equal(lines[1], '[###############---------------] 50 of 100');
  t.equal(lines.length, 12);
  const [name = '', coloured = ''] = lines[3]?.split('  ') ?? [];
  t.same([name, coloured], ['d42', '\u001b[31mexpired\u001b[39m']);
  t.equal(lines[11], 'delivered 40, failed 10, pending 50');
  board.add({ ...tally, matched: 100, delivered: 90, failed: 10, pending: 0, final: true });
  t.equal(board.render(24, 80)[1], '[##############################] 100 of 100');
});

t.test('times are spelled in the unit that suits them', async (t) => {
  t.same([7, 1234, 61_000].map(spellTime), ['7 ms', '1.2 s', '1 min 1 s']);
});
