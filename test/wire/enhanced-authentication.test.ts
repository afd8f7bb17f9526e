import assert from 'node:assert/strict';
import t, { type Test } from 'tap';
import type { EnhancedAuthenticationResult, EnhancedAuthenticationStep, Hooks } from '../../lib/broker/hooks.js';
import { expectDisconnect, published, received, subscribed } from '../helpers/client.js';
import { ack, auth, connect, disconnect, frame, pingreq, property, publish, subscribe } from '../helpers/packets.js';
import { ByteReader, type ParsedProperty, parseConnack, textOf } from '../helpers/parse.js';
import { dialAndSend, expectRefused, join, watch } from '../helpers/scenes.js';
import { startTimedBroker, type TimedBroker } from '../helpers/timed-broker.js';
import type { WireClient } from '../helpers/wire-client.js';

type Result = EnhancedAuthenticationResult;
type Handler = (step: EnhancedAuthenticationStep) => Result | Promise<Result>;

/** A method of two steps: the user's name, a challenge, the proof `+challenge`; then a word of welcome. */
function twoSteps(step: EnhancedAuthenticationStep): Result {
  const { exchange, data } = step;
  const said = data?.toString() ?? '';
  if (exchange.user === undefined) {
    if (!said.startsWith('user ')) return { status: 'refused', reason: 'who are you?' };
    exchange.user = said.slice(5);
    return { status: 'continue', data: Buffer.from('challenge') };
  }
  if (said !== '+challenge') return { status: 'refused', reasonCode: 0x86 };
  return { status: 'success', data: Buffer.from('welcome'), userName: String(exchange.user) };
}

const later: Handler = async (step) => {
  await new Promise((resolve) => setImmediate(resolve));
  return twoSteps(step);
};

const hooks: Hooks = { enhancedAuthentication: { TWO: twoSteps, LATER: later } };
const methods = ['TWO', 'LATER'] as const;

const withData = (method: string, data?: string): Buffer[] => [
  property.authenticationMethod(method),
  ...(data === undefined ? [] : [property.authenticationData(data)]),
];
const answer = (method: string, data?: string): Buffer => auth(0x18, withData(method, data));

/** The next packet must be an AUTH; its code and properties. */
async function nextAuth(client: WireClient): Promise<{ code: number; properties: ParsedProperty[] }> {
  const packet = await client.packet();
  assert.equal(packet[0], 0xf0, `AUTH: ${packet.toString('hex')}`);
  const reader = new ByteReader(packet, 1);
  reader.variable();
  return { code: reader.byte(), properties: reader.properties(5) };
}

/** The next packet must be the AUTH with this code, the method, the data, and nothing else. */
async function expectAuth(t: Test, client: WireClient, code: number, method: string, data: string): Promise<void> {
  const { code: actual, properties } = await nextAuth(client);
  t.equal(actual, code, 'reason code of AUTH');
  t.same([textOf(properties, 0x15), textOf(properties, 0x16), properties.length], [method, data, 2]);
}

/** A client that has been asked for its proof. */
async function challenged(t: Test, broker: TimedBroker, method: string, more: Buffer[] = []): Promise<WireClient> {
  const properties = [...withData(method, 'user alice'), ...more];
  const client = await dialAndSend(t, broker, connect({ clientId: 'c', properties, will: { topic: 'will' } }));
  await expectAuth(t, client, 0x18, method, 'challenge');
  return client;
}

/** A client that has authenticated. */
async function authenticated(t: Test, broker: TimedBroker, method: string): Promise<WireClient> {
  const client = await challenged(t, broker, method);
  client.send(answer(method, '+challenge'));
  const { code, properties } = parseConnack(await client.packet());
  t.equal(code, 0);
  t.same([textOf(properties, 0x15), textOf(properties, 0x16)], [method, 'welcome']);
  return client;
}

