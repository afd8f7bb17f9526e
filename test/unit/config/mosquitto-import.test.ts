import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import {
  bridgeDirectives,
  directiveNotes,
  globalDirectives,
  listenerDirectives,
  structuralDirectives,
} from '../../../lib/config/mosquitto-directives.js';
import { importMosquitto } from '../../../lib/config/mosquitto-import.js';
import { parseOptions } from '../../../lib/config/schema.js';

/** As Debian installs it. */
const debian = `# Place your local configuration in /etc/mosquitto/conf.d/
#
# A full description of the configuration file is at
# /usr/share/doc/mosquitto/examples/mosquitto.conf.example

pid_file /run/mosquitto/mosquitto.pid

persistence true
persistence_location /var/lib/mosquitto/

log_dest file /var/log/mosquitto/mosquitto.log

include_dir /etc/mosquitto/conf.d
`;

const home = `listener 1883
allow_anonymous false
password_file /etc/mosquitto/passwd
acl_file /etc/mosquitto/acl
`;

const fleet = `per_listener_settings false
user mosquitto
max_inflight_messages 0
max_inflight_bytes 65536
max_queued_messages 0
max_queued_bytes 0
queue_qos0_messages true
message_size_limit 10485760
persistent_client_expiration 2w
max_keepalive 600
allow_zero_length_clientid false
retain_available true
upgrade_outgoing_qos true
sys_interval 30
log_type error
log_type warning
log_type notice
log_dest stderr
set_tcp_nodelay true
allow_anonymous false
password_file passwd#1

# plain, this machine only
listener 1883 127.0.0.1

listener 8883
certfile /etc/ssl/server crt.pem
keyfile /etc/ssl/server.key
cafile /etc/ssl/ca.crt
require_certificate true
tls_version tlsv1.3

listener 9001 ::
protocol websockets
websockets_origin https://app.example

listener 0 /run/mosquitto.sock
mount_point local/

connection cloud
address cloud.example:8883
topic # both 1
remote_username me
bridge_cafile /etc/ssl/ca.crt

listener 8884
certfile a.crt
keyfile a.key
max_connections -1

listener 8885 10.0.0.1
mount_point plant-a
max_connections 500
`;

const textsOf = (text: string): string[] => importMosquitto(text).notes.map((note) => `${note.line}: ${note.text}`);

t.test('the file that Debian installs', async (t) => {
  const { options } = importMosquitto(debian);
  t.same(options, { data: '/var/lib/mosquitto/countersign' });
  t.match(textsOf(debian), [
    /^6: pid_file: not needed: /,
    /^11: log_dest file .*: logs go to stderr/,
    /^13: include_dir .*: not read: import its files one by one/,
    /^9: persistence: .*mosquitto\.db/,
  ]);
});

t.test('a home with passwords', async (t) => {
  t.same(importMosquitto(home), {
    options: {
      allowAnonymous: false,
      passwordFile: '/etc/mosquitto/passwd',
      accessFile: '/etc/mosquitto/acl',
      listeners: [{ type: 'tcp', host: '0.0.0.0', port: 1883 }],
    },
    notes: [],
  });
});

