import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect as connectSocket, type NetConnectOpts, type Socket } from 'node:net';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { createWebSocketStream } from 'ws';
import { Access } from '../../lib/access/access.js';
import { waitingMax } from '../../lib/access/failed-attempts.js';
import type { Hooks } from '../../lib/broker/hooks.js';
import { parseOptions } from '../../lib/config/schema.js';
import { Broker, type BrokerOptions } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { FakeClock } from '../helpers/fake-clock.js';
import { connect, publish, subscribe } from '../helpers/packets.js';
import { addressBlock, blockHeader, families, lineHeader } from '../helpers/proxy-headers.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import { listenerOf, type Transport, testCertificate, transports, webSocketTo } from '../helpers/transports.js';
import { WireClient } from '../helpers/wire-client.js';

const headers: readonly (readonly [string, Buffer, string])[] = [
  ['version 1', lineHeader('TCP4 192.0.2.7 198.51.100.1 50000 8883'), '192.0.2.7:50000'],
  ['version 1, IPv6', lineHeader('TCP6 2001:db8::9 ::1 50000 8883'), '2001:db8::9:50000'],
  ['version 2', blockHeader({ block: addressBlock([192, 0, 2, 8], 1, Buffer.alloc(500)) }), '192.0.2.8:1'],
  [
    'version 2, IPv6',
    blockHeader({ family: families.tcp6, block: addressBlock([...Array(15).fill(0), 9], 1) }),
    '::9:1',
  ],
];

/** A broker behind proxies that remembers the addresses of those who come. */
async function startProxied(t: Test, type: Transport, options: BrokerOptions = {}) {
  const addresses: string[] = [];
  const listeners = [await listenerOf(t, type, { proxyProtocol: true })];
  const hooks = {
    authenticate: ({ address }: { readonly address: string }): boolean => {
      addresses.push(address);
      return true;
    },
  };
  const broker = new Broker({ memory: true, listeners, hooks, ...options });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  return { broker, port, addresses };
}

async function dial(t: Test, place: NetConnectOpts): Promise<Socket> {
  const socket = connectSocket(place);
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  await withDeadline(once(socket, 'connect'), () => 'no connection');
  return socket;
}

/** A socket as TLS may use it; the first of what is written goes out in one piece with the header. */
function behindHeader(socket: Socket, header: Buffer): Duplex {
  let before = header;
  const stream = new Duplex({
    read: () => socket.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      socket.write(Buffer.concat([before, chunk]), done);
      before = Buffer.alloc(0);
    },
    final: (done) => socket.end(done),
    destroy: (_error, done) => {
      socket.destroy();
      done(null);
    },
  });
  socket.on('data', (chunk) => stream.push(chunk));
  socket.on('close', () => stream.destroy());
  return stream;
}

/** MQTT over any transport, behind the header; both begin in one piece. */
async function openBehind(t: Test, type: Transport, port: number, header: Buffer): Promise<WireClient> {
  const stream = behindHeader(await dial(t, { port, host: '127.0.0.1' }), header);
  if (type === 'tcp') return new WireClient(stream);
  const secure =
    type === 'tls' || type === 'wss' ? connectTls({ socket: stream, ca: testCertificate, host: '127.0.0.1' }) : null;
  if (type === 'tls' && secure !== null) return new WireClient(secure);
  const createConnection = (): Duplex => secure ?? stream;
  const webSocket = webSocketTo(port, { type: 'ws', options: { createConnection: createConnection as never } });
  t.teardown(() => webSocket.terminate());
  const client = createWebSocketStream(webSocket);
  await withDeadline(once(webSocket, 'open'), () => 'no WebSocket');
  return new WireClient(client);
}

async function talk(t: Test, client: WireClient): Promise<void> {
  client.send(connect({ clientId: 'c' }), subscribe({ filters: [['a', 0]] }), publish({ topic: 'a', payload: 'x' }));
  t.equal((await client.packet())[0], 0x20, 'CONNACK');
  t.equal((await client.packet())[0], 0x90, 'SUBACK');
  t.equal((await client.packet())[0], 0x30, 'PUBLISH');
  await client.expectNothing();
}

