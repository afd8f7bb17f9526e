import t from 'tap';
import type { AuthenticationRequest, Hooks } from '../../lib/broker/hooks.js';
import { expectDisconnect, received } from '../helpers/client.js';
import { connect, disconnect, pingreq, property, publish, subscribe } from '../helpers/packets.js';
import { parseConnack, textOf } from '../helpers/parse.js';
import { dial, dialAndSend, expectRefused, forVersions, join, watch } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

type Verdict = Awaited<ReturnType<NonNullable<Hooks['authenticate']>>>;

/** Lets in who knows the password; refuses others as their user name asks. */
function decide({ userName, password }: AuthenticationRequest): Verdict {
  if (userName === 'banned') return { reasonCode: 0x8a, reason: 'go away' };
  if (userName === 'unauthorized') return { reasonCode: 0x87 };
  if (userName === 'odd') return { reasonCode: 0 };
  return password?.toString() === 'secret';
}

const kinds: Record<string, Hooks> = {
  sync: { authenticate: decide },
  async: {
    async authenticate(request) {
      await new Promise((resolve) => setImmediate(resolve));
      return decide(request);
    },
  },
};

for (const [kind, hooks] of Object.entries(kinds)) {
  forVersions(t, [3, 4, 5], `user name and password decide, ${kind}`, async (t, version) => {
    const broker = await startTimedBroker(t, {}, hooks);
    await join(t, broker, { version, clientId: 'c', userName: 'u', password: 'secret' });
    const refused = [
      [{ userName: 'u', password: 'wrong' }, 0x86, 4],
      [{ userName: 'u', password: '' }, 0x86, 4],
      [{ userName: 'u' }, 0x86, 4],
      [{}, 0x86, 4],
      [{ userName: 'unauthorized' }, 0x87, 5],
      [{ userName: 'banned' }, 0x8a, 5],
      [{ userName: 'odd' }, 0x87, 5],
    ] as const;
    for (const [fields, code, returnCode] of refused) {
      const client = await dialAndSend(t, broker, connect({ version, clientId: 'c', ...fields }));
      await expectRefused(client, version === 5 ? code : returnCode, version);
    }
  });

  t.test(`[MQTT-3.1.4-6] what follows a CONNECT that is refused is not acted on, ${kind}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const watcher = await watchAs(broker.port);
    const client = await dial(t, broker);
    const will = { topic: 'will' };
    const packets = [publish({ topic: 'a', retain: true }), subscribe({ filters: [['a', 0]] }), disconnect()];
    client.send(connect({ userName: 'u', password: 'wrong', will }), ...packets);
    await expectRefused(client, 0x86);
    const malformed = await dialAndSend(t, broker, connect({ userName: 'banned' }), 'f0 ff ff ff ff ff');
    await expectRefused(malformed, 0x8a);
    await watcher.expectNothing();
    await watcher.expectNothing();

    async function watchAs(port: number) {
      const fields = { userName: 'w', password: 'secret' };
      const watcher = await join(t, { port }, fields);
      watcher.send(subscribe({ filters: [['#', 0]] }));
      await watcher.expect('90 04 00 01 00 00');
      return watcher;
    }
  });

  t.test(`[MQTT-3.1.4-5] what follows a CONNECT is handled in order after it is accepted, ${kind}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const packets = [subscribe({ filters: [['a', 0]] }), publish({ topic: 'a', payload: 'x' }), pingreq()];
    const client = await dialAndSend(t, broker, connect({ userName: 'u', password: 'secret' }), ...packets);
    t.equal(parseConnack(await client.packet()).code, 0);
    await client.expect('90 04 00 01 00 00');
    t.equal((await received(client)).payload, 'x');
    await client.expect('d0 00');
  });

  t.test(`an error in what follows is an error of the accepted connection, ${kind}`, async (t) => {
    const broker = await startTimedBroker(t, {}, hooks);
    const client = await dialAndSend(t, broker, connect({ userName: 'u', password: 'secret' }), 'c1 00');
    t.equal(parseConnack(await client.packet()).code, 0);
    await expectDisconnect(client, 0x81);
  });
}