t.test('a fleet with listeners, limits and a bridge', async (t) => {
  const { options } = importMosquitto(fleet);
  t.match(options, {
    maximumInflightMessages: 65_535,
    maximumInflightBytes: 65_536,
    maximumQueuedMessages: 0,
    maximumQueuedBytes: 0,
    queueQos0Messages: true,
    maximumMessageSize: 10_485_760,
    maximumSessionExpiry: 14 * 86_400,
    maximumKeepAlive: 600,
    allowEmptyClientId: false,
    retainAvailable: true,
    upgradeOutgoingQos: true,
    sysInterval: 30,
    logLevel: 'info',
    allowAnonymous: false,
    passwordFile: 'passwd#1',
  });
  t.ok(Number(options.maximumPacketSize) > 10_485_760, 'a packet has room for the largest message');
  t.match(options.listeners, [
    { type: 'tcp', host: '127.0.0.1', port: 1883 },
    {
      type: 'tls',
      host: '0.0.0.0',
      port: 8883,
      certificateFile: '/etc/ssl/server crt.pem',
      keyFile: '/etc/ssl/server.key',
      caFile: '/etc/ssl/ca.crt',
      clientCertificates: 'required',
      minimumTlsVersion: 'TLSv1.3',
    },
    { type: 'ws', host: '::', port: 9001, allowedOrigins: ['https://app.example'] },
    { type: 'unix', path: '/run/mosquitto.sock', mountPoint: 'local/' },
    { type: 'tls', port: 8884, certificateFile: 'a.crt', keyFile: 'a.key' },
    { type: 'tcp', host: '10.0.0.1', port: 8885, mountPoint: 'plant-a/', maximumConnections: 500 },
  ]);
  t.equal((options.listeners as unknown[]).length, 6);
  const notes = textsOf(fleet);
  for (const expected of [
    /^2: user: not needed/,
    /^34: protocol websockets: .*\/mqtt/,
    /^40: connection cloud: not supported/,
    /^52: mount_point plant-a: a mount point is whole levels here: plant-a\/$/,
  ]) {
    t.ok(
      notes.some((note) => expected.test(note)),
      String(expected),
    );
  }
  t.notOk(
    notes.some((note) => /^4[1-4]:/.test(note)),
    'directives of a bridge are one note',
  );
});

t.test('whatever comes out is accepted', async (t) => {
  for (const text of [debian, home, fleet, '', 'port 1884\nbind_address 10.0.0.1\n', 'bind_address 127.0.0.1']) {
    const { options } = importMosquitto(text);
    t.doesNotThrow(() => parseOptions(options, ''));
  }
});

t.test('port, bind_address and persistence', async (t) => {
  const { options } = importMosquitto('bind_address 10.0.0.1\nport 1884\npersistence false\n');
  t.same(options.listeners, [{ type: 'tcp', host: '10.0.0.1', port: 1884 }]);
  t.equal(options.memory, true);
  t.equal(options.allowAnonymous, false, 'as Mosquitto 2 has it once there is a listener');
  t.same(importMosquitto('').options, {});
});

t.test('port and bind_address are of the usual listener, wherever they stand', async (t) => {
  const usual = { type: 'tcp', host: '10.0.0.1', port: 1884 };
  t.same(importMosquitto('port 1884\nbind_address 10.0.0.1').options.listeners, [usual]);
  t.same(importMosquitto('bind_address 127.0.0.1').options, {
    allowAnonymous: false,
    listeners: [{ type: 'tcp', host: '127.0.0.1', port: 1883 }],
  });
  t.same(importMosquitto('listener 8883\nport 1884\nbind_address 10.0.0.1\nmax_connections 5').options.listeners, [
    { type: 'tcp', host: '0.0.0.0', port: 8883, maximumConnections: 5 },
    usual,
  ]);
  t.same(importMosquitto('max_connections 5\nlistener 8883').options.listeners, [
    { type: 'tcp', host: '0.0.0.0', port: 1883, maximumConnections: 5 },
    { type: 'tcp', host: '0.0.0.0', port: 8883 },
  ]);
});

t.test('a listener of several that lets everybody in does not open the others', async (t) => {
  const perListener = 'per_listener_settings true\n';
  const open = 'listener 1883\nallow_anonymous true\n';
  const closed = 'listener 1884\npassword_file p\n';
  for (const text of [open + closed, closed + open, `${open}${closed}allow_anonymous false\n`]) {
    const { options, notes } = importMosquitto(perListener + text);
    t.equal(options.allowAnonymous, false, text);
    t.notMatch(JSON.stringify(options.listeners), /allowAnonymous/);
    t.match(
      notes.find((note) => /^allow_anonymous true: not taken over/.test(note.text)),
      { line: text.startsWith(open) ? 2 : 4 },
    );
  }
  t.equal(importMosquitto(perListener + open).options.allowAnonymous, true);
  t.equal(importMosquitto(perListener + closed).options.allowAnonymous, false);
});