for (const type of transports) {
  for (const [name, header, address] of headers) {
    t.test(`over ${type} the client is where the header of ${name} says`, async (t) => {
      const { port, addresses } = await startProxied(t, type);
      await talk(t, await openBehind(t, type, port, header));
      t.same(addresses, [address]);
    });
  }

  t.test(`over ${type} a header may come byte by byte`, async (t) => {
    const { port, addresses } = await startProxied(t, type);
    for (const header of [headers[0][1], blockHeader({ block: addressBlock([192, 0, 2, 7], 50_000) })]) {
      const socket = await dial(t, { port, host: '127.0.0.1' });
      const last = header.length - 1;
      for (const byte of header.subarray(0, last)) {
        socket.write(Buffer.from([byte]));
        // A connection made meanwhile keeps the bytes apart.
        const other = await dial(t, { port, host: '127.0.0.1' });
        other.destroy();
      }
      const stream = behindHeader(socket, header.subarray(last));
      const secured = type === 'tls' || type === 'wss';
      const secure = secured ? connectTls({ socket: stream, ca: testCertificate, host: '127.0.0.1' }) : stream;
      if (type === 'tcp' || type === 'tls') {
        await talk(t, new WireClient(secure));
      } else {
        const options = { createConnection: (() => secure) as never };
        const webSocket = webSocketTo(port, { type: 'ws', options });
        t.teardown(() => webSocket.terminate());
        const client = createWebSocketStream(webSocket);
        await withDeadline(once(webSocket, 'open'), () => 'no WebSocket');
        await talk(t, new WireClient(client));
      }
    }
    t.same(addresses, ['192.0.2.7:50000', '192.0.2.7:50000']);
  });

  t.test(`over ${type} a connection without a header is closed`, async (t) => {
    const { broker, port, addresses } = await startProxied(t, type);
    const client = new WireClient(await dial(t, { port, host: '127.0.0.1' }));
    client.send({ tcp: connect(), tls: '16030100', ws: Buffer.from('GET / HTTP/1.1\r\n'), wss: '16030100' }[type]);
    await client.expectClose();
    t.equal(broker.metrics.connectionsRefused, 1);
    t.same(addresses, []);
  });
}

t.test('a connection of the proxy itself has its own address', async (t) => {
  const { port, addresses } = await startProxied(t, 'tcp');
  for (const header of [lineHeader('UNKNOWN'), blockHeader({ command: 0x20, family: families.unspecified })]) {
    const socket = await dial(t, { port, host: '127.0.0.1' });
    const own = `127.0.0.1:${socket.localPort}`;
    await talk(t, new WireClient(behindHeader(socket, header)));
    t.equal(addresses.at(-1), own);
  }
});

t.test('nothing is lost of a client that has said all and ended before it is looked at', async (t) => {
  for (const type of ['tcp', 'ws'] as const) {
    const { port } = await startProxied(t, type);
    const client = new WireClient(await dial(t, { port, host: '127.0.0.1' }));
    const lines = ['GET /mqtt HTTP/1.1', 'Host: a', 'Connection: Upgrade', 'Upgrade: websocket'];
    lines.push(
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Protocol: mqtt',
    );
    client.send(headers[2][1], type === 'tcp' ? connect() : Buffer.from(`${lines.join('\r\n')}\r\n\r\n`));
    client.end();
    const answer = await client.rest();
    t.ok(type === 'tcp' ? answer[0] === 0x20 : answer.toString().startsWith('HTTP/1.1 101'), type);
  }
});

t.test('a second header is none', async (t) => {
  const { port } = await startProxied(t, 'tcp');
  const client = await openBehind(t, 'tcp', port, Buffer.concat([headers[0][1], headers[0][1]]));
  client.send(Buffer.alloc(100));
  await client.expectClose();
});