t.test('a hook is told who wants to connect', async (t) => {
  const requests: AuthenticationRequest[] = [];
  const broker = await startTimedBroker(t, {}, { authenticate: (request) => requests.push(request) > 0 });
  await join(t, broker, { clientId: 'one', userName: 'ü', password: Buffer.from([0, 255]) });
  await join(t, broker, { clientId: 'two', version: 4 });
  t.match(requests[0], { clientId: 'one', userName: 'ü', protocolVersion: 5, address: /^127\.0\.0\.1:\d+$/ });
  t.same(requests[0].password, Buffer.from([0, 255]));
  t.match(requests[1], { clientId: 'two', userName: null, password: null, protocolVersion: 4 });
});

t.test('a reason is told to version 5, unless it wants none', async (t) => {
  const broker = await startTimedBroker(t, {}, kinds.sync);
  const reasonOf = async (properties: Buffer[]) => {
    const client = await dialAndSend(t, broker, connect({ userName: 'banned', properties }));
    return textOf(parseConnack(await client.packet()).properties, 0x1f);
  };
  t.equal(await reasonOf([]), 'go away');
  t.equal(await reasonOf([property.maximumPacketSize(10)]), undefined);
});

forVersions(t, [4, 5], 'a hook that throws, rejects or answers nonsense lets nobody in', async (t, version) => {
  const nonsense = undefined as unknown as Verdict;
  const bad: Hooks['authenticate'][] = [
    () => {
      throw new Error('broken');
    },
    () => Promise.reject(new Error('broken')),
    () => nonsense,
    async () => nonsense,
  ];
  for (const authenticate of bad) {
    const broker = await startTimedBroker(t, {}, { authenticate: authenticate as () => Verdict });
    const client = await dialAndSend(t, broker, connect({ version, clientId: 'c' }), pingreq());
    await expectRefused(client, version === 5 ? 0x80 : 'silent', version);
  }
});

t.test('a hook that never answers is given up with the connection, which is cut in time', async (t) => {
  const broker = await startTimedBroker(
    t,
    { connectTimeout: 10 },
    { authenticate: () => new Promise(() => undefined) },
  );
  const client = await dialAndSend(t, broker, connect());
  await (await dial(t, broker)).end();
  broker.clock.advance(9999);
  client.assertOpen();
  broker.clock.advance(1);
  await client.expectClose();
});

forVersions(t, [4, 5], 'a hook that takes longer than authenticationTimeout lets nobody in', async (t, version) => {
  const asked: string[] = [];
  const authenticate = ({ clientId }: AuthenticationRequest): Promise<boolean> => {
    asked.push(clientId);
    return new Promise(() => undefined);
  };
  const broker = await startTimedBroker(t, { authenticationTimeout: 3 }, { authenticate });
  const client = await dialAndSend(t, broker, connect({ version, clientId: 'c' }));
  while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
  broker.clock.advance(2999);
  client.assertOpen();
  broker.clock.advance(1);
  await expectRefused(client, version === 5 ? 0x88 : 3, version);
  t.equal(broker.metrics.authenticationsFailed, 1);
});

t.test('a hook says who the client is, and until when', async (t) => {
  const broker = await startTimedBroker(
    t,
    {},
    {
      authenticate: () => ({ admitted: true, userName: 'real', expiresAtMs: broker.clock.now() + 60_000 }),
    },
  );
  const clients = [
    await join(t, broker, { clientId: 'a', userName: 'claimed' }),
    await join(t, broker, { version: 4 }),
  ];
  t.equal(broker.context.sessions.get('a')?.userName, 'real');
  broker.clock.advance(59_999);
  for (const client of clients) await client.expectNothing();
  broker.clock.advance(1);
  await expectDisconnect(clients[0], 0x87);
  await clients[1].expectClose();
});

t.test('a verdict that comes after the connection was cut begins no session', async (t) => {
  let admit: (verdict: boolean) => void = () => undefined;
  let asked: () => void = () => undefined;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const authenticate = ({ clientId }: AuthenticationRequest): boolean | Promise<boolean> => {
    if (clientId !== 'slow') return true;
    asked();
    return new Promise((resolve) => {
      admit = resolve;
    });
  };
  const broker = await startTimedBroker(t, { connectTimeout: 10 }, { authenticate });
  const client = await dialAndSend(t, broker, connect({ clientId: 'slow', will: { topic: 'will' } }));
  await isAsked;
  broker.clock.advance(10_000);
  await client.expectClose();
  const watcher = await watch(t, broker, '#');
  admit(true);
  await watcher.expectNothing();
  t.notOk(broker.context.sessions.has('slow'));
});