t.test('a listener on a Unix socket', async (t) => {
  t.same(importMosquitto('listener 0 /run/a.sock').options.listeners, [{ type: 'unix', path: '/run/a.sock' }]);
  const webSocket = 'listener 0 /run/a.sock\nprotocol websockets';
  t.same(importMosquitto(webSocket).options.listeners, [{ type: 'unix', path: '/run/a.sock' }]);
  t.match(textsOf(webSocket)[1], /^1: listener 0 \/run\/a\.sock: it speaks plain MQTT here/);
});

t.test('certificates of clients', async (t) => {
  const tls = 'listener 8883\ncertfile c.crt\nkeyfile c.key\ncafile ca.crt\n';
  const base = { type: 'tls', host: '0.0.0.0', port: 8883, certificateFile: 'c.crt', keyFile: 'c.key' };
  const required = { ...base, caFile: 'ca.crt', clientCertificates: 'required' };
  for (const [text, expected] of [
    [tls, base],
    [`${tls}require_certificate true`, required],
    [
      `${tls}require_certificate true\ncrlfile list.crl\nuse_identity_as_username true\nuse_subject_as_username true`,
      { ...required, crlFile: 'list.crl', userFromCertificate: 'commonName' },
    ],
    [
      `${tls}require_certificate true\nuse_subject_as_username true\ntls_version tlsv1.2`,
      { ...required, userFromCertificate: 'subject', minimumTlsVersion: 'TLSv1.2' },
    ],
  ] as const) {
    t.same(importMosquitto(text), { options: { allowAnonymous: false, listeners: [expected] }, notes: [] });
  }
  t.same(textsOf(`${tls}use_identity_as_username true`), [
    '1: listener: userFromCertificate has no effect without require_certificate true',
  ]);
  t.match(textsOf(`${tls}tls_version tlsv1.1`), [/^5: tls_version: "tlsv1\.1" is not spoken/]);
});

t.test('listeners behind a proxy', async (t) => {
  const { options, notes } = importMosquitto('listener 1883\nenable_proxy_protocol 2\n');
  t.match(notes, [{ line: 2, text: /name the proxies in trustedProxies/ }]);
  t.match(options.listeners, [{ type: 'tcp', port: 1883, proxyProtocol: true }]);
});

t.test('a listener that would let in more than it did is left out, and told', async (t) => {
  for (const text of [
    'listener 8883\nrequire_certificate true',
    'listener 8883\ncertfile a\ncafile c',
    'listener 8883\ncertfile a\nkeyfile b\ncapath c\nrequire_certificate true',
  ]) {
    const { options, notes } = importMosquitto(text);
    t.equal(options.listeners, undefined);
    t.match(notes.at(-1)?.text, /^left out: listeners\[0\]/);
  }
});

t.test('log types come to the level that has them all', async (t) => {
  for (const [types, level] of [
    [['none'], 'silent'],
    [['error'], 'error'],
    [['all'], 'debug'],
  ] as const) {
    // biome-ignore format: one line
    const text = types.map((type) => `log_type ${type}`).join('\n');
    t.equal(importMosquitto(text).options.logLevel, level);
  }
});

