import { once } from 'node:events';
import { request } from 'node:http';
import t, { type Test } from 'tap';
import { createWebSocketStream, type WebSocket } from 'ws';
import { startBroker } from '../helpers/broker.js';
import { received, subscribed } from '../helpers/client.js';
import { withDeadline } from '../helpers/deadline.js';
import { ack, connect, disconnect, pingreq, property, publish, subscribe } from '../helpers/packets.js';
import { dial, type Port, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';
import { dialOver, listenerOf, type WebSocketFields, webSocketTo } from '../helpers/transports.js';
import { WireClient } from '../helpers/wire-client.js';
import { JsClient } from '../interop/mqttjs-client.js';

const listeners = [{ type: 'ws', port: 0 } as const];

/** An open WebSocket, cut when the test ends. */
async function open(t: Test, { port }: Port, fields: WebSocketFields = {}): Promise<WebSocket> {
  const socket = webSocketTo(port, fields);
  t.teardown(() => socket.terminate());
  await withDeadline(once(socket, 'open'), () => 'no WebSocket');
  return socket;
}

/** The bytes in the WebSocket's binary frames. */
function bytesOf(t: Test, socket: WebSocket): WireClient {
  const client = new WireClient(createWebSocketStream(socket));
  t.teardown(() => client.reset());
  return client;
}

/** The code with which the broker closes. */
async function closeCode(socket: WebSocket): Promise<number> {
  const [code] = await withDeadline(once(socket, 'close'), () => 'no close');
  return code;
}

/** The HTTP status with which an upgrade is refused. */
async function refusal(t: Test, { port }: Port, fields: WebSocketFields): Promise<number | undefined> {
  const socket = webSocketTo(port, fields);
  t.teardown(() => socket.terminate());
  socket.on('error', () => undefined);
  const [, response] = await withDeadline(once(socket, 'unexpected-response'), () => 'no refusal');
  return response.statusCode;
}

const httpHead = (target: string, ...lines: string[]): Buffer =>
  Buffer.from([`GET ${target} HTTP/1.1`, 'Host: localhost', ...lines, '', ''].join('\r\n'));
const upgradeLines = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';

t.test('[MQTT-6.0.0-1] a text frame ends the connection, and is not acted on', async (t) => {
  const broker = await startBroker(t, { listeners: [...listeners, { type: 'tcp', port: 0 }] });
  const watcher = await watch(t, broker.broker.addresses[1], '#');
  const will = { topic: 'will', payload: 'x' };
  const socket = await open(t, broker);
  const client = bytesOf(t, socket);
  client.send(connect({ will }));
  await client.packet();
  const code = closeCode(socket);
  socket.send(publish({ topic: 'a' }).toString('latin1'));
  t.equal(await code, 1003);
  t.equal((await received(watcher)).topic, 'will', 'the will, and not the PUBLISH before it');
  const fresh = await open(t, broker);
  fresh.send(connect().toString('latin1'));
  t.equal(await closeCode(fresh), 1003);
});

t.test('[MQTT-6.0.0-1] a text frame in fragments ends the connection as well', async (t) => {
  const broker = await startBroker(t, { listeners });
  const socket = await open(t, broker);
  socket.send('\x10', { fin: false });
  socket.send('\x00', { fin: true });
  t.equal(await closeCode(socket), 1003);
});

t.test('[MQTT-6.0.0-2] frames are no borders of packets', async (t) => {
  const broker = await startBroker(t, { listeners });
  const script = [
    connect(),
    subscribe({ filters: [['a', 0]] }),
    publish({ topic: 'a', payload: 'x'.repeat(200) }),
    publish({ topic: 'b', qos: 1, packetId: 7 }),
    pingreq(),
  ];
  const bytes = Buffer.concat(script);
  const send: Record<string, (socket: WebSocket) => void> = {
    'a packet a frame': (socket) => script.map((packet) => socket.send(packet)),
    'all in one frame': (socket) => socket.send(bytes),
    'a byte a frame': (socket) => bytes.forEach((byte) => void socket.send(Buffer.from([byte]))),
    'frames across packets': (socket) => {
      for (let at = 0; at < bytes.length; at += 7) socket.send(bytes.subarray(at, at + 7));
    },
    'one message in fragments of a byte': (socket) =>
      bytes.forEach((byte, at) => void socket.send(Buffer.from([byte]), { fin: at === bytes.length - 1 })),
    'fragments with pings and empty frames between': (socket) => {
      for (let at = 0; at < bytes.length; at += 9) {
        socket.send(Buffer.alloc(0), { fin: false });
        socket.ping('p');
        socket.send(bytes.subarray(at, at + 9), { fin: true });
      }
    },
  };
  for (const [name, how] of Object.entries(send)) {
    const socket = await open(t, broker);
    const client = bytesOf(t, socket);
    how(socket);
    t.equal((await client.packet())[0], 0x20, name);
    await client.expect('90 04 00 01 00 00');
    t.equal((await received(client)).payload.length, 200);
    await client.expect('40 02 00 07', 'd0 00');
  }
});

t.test('[MQTT-6.0.0-2] what the broker sends is whole, however large', async (t) => {
  const broker = await startBroker(t, { listeners });
  const client = bytesOf(t, await open(t, broker));
  client.send(connect());
  await client.packet();
  await subscribed(client, { filters: [['a', 0]] });
  const sizes = [1, 8000, 9000, 16_384, 70_000, 1_500_000];
  client.send(...sizes.map((size) => publish({ topic: 'a', payload: Buffer.alloc(size, size) })));
  for (const size of sizes) t.equal((await received(client)).payload, Buffer.alloc(size, size).toString());
});

t.test('[MQTT-6.0.0-3] an upgrade without the subprotocol mqtt is refused', async (t) => {
  const broker = await startBroker(t, { listeners });
  for (const protocols of [[], ['other'], ['MQTT'], ['mqtt5', 'mqttv3.1.1']]) {
    t.equal(await refusal(t, broker, { protocols }), 400, `offers ${protocols}`);
  }
});

t.test('[MQTT-6.0.0-4] the subprotocol mqtt is selected wherever it stands', async (t) => {
  const broker = await startBroker(t, { listeners });
  for (const protocols of [['mqtt'], ['mqtt', 'a'], ['a', 'mqtt'], ['a', 'mqttv3.1', 'mqtt', 'b']]) {
    t.equal((await open(t, broker, { protocols })).protocol, 'mqtt', `offers ${protocols}`);
  }
  t.equal((await open(t, broker, { protocols: ['x', 'mqttv3.1'] })).protocol, 'mqttv3.1', 'as old clients do');
});

t.test('a compressed stream is not offered', async (t) => {
  const broker = await startBroker(t, { listeners });
  const socket = await open(t, broker, { options: { perMessageDeflate: true } });
  t.equal(socket.extensions, '');
});

t.test('other paths are not found, a query is no part of the path', async (t) => {
  const broker = await startBroker(t, { listeners: [{ type: 'ws', port: 0, path: '/broker' }] });
  t.same(broker.broker.addresses, [{ type: 'ws', host: '127.0.0.1', port: broker.port, path: '/broker' }]);
  for (const path of ['/', '/mqtt', '/brokers', '/broker/', '/Broker']) {
    t.equal(await refusal(t, broker, { path }), 404, path);
  }
  await open(t, broker, { path: '/broker?token=1' });
});

t.test('a page of a foreign origin is refused where origins are configured', async (t) => {
  const allowedOrigins = ['https://app.example'];
  const broker = await startBroker(t, { listeners: [{ type: 'ws', port: 0, allowedOrigins }] });
  for (const origin of ['https://evil.example', 'http://app.example', 'https://app.example.evil', 'null']) {
    t.equal(await refusal(t, broker, { options: { origin } }), 403, origin);
  }
  await open(t, broker, { options: { origin: 'https://app.example' } });
  await open(t, broker); // not a browser
});

t.test('bad upgrades are answered and closed, and hold no place', async (t) => {
  const broker = await startBroker(t, { listeners, maximumConnections: 1 });
  const protocol = 'Sec-WebSocket-Protocol: mqtt';
  const cases: [number, Buffer][] = [
    [400, httpHead('/mqtt', ...upgradeLines, protocol)],
    [400, httpHead('/mqtt', ...upgradeLines, 'Sec-WebSocket-Key: short', protocol)],
    [400, httpHead('/mqtt', ...upgradeLines.slice(0, 2), 'Sec-WebSocket-Version: 7', key, protocol)],
    [400, httpHead('/mqtt', ...upgradeLines, key, `${protocol},,`)],
    [400, httpHead('/mqtt', 'Connection: Upgrade', 'Upgrade: h2c', key, protocol)],
    [400, httpHead('/mqtt', ...upgradeLines, key, 'Sec-WebSocket-Protocol: a')],
    [404, httpHead('/x', ...upgradeLines, key, protocol)],
    [426, httpHead('/mqtt')],
    [431, httpHead('/mqtt', ...upgradeLines, key, protocol, `X: ${'x'.repeat(9000)}`)],
    [400, Buffer.concat([connect({ clientId: 'c' }), pingreq()])],
    [400, Buffer.from('\r\n\r\nGET\r\n\r\n')],
  ];
  for (const [status, bytes] of cases) {
    const client = await dial(t, broker);
    client.send(bytes);
    const answer = await client.rest();
    t.equal(answer.toString('latin1', 0, 12), `HTTP/1.1 ${status}`, JSON.stringify(bytes.toString('latin1', 0, 120)));
  }
  await open(t, broker);
});

t.test('a plain request with a body is answered without reading it', async (t) => {
  const { port } = await startBroker(t, { listeners });
  const post = request({ port, method: 'POST', path: '/mqtt', headers: { 'content-length': 1e9 } });
  post.on('error', () => undefined);
  post.write('x');
  const [response] = await withDeadline(once(post, 'response'), () => 'no answer');
  t.equal(response.statusCode, 426);
  response.resume();
  await withDeadline(once(post, 'close'), () => 'the request is not ended');
});

t.test('an upgrade that takes too long is cut, however it goes on', async (t) => {
  const broker = await startTimedBroker(t, { listeners, connectTimeout: 10, maximumConnections: 4 });
  const silent = await dial(t, broker);
  const slow = await dial(t, broker);
  slow.send(Buffer.from('GET /mqtt HTTP/1.1\r\nX: '));
  const upgraded = await open(t, broker);
  const connected = bytesOf(t, await open(t, broker));
  connected.send(connect());
  await connected.packet();
  await (await dial(t, broker)).expectClose(); // one too many
  broker.clock.advance(9999);
  slow.send(Buffer.from('x'));
  await connected.expectNothing();
  silent.assertOpen();
  slow.assertOpen();
  const closed = once(upgraded, 'close');
  broker.clock.advance(1);
  await silent.expectClose();
  await slow.expectClose();
  await withDeadline(closed, () => 'a WebSocket without CONNECT stays open');
  await connected.expectNothing();
  await open(t, broker);
});

t.test('sockets in a handshake do not keep the broker from closing', async (t) => {
  const { broker, port } = await startBroker(t, { listeners: [await listenerOf(t, 'wss'), ...listeners] });
  const inTls = await dial(t, { port });
  inTls.send('16 03 01');
  const inHttp = await dial(t, broker.addresses[1]);
  inHttp.send(Buffer.from('GET /'));
  const client = await dialOver(t, 'wss', port);
  client.send(connect());
  await client.packet();
  const closed = broker.close();
  t.equal((await client.packet())[2], 0x8b);
  await withDeadline(closed, () => 'the broker does not close');
  await inTls.expectClose();
  await inHttp.expectClose();
});

t.test('a TLS handshake that takes too long is cut, and what is no TLS is closed', async (t) => {
  for (const type of ['tls', 'wss'] as const) {
    const listener = await listenerOf(t, type);
    const broker = await startBroker(t, { listeners: [listener], connectTimeout: 0.1, maximumConnections: 1 });
    const slow = await dial(t, broker);
    slow.send('16 03 01');
    await slow.expectClose();
    const plain = await dial(t, broker);
    plain.send(connect());
    await plain.rest();
    await dialOver(t, type, broker.port);
  }
});

t.test('a certificate that can not be read is an error of the listener that names it', async (t) => {
  const broken = { type: 'tls', port: 0, certificateFile: '/nowhere/c.pem', keyFile: '/nowhere/k.pem' } as const;
  await t.rejects(startBroker(t, { listeners: [...listeners, broken] }), {
    code: 'ERR_COUNTERSIGN_CONFIG',
    message: /\/nowhere\/c\.pem/,
  });
});

t.test('DISCONNECT is followed by the closing handshake; who does not answer it is cut', async (t) => {
  const broker = await startTimedBroker(t, { listeners });
  const socket = await open(t, broker);
  const code = closeCode(socket);
  socket.send(Buffer.concat([connect(), disconnect()]));
  t.equal(await code, 1000);

  const deaf = await dial(t, broker);
  deaf.send(httpHead('/mqtt', ...upgradeLines, key, 'Sec-WebSocket-Protocol: mqtt'));
  // CONNECT and DISCONNECT in a frame each, masked with zeros.
  const masked = (packet: Buffer): Buffer =>
    Buffer.concat([Buffer.from([0x82, 0x80 | packet.length, 0, 0, 0, 0]), packet]);
  deaf.send(masked(connect()), masked(disconnect()));
  await broker.settleConnections(1);
  // The broker's close frame is out once its end has begun; a little of its time later the socket goes.
  const other = bytesOf(t, await open(t, broker));
  other.send(connect());
  await other.packet();
  broker.clock.advance(2000);
  t.equal((await deaf.rest()).subarray(-4).toString('hex'), '880203e8', 'the close frame was the last');
});

t.test('a client that vanishes or says goodbye in WebSocket only leaves its will', async (t) => {
  const broker = await startBroker(t, { listeners: [...listeners, { type: 'tcp', port: 0 }] });
  const watcher = await watch(t, broker.broker.addresses[1], 'will');
  for (const end of ['terminate', 'close'] as const) {
    const socket = await open(t, broker);
    const client = bytesOf(t, socket);
    client.send(connect({ will: { topic: 'will', payload: end } }));
    await client.packet();
    socket[end]();
    t.equal((await received(watcher)).payload, end);
  }
});

t.test('what a client sent before it closed its WebSocket is handled', async (t) => {
  const broker = await startBroker(t, { listeners: [...listeners, { type: 'tcp', port: 0 }] });
  const watcher = await watch(t, broker.broker.addresses[1], 'a');
  const socket = await open(t, broker);
  socket.send(Buffer.concat([connect(), publish({ topic: 'a', payload: 'x' })]));
  socket.send(Buffer.concat([publish({ topic: 'a', payload: 'y' }), disconnect()]));
  socket.close();
  t.equal((await received(watcher)).payload, 'x');
  t.equal((await received(watcher)).payload, 'y');
});

t.test('a frame above the largest packet ends the connection, before it is all there', async (t) => {
  const broker = await startBroker(t, { listeners, maximumPacketSize: 1000 });
  const socket = await open(t, broker);
  socket.send(Buffer.concat([connect(), Buffer.alloc(70_000)]), { fin: false });
  t.equal(await closeCode(socket), 1009);
  const client = bytesOf(t, await open(t, broker));
  client.send(connect());
  await client.packet();
  client.send(publish({ topic: 'a', payload: 'x'.repeat(1000) }));
  t.equal((await client.packet())[2], 0x95, 'the limit on packets is its own');
});

t.test('messages begun and not complete count with packets: who holds the most is closed', async (t) => {
  const broker = await startBroker(t, { listeners, maximumIncompleteBytes: 65_536 });
  const { metrics } = broker.broker;
  const small = bytesOf(t, await open(t, broker));
  small.send(connect({ clientId: 'small' }));
  await small.packet();
  for (const fragments of [1, 10]) {
    const socket = await open(t, broker);
    const closed = closeCode(socket);
    const large = bytesOf(t, socket);
    large.send(connect({ clientId: 'large' }));
    await large.packet();
    for (let count = 0; count < fragments; count++) socket.send(Buffer.alloc(70_000 / fragments), { fin: false });
    t.equal((await large.packet())[2], 0x97);
    await closed;
    t.equal(metrics.incompleteBytes, 0);
  }
  t.equal(metrics.incompleteRefused, 2);
  const silent = await open(t, broker);
  silent.send(Buffer.alloc(70_000), { fin: false });
  await closeCode(silent);
  small.send(pingreq());
  t.same(await small.packet(), Buffer.from([0xd0, 0]));
});

t.test('a ping of WebSocket is answered, but is no packet', async (t) => {
  const broker = await startTimedBroker(t, { listeners });
  const socket = await open(t, broker);
  const client = bytesOf(t, socket);
  client.send(connect({ keepAlive: 10 }));
  await client.packet();
  broker.clock.advance(14_999);
  const pong = once(socket, 'pong');
  socket.ping('hello');
  t.equal((await withDeadline(pong, () => 'no pong'))[0].toString(), 'hello');
  client.assertOpen();
  broker.clock.advance(1);
  t.equal((await client.packet())[2], 0x8d, 'keep alive timeout');
});

t.test('the broker does not read on while it does not take, and goes on where it stopped', async (t) => {
  let decide: (verdict: boolean) => void = () => undefined;
  const verdict = new Promise<boolean>((resolve) => {
    decide = resolve;
  });
  const broker = await startTimedBroker(t, { listeners }, { authenticate: () => verdict });
  const socket = await open(t, broker);
  const client = bytesOf(t, socket);
  socket.send(connect({ properties: [property.requestProblemInformation(0)] }));
  const payload = Buffer.alloc(60_000);
  const count = 500;
  for (let at = 1; at <= count; at++) socket.send(publish({ topic: 'a', qos: 1, packetId: at, payload }));
  // Another client's handshake takes many turns of the event loop, in which the broker could read.
  for (let round = 0; round < 50; round++) await open(t, broker);
  t.ok(socket.bufferedAmount > 0, 'the client can not get rid of it all');
  t.ok(broker.metrics.bytesReceived < 10_000_000, `${broker.metrics.bytesReceived} bytes were read`);
  decide(true);
  t.equal((await client.packet())[0], 0x20);
  for (let at = 1; at <= count; at++) await client.expect(ack('puback', at));
});

t.test('MQTT.js works over ws and wss', async (t) => {
  for (const type of ['ws', 'wss'] as const) {
    const { port } = await startBroker(t, { listeners: [await listenerOf(t, type)] });
    for (const protocolVersion of [4, 5] as const) {
      const options = { protocol: type, path: '/mqtt', protocolVersion, rejectUnauthorized: false };
      const client = await JsClient.connect(t, port, options);
      await client.mqtt.subscribeAsync('a/#', { qos: 2 });
      await Promise.all([0, 1, 2].map((qos) => client.mqtt.publishAsync(`a/${qos}`, 'x', { qos: qos as 0 | 1 | 2 })));
      const messages = await client.messages(3);
      t.same(messages.map(({ topic, qos }) => [topic, qos]).sort(), [
        ['a/0', 0],
        ['a/1', 1],
        ['a/2', 2],
      ]);
      await client.end();
    }
  }
});