for (const method of methods) {
  t.test(`[MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-3.15.2-1] two steps lead to CONNACK with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const client = await authenticated(t, broker, method);
    await client.expectNothing();
  });

  t.test(`[MQTT-4.12.0-4] wrong data at each step is refused in CONNACK with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const watcher = await watch(t, broker, '#');
    for (const data of [undefined, '', 'alice']) {
      await expectRefused(await dialAndSend(t, broker, connect({ properties: withData(method, data) })), 0x87);
    }
    for (const data of [undefined, '', '+wrong', 'user alice']) {
      const client = await challenged(t, broker, method);
      client.send(answer(method, data));
      await expectRefused(client, 0x86);
    }
    await watcher.expectNothing(); // nobody was connected, so there is no will
  });

  t.test(`[MQTT-4.12.0-3] a code other than 0x18 in the exchange is refused with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    for (const code of [0x00, 0x01, 0x19, 0x80]) {
      const client = await challenged(t, broker, method);
      client.send(auth(code, withData(method, '+challenge')));
      await expectRefused(client, 0x82);
    }
    const client = await challenged(t, broker, method);
    client.send(frame(0xf0));
    await expectRefused(client, 0x82);
  });

  t.test(`[MQTT-4.12.0-5] another method or none in the exchange is refused with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const other = method === 'TWO' ? 'LATER' : 'TWO';
    for (const list of [withData(other, '+challenge'), withData('', '+challenge'), []]) {
      const client = await challenged(t, broker, method);
      client.send(auth(0x18, list));
      await expectRefused(client, 0x82);
    }
  });

  t.test(`[MQTT-3.1.2-30] packets before the exchange is over are not acted on with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const watcher = await watch(t, broker, '#');
    const packets = [publish({ topic: 'a' }), subscribe({ filters: [['a', 0]] }), pingreq(), ack('puback', 1)];
    for (const packet of [...packets, connect({ clientId: 'c' })]) {
      const client = await challenged(t, broker, method);
      client.send(packet, answer(method, '+challenge'));
      await expectRefused(client, 0x82);
      const properties = withData(method, 'user alice');
      const eager = await dialAndSend(t, broker, connect({ properties }), packet, answer(method, '+challenge'));
      await expectAuth(t, eager, 0x18, method, 'challenge');
      await expectRefused(eager, 0x82);
    }
    await watcher.expectNothing();
  });

  t.test(`an exchange in one write is taken step by step, and what follows it too, with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const properties = withData(method, 'user alice');
    const packets = [connect({ properties }), answer(method, '+challenge'), publish({ topic: 'a', qos: 1 }), pingreq()];
    const client = await dialAndSend(t, broker, ...packets);
    await expectAuth(t, client, 0x18, method, 'challenge');
    t.equal(parseConnack(await client.packet()).code, 0);
    await client.expect('40 02 00 01', 'd0 00');
  });

  t.test(`DISCONNECT in the exchange ends it quietly with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const watcher = await watch(t, broker, '#');
    const client = await challenged(t, broker, method);
    client.send(disconnect());
    await client.expectClose();
    await watcher.expectNothing();
  });

  t.test(`[MQTT-4.12.1-1] a client authenticates again with the same method, ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const client = await authenticated(t, broker, method);
    for (let round = 0; round < 2; round++) {
      client.send(auth(0x19, withData(method, 'user alice')));
      await expectAuth(t, client, 0x18, method, 'challenge');
      client.send(answer(method, '+challenge'));
      await expectAuth(t, client, 0x00, method, 'welcome');
      await client.expectNothing();
    }
  });

  t.test(`[MQTT-4.12.1-1] another method when authenticating again is refused with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const watcher = await watch(t, broker, 'will');
    const other = method === 'TWO' ? 'LATER' : 'TWO';
    for (const packet of [auth(0x19, withData(other, 'user alice')), auth(0x19), answer(method, 'user alice')]) {
      const client = await authenticated(t, broker, method);
      client.send(packet);
      await expectDisconnect(client, 0x82);
      await received(watcher);
    }
  });

  t.test(`[MQTT-4.12.1-2] messages flow until the verdict on a new authentication with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const publisher = await join(t, broker);
    const watcher = await watch(t, broker, 'will');
    const client = await authenticated(t, broker, method);
    await subscribed(client, { filters: [['a', 1]] });
    client.send(auth(0x19, withData(method, 'user alice')));
    await expectAuth(t, client, 0x18, method, 'challenge');
    await published(publisher, { topic: 'a', qos: 1, payload: 'to it' });
    t.equal((await received(client)).payload, 'to it');
    await published(client, { topic: 'b', qos: 2, packetId: 5 });
    await client.expectNothing();
    client.send(answer(method, '+wrong'));
    await expectDisconnect(client, 0x87); // 0x86 is no code of DISCONNECT
    await received(watcher);
  });

  t.test(`[MQTT-4.12.1-2] wrong data at the first step of a new authentication with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const client = await authenticated(t, broker, method);
    client.send(auth(0x19, withData(method, 'nonsense')));
    await expectDisconnect(client, 0x87);
  });

  t.test(`a client does not become another user by authenticating again with ${method}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const client = await authenticated(t, broker, method);
    client.send(auth(0x19, withData(method, 'user mallory')));
    await expectAuth(t, client, 0x18, method, 'challenge');
    client.send(answer(method, '+challenge'));
    await expectDisconnect(client, 0x87);
  });
}

t.test('[MQTT-4.12.0-1] a method that there is not is refused, names of objects included', async (t) => {
  const broker = await startTimedBroker(t, {}, hooks);
  for (const method of ['', 'two', 'TWO ', 'constructor', '__proto__', 'toString']) {
    await expectRefused(await dialAndSend(t, broker, connect({ properties: withData(method, 'x') })), 0x8c);
  }
});