t.test('what is unknown or wrong is told with its line and what would be right', async (t) => {
  t.same(textsOf('# x\n\nmax_queued_mesages 5'), [
    '3: max_queued_mesages: unknown; the nearest directive is max_queued_messages',
  ]);
  t.same(textsOf('max_queued_messages many'), ['1: max_queued_messages: "many" is not a whole number']);
  t.same(textsOf('allow_anonymous yes'), ['1: allow_anonymous: "yes" is neither true nor false']);
  t.same(textsOf('persistent_client_expiration 2 weeks'), [
    '1: persistent_client_expiration: "2 weeks" is not a time such as 2w',
  ]);
  t.match(textsOf('max_packet_size 20'), [/^0: left out: maximumPacketSize: 20 is not allowed/]);
  t.match(textsOf('max_qos 1\nmax_qos 2'), [/^2: max_qos 2: not taken over: .*, as 1$/]);
  t.match(textsOf('per_listener_settings true'), [/^0: per_listener_settings: /]);
  t.match(textsOf('listener 1\ncertfile a'), [/certfile and keyfile belong together/]);
  for (const name of ['constructor', '__proto__', 'toString']) t.match(textsOf(name), [/unknown; the nearest/]);
});

t.test('line ends of other systems are no part of values', async (t) => {
  t.equal(importMosquitto('password_file a\r\n').options.passwordFile, 'a');
});

t.test('the files of an included directory are read where they are named', async (t) => {
  const files = [
    { name: 'd/a.conf', text: 'listener 1884\nmax_queued_messages many\ninclude_dir e' },
    { name: 'd/b.conf', text: 'mount_point x/\nuser me' },
  ];
  const text = 'max_keepalive 60\ninclude_dir d\nlistener 1885\n';
  const { options, notes } = importMosquitto(text, (directory) => (directory === 'd' ? files : null));
  t.match(options, { maximumKeepAlive: 60, listeners: [{ port: 1884, mountPoint: 'x/' }, { port: 1885 }] });
  const told = notes.map(({ file, line, text }) => `${file} ${line} ${text.split(':')[0]}`);
  t.same(told, ['d/a.conf 2 max_queued_messages', 'd/a.conf 3 include_dir e', 'd/b.conf 2 user']);
});

t.test('every directive of mosquitto.conf(5), of 2.0 and 2.1, is an option or has a reason', async (t) => {
  const page = join(fileURLToPath(new URL('.', import.meta.url)), 'mosquitto-directives.txt');
  const names = readFileSync(page, 'utf8')
    .split('\n')
    .filter((name) => name !== '');
  t.ok(names.length > 120);
  for (const name of names) t.notMatch(textsOf(`${name} 1`).join(), /: unknown; the nearest/, name);
});

t.test('docs/migrating-from-mosquitto.md names every directive, and why one has no option', async (t) => {
  const page = readFileSync(
    fileURLToPath(new URL('../../../docs/migrating-from-mosquitto.md', import.meta.url)),
    'utf8',
  );
  const tables = [globalDirectives, listenerDirectives, directiveNotes];
  const names = new Set([...tables.flatMap(Object.keys), ...bridgeDirectives, ...structuralDirectives]);
  t.ok(names.size > 100, `${names.size} directives`);
  for (const name of names) t.ok(new RegExp(`\`${name}[\` ]`).test(page), name);
  for (const [name, note] of Object.entries(directiveNotes)) {
    const [, reason = ''] = /^not (?:needed|supported): (.*)$/.exec(note) ?? [];
    const row = page.split('\n').find((line) => line.startsWith('| ') && line.includes(`\`${name}\``));
    t.ok(row?.includes(reason), `${name}: ${reason}`);
  }
});

t.test('a listener that can not be is left out alone, with the line where it begins', async (t) => {
  const text = 'listener 1883 127.0.0.1\n\nlistener 1884\nmount_point a/+/\nlistener 8883\ncertfile a\nkeyfile b';
  const { options, notes } = importMosquitto(text);
  t.match(options.listeners, [{ port: 1883 }, { port: 8883, type: 'tls' }]);
  t.equal((options.listeners as unknown[]).length, 2);
  t.match(notes, [{ line: 3, text: /^left out: listeners\[0\]\.mountPoint: "a\/\+\/" is not allowed: / }]);
});