t.test('headers that are wrong, too long or never end are closed at once', async (t) => {
  const { broker, port, addresses } = await startProxied(t, 'tcp');
  const wrong = [
    lineHeader('TCP4 1.1.1.1 1.1.1.1 65536 1'),
    Buffer.from(`PROXY UNKNOWN ${'x'.repeat(100)}`),
    blockHeader({ block: addressBlock([1, 1, 1, 1], 1).subarray(0, 8) }),
    blockHeader({ command: 0x31 }),
    blockHeader({ length: 65_535 }),
  ];
  for (const header of wrong) {
    const client = new WireClient(await dial(t, { port, host: '127.0.0.1' }));
    client.send(header, Buffer.alloc(10_000));
    await client.expectClose();
  }
  t.equal(broker.metrics.connectionsRefused, wrong.length);
  t.same(addresses, []);
});

t.test(
  'a header that is not whole in time is cut, however slowly it comes; its client then has time of its own',
  async (t) => {
    const listeners = [{ type: 'tcp', port: 0, proxyProtocol: true, allowAnonymous: true } as const];
    const broker = await startTimedBroker(t, { listeners, connectTimeout: 10 });
    const start = async (): Promise<WireClient> =>
      new WireClient(await dial(t, { port: broker.port, host: '127.0.0.1' }));
    const behind = await start();
    behind.send(headers[0][1], connect());
    await behind.packet();
    const [silent, slow, patient] = [await start(), await start(), await start()];
    slow.send(headers[0][1].subarray(0, 20));
    patient.send(headers[0][1].subarray(0, 20));
    await behind.expectNothing();
    broker.clock.advance(9999);
    slow.send(headers[0][1].subarray(20, 25));
    patient.send(headers[0][1].subarray(20));
    await behind.expectNothing();
    silent.assertOpen();
    broker.clock.advance(1);
    await silent.expectClose();
    await slow.expectClose();
    broker.clock.advance(9000);
    patient.send(connect({ clientId: 'patient' }));
    t.equal((await patient.packet())[0], 0x20);
  },
);

t.test('clients that go away within their header leave nothing behind', async (t) => {
  const listeners = [{ type: 'tcp', port: 0, proxyProtocol: true, allowAnonymous: true } as const];
  const { broker, port } = await startBroker(t, { listeners, maximumConnections: 2 });
  for (let turn = 0; turn < 10; turn++) {
    const client = new WireClient(await dial(t, { port, host: '127.0.0.1' }));
    client.send(headers[0][1].subarray(0, turn));
    if (turn % 2 === 0) client.end();
    else client.reset();
    await client.expectClose();
  }
  await talk(t, await openBehind(t, 'tcp', port, headers[0][1]));
  t.equal(broker.metrics.connectionsRefused, 0);
});

t.test('a broker that is closed cuts connections that wait with their header', async (t) => {
  const { broker, port } = await startProxied(t, 'tls');
  const silent = new WireClient(await dial(t, { port, host: '127.0.0.1' }));
  const other = await openBehind(t, 'tls', port, headers[0][1]);
  await talk(t, other);
  await broker.close();
  await silent.expectClose();
});

t.test('headers are taken from trusted proxies only', async (t) => {
  const listening = async (trustedProxies: string[], host = '127.0.0.1') => {
    const listeners = [{ type: 'tcp', host, port: 0, proxyProtocol: true, trustedProxies } as const];
    return startBroker(t, { listeners, allowAnonymous: true });
  };
  for (const [trusted, host, isTaken] of [
    [['127.0.0.1'], '127.0.0.1', true],
    [['10.0.0.0/8', '127.0.0.0/8'], '127.0.0.1', true],
    [['10.0.0.0/8', '2000::/3'], '127.0.0.1', false],
    [['::/0'], '127.0.0.1', true],
    [['127.0.0.2/31'], '127.0.0.1', false],
    [['0.0.0.0/0'], '127.0.0.1', true],
    [['127.0.0.1'], '::', true],
    [['10.0.0.0/8', '127.0.0.2'], '::', false],
  ] as const) {
    const { broker, port } = await listening([...trusted], host);
    const client = new WireClient(await dial(t, { port, host: '127.0.0.1' }));
    client.send(headers[0][1], connect());
    if (isTaken) t.equal((await client.packet())[0], 0x20, `${trusted} at ${host}`);
    else await client.expectClose();
    t.equal(broker.metrics.connectionsRefused, isTaken ? 0 : 1);
  }
});

