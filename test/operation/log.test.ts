import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { escapeControls, formatLine } from '../../bin/log.js';
import { type Log, silentLog } from '../../lib/base/log.js';
import { Broker } from '../../lib/index.js';
import { startChild } from '../helpers/broker.js';
import { connected } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/command.js';
import { ack, connect, property, publish } from '../helpers/packets.js';
import { dial, dialAndSend } from '../helpers/scenes.js';
import { WireClient } from '../helpers/wire-client.js';

const evil = 'a\u001b[31m\u009b\u007f\u202e"}\n{"level":60';

function lineOf(fields: object): string {
  return `${JSON.stringify({ level: 30, time: '2026-01-01T12:34:56.789Z', pid: 1, hostname: 'h', ...fields })}\n`;
}

t.test('a JSON line is formatted for reading', async (t) => {
  t.equal(
    formatLine(lineOf({ client: 'sensor-7', address: '127.0.0.1:4', count: 2, reason: 'two words', msg: 'connected' })),
    '12:34:56.789 INFO  connected client=sensor-7 address=127.0.0.1:4 count=2 reason="two words"\n',
  );
});

t.test('control characters are escaped wherever they come from', async (t) => {
  for (const text of [
    formatLine(lineOf({ client: evil, [evil]: [evil], msg: evil })),
    escapeControls(lineOf({ client: evil })),
  ]) {
    t.notMatch(text.slice(0, -1), /[\p{Cc}\p{Cf}\u2028\u2029]/u);
    t.equal(text.at(-1), '\n');
  }
  t.match(JSON.parse(escapeControls(lineOf({ client: evil }))), { client: evil }, 'JSON says the same');
  t.match(formatLine(lineOf({ client: evil, msg: '' })), 'a\\u001b[31m\\u009b');
});

interface Line {
  readonly msg: string;
  readonly client?: string;
}

t.test('each connection has a line when it comes, is refused or goes, with client, address and reason', async (t) => {
  const child = await startChild(t, ['--memory'], { COUNTERSIGN_MAXIMUM_CLIENT_ID_LENGTH: '30' });
  const one = await connected(t, child.port, { clientId: evil.slice(0, 8), userName: 'u' });
  one.send('e0 00');
  await one.expectClose();
  const two = await connected(t, child.port, { clientId: 'two' });
  two.send(ack('pubrel', 1), publish({ topic: '', qos: 0 }));
  await two.rest();
  const three = await WireClient.connect(child.port);
  three.send(connect({ clientId: 'x'.repeat(31) }));
  await three.rest();
  const four = await connected(t, child.port, { clientId: 'four' });
  four.reset();
  await child.running.errors(/connection lost/);
  const { stderr } = await child.stop();
  const lines = stderr
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
  t.notMatch(stderr.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u);
  const of = (client: string): object[] => lines.filter((line) => line.client === client);
  const address = /^127\.0\.0\.1:\d+$/;
  t.match(of(evil.slice(0, 8)), [
    { msg: 'connected', user: 'u', address, version: 5 },
    { msg: 'disconnected', user: 'u', address, reason: String },
  ]);
  t.match(of('two'), [
    { msg: 'connected', address },
    { msg: /^protocol error/, address },
    { msg: /^disconnected by the broker/, address, reason: String },
  ]);
  t.match(of('x'.repeat(31)), [{ level: 40, msg: /^connection refused/, address, reason: /client identifier/ }]);
  t.match(of('four'), [{ msg: 'connected' }, { msg: 'connection lost', address, reason: String }]);
});

/** Names that would end a line, begin another, steer a terminal or end a quotation, were they written as they are. */
const names = [
  'a\nINFO connected client=admin',
  'b\r\n{"level":60}',
  '\u001b[2J\u001b]0;x\u0007',
  '"\\" x="y',
  '\u202egnp',
  '\u2028',
  '\u200f\u061c\ufeff',
];

for (const format of ['json', 'pretty'] as const) {
  t.test(`no client identifier, user name or topic forges a line or steers a terminal (${format})`, async (t) => {
    const accessFile = join(await temporaryDirectory(t), 'access');
    await writeFile(accessFile, 'topic read #\npattern write ok\n');
    const environment = { COUNTERSIGN_LOG_FORMAT: format, COUNTERSIGN_ACCESS_FILE: accessFile };
    const child = await startChild(t, ['--memory', '--log-level', 'debug'], environment);
    const before = child.running.stderr.split('\n').length;
    for (const name of names) {
      const will = { topic: name, payload: 'x' };
      const client = await connected(t, child.port, { clientId: name, userName: name, will });
      const properties = [property.userProperty('receipt', name)];
      client.send(publish({ topic: 'ok', qos: 1, packetId: 1, properties }), publish({ topic: name, qos: 0 }));
      await client.packet();
      client.send(ack('pubrec', 1), '82 01 ff');
      await client.rest();
    }
    const { stderr } = await child.stop();
    t.notMatch(stderr.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    const lines = stderr.split('\n').slice(before - 1, -1);
    // connected, request refused, will dropped, protocol error, disconnected
    t.ok(lines.length >= 5 * names.length && lines.length <= 5 * names.length + 3, `${lines.length} lines`);
    for (const line of lines) {
      if (format === 'pretty') t.match(line, /^\d\d:\d\d:\d\d\.\d{3} [A-Z]+ /);
      else t.match(JSON.parse(line), { level: Number, msg: String });
    }
    if (format === 'json') {
      const clients = lines.map((line) => (JSON.parse(line) as Line).client).filter((client) => client !== undefined);
      t.same(new Set(clients), new Set(names), 'and they are told as they are');
    }
  });
}

const upgrade = (path: string, ...lines: string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', ...lines, '', ''].join('\r\n');

t.test('what becomes no WebSocket is counted and told, with its address and why', async (t) => {
  const lines: object[] = [];
  const log: Log = { ...silentLog, warn: (fields, message) => lines.push({ ...fields, message }) };
  const listener = { type: 'ws' as const, port: 0, allowedOrigins: ['https://app.example'] };
  const cases: [string, RegExp][] = [
    [upgrade('/x'), /another path/],
    [upgrade('/mqtt', 'Origin: https://evil.example'), /not in allowedOrigins/],
    [upgrade('/mqtt'), /subprotocol mqtt/],
    [upgrade('/mqtt', 'Sec-WebSocket-Protocol: mqtt'), /makes no WebSocket/],
    ['GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n', /makes no WebSocket/],
    ['NONSENSE\r\n\r\n', /makes no WebSocket/],
  ];
  for (const [bytes, reason] of cases) {
    const broker = new Broker({ memory: true, log, listeners: [listener] });
    const place = await broker.listen();
    const client = await dialAndSend(t, place, Buffer.from(bytes));
    await client.rest();
    // Who only looks whether somebody listens is not worth a line.
    const quiet = await dial(t, place);
    quiet.end();
    await quiet.expectClose();
    await broker.close();
    t.match(lines.splice(0), [{ message: 'connection refused', address: /^127\.0\.0\.1:\d+$/, reason }], bytes);
    t.equal(broker.metrics.connectionsRefused, 1);
  }
});