t.test('[MQTT-4.12.0-6] [MQTT-4.12.0-7] a client without method is let in as ever, and may send no AUTH', async (t) => {
  const broker = await startTimedBroker(t, {}, hooks);
  const client = await dialAndSend(t, broker, connect());
  const { code, properties } = parseConnack(await client.packet());
  t.equal(code, 0);
  t.notOk(properties.some(({ id }) => id === 0x15 || id === 0x16));
  await client.expectNothing();
  client.send(answer('TWO', 'user alice'));
  await expectDisconnect(client, 0x82);
});

t.test('[MQTT-3.15.2-2] [MQTT-3.15.2-3] AUTH has no reason string and no user property for any client', async (t) => {
  const broker = await startTimedBroker(t, {}, hooks);
  await challenged(t, broker, 'TWO', [property.maximumPacketSize(200)]);
  await challenged(t, broker, 'TWO', [property.requestProblemInformation(1)]);
});

t.test('[MQTT-3.1.2-24] an AUTH above the Maximum Packet Size of the client is not sent', async (t) => {
  const long: Handler = ({ isReAuthentication: again, data }) =>
    again || data !== null ? { status: 'continue', data: Buffer.alloc(100) } : { status: 'success' };
  const broker = await startTimedBroker(t, {}, { enhancedAuthentication: { LONG: long } });
  const limit = property.maximumPacketSize(90);
  const properties = [...withData('LONG', 'x'), limit];
  await expectRefused(await dialAndSend(t, broker, connect({ clientId: 'c', properties })), 0x95);
  const client = await join(t, broker, { clientId: 'c', properties: [...withData('LONG'), limit] });
  client.send(auth(0x19, withData('LONG', 'x')));
  await expectDisconnect(client, 0x95);
});

t.test('a client that leaves the exchange unfinished is cut in time', async (t) => {
  const broker = await startTimedBroker(t, { connectTimeout: 10 }, hooks);
  const client = await challenged(t, broker, 'LATER');
  broker.clock.advance(9999);
  client.assertOpen();
  broker.clock.advance(1);
  await client.expectClose();
});

t.test('a second AUTH before the first one is answered is an error', async (t) => {
  const broker = await startTimedBroker(t, {}, hooks);
  const client = await authenticated(t, broker, 'LATER');
  client.send(auth(0x19, withData('LATER', 'user alice')), answer('LATER', '+challenge'));
  await expectDisconnect(client, 0x82);
});

t.test('AUTH answers do not come before a CONNACK that waits for its commit', async (t) => {
  const broker = await startTimedBroker(t, {}, { enhancedAuthentication: { ONE: () => ({ status: 'success' }) } });
  const properties = [...withData('ONE'), property.sessionExpiryInterval(100)];
  const client = await dialAndSend(t, broker, connect({ clientId: 'c', properties }), auth(0x19, withData('ONE')));
  t.equal(parseConnack(await client.packet()).code, 0);
  t.equal((await nextAuth(client)).code, 0);
});

t.test('[MQTT-4.12.0-4] a handler that throws, rejects or answers nonsense lets nobody in', async (t) => {
  const bad: Record<string, Handler> = {
    THROWS: () => {
      throw new Error('broken');
    },
    REJECTS: () => Promise.reject(new Error('broken')),
    NOTHING: () => undefined as unknown as Result,
    'NOTHING LATER': async () => undefined as unknown as Result,
    FINE: ({ isReAuthentication }) =>
      isReAuthentication ? Promise.reject(new Error('broken')) : { status: 'success' },
  };
  const broker = await startTimedBroker(t, {}, { enhancedAuthentication: bad });
  for (const method of ['THROWS', 'REJECTS', 'NOTHING', 'NOTHING LATER']) {
    await expectRefused(await dialAndSend(t, broker, connect({ properties: withData(method) })), 0x80);
  }
  const client = await join(t, broker, { properties: withData('FINE') });
  client.send(auth(0x19, withData('FINE')));
  await expectDisconnect(client, 0x80);
});

t.test('a client that goes away in the middle of a step harms nobody', async (t) => {
  let go: (result: Result) => void = () => undefined;
  let asked: () => void = () => undefined;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const waits: Handler = ({ isReAuthentication }) => {
    if (!isReAuthentication) return { status: 'success' };
    asked();
    return new Promise<Result>((resolve) => {
      go = resolve;
    });
  };
  const broker = await startTimedBroker(t, {}, { enhancedAuthentication: { WAITS: waits } });
  const client = await join(t, broker, { properties: withData('WAITS') });
  client.send(auth(0x19, withData('WAITS')));
  await isAsked;
  client.reset();
  await broker.settleConnections(0);
  go({ status: 'refused' });
  await (await join(t, broker)).expectNothing();
});