t.test('a Unix socket can stand behind a proxy', async (t) => {
  const path = join(await temporaryDirectory(t), 'mqtt.sock');
  const listeners = [{ type: 'unix', path, proxyProtocol: true } as const];
  const lines: object[] = [];
  const note = (fields: object): number => lines.push(fields);
  const log = { debug: note, info: note, warn: note, error: note };
  const broker = new Broker({ memory: true, listeners, allowAnonymous: true, log });
  t.teardown(() => broker.close());
  await broker.listen();
  await talk(t, new WireClient(behindHeader(await dial(t, { path }), headers[0][1])));
  await talk(t, new WireClient(behindHeader(await dial(t, { path }), lineHeader('UNKNOWN'))));
  const addresses = lines.flatMap((line) => ('version' in line && 'address' in line ? [line.address] : []));
  t.same(addresses, ['192.0.2.7:50000', `unix:${path}`]);
});

t.test('wrong passwords slow down the address in the header, and no other', async (t) => {
  const passwordFile = join(await temporaryDirectory(t), 'passwords');
  await writeFile(passwordFile, '');
  const listeners = [{ type: 'tcp', port: 0, proxyProtocol: true } as const];
  const access = await Access.open(parseOptions({ passwordFile }, ''), {}, new FakeClock());
  let asked = 0;
  const authenticate: Hooks['authenticate'] = (request) => {
    asked++;
    return access.hooks.authenticate?.(request) ?? true;
  };
  const { port } = await startTimedBroker(t, { listeners }, { authenticate });
  const guess = async (source: string): Promise<WireClient> => {
    const client = await openBehind(t, 'tcp', port, lineHeader(`${source} 1`));
    client.send(connect({ userName: 'ann', password: 'guess' }));
    return client;
  };
  const attempt = async (source: string): Promise<number> => (await (await guess(source)).packet())[3];
  for (let free = 0; free < 3; free++) t.equal(await attempt('TCP4 192.0.2.7 192.0.2.1 1'), 0x86);
  for (let at = 0; at < waitingMax; at++) await guess(`TCP4 192.0.2.7 192.0.2.1 ${at}`);
  // The refusals wait on a clock that stands still.
  while (asked < 3 + waitingMax || access.load.passwordsPending > 0) await new Promise(setImmediate);
  t.equal(await attempt('TCP4 192.0.2.8 192.0.2.1 1'), 0x86);
  t.equal(await attempt('TCP4 192.0.2.7 192.0.2.1 1'), 0x89);
  t.equal(await attempt('TCP6 2001:db8::1 ::1 1'), 0x86);
  t.equal(await attempt('TCP6 ::ffff:192.0.2.7 ::1 1'), 0x89, 'the same address, written otherwise');
});

t.test('options of the PROXY protocol that make no sense are refused', async (t) => {
  const refused = async (listener: object, message: RegExp): Promise<void> => {
    const listeners = [{ type: 'tcp', port: 0, proxyProtocol: true, ...listener } as never];
    await t.rejects(startBroker(t, { listeners }), { code: 'ERR_COUNTERSIGN_CONFIG', message });
  };
  for (const network of ['lb.example', '10.0.0.0/33', '::/129', '10.0.0.0/', '1.2.3', 'fe80::1%eth0', '']) {
    await refused({ trustedProxies: [network] }, /^listeners\[0\]\.trustedProxies\[0\]: .*an address, or a network/);
  }
  await refused({ trustedProxies: [] }, /^listeners\[0\]\.trustedProxies: /);
  await refused({ proxyProtocol: false, trustedProxies: ['::1'] }, /no effect without proxyProtocol: true/);
  await refused({ type: 'unix', port: undefined, path: '/x', trustedProxies: ['::1'] }, /has no address: see mode/);
  await refused({ host: '0.0.0.0' }, /^listeners\[0\]\.trustedProxies: is missing: whoever reaches "0\.0\.0\.0"/);
  await refused({}, /^listeners\[0\]\.proxyProtocol: clients come from other machines.*allowAnonymous: true/);
});
